"""Which frames are sampled, and what partial uniform sampling (Sec. 4.3) lets a frame see."""

import doctest

import pytest
import simulated
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from lrp3d import sampling
from lrp3d.metrics.atr import frame_atr, frame_windows
from lrp3d.sampling import (
    dense_indices,
    partial_uniform,
    partial_uniform_logits,
    uniform_indices,
    window_bounds,
)

EXAMPLES = settings(deadline=None, max_examples=200)
lengths = st.integers(1, 400)
counts = st.integers(1, 70)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@EXAMPLES
@given(lengths, counts, st.booleans())
def test_uniform_frames_lie_one_in_each_segment(video, frames, train):
    indices = uniform_indices(video, frames, train, seeded(video))
    assert indices.shape == (frames,)
    assert indices.dtype == torch.int64
    assert (indices.diff() >= 0).all()
    for i, index in enumerate(indices.tolist()):
        assert 0 <= index < video
        # The time that frame covers, index to index + 1, meets segment i; a short video has no room for more.
        assert index * frames < (i + 1) * video
        assert i * video < (index + 1) * frames
    assert video < frames or (indices.diff() > 0).all()


@EXAMPLES
@given(lengths, counts)
def test_evaluation_takes_the_centre_of_every_segment(video, frames):
    centre = (torch.arange(frames, dtype=torch.float64) + 0.5) * video / frames
    assert ((uniform_indices(video, frames) + 0.5 - centre).abs() <= 0.5 + 1e-9).all()


def test_training_draws_every_frame_of_a_segment_equally_often():
    generator = seeded()
    draws = torch.stack([uniform_indices(12, 3, True, generator) for _ in range(2000)])
    share = torch.bincount(draws.flatten(), minlength=12) / len(draws)
    assert (share - 0.25).abs().max() < 0.05


def test_a_short_video_repeats_its_frames_evenly():
    for video, frames in ((3, 8), (1, 5), (7, 8)):
        often = torch.bincount(uniform_indices(video, frames), minlength=video)
        assert often.min() >= 1
        assert often.max() - often.min() <= 1


@EXAMPLES
@given(lengths, counts, st.integers(1, 9), st.booleans())
def test_dense_frames_follow_one_another(video, frames, stride, train):
    indices = dense_indices(video, frames, stride, train, seeded(frames))
    span = (frames - 1) * stride + 1
    assert 0 <= indices.min() <= indices.max() < video
    if span <= video:
        assert (indices.diff() == stride).all()
        before, after = int(indices[0]), video - 1 - int(indices[-1])
        assert train or 0 <= after - before <= 1
    else:
        assert indices.tolist() == [min(i * stride, video - 1) for i in range(frames)]


def test_dense_training_reaches_every_start():
    generator = seeded()
    starts = {int(dense_indices(10, 4, 2, True, generator)[0]) for _ in range(200)}
    assert starts == {0, 1, 2, 3}


def test_a_generator_makes_training_reproducible():
    for draw in (uniform_indices, dense_indices):
        first, second = (draw(300, 8, train=True, generator=seeded(3)) for _ in range(2))
        assert torch.equal(first, second)


@pytest.mark.parametrize(
    "call",
    [
        lambda: uniform_indices(0, 8),
        lambda: uniform_indices(10, 0),
        lambda: uniform_indices(-3, 8),
        lambda: dense_indices(0, 8),
        lambda: dense_indices(10, -1),
        lambda: dense_indices(10, 8, stride=0),
    ],
)
def test_numbers_of_frames_are_positive(call):
    with pytest.raises(ValueError, match="at least 1"):
        call()


@EXAMPLES
@given(st.integers(1, 40), st.integers(1, 50))
def test_a_fixed_window_keeps_its_size_and_holds_its_frame(frames, size):
    left, right = window_bounds(frames, size)
    i = torch.arange(frames)
    assert ((left >= 0) & (left <= i) & (i <= right) & (right < frames)).all()
    assert (right - left + 1 == min(size, frames)).all()
    inside = (left > 0) & (right < frames - 1)
    assert ((right - i) - (i - left))[inside].unique().tolist() in ([], [(size - 1) % 2])


def test_the_window_of_the_papers_figure():
    """Fig. 5b: of 16 frames, f7 in a window of eight sees f4 to f11."""
    left, right = window_bounds(16, 8)
    assert (left[6], right[6]) == (3, 10)


def test_sizes_by_frame_may_be_frame_atr():
    left, right = window_bounds(5, torch.tensor([[1.0, 2.0, 3.0, torch.nan, 9.0], [1.0, 1.5, 1.0, 1.0, 1.0]]))
    assert left.tolist() == [[0, 1, 1, 0, 0], [0, 1, 2, 3, 4]]
    assert right.tolist() == [[0, 2, 3, 4, 4], [0, 2, 2, 3, 4]]


def test_rows_of_a_strided_model_see_their_block_at_least():
    left, right = window_bounds(8, 1, rows=4)
    assert left.tolist() == [0, 2, 4, 6]
    assert right.tolist() == [1, 3, 5, 7]
    left, right = window_bounds(8, 5, rows=4)
    assert left.tolist() == [0, 1, 3, 3]
    assert right.tolist() == [4, 5, 7, 7]


@pytest.mark.parametrize(
    ("window", "said"),
    [
        (0, "at least 1 frame"),
        (torch.tensor([1.0, 0.0, 2.0]), "at least 1 frame"),
        ([1, 2], r"\(2,\)"),
        (torch.ones(2, 2, 3), r"\(2, 2, 3\)"),
        (([0, 0, 0], [2, 2, 3]), "0..2"),
        (([0, 2, 2], [2, 2, 2]), "own frames"),
        (([0, 0], [2, 2]), "3 rows"),
        ((1, 2, 3), "left, right"),
    ],
)
def test_windows_that_make_no_sense_are_refused(window, said):
    with pytest.raises(ValueError, match=said):
        window_bounds(3, window)


def test_rows_divide_the_frames():
    with pytest.raises(ValueError, match="3 rows"):
        window_bounds(8, 2, rows=3)


def numbered(frames=6, layout="bcthw"):
    """Two clips whose pixels say which clip, channel and frame they are."""
    clip = torch.arange(2.0).view(2, 1, 1, 1, 1) * 100 + torch.arange(3.0).view(1, 3, 1, 1, 1) * 10
    clip = clip + torch.arange(float(frames)).view(1, 1, frames, 1, 1) + torch.zeros(2, 2)
    return clip.permute(["bcthw".index(axis) for axis in layout])


def enumerate_windows(clip, left, right):
    """Frame by frame, as Sec. 4.3 tells it."""
    result = torch.empty(len(clip), len(left), *clip.shape[1:])
    for b in range(len(clip)):
        for i in range(len(left)):
            for t in range(clip.shape[2]):
                shown = left[i] if t < left[i] else right[i] if t > right[i] else t
                result[b, i, :, t] = clip[b, :, shown]
    return result


@pytest.mark.parametrize("window", [1, 2, 3, 6, 99])
def test_frames_outside_the_window_become_its_end_frames(window):
    clip = numbered()
    assert torch.equal(partial_uniform(clip, window), enumerate_windows(clip, *window_bounds(6, window)))


def test_explicit_bounds_are_followed():
    clip = numbered()
    left, right = torch.tensor([0, 0, 1, 1, 4, 2]), torch.tensor([3, 1, 2, 5, 4, 5])
    assert torch.equal(partial_uniform(clip, (left, right)), enumerate_windows(clip, left, right))


def test_every_clip_has_its_own_windows():
    clip = numbered()
    sizes = torch.tensor([[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [6.0, torch.nan, 1.0, 2.0, 1.0, 3.0]])
    both = partial_uniform(clip, sizes)
    for b in range(2):
        assert torch.equal(both[b : b + 1], partial_uniform(clip[b : b + 1], sizes[b]))


@pytest.mark.parametrize("layout", ["btchw", "bthwc", "bcthw"])
@pytest.mark.parametrize("fill", ["edge", "blank"])
def test_the_order_of_axes_changes_nothing(layout, fill):
    value = [1.0, 2.0, 3.0]
    expected = partial_uniform(numbered(), 3, fill=fill, value=value)
    back = [0, 1, *(2 + layout[1:].index(axis) for axis in "cthw")]
    found = partial_uniform(numbered(layout=layout), 3, layout=layout, fill=fill, value=value)
    assert torch.equal(found.permute(back), expected)


def test_empty_frames_stand_outside_the_window():
    shown = partial_uniform(numbered(), 1, fill="blank", value=-7.0)
    outside = ~torch.eye(6, dtype=torch.bool)
    assert (shown.transpose(2, 3)[:, outside] == -7).all()
    assert torch.equal(shown.transpose(2, 3)[:, ~outside], numbered().transpose(1, 2))


def test_clips_keep_their_type():
    for fill in ("edge", "blank"):
        assert partial_uniform(numbered().half(), 2, fill=fill).dtype == torch.float16


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"layout": "tbchw"}, "layout"),
        ({"layout": "bcthx"}, "layout"),
        ({"fill": "black"}, "fill"),
        ({"fill": "blank", "value": [0.0, 1.0]}, r"one per channel \(3\)"),
        *(
            ({"fill": fill, "value": float("nan")}, r"one per channel \(3\), and finite, got \[nan\]")
            for fill in ("edge", "blank")
        ),
        ({"fill": "blank", "value": "a"}, r"one per channel \(3\), got 'a'"),
        ({"window": "a"}, "window must be a number of frames, or one for each row, got 'a'"),
        ({"window": True}, "window must be a number of frames, or one for each row, got torch.bool"),
        ({"window": (["a"], [2])}, r"bounds must be numbers of frames, got \['a'\]"),
        ({"window": ([0.0] * 6, [5.5] * 6)}, "bounds must be whole numbers of frames, got"),
        ({"rows": 2.0}, "rows must be a whole number of at least 1, got 2.0"),
        ({"window": torch.ones(3, 6)}, "3 clips"),
    ],
)
def test_partial_sampling_refuses_what_it_does_not_know(arguments, said):
    with pytest.raises((ValueError, TypeError), match=said):
        partial_uniform(numbered(), **{"window": 2, **arguments})


def test_a_clip_has_five_axes():
    with pytest.raises(ValueError, match="five axes"):
        partial_uniform(torch.ones(3, 4, 4, 4), 2)


class SmallNet(nn.Module):
    """One temporal convolution (a field of ``2 * reach + 1`` frames), then a classifier for every frame."""

    def __init__(self, reach=2, stride=1):
        super().__init__()
        self.first = nn.Conv3d(3, 4, (2 * reach + 1, 1, 1), (stride, 1, 1), (reach, 0, 0))
        self.head = nn.Linear(4, 5)

    def frame_logits(self, clip):
        return self.head(self.first(clip).relu().mean((3, 4)).transpose(1, 2))

    def forward(self, clip):
        return self.frame_logits(clip).mean(1)


@pytest.fixture
def net():
    torch.manual_seed(0)
    return SmallNet().double().eval()


@pytest.fixture
def clip():
    return torch.randn(2, 3, 8, 4, 4, generator=seeded(1), dtype=torch.float64)


def test_the_whole_window_gives_the_models_own_answer(net, clip):
    for whole in (8, torch.full((2, 8), torch.nan)):
        answer = partial_uniform_logits(net, clip, whole)
        torch.testing.assert_close(answer.frame_logits, net.frame_logits(clip))
        torch.testing.assert_close(answer.logits, net(clip))


def test_a_window_over_the_receptive_field_changes_nothing(net, clip):
    """The field is five frames; of a window of three the outer rows still see all that they can."""
    answer = partial_uniform_logits(net, clip, 5).frame_logits
    torch.testing.assert_close(answer, net.frame_logits(clip))
    narrower = partial_uniform_logits(net, clip, 3).frame_logits
    assert (narrower - net.frame_logits(clip)).abs().amax(-1)[:, 1:-1].min() > 1e-4


@pytest.mark.parametrize("fill", ["edge", "blank"])
@pytest.mark.parametrize("chunk_size", [None, 1, 3, 100])
def test_row_i_comes_from_the_clip_that_shows_window_i(net, clip, fill, chunk_size):
    windowed = partial_uniform(clip, 3, fill=fill, value=0.5)
    expected = torch.stack([net.frame_logits(windowed[:, i])[:, i] for i in range(8)], 1)
    answer = partial_uniform_logits(net, clip, 3, fill=fill, value=0.5, chunk_size=chunk_size)
    torch.testing.assert_close(answer.frame_logits, expected)
    torch.testing.assert_close(answer.logits, expected.mean(1))


def test_chunks_bound_what_the_model_sees_at_once(net, clip):
    seen = []

    def watch(clips):
        seen.append(len(clips))
        return net.frame_logits(clips)

    partial_uniform_logits(nn.Identity(), clip, 3, chunk_size=5, frame_logits=watch)
    assert seen == [1, 5, 5, 5, 1]


def test_windows_may_come_from_atr(net, clip):
    matrix = torch.rand(2, 8, 8, generator=seeded(2)) ** 6
    sizes = partial_uniform_logits(net, clip, frame_atr(matrix))
    bounds = partial_uniform_logits(net, clip, frame_windows(matrix))
    assert sizes.logits.shape == bounds.logits.shape == (2, 5)


def test_a_strided_model_has_a_row_for_each_block(clip):
    torch.manual_seed(1)
    net = SmallNet(reach=1, stride=2).double().eval()
    answer = partial_uniform_logits(net, clip, 8)
    assert answer.frame_logits.shape == (2, 4, 5)
    torch.testing.assert_close(answer.frame_logits, net.frame_logits(clip))
    block = partial_uniform_logits(net, clip, 1).frame_logits
    alone = clip[:, :, [2, 2, 2, 3, 3, 3, 3, 3]]
    torch.testing.assert_close(block[:, 1], net.frame_logits(alone)[:, 1])


def test_the_model_is_left_as_it_was(net, clip):
    net.train()
    answer = partial_uniform_logits(net, clip, 3)
    assert net.training
    assert not answer.logits.requires_grad
    assert all(parameter.grad is None and parameter.requires_grad for parameter in net.parameters())


def test_models_without_frame_logits_are_refused_in_one_sentence(clip):
    with pytest.raises(ValueError, match="Identity has no frame_logits"):
        partial_uniform_logits(nn.Identity(), clip, 3)
    with pytest.raises(ValueError, match=r"\(b, n, k\), got shape \(1, 3\)"):
        partial_uniform_logits(nn.Identity(), clip, 3, frame_logits=lambda clips: clips.mean((2, 3, 4)))


def test_chunks_hold_at_least_one_clip(net, clip):
    with pytest.raises(ValueError, match="chunk_size"):
        partial_uniform_logits(net, clip, 3, chunk_size=0)


def test_examples_in_the_documentation_are_true():
    assert doctest.testmod(sampling).failed == 0


@pytest.mark.skipif(not simulated.KNOWN, reason="this torch has no device in Python")
@pytest.mark.parametrize("outside", [{}, {"fill": "blank", "value": (0.1, 0.2, 0.3)}])
@pytest.mark.parametrize("window", [3, [1, 2, 3, 4.5], ([0, 0, 1, 2], [1, 2, 3, 3])])
def test_windows_of_a_clip_mix_no_devices(window, outside):
    clip = torch.rand(2, 3, 4, 5, 5, generator=seeded())
    expected = partial_uniform(clip, window, **outside)
    with simulated.device():
        found = partial_uniform(simulated.moved(clip), window, **outside)
        assert found.device.type == simulated.NAME
    assert torch.equal(simulated.at_home(found), expected)


@pytest.mark.parametrize("kind", [torch.int32, torch.int64, torch.float16, torch.float64])
def test_sizes_of_any_type_are_the_same_windows(kind):
    sizes = torch.tensor([1, 2, 3, 4], dtype=kind)
    for found, expected in zip(window_bounds(4, sizes), window_bounds(4, [1, 2, 3, 4]), strict=True):
        assert torch.equal(found, expected)


def test_a_size_that_exceeds_a_whole_number_by_however_little_is_rounded_up():
    left, right = window_bounds(6, [3 + 1e-12] * 6)
    assert (right - left + 1).tolist() == [4] * 6
