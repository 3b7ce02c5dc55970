"""Batches of a study: smaller ones where memory runs out, and a clip that breaks the model fails alone."""

import gc

import pytest
import torch
from studies import Given, Hungry, drawn, make_study
from torch import nn

import lrp3d
from lrp3d import study
from lrp3d.video import draw_clip


def test_out_of_memory_halves_the_batch_and_goes_on():
    model = Hungry(most=2).eval()
    explainer = study.Explainer(model)
    with pytest.warns(UserWarning, match="out of memory with [84] clips: [42] clips at once") as warned:
        parts = list(explainer.parts(drawn(8)))
    assert len(warned) == 2
    assert [part.clips.stop for part in parts] == [2, 4, 6, 8]
    assert [part.clips.start for part in parts] == [0, *[part.clips.stop for part in parts[:-1]]]
    whole = torch.cat([part.explanation.matrix for part in parts])
    (alone,) = study.Explainer(Hungry(most=8).eval()).parts(drawn(8))
    torch.testing.assert_close(whole, alone.explanation.matrix)


def test_a_twin_keeps_its_own_rules():
    model = Hungry(most=9).eval()
    twin = lrp3d.convert(model, "epsilon")
    (found,) = study.Explainer(twin).parts(drawn(2))
    (wanted,) = study.Explainer(model, composite="epsilon").parts(drawn(2))
    torch.testing.assert_close(found.explanation.matrix, wanted.explanation.matrix)
    assert study.Explainer(twin).composite == "epsilon"
    assert study.Explainer(model).composite == "paper"
    with pytest.raises(ValueError, match="this twin was converted with the composite 'epsilon', not 'paper'"):
        study.Explainer(twin, composite="paper")


def test_what_fits_is_remembered():
    model = Hungry(most=2).eval()
    explainer = study.Explainer(model)
    with pytest.warns(UserWarning, match="out of memory"):
        list(explainer.parts(drawn(4)))
    Hungry.tried.clear()
    list(explainer.parts(drawn(4)))
    assert max(Hungry.tried) == 2


def test_one_clip_that_does_not_fit_is_said():
    explainer = study.Explainer(Hungry(most=0).eval())
    with pytest.warns(UserWarning, match="one frame logit at a time"), pytest.raises(torch.OutOfMemoryError):
        list(explainer.parts(drawn(1)))


def test_a_clip_that_breaks_the_model_fails_alone(tmp_path):
    clips = drawn(6)
    clips[4] = clips[4] * 0
    made = make_study(tmp_path, 6)
    outcome = study.run(made, study.Explainer(Hungry(most=9).eval()), Given(clips), batch_size=6)
    assert (outcome.explained, outcome.failed) == (5, 1)
    assert made.failures()[4].endswith("ZeroDivisionError: a black clip.")


def test_a_model_that_fails_on_the_first_clip_stops_the_run(tmp_path):
    with pytest.raises(lrp3d.ModelError, match="ZeroDivisionError: a black clip"):
        study.run(make_study(tmp_path, 3), study.Explainer(Hungry().eval()), Given([0 * x for x in drawn(3)]))


def test_a_model_without_frame_logits_stops_the_run(tmp_path):
    model = nn.Sequential(nn.Conv3d(3, 4, 3), nn.ReLU(), nn.AdaptiveMaxPool3d(1), nn.Flatten(), nn.Linear(4, 2)).eval()
    with pytest.raises(lrp3d.NoFrameLogits):
        study.run(make_study(tmp_path, 3), study.Explainer(model), Given(drawn(3)))


def test_clips_of_different_shapes_are_explained_apart(tmp_path):
    clips = [draw_clip(4, 16 if number % 2 else 20).numpy() for number in range(4)]
    made = make_study(tmp_path, 4)
    outcome = study.run(made, study.Explainer(Hungry(most=9).eval()), Given(clips), batch_size=4)
    assert outcome.explained == 4


def test_true_classes_are_explained_where_that_was_asked_for(tmp_path):
    made = make_study(tmp_path, 2)
    study.run(made, study.Explainer(Hungry().eval()), Given(drawn(2)), explain_labels=True)
    assert [record.target for record in made.records()] == [0, 0]


def test_the_others_go_on_where_the_first_clip_breaks_the_model(tmp_path):
    clips = drawn(3)
    clips[0] = clips[0] * 0
    made = make_study(tmp_path, 3)
    with pytest.warns(
        UserWarning, match=r"0\.mp4: ModelError: .*ZeroDivisionError: a black clip\.; the other clips go on"
    ):
        outcome = study.run(made, study.Explainer(Hungry(most=9).eval()), Given(clips))
    assert (outcome.explained, outcome.failed, outcome.broken) == (2, 1, 1)
    assert made.done() == {1, 2}
    assert made.failures()[0].endswith("ZeroDivisionError: a black clip.")


def test_clip_after_clip_nothing_is_kept():
    explainer, clips = study.Explainer(lrp3d.models.tam_resnet(18, 3, frames=4, width=8).eval()), drawn(1)

    def tensors():
        for _ in explainer.parts(clips):
            pass
        gc.collect()
        return sum(type(x) is torch.Tensor for x in gc.get_objects())

    before = tensors()
    assert tensors() <= before
