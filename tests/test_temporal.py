"""The temporal relevance matrix is what the paper's two passes per frame give, however it is computed."""

import pytest
import temporal_reference as reference
import torch
import torch.nn.functional as F
from temporal_reference import CLASSIFIED, POOLED, PairsOfFrames, SomeFeatures, SomeFrames, TwoPathways, clips, make
from torch import nn

import lrp3d
from lrp3d.metrics.atr import avg_atr, frame_atr, max_atr
from lrp3d.propagation import chunks
from lrp3d.propagation.temporal_matrix import block_sum

EVERY = pytest.mark.parametrize("net", CLASSIFIED + POOLED)
KIND = pytest.mark.parametrize("contrastive", [True, False], ids=["CLRP", "LRP"])
TARGET = [0, 3]


def same(found, expected):
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


@KIND
@EVERY
def test_the_matrix_is_that_of_two_passes_per_frame(net, contrastive):
    model, clip = make(net), clips(t=6)
    found = lrp3d.explain(model, clip, TARGET, contrastive=contrastive).matrix
    same(found, reference.matrix(model, clip, TARGET, 6, contrastive))


@KIND
@pytest.mark.parametrize("net", [reference.LinearPerFrame, reference.AdaptivePool])
def test_with_temporal_stride_columns_are_summed_in_blocks(net, contrastive):
    model, clip = make(net, stride=2), clips(t=8)
    expected = reference.matrix(model, clip, TARGET, 4, contrastive)  # (b, 4, 8)
    same(
        lrp3d.explain(model, clip, TARGET, contrastive=contrastive).matrix,
        expected.unflatten(2, (4, 2)).sum(3),
    )


@KIND
@pytest.mark.parametrize("net", [SomeFrames, SomeFeatures])
def test_a_model_that_answers_from_some_frames_has_their_rows_only(net, contrastive):
    model, clip = make(net), clips(t=8)
    found = lrp3d.explain(model, clip, TARGET, contrastive=contrastive)
    same(found.matrix, reference.matrix(model, clip, TARGET, 2, contrastive))
    same(found.atr, frame_atr(found.matrix, positions=[2, 6]))


@KIND
@pytest.mark.parametrize("net", [SomeFrames, SomeFeatures])
def test_a_strided_model_that_answers_from_some_steps_has_a_column_for_each_step(net, contrastive):
    model, clip = make(net, stride=2), clips(t=16)
    found = lrp3d.explain(model, clip, TARGET, contrastive=contrastive)
    assert found.positions == [2, 6]
    expected = reference.matrix(model, clip, TARGET, 2, contrastive)  # (b, 2, 16)
    same(found.matrix, expected.unflatten(2, (8, 2)).sum(3))


@KIND
def test_a_row_of_two_frames_is_a_step_and_none_of_its_frames(contrastive):
    model, clip = make(PairsOfFrames), clips(t=8)
    found = lrp3d.explain(model, clip, TARGET, contrastive=contrastive)
    assert found.positions is None
    same(found.matrix, reference.matrix(model, clip, TARGET, 4, contrastive).unflatten(2, (4, 2)).sum(3))


@KIND
@pytest.mark.parametrize("merge", ["paper", "average"])
def test_pathways_share_the_fast_clock_and_are_summed_in_slow_blocks(merge, contrastive):
    model, pathways = make(TwoPathways), [clips(t=2, seed=3), clips(t=8)]
    model.merge = merge
    fine = reference.matrix(model, pathways, TARGET, 8, contrastive)
    # App. A: "we sum up the relevance of every r x r block"
    expected = fine.unflatten(1, (2, 4)).sum(2).unflatten(2, (2, 4)).sum(3)
    if merge == "average":  # the mean of all rows stays the clip's logit
        expected = expected / 4
    found = lrp3d.explain(model, pathways, TARGET, contrastive=contrastive, merge=merge)
    same(found.matrix, expected)
    same(found.frame_logits, expected.sum(2))


class FromOneClip(reference.nn.Module):
    """Takes the fast clip alone and picks the slow frames itself."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, clip):
        return self.model([clip[:, :, [0, 7]], clip])


@KIND
@pytest.mark.parametrize("input_range", [None, (-5.0, 5.0)])
def test_a_pixel_that_two_pathways_see_counts_once_however_the_clip_is_given(input_range, contrastive):
    """Eq. 2 takes the positive part of the relevance of an input, and both uses are of one input."""
    model, fast = make(TwoPathways), clips(t=8)
    options = {"contrastive": contrastive, "input_range": input_range}
    whole = lrp3d.explain(FromOneClip(model), fast, TARGET, **options)
    parts = lrp3d.explain(model, [fast[:, :, [0, 7]], fast], TARGET, **options)
    for name in ("matrix", "atr", "avg_atr", "max_atr", "frame_relevance"):
        same(getattr(parts, name), getattr(whole, name))
    slow, rest = parts.relevance
    rest = rest.clone()
    rest[:, :, [0, 7]] += slow
    same(rest, whole.relevance)
    if contrastive:
        assert all((pathway >= 0).all() for pathway in parts.relevance)


def test_the_matrix_of_shared_pixels_is_that_of_two_passes_per_frame():
    model, fast = make(TwoPathways), clips(t=8)
    pathways = [fast[:, :, [0, 7]], fast]
    fine, apart = (reference.matrix(model, pathways, TARGET, 8, True, shared) for shared in (True, False))
    expected = fine.unflatten(1, (2, 4)).sum(2).unflatten(2, (2, 4)).sum(3)
    assert (fine - apart).abs().max() > 1e-3 * fine.abs().max()
    same(lrp3d.explain(model, pathways, TARGET).matrix, expected)


def test_pathways_that_show_other_pixels_share_nothing():
    model, fast = make(TwoPathways), clips(t=8)
    slow = fast[:, :, [0, 7]].clone()
    slow[0, 0, 0, 0, 0] += 1e-9
    found = lrp3d.explain(model, [slow, fast], TARGET)
    fine = reference.matrix(model, [slow, fast], TARGET, 8, True)
    same(found.matrix, fine.unflatten(1, (2, 4)).sum(2).unflatten(2, (2, 4)).sum(3))


def test_another_merge_is_refused():
    with pytest.raises(ValueError, match=r"merge must be one of 'paper', 'average', got 'mean'"):
        lrp3d.explain(make(TwoPathways), [clips(t=2), clips(t=8)], merge="mean")


@KIND
@EVERY
def test_every_row_sums_to_its_frame_logit(net, contrastive):
    found = lrp3d.explain(make(net), clips(), TARGET, contrastive=contrastive)
    same(found.matrix.sum(2), found.frame_logits)


@EVERY
def test_contrastive_rows_have_the_sign_of_their_logit(net):
    found = lrp3d.explain(make(net), clips(), TARGET)
    assert (found.matrix * found.frame_logits.sign().unsqueeze(2) >= 0).all()
    assert (found.frame_logits < 0).any()


@KIND
@EVERY
def test_the_clips_relevance_does_not_depend_on_whether_frames_are_explained(net, contrastive):
    model, clip = make(net), clips()
    frames, alone = (lrp3d.explain(model, clip, TARGET, contrastive=contrastive, temporal=t) for t in (True, False))
    same(frames.relevance, alone.relevance)
    same(frames.frame_relevance, alone.frame_relevance)
    same(torch.tensor(frames.ledger.absorbed), torch.tensor(alone.ledger.absorbed))


class Shifted(reference.nn.Module):
    """A network whose logits are changed behind the average over time."""

    def __init__(self, change):
        super().__init__()
        self.net, self.change = make(reference.LinearPerFrame), change

    def forward(self, clip):
        return self.change(self.net(clip))


@KIND
@pytest.mark.parametrize(
    "change", [lambda z: z + 0.3, lambda z: 0.3 - z, lambda z: (z + 0.3) * 2, lambda z: z / 3 - 1, lambda z: -2 * z]
)
def test_a_number_added_to_the_mean_is_in_no_map_whether_or_not_frames_are_explained(change, contrastive):
    model, clip = Shifted(change).double().eval(), clips(t=6)
    with_rows = lrp3d.explain(model, clip, TARGET, contrastive=contrastive)
    same(with_rows.relevance, lrp3d.explain(model, clip, TARGET, contrastive=contrastive, temporal=False).relevance)
    same(with_rows.frame_logits.mean(1), with_rows.logits[[0, 1], TARGET])


@pytest.mark.parametrize("net", CLASSIFIED)
def test_plain_rows_of_models_that_average_frame_logits_add_up_to_the_clips_relevance(net):
    """LRP is linear in the seed, and the clip's logit is the mean of the frames'."""
    found = lrp3d.explain(make(net), clips(), TARGET, contrastive=False)
    same(found.matrix.mean(1), found.frame_relevance)


@KIND
@pytest.mark.parametrize("net", [reference.Folded, reference.AdaptivePool, SomeFeatures])
def test_nothing_depends_on_how_many_frames_are_explained_at_once(net, contrastive):
    model, clip = make(net), clips()
    expected = lrp3d.explain(model, clip, TARGET, contrastive=contrastive)
    for options in ({"chunk_size": 1}, {"chunk_size": 3}, {"chunk_size": 100}, {"memory_budget": 1}):
        found = lrp3d.explain(model, clip, TARGET, contrastive=contrastive, **options)
        same(found.matrix, expected.matrix)
        same(found.relevance, expected.relevance)
        same(torch.tensor(found.ledger.absorbed), torch.tensor(expected.ledger.absorbed))


@EVERY
def test_a_clip_is_explained_alike_alone_and_in_a_batch(net):
    model, clip = make(net), clips(3)
    together = lrp3d.explain(model, clip, [0, 3, 1])
    for b, k in enumerate([0, 3, 1]):
        alone = lrp3d.explain(model, clip[b : b + 1], k)
        same(alone.matrix[0], together.matrix[b])
        same(alone.atr[0], together.atr[b])


def test_pathways_are_explained_alike_alone_and_in_a_batch():
    model, pathways = make(TwoPathways), [clips(t=2, seed=3), clips(t=8)]
    together = lrp3d.explain(model, pathways, TARGET)
    for b, k in enumerate(TARGET):
        same(lrp3d.explain(model, [x[b : b + 1] for x in pathways], k).matrix[0], together.matrix[b])


@EVERY
def test_atr_is_read_off_the_matrix(net):
    found = lrp3d.explain(make(net), clips(), TARGET)
    same(found.atr, frame_atr(found.matrix))
    # not a number where no frame speaks for the class
    torch.testing.assert_close(found.avg_atr, avg_atr(found.atr, found.frame_logits), equal_nan=True)
    same(found.max_atr, max_atr(found.atr))


def test_the_target_is_the_prediction_unless_one_is_given():
    model, clip = make(reference.AdaptivePool), clips()
    predicted = model(clip).argmax(1)
    same(lrp3d.explain(model, clip).matrix, lrp3d.explain(model, clip, predicted.tolist()).matrix)


def test_single_precision_is_enough():
    model, clip = make(reference.LinearPerFrame), clips()
    expected = lrp3d.explain(model, clip, TARGET).matrix
    found = lrp3d.explain(model.float(), clip.float(), TARGET).matrix
    torch.testing.assert_close(found.double(), expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))


def test_blocks_are_as_equal_as_they_get():
    assert block_sum(torch.ones(9), 0, 4).tolist() == [3, 2, 2, 2]
    assert block_sum(torch.eye(4), 1, 2).tolist() == [[1, 0], [1, 0], [0, 1], [0, 1]]


def test_a_budget_counts_relevance_in_its_own_type_which_is_at_least_float32():
    model, clip = make(reference.AdaptivePool).float(), clips().float()
    record = lrp3d.convert(model).record((clip,))
    budget = 3 * chunks.seeds_at_once(record, 1, None, None) * chunks.IN_FLIGHT_ON_CPU * 4
    budget *= max(step.shape.numel() for step in record.tracer.steps)
    half = lrp3d.convert(model.bfloat16()).record((clip.bfloat16(),))
    assert chunks.seeds_at_once(record, 8, None, budget) == chunks.seeds_at_once(half, 8, None, budget) == 3


class Averages(nn.Module):
    """Features that are averaged over space and time at once, or over one after the other."""

    def __init__(self, average):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.fc = nn.Conv3d(3, 8, 3, padding=1, bias=False), nn.Linear(8, 5, bias=False)
        self.average = average
        self.double().eval()

    def forward(self, x):
        return self.fc(self.average(F.leaky_relu(self.conv(x), 0.2)))


@pytest.mark.parametrize("composite", ["paper", "epsilon", "attnlrp", "alpha_beta"])
@pytest.mark.parametrize(
    "average",
    [
        lambda x: x.mean((2, 3, 4)),
        lambda x: F.adaptive_avg_pool3d(x, 1).flatten(1),
        lambda x: x.flatten(2).transpose(1, 2).mean(1),
    ],
)
def test_rows_have_the_rule_of_the_average_however_it_is_written(composite, average):
    clip = torch.randn(1, 3, 4, 6, 6, dtype=torch.double, generator=torch.Generator().manual_seed(0))
    nets = [Averages(average), Averages(lambda x: x.mean((3, 4)).mean(2))]
    at_once, in_turn = (lrp3d.explain(net, clip, 0, composite=composite, contrastive=False).matrix for net in nets)
    torch.testing.assert_close(at_once, in_turn, rtol=1e-4, atol=1e-6)
