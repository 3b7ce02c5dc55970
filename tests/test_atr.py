"""ATR is what Sec. 3.2 says it is: judged against enumeration in exact arithmetic."""

import doctest
from fractions import Fraction

import pytest
import simulated
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

import lrp3d
from lrp3d.metrics import atr
from lrp3d.metrics.aggregation import aggregate, mean_matrix, select
from lrp3d.metrics.atr import avg_atr, frame_atr, frame_windows, max_atr, row_shares

NAN = torch.nan
EXAMPLES = settings(deadline=None, max_examples=150)


def enumerate_atr(row, own, sigma=Fraction("0.975")):
    """The definition, word by word, in exact arithmetic: every segment that contains the frame."""
    row = [Fraction(value) for value in row]
    total = sum(row)
    if total == 0:
        return None
    hold_constant = [max(value if total > 0 else -value, Fraction(0)) for value in row]
    wanted = sigma * sum(hold_constant)
    return min(
        last - first + 1
        for first in range(own + 1)
        for last in range(own, len(row))
        if sum(hold_constant[first : last + 1]) >= wanted
    )


def judge(matrix, sigma="0.975", positions=None):
    rows = matrix.tolist()
    positions = range(len(rows)) if positions is None else positions
    expected = [enumerate_atr(row, own, Fraction(sigma)) for row, own in zip(rows, positions, strict=True)]
    found = frame_atr(matrix, float(sigma), positions).tolist()
    assert [None if value != value else value for value in found] == expected


@st.composite
def matrices(draw, values):
    n = draw(st.integers(1, 9))
    return torch.tensor(draw(st.lists(st.lists(values, min_size=n, max_size=n), min_size=n, max_size=n)))


ties_and_zeros = st.sampled_from([0, 0, 0, 1, 1, 2, 39])
shares = st.sampled_from(["0.975", "0.9", "0.5", "0.1", "0.001", "1"])


@EXAMPLES
@given(matrices(ties_and_zeros), shares)
def test_atr_is_the_shortest_segment_found_by_enumeration(matrix, sigma):
    judge(matrix.double(), sigma)


@EXAMPLES
@given(matrices(st.integers(-6, 6)), shares)
def test_rows_of_mixed_sign_count_their_part_with_the_sign_of_the_sum(matrix, sigma):
    judge(matrix.float(), sigma)


@EXAMPLES
@given(matrices(st.floats(0, 1e4, width=32)), shares)
def test_float32_relevance_of_any_magnitude_is_judged_exactly(matrix, sigma):
    judge(matrix.float(), sigma)


@pytest.mark.parametrize("frames", [1, 2, 33, 48])
@pytest.mark.parametrize("sigma", ["0.975", "1"])
def test_atr_matches_enumeration_for_long_clips(frames, sigma):
    generator = torch.Generator().manual_seed(frames)
    judge(torch.randint(0, 3, (frames, frames), generator=generator).double(), sigma)


@pytest.mark.parametrize(("hits", "frames"), [(39, 40), (195, 200)])
def test_a_share_reached_exactly_counts(hits, frames):
    row = torch.full((1, frames), 0.1, dtype=torch.float64)
    assert frame_atr(row, positions=[0]).item() == hits


@pytest.mark.parametrize(("share", "frames"), [(0.9, 10), (0.7, 10), (0.3, 10), (0.1, 10), (0.6, 5)])
def test_sigma_is_the_decimal_that_was_written(share, frames):
    """0.9 is a little more than nine tenths as a binary number; nine frames of ten hold nine tenths."""
    assert frame_atr(torch.ones(1, frames), share, positions=[0]).item() == round(share * frames)


def test_the_whole_row_spans_every_frame_with_relevance_however_little():
    row = torch.tensor([[0.0, 1e-30, 0.0, 1.0, 0.0]])
    assert frame_atr(row, 1.0, positions=[3]).item() == 3
    assert frame_atr(row, 1 - 1e-9, positions=[3]).item() == 1


def test_a_spike_elsewhere_is_reached_from_the_frame_itself():
    spike = torch.zeros(8, 8)
    spike[:, 2] = 5.0
    assert frame_atr(spike).tolist() == [3, 2, 1, 2, 3, 4, 5, 6]


def test_the_sign_and_scale_of_a_row_change_nothing():
    matrix = torch.rand(5, 12, 12, generator=torch.Generator().manual_seed(0))
    scale = torch.tensor([-1.0, 4.0, -0.125, 1024.0]).repeat(3).view(12, 1)
    assert torch.equal(frame_atr(matrix), frame_atr(matrix * scale))


def test_time_reversal_reverses_atr_and_the_windows():
    matrix = torch.rand(7, 12, 12, generator=torch.Generator().manual_seed(1)) ** 4
    assert torch.equal(frame_atr(matrix.flip(-1, -2)), frame_atr(matrix).flip(-1))
    left, right = frame_windows(matrix)
    reversed_left, reversed_right = frame_windows(matrix.flip(-1, -2))
    assert torch.equal(reversed_left, 11 - right.flip(-1))
    assert torch.equal(reversed_right, 11 - left.flip(-1))


def test_a_row_without_relevance_has_no_atr():
    matrix = torch.tensor([[0.0, 0.0, 0.0], [1.0, -1.0, 0.0], [NAN, 1.0, 1.0]])
    assert frame_atr(matrix).isnan().all()
    assert frame_atr(torch.tensor([[torch.inf, 1.0], [0.0, 1.0]])).isnan().tolist() == [True, False]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.int64])
def test_every_floating_type_is_taken_and_summed_without_loss(dtype):
    """In bfloat16 a running sum of ones would stop at 256."""
    result = frame_atr(torch.ones(2, 400, 400, dtype=dtype))
    assert result.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert (result == 390).all()


def test_clips_of_a_batch_are_independent():
    matrix = torch.rand(4, 3, 6, 6, generator=torch.Generator().manual_seed(2))
    alone = torch.stack([torch.stack([frame_atr(clip) for clip in group]) for group in matrix])
    assert torch.equal(frame_atr(matrix), alone)
    assert frame_atr(matrix[:0]).shape == (0, 3, 6)


def test_memory_order_changes_nothing():
    matrix = torch.rand(3, 6, 6, generator=torch.Generator().manual_seed(3))
    assert torch.equal(frame_atr(matrix.mT.contiguous().mT), frame_atr(matrix))


def test_fewer_rows_than_frames_need_their_own_frames_named():
    matrix = torch.tensor([[0.0, 0.0, 1.0, 0.0], [0.0, 1.0, 0.0, 0.0]])
    assert frame_atr(matrix, positions=[0, 3]).tolist() == [3, 3]
    assert frame_atr(matrix, positions=torch.tensor([2, 1])).tolist() == [1, 1]
    with pytest.raises(ValueError, match="2 rows and 4 columns"):
        frame_atr(matrix)
    for wrong in ([0], [0, 4], [-1, 0]):
        with pytest.raises(ValueError, match="positions"):
            frame_atr(matrix, positions=wrong)


@pytest.mark.parametrize("sigma", [0.0, -0.5, 1.001, NAN])
def test_sigma_is_a_share(sigma):
    with pytest.raises(ValueError, match="sigma"):
        frame_atr(torch.ones(2, 2), sigma)


def test_an_explanation_without_a_matrix_takes_no_other_share_than_one():
    model = nn.Sequential(nn.Conv3d(3, 2, 1), nn.AdaptiveAvgPool3d(1), nn.Flatten()).eval()
    explanation = lrp3d.explain(model, torch.rand(1, 3, 4, 3, 3), 0, temporal=False, contrastive=False)
    assert explanation.at_sigma(0.5) is explanation
    with pytest.raises(ValueError, match="sigma"):
        explanation.at_sigma(1.5)


@pytest.mark.parametrize("shape", [(3,), (0, 0), (2, 3, 0)])
def test_a_matrix_has_rows_and_columns(shape):
    with pytest.raises(ValueError, match="matrix"):
        frame_atr(torch.ones(shape))


@EXAMPLES
@given(matrices(st.integers(-4, 6)), shares)
def test_windows_hold_enough_and_are_as_long_as_atr(matrix, sigma):
    left, right = frame_windows(matrix.double(), float(sigma))
    length = frame_atr(matrix.double(), float(sigma))
    for i, row in enumerate(matrix.tolist()):
        if length[i].isnan():
            assert (left[i], right[i]) == (0, len(row) - 1)
            continue
        assert left[i] <= i <= right[i]
        assert right[i] - left[i] + 1 == length[i]
        sign = 1 if sum(row) > 0 else -1
        hold_constant = [max(sign * value, 0) for value in row]
        assert sum(hold_constant[left[i] : right[i] + 1]) >= Fraction(sigma) * sum(hold_constant)


def test_of_equally_short_windows_the_centred_one_is_taken_then_the_earlier_one():
    left, right = frame_windows(torch.ones(5, 5), 0.6)
    assert left.tolist() == [0, 0, 1, 2, 2]
    assert right.tolist() == [2, 2, 3, 4, 4]
    assert frame_windows(torch.ones(3, 3), 0.5)[0].tolist() == [0, 0, 1]


def test_only_positive_logits_weigh():
    atr_values = torch.tensor([[2.0, 4.0, 8.0], [2.0, NAN, 8.0], [1.0, 2.0, 3.0], [NAN, NAN, NAN]])
    logits = torch.tensor([[3.0, 1.0, -5.0], [1.0, 9.0, 1.0], [-1.0, 0.0, -2.0], [1.0, 1.0, 1.0]])
    expected = torch.tensor([2.5, 5.0, NAN, NAN])
    assert torch.equal(avg_atr(atr_values, logits).nan_to_num(-1), expected.nan_to_num(-1))
    assert avg_atr(atr_values, logits.half()).dtype == torch.float32


def test_the_average_needs_one_logit_per_frame():
    with pytest.raises(ValueError, match="differ in shape"):
        avg_atr(torch.ones(2, 3), torch.ones(2, 4))


def test_the_greatest_atr_ignores_rows_without_relevance():
    values = torch.tensor([[2.0, NAN, 5.0], [NAN, NAN, NAN]])
    assert torch.equal(max_atr(values).nan_to_num(-1), torch.tensor([5.0, -1.0]))


def test_average_lies_below_maximum_and_above_one():
    matrix = torch.rand(50, 8, 8, generator=torch.Generator().manual_seed(4)) ** 6
    values = frame_atr(matrix)
    average = avg_atr(values, matrix.sum(-1))
    assert (average <= max_atr(values) + 1e-6).all()
    assert (average >= 1).all()


def test_only_confident_correct_clips_are_selected():
    logits = torch.tensor([[3.0, 0.0], [0.0, 3.0], [0.0, 0.0], [NAN, 0.0], [3.0, 0.0]])
    assert select(logits, torch.tensor([0, 0, 0, 0, -1])).tolist() == [True, False, False, False, False]
    with pytest.raises(ValueError, match="one target per clip"):
        select(logits, torch.tensor([0]))


def test_group_statistics_are_those_of_the_clips_that_count():
    values = torch.tensor([1.0, 2.0, 6.0, NAN, 100.0, 7.0])
    groups = torch.tensor([0, 0, 0, 0, -1, 2])
    keep = torch.tensor([True, True, True, True, False, True])
    result = aggregate(values, groups, 4, keep)
    assert result.count.tolist() == [3, 0, 1, 0]
    assert result.mean[[0, 2]].tolist() == [3.0, 7.0]
    assert result.mean[[1, 3]].isnan().all()
    assert result.std[0].item() == pytest.approx((14 / 3) ** 0.5)
    assert result.std[2].item() == 0.0


def test_one_group_is_the_data_set():
    values = torch.rand(1000, generator=torch.Generator().manual_seed(5)) + 1e6
    result = aggregate(values)
    assert result.mean.item() == pytest.approx(values.double().mean().item())
    assert result.std.item() == pytest.approx(values.double().std(correction=0).item())
    assert result.count.item() == 1000
    assert aggregate(values[:0]).mean.isnan()


def test_statistics_of_frames_keep_their_frames():
    values = torch.tensor([[1.0, NAN], [3.0, 4.0]])
    result = aggregate(values)
    assert result.mean.tolist() == [2.0, 4.0]
    assert result.count.tolist() == [2, 1]


def test_groups_and_masks_are_one_per_clip():
    with pytest.raises(ValueError, match="groups"):
        aggregate(torch.ones(3), torch.zeros(2, dtype=torch.long))
    with pytest.raises(ValueError, match="keep"):
        aggregate(torch.ones(3), keep=torch.ones(2, dtype=torch.bool))
    with pytest.raises(ValueError, match="num_groups"):
        aggregate(torch.ones(3), num_groups=2)


def test_a_clip_weighs_the_same_in_the_heat_map_however_great_its_logits():
    matrix = torch.rand(2, 4, 4, generator=torch.Generator().manual_seed(6))
    louder = matrix * torch.tensor([1.0, 1000.0]).view(2, 1, 1)
    for normalize in ("clip", "row"):
        mean = mean_matrix(matrix, normalize=normalize)
        torch.testing.assert_close(mean_matrix(louder, normalize=normalize), mean)
    assert mean_matrix(matrix).sum().item() == pytest.approx(1)
    torch.testing.assert_close(mean_matrix(matrix, normalize="row").sum(-1), torch.ones(4).double())
    torch.testing.assert_close(mean_matrix(matrix, normalize="none"), matrix.double().mean(0))


def test_rows_of_the_heat_map_weigh_as_in_avg_atr():
    matrix = torch.tensor([[[3.0, 3.0], [1.0, 1.0]], [[4.0, 0.0], [0.0, -4.0]]])
    assert mean_matrix(matrix).sum(-1).tolist() == [(0.75 + 1.0) / 2, 0.25 / 2]


def test_clips_without_relevance_leave_the_heat_map_alone():
    matrix = torch.stack([torch.eye(3), torch.zeros(3, 3)])
    torch.testing.assert_close(mean_matrix(matrix), torch.eye(3).double() / 3)
    by_class = mean_matrix(matrix, torch.tensor([0, 1]), 2, normalize="row")
    torch.testing.assert_close(by_class[0], torch.eye(3).double())
    assert by_class[1].isnan().all()


@pytest.mark.parametrize("value", [torch.inf, -torch.inf, NAN])
def test_a_clip_that_is_not_finite_is_left_out_of_mean_matrices(value):
    matrix = torch.tensor([[[value, 0.0], [0.0, 1.0]], [[1.0, 1.0], [1.0, 1.0]]])
    torch.testing.assert_close(mean_matrix(matrix), mean_matrix(matrix[1:]))
    by_row = torch.tensor([[0.5, 0.5], [0.25, 0.75]], dtype=torch.float64)  # the clip's other row is known
    torch.testing.assert_close(mean_matrix(matrix, normalize="row"), by_row)


def test_heat_maps_refuse_what_they_do_not_know():
    with pytest.raises(ValueError, match="normalize"):
        mean_matrix(torch.ones(1, 2, 2), normalize="frame")
    with pytest.raises(ValueError, match="batch"):
        mean_matrix(torch.ones(2, 2))


class Counting(TorchDispatchMode):
    """Counts tensor operations."""

    count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += 1
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("metric", [frame_atr, lambda m: avg_atr(m.sum(-1), m.sum(-1)), lambda m: max_atr(m.sum(-1))])
def test_no_loop_runs_over_clips_or_frames(metric):
    """As many operations for 200 clips as for one, and for 32 frames a few more than for 8 (a binary search)."""
    counts = []
    for clips, frames in [(1, 32), (200, 32), (1, 8)]:
        with Counting() as counted:
            metric(torch.rand(clips, frames, frames))
        counts.append(counted.count)
    assert counts[0] == counts[1]
    assert counts[0] <= 2 * counts[2]


def test_examples_in_the_documentation_are_true():
    assert doctest.testmod(atr).failed == 0


def test_shares_of_rows_are_those_of_each_clip_alone():
    matrices = torch.randn(4, 3, 3, generator=torch.Generator().manual_seed(0))
    together = row_shares(matrices)
    assert torch.equal(together, torch.stack([row_shares(matrix) for matrix in matrices]))
    assert torch.allclose(together.sum(-1), torch.ones(4, 3, dtype=torch.float64))


@pytest.mark.skipif(not simulated.KNOWN, reason="this torch has no device in Python")
def test_segments_and_means_of_a_matrix_mix_no_devices():
    matrix = torch.rand(2, 6, 6, generator=torch.Generator().manual_seed(0))
    with simulated.device():
        moved = simulated.moved(matrix)
        found = [*frame_windows(moved), *frame_windows(moved, positions=[0, 1, 2, 3, 4, 5])]
        assert {part.device.type for part in found} == {simulated.NAME}
    for one, other in zip(found, [*frame_windows(matrix)] * 2, strict=True):
        assert torch.equal(simulated.at_home(one), other)


def test_the_maximum_is_over_frames_whatever_axes_stand_before_them():
    atr = torch.tensor([[[1.0, 2.0, 3.0], [4.0, torch.nan, 2.0]]])
    assert max_atr(atr).tolist() == [[3.0, 4.0]]


def test_columns_and_groups_are_whole_numbers_never_cut_to_them():
    with pytest.raises(ValueError, match=r"positions names one column .* not \[0.9, 3.2\]"):
        frame_atr(torch.ones(2, 4), positions=[0.9, 3.2])
    assert frame_atr(torch.ones(2, 4), positions=torch.tensor([0, 3], dtype=torch.int32)).tolist() == [4, 4]
    with pytest.raises(ValueError, match=r"groups are whole numbers, got torch\.float32"):
        aggregate(torch.ones(2), torch.tensor([0.0, 1.7]))
    with pytest.raises(ValueError, match=r"groups are whole numbers, got torch\.bool"):
        aggregate(torch.ones(2), torch.tensor([True, False]))


def test_groups_of_clips_that_count_lie_within_their_number():
    for groups, number in ((torch.tensor([0, 5]), 3), (torch.tensor([-1, 0]), 3), (torch.tensor([-1, 0]), None)):
        with pytest.raises(ValueError, match=r"groups of clips that count are from 0 to \d"):
            aggregate(torch.ones(2), groups, number)


def test_the_maximum_needs_frames():
    with pytest.raises(ValueError, match=r"atr \(2, 0\) has no frames"):
        max_atr(torch.ones(2, 0))


def test_rows_that_hold_no_numbers_have_no_shares():
    matrix = torch.tensor([[NAN, 1.0], [torch.inf, 1.0], [0.0, 0.0], [1.0, -1.0], [3.0, 1.0]])
    shares_found = row_shares(matrix)
    assert shares_found[:2].isnan().all()
    assert shares_found[2:].tolist() == [[0.0, 0.0], [0.0, 0.0], [0.75, 0.25]]


MATRIX = torch.rand(2, 3, 3, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("measure", "said"),
    [
        (lambda: frame_atr(MATRIX.tolist()), r"a relevance matrix is a torch.Tensor \(..., n, t\), got list"),
        (lambda: frame_atr(MATRIX.numpy()), r"got ndarray: pass torch.from_numpy"),
        (lambda: frame_atr(MATRIX.cfloat()), "of real numbers, got torch.complex64"),
        (lambda: frame_atr(MATRIX, sigma="a"), r"sigma is a share of the relevance, in \(0, 1\], not 'a'"),
        (lambda: frame_atr(MATRIX, sigma=True), "sigma is a share"),
        (lambda: frame_atr(MATRIX, positions="a"), "positions names one column"),
        (lambda: frame_windows(MATRIX.tolist()), "a relevance matrix is a torch.Tensor"),
        (lambda: row_shares(MATRIX.tolist()), "a relevance matrix is a torch.Tensor"),
        (lambda: mean_matrix(MATRIX.tolist()), "relevance matrices are a torch.Tensor"),
        (lambda: avg_atr([1.0], torch.ones(1)), "atr is a torch.Tensor"),
        (lambda: max_atr([1.0]), "atr is a torch.Tensor"),
        (lambda: aggregate([1.0]), "values are a torch.Tensor"),
        (
            lambda: aggregate(torch.ones(2), keep=torch.tensor([0, 1])),
            "keep is a mask of truth values, got torch.int64",
        ),
        (lambda: mean_matrix(MATRIX, keep=torch.tensor([0, 1])), "keep is a mask of truth values, got torch.int64"),
        (lambda: select(torch.ones(2, 2), [0, 1]), "target is a torch.Tensor"),
        (lambda: select(torch.ones(2, 2), torch.tensor([0, 1]), min_score=2), "min_score is a score .* not 2"),
        (lambda: select(torch.ones(2, 2), torch.tensor([0, 1]), min_score=float("nan")), "min_score is a score"),
        (lambda: select(torch.ones(2, 2), torch.tensor([0, 1]), min_score="a"), "min_score is a score .* not 'a'"),
    ],
)
def test_what_cannot_be_measured_is_said_in_a_sentence(measure, said):
    with pytest.raises((ValueError, TypeError), match=said) as caught:
        measure()
    assert "\n" not in str(caught.value)


def test_atr_in_whole_numbers_is_measured_as_the_same_in_fractions():
    assert max_atr(torch.tensor([[2, 4], [3, 1]])).tolist() == [4.0, 3.0]
    assert avg_atr(torch.tensor([2, 4]), torch.tensor([3, 1])).item() == 2.5
