"""The excess span: how far apart the frames are that stand out."""

import pytest
import torch

from lrp3d.metrics.atr import frame_atr
from lrp3d.metrics.excess_span import excess_span


def smeared(frames: int, lag: float = 1.5) -> torch.Tensor:
    """What a convolutional network does to every frame: a row that falls with the distance."""
    distance = (torch.arange(frames) - torch.arange(frames)[:, None]).abs()
    return torch.exp(-distance / lag).double()


@pytest.mark.parametrize("gap", [1, 2, 5, 8])
def test_two_events_above_the_smear_have_the_span_between_them(gap):
    reference = smeared(16)
    clip = reference.clone()
    clip[4 : 4 + gap + 1, 4] += 2.0
    clip[4 : 4 + gap + 1, 4 + gap] += 2.0
    found = excess_span(clip[None], reference)
    assert found.span.item() == gap + 1
    assert (found.first.item(), found.last.item()) == (4, 4 + gap)


def test_what_every_clip_has_is_no_excess():
    reference = smeared(8)
    found = excess_span(torch.stack([reference, 0.5 * reference]), reference)
    assert found.span.isnan().all()
    assert (found.share == 0).all()
    assert excess_span(torch.stack([reference, 2 * reference]), reference).mean().isfinite()  # the first counts nowhere


def test_rows_that_speak_against_the_class_count_nowhere():
    clip = torch.zeros(1, 6, 6)
    clip[0, 2, 2] = 1.0
    clip[0, 5, 5], clip[0, 5, 0] = -3.0, 1.0
    assert excess_span(clip, torch.zeros(6, 6)).frames.nonzero()[:, 1].tolist() == [2]


def test_reversed_time_gives_the_same_span_and_a_scale_changes_nothing():
    torch.manual_seed(0)
    clips, reference = torch.rand(20, 10, 10), torch.rand(10, 10)
    forward = excess_span(clips, reference)
    backward = excess_span(clips.flip(1, 2), reference.flip(0, 1))
    torch.testing.assert_close(forward.span, backward.span)
    torch.testing.assert_close(excess_span(3 * clips, 3 * reference).share, forward.share)


def test_a_reference_of_each_clip_is_that_of_all_repeated():
    torch.manual_seed(0)
    clips, reference = torch.rand(4, 5, 5), torch.rand(5, 5)
    one, each = excess_span(clips, reference), excess_span(clips, reference.expand(4, -1, -1))
    torch.testing.assert_close(one.frames, each.frames)


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"needs a reference \(n, t\)"):
        excess_span(torch.rand(2, 4, 4), torch.rand(3, 3))
    with pytest.raises(ValueError, match="sigma"):
        excess_span(torch.rand(2, 4, 4), torch.rand(4, 4), sigma=0)


def test_the_share_is_what_stands_out_of_all_positive_relevance():
    """Three of four units stand above the reference; scale matters in no way, and without relevance it is nothing."""
    reference = torch.full((2, 2), 0.25)
    clip = torch.tensor([[1.0, 1.0], [1.0, 1.0]])
    found = excess_span(torch.stack([clip, 8 * clip, 0 * clip]), torch.stack([reference, 8 * reference, reference]))
    assert found.share.tolist() == [0.75, 0.75, 0.0]


@pytest.mark.parametrize("wrong", [torch.nan, torch.inf, -torch.inf])
def test_a_clip_is_unknown_where_its_matrix_or_its_reference_is_as_in_atr(wrong):
    torch.manual_seed(0)
    clips, reference = torch.rand(3, 5, 5), 0.5 * torch.rand(5, 5)
    known = excess_span(clips[::2], reference)
    broken, of_each = clips.clone(), reference.repeat(3, 1, 1)
    broken[1, 2, 3] = of_each[1, 2, 3] = wrong
    for found in (excess_span(broken, reference), excess_span(clips, of_each)):
        assert found.span.isnan().tolist() == found.share.isnan().tolist() == [False, True, False]
        assert found.frames[1].isnan().all()
        assert (found.first[1], found.last[1]) == (0, 4), "the whole clip, as a frame's window whose ATR is unknown"
        torch.testing.assert_close(found.span[::2], known.span)
        torch.testing.assert_close(found.mean(), known.mean())
    assert frame_atr(broken).isnan().nonzero().tolist() == [[1, 2]]
    reference[0, 0] = wrong
    assert excess_span(clips, reference).span.isnan().all()


@pytest.mark.parametrize("matrices", [([[1.0]], torch.ones(1, 1)), (torch.ones(1, 1, 1), torch.ones(1, 1).cfloat())])
def test_matrices_are_tensors_of_real_numbers(matrices):
    with pytest.raises(TypeError, match=r"is a torch\.Tensor"):
        excess_span(*matrices)


def test_a_clip_whose_rows_are_all_negative_has_no_share_above_a_reference():
    negative, nothing = -torch.eye(4)[None], torch.zeros(1, 4, 4)
    assert excess_span(negative, torch.eye(4) / 4).share.isnan().all()
    assert excess_span(nothing, torch.eye(4) / 4).share.eq(0).all()
