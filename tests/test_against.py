"""Why this class and not that one: the relevance of a difference of logits, in one signed pass."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_conservation import CLIP, Lossy, net

import lrp3d

EXACT = {"rtol": 1e-9, "atol": 1e-12}


def plain(model, target, **options):
    return lrp3d.explain(model, CLIP, target, contrastive=False, **options)


@pytest.mark.parametrize("averages", [True, False], ids=["averages frame logits", "pools first"])
@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 99), classes=st.permutations(range(4)), foils=st.integers(1, 3))
def test_the_relevance_against_others_is_that_of_the_class_minus_the_mean_of_theirs(averages, seed, classes, foils):
    model = net(classes=4, averages=averages, seed=seed)
    target, others = classes[0], classes[1 : 1 + foils]
    found = lrp3d.explain(model, CLIP, target, against=others)
    one, rest = plain(model, target), [plain(model, other) for other in others]
    for name in ("relevance", "frame_relevance", "frame_logits", "matrix"):
        mean = sum(getattr(other, name) for other in rest) / foils
        torch.testing.assert_close(getattr(found, name), getattr(one, name) - mean, **EXACT)
    torch.testing.assert_close(found.matrix.sum(2), found.frame_logits, **EXACT)
    assert found.conservation.max() < 1e-9
    assert not found.contrastive
    assert found.against.tolist() == [list(others)] * 2


def test_the_next_class_is_the_best_of_the_others_clip_by_clip():
    model = net(classes=5, seed=3)
    found = lrp3d.explain(model, CLIP, [0, 4], against="next")
    for clip, target in enumerate((0, 4)):
        others = found.logits[clip].clone()
        others[target] = -torch.inf
        assert found.against[clip].tolist() == [int(others.argmax())]
    each = lrp3d.explain(model, CLIP, [0, 4], against=found.against)
    torch.testing.assert_close(each.matrix, found.matrix, **EXACT)


def test_swapping_both_classes_turns_the_sign():
    one, other = (lrp3d.explain(net(), CLIP, a, against=b) for a, b in ((0, 2), (2, 0)))
    torch.testing.assert_close(one.relevance, -other.relevance, **EXACT)
    torch.testing.assert_close(one.matrix, -other.matrix, **EXACT)


def test_a_loss_on_both_sides_is_noticed_even_where_the_logits_are_equal():
    model = net()
    with torch.no_grad():
        model.fc.weight[1] = model.fc.weight[0]
        model.fc.bias[1] = model.fc.bias[0]
    lossy = lrp3d.Composite(names={"first": Lossy(0.5)})
    found = lrp3d.explain(model, CLIP, 0, against=1, composite=lossy)
    assert found.relevance.abs().max() < 1e-12
    torch.testing.assert_close(found.conservation, torch.full((2,), 0.5, dtype=torch.float64))


def test_interventions_measure_the_same_difference():
    model = net()
    found = lrp3d.intervention_matrix(model, CLIP, 0, against=[1, 2])
    alone = [lrp3d.intervention_matrix(model, CLIP, k) for k in range(3)]
    torch.testing.assert_close(found, alone[0] - (alone[1] + alone[2]) / 2, **EXACT)


def test_it_is_saved_and_shown(tmp_path):
    found = lrp3d.explain(net(), CLIP, 0, against="next")
    found.save(tmp_path / "one.safetensors")
    again = lrp3d.Explanation.load(tmp_path / "one.safetensors")
    assert again.against.equal(found.against)
    assert "rather than" in repr(again)
    foil = int(found.against[0])
    drawn = found.plot()
    assert f"class 0 rather than class {foil}" in drawn.axes[0].get_title()
    assert drawn.axes[1].get_ylabel() == "relevance (logit above the other's)"
    assert lrp3d.explain(net(), CLIP, 0).plot().axes[1].get_ylabel() == "relevance (logit)"


@pytest.mark.parametrize(
    ("given", "error", "says"),
    [
        (0, ValueError, "clip 0 is explained as class 0, which cannot be held against itself"),
        (3, ValueError, "against must hold classes from 0 to 2"),
        ([1, 1], ValueError, "names a class twice"),
        ([], TypeError, "against must be a class, several"),
        ("last", ValueError, 'against must be "next"'),
        (1.5, TypeError, "against must be a class"),
        (torch.zeros(3, 1, dtype=torch.long), ValueError, r"several for each \(2, m\), got shape \(3, 1\)"),
    ],
)
def test_what_cannot_be_held_against_a_class_is_said(given, error, says):
    with pytest.raises(error, match=says):
        lrp3d.explain(net(), CLIP, 0, against=given)


def test_a_single_clip_has_no_number():
    with pytest.raises(ValueError, match=r"^the clip is explained as class 0, .*: leave it out of against=$"):
        lrp3d.explain(net(), CLIP[:1], 0, against=[1, 0])


def test_one_contrast_at_a_time_and_not_with_a_lone_logit():
    with pytest.raises(ValueError, match="leave one of them out"):
        lrp3d.explain(net(), CLIP, 0, against=1, contrastive=True)
    with pytest.raises(ValueError, match="the model has one logit"):
        lrp3d.explain(net(classes=1), CLIP, against="next")
