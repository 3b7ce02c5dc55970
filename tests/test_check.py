"""`check`: what it measures where the answer is known, what it is given, and what it refuses."""

import json
import math

import numpy as np
import pytest
import torch
from benchmarks.planted.maps import SEED, compute
from benchmarks.planted.training_plans import Lineage
from test_conservation import Frames, net
from torch import nn
from checked_nets import Additive, CLIPS, frame_clips

import lrp3d
from lrp3d.faithfulness.for_quantus import FoldedClips, explain_folded, folded
from lrp3d.faithfulness.games import relevance_gain, shapley, shapley_estimate
from lrp3d.occlusion import filled
from lrp3d.metrics.contributions import frame_scores
from lrp3d.metrics.agreement import cosine, spearman
from lrp3d.metrics.atr import row_shares


class Pooled(Additive):
    """The same clip's logit, of what a ReLU makes of the mean of all frames, so that no frame has one of its own."""

    frame_logits = None

    def forward(self, x):
        return self.fc(torch.relu(x.mean((2, 3, 4))))


@pytest.mark.parametrize("shapley_values", [False, True])
def test_where_frames_have_no_logits_their_relevance_for_the_clip_is_checked(shapley_values):
    usual, found = (
        lrp3d.check(kind().double().eval(), frame_clips(), 0, shapley_values=shapley_values)
        for kind in (Additive, Pooled)
    )
    assert found.methods == usual.methods
    for measure in {"gain (freeze)", "gain (neighbours)", "shapley"} & set(usual.values):
        for method in ("gradient x input", "intervention"):
            torch.testing.assert_close(found.values[measure][method], usual.values[measure][method])
    for method in ("LRP", "CLRP"):
        model, clip, contrastive = Pooled().double().eval(), frame_clips(), method == "CLRP"
        relevance = lrp3d.explain(model, clip, 0, contrastive=contrastive, temporal=False).frame_relevance
        measured = lrp3d.intervention_matrix(model, clip, 0, occluder="nearest")
        torch.testing.assert_close(found.values["intervention"][method], cosine(relevance[:, None], measured))
    assert usual.of_frame_logits
    assert not found.of_frame_logits
    assert "frames have no logits here: all is said of the clip's logit" in str(found)
    assert "frames have no logits" not in str(usual)
    assert found.to_dict()["of_frame_logits"] is False


@pytest.mark.parametrize("how", ["nearest", "freeze", "neighbours"])
def test_frames_that_go_are_replaced_by_those_that_stay(how):
    clip = torch.arange(6.0).reshape(1, 1, 6, 1, 1)
    kept = torch.tensor([[False, True, False, False, True, False]])
    expected = [1, 1, 2.5, 2.5, 4, 4] if how == "neighbours" else [1, 1, 1, 4, 4, 4]
    assert filled(clip, kept, how).flatten().tolist() == expected
    assert filled(clip, kept | True, how).equal(clip)
    assert filled(clip, kept & False, how).flatten().tolist() == [2.5] * 6


def test_frames_are_filled_in_one_of_two_ways():
    with pytest.raises(ValueError, match="how must be 'nearest' or 'neighbours', got 'blur'"):
        filled(CLIPS, torch.ones(len(CLIPS), CLIPS.shape[2], dtype=torch.bool), "blur")


@pytest.mark.parametrize("estimate", [False, True])
def test_shapley_values_of_a_sum_are_its_summands_and_all_sum_to_the_whole(estimate):
    worths = torch.tensor([1.0, -2.0, 0.5, 3.0], dtype=torch.double)
    some = shapley_estimate if estimate else shapley
    torch.testing.assert_close(some(lambda kept: (kept.double() @ worths)[:, None], 4)[0], worths)

    def tangled(kept):
        return ((kept.double() @ worths).square() + kept[:, 0] * kept[:, 3])[:, None]

    ends = tangled(torch.ones(1, 4, dtype=torch.bool)) - tangled(torch.zeros(1, 4, dtype=torch.bool))
    torch.testing.assert_close(some(tangled, 4).sum(1), ends[0])


def test_estimates_of_shapley_values_come_near_the_exact_ones():
    weights = torch.randn(5, 5, generator=torch.Generator().manual_seed(0), dtype=torch.double)

    def worth(kept):
        return torch.einsum("pi,ij,pj->p", kept.double(), weights, kept.double())[:, None]

    torch.testing.assert_close(shapley_estimate(worth, 5, 2000), shapley(worth, 5), atol=0.05, rtol=0)


def test_the_reverse_ranking_gains_as_much_as_is_lost():
    worths = torch.tensor([[1.0, 4.0, 2.0, 3.0]])
    gain = relevance_gain(worths, lambda kept: (kept * worths).sum(1))
    torch.testing.assert_close(relevance_gain(-worths, lambda kept: (kept * worths).sum(1)), -gain)
    assert gain > 0


def test_where_frames_are_added_up_every_method_agrees_with_interventions_and_random_numbers_do_not():
    found = lrp3d.check(Additive().double().eval(), frame_clips(), 0, input_range=(0.0, 1.0))
    for method in ("LRP", "gradient x input"):
        assert found.score("gain (freeze)", method).mean > 0
        assert found.score("intervention", method).mean > found.score("intervention", "random").mean
        assert found.score("gain (freeze)", method).mean > found.score("gain (freeze)", "random").mean


def test_the_table_has_every_measure_and_method_and_can_be_saved():
    found = lrp3d.check(net(), CLIPS, [0, 1, 2])
    assert found.targets.tolist() == [0, 1, 2]
    assert found.methods == ["CLRP", "LRP", "gradient x input", "random", "intervention"]
    assert (found.values["intervention"]["intervention"] - 1).abs().max() < 1e-9
    assert all(len(value) == 3 for by_method in found.values.values() for value in by_method.values())
    assert set(found.values["random parameters"]) == {"CLRP", "LRP", "intervention"}
    again = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert again["verdict"] == " ".join([f"{found.headline}.", *found.findings])
    assert all(said in str(found) for said in (found.headline, *found.findings))


@pytest.mark.slow
def test_the_numbers_of_the_planted_benchmark_come_out_of_it():
    network, clips = lrp3d.models.load_pretrained("TAM5-R18-f8-match-d4"), 2
    lineage = Lineage("TAM5-R18", "match", 0, gaps=(4,), frames=8)
    kinds = {name: name for name in ("CLRP", "LRP", "gradient x input")} | {"intervention": "intervention (freeze)"}
    maps = compute(network, lineage.untrained().eval(), lineage, 4, clips, list(kinds.values()), tests=True)
    planted = lineage.task(4).clips(clips, seed=SEED)
    found = lrp3d.check(network, lrp3d.planted.normalise(planted.clips, network), planted.labels)
    torch.testing.assert_close(found.lead, maps["value"].double(), rtol=1e-4, atol=1e-4)
    for here, there in kinds.items():
        matrix = maps[f"matrix/{there}"]
        expected = {
            "gain (freeze)": maps[f"gain/{there}"],
            "shapley": spearman(frame_scores(matrix), maps["shapley"]),
            "intervention": cosine(matrix, maps["matrix/intervention (freeze)"]),
        }
        if here in ("CLRP", "LRP"):
            other = maps[f"other logit/{here}"]
            expected["other logit"] = spearman(row_shares(matrix).flatten(1), row_shares(other).flatten(1))
        for measure, values in expected.items():
            torch.testing.assert_close(found.values[measure][here], values.double(), rtol=1e-4, atol=1e-4)


def test_what_cannot_be_checked_is_said():
    with pytest.raises(ValueError, match="methods are some of CLRP, LRP"):
        lrp3d.check(net(), CLIPS, methods=["magic"])
    for clips in ([], CLIPS[0], CLIPS[:0]):
        with pytest.raises(ValueError, match="check needs clips"):
            lrp3d.check(net(), clips)


@pytest.mark.parametrize("targets", [[1, None, 2], [0.5, 1.0, 1.0], 1.5, "b", [True, False, True]])
def test_targets_are_numbers_of_classes(targets):
    with pytest.raises(TypeError, match="target must be a class"):
        lrp3d.check(net(), CLIPS, targets)


def test_targets_belong_to_all_clips_or_to_one_each():
    with pytest.raises(ValueError, match=r"one for each of 4 clips, got shape \(3,\)"):
        lrp3d.check(Additive().double().eval(), frame_clips(), [0, 1, 0])
    found = lrp3d.check(Additive().double().eval(), frame_clips(2), [1, 0], methods=["LRP"], shapley_values=False)
    assert found.targets.tolist() == [1, 0]


def test_a_measure_that_cannot_be_had_is_named():
    class Scaled(Additive):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.rand(2))

        def frame_logits(self, x):
            return super().frame_logits(x) * self.scale

    with pytest.warns(UserWarning, match=r"'random parameters' is left out.*\(Scaled\) cannot be reset"):
        lrp3d.check(Scaled().double().eval(), frame_clips(1), 0, methods=["LRP"], shapley_values=False)


def test_clips_are_images_for_quantus_and_explained_as_the_clips_that_they_are():
    model = Frames().double().eval()
    clips = torch.rand(2, 3, 6, 5, 4, dtype=torch.float64)
    images = FoldedClips(model, 6)
    assert images(folded(clips)).equal(model(clips))
    found = explain_folded(images, folded(clips).numpy(), np.array([0, 2]), device="cpu", method="", contrastive=False)
    expected = lrp3d.explain(model, clips, [0, 2], contrastive=False, temporal=False).relevance
    torch.testing.assert_close(images.clips(torch.from_numpy(found)), expected)
    with pytest.raises(TypeError, match="unexpected keyword argument 'patch_size'"):
        explain_folded(images, folded(clips), torch.tensor([0, 2]), patch_size=3)
    with pytest.raises(ValueError, match=r"images are \(b, c, 6 h, w\)"):
        images(clips[:, :, 0])


def test_a_metric_of_quantus_measures_clips():
    quantus = pytest.importorskip("quantus")
    images = FoldedClips(Frames().eval(), 4)
    clips = torch.rand(2, 3, 4, 5, 5)
    metric = quantus.PixelFlipping(features_in_step=25, disable_warnings=True)
    scores = metric(images, folded(clips).numpy(), np.array([0, 1]), explain_func=explain_folded, device="cpu")
    assert np.isfinite(np.array(scores)).all()


def test_clips_of_several_lengths_are_refused():
    with pytest.raises(ValueError, match="clips of one number of frames, got clips of 4 and 6 frames"):
        lrp3d.check(Additive().double().eval(), [frame_clips(2, 4), frame_clips(1, 6)])


def test_a_single_method_may_be_named_without_a_list():
    found = lrp3d.check(Additive().double().eval(), frame_clips(1), methods="LRP", shapley_values=False)
    assert found.methods == ["LRP", "intervention"]
    with pytest.raises(ValueError, match="got 'magic'"):
        lrp3d.check(Additive().double().eval(), frame_clips(1), methods="magic")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_nothing_agrees_with_interventions_on_a_clip_that_stands_still(dtype):
    """What a still clip loses without a frame is rounding, and a cosine with rounding is chance."""
    moving = CLIPS[:1].to(dtype)
    still = moving[:, :, :1].expand_as(moving)
    model = net().to(dtype)
    alone, with_moving = (lrp3d.check(model, clips, 0) for clips in (still, torch.cat([still, moving])))
    for measure in ("intervention", "shapley"):
        for method in alone.values[measure]:
            assert math.isnan(alone.values[measure][method]), (measure, method)
            assert math.isnan(alone.score(measure, method).mean)
            both = with_moving.values[measure][method]
            assert both.isnan().tolist() == [True, False]
            assert with_moving.score(measure, method).mean == pytest.approx(float(both[1]))
    assert math.isnan(alone.values["random parameters"]["intervention"])
    assert alone.values["random parameters"]["LRP"].isfinite()


def test_what_is_no_number_correlates_with_nothing():
    values = torch.tensor([1.0, torch.nan, 3.0])
    assert spearman(values, torch.tensor([1.0, 2.0, 3.0])).isnan()
    assert not spearman(torch.tensor([1.0, torch.inf, 3.0]), torch.tensor([1.0, 2.0, 3.0])).isnan()


@pytest.mark.parametrize("seed", [0, 1, 42])
def test_the_random_classifier_is_not_the_one_that_the_network_began_with(seed):
    from lrp3d.faithfulness.random_networks import REDRAWN
    from lrp3d.twin.untrained import untrained

    torch.manual_seed(seed)
    model = lrp3d.models.build("TSN-R18-f4", num_classes=5, width=4).eval()
    noise = torch.rand(2, 3, 4, 32, 32)
    drawn = untrained(lrp3d.convert(model), REDRAWN, noise, ["fc"]).model
    for own, new in zip(model.parameters(), drawn.parameters(), strict=True):
        if own is model.fc.weight:
            cosine = torch.nn.functional.cosine_similarity(own.flatten(), new.flatten(), dim=0)
            assert abs(float(cosine)) < 0.5
