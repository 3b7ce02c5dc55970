"""Averages over frames that a forward adds up one by one are averages over frames, however the loop is written."""

import functools

import pytest
import torch
from temporal_reference import VideoNet, check_rows, clips, make
from torch import nn

import lrp3d


def in_a_loop(frames):
    total = 0
    for frame in frames:
        total = total + frame
    return total


def in_place(frames):
    total = frames[0].clone()
    for frame in frames[1:]:
        total += frame
    return total


def on_zeros(frames):
    total = torch.zeros_like(frames[0])
    for frame in frames:
        total = total + frame
    return total


LOOPS = {
    "sum": sum,
    "loop": in_a_loop,
    "in place": in_place,
    "on zeros": on_zeros,
    "reduce": lambda frames: functools.reduce(torch.add, frames),
    "backwards": lambda frames: sum(reversed(frames)),
    "pairs": lambda frames: sum(a + b for a, b in zip(frames[::2], frames[1::2], strict=True)),
}
FRAMES = {
    "selected": lambda x: [x[:, i] for i in range(x.shape[1])],
    "unbound": lambda x: list(x.unbind(1)),
    "split": lambda x: [part.squeeze(1) for part in x.split(1, 1)],
}


class AddedUp(VideoNet):
    """Adds up what stands for single frames, in the way of `total`."""

    total = staticmethod(sum)

    def features(self, x):
        return x.mean((3, 4)).mT  # (b, t, c)

    def head(self, x):
        frames = self.features(x).unbind(1)
        return self.fc(self.total(list(frames)) / len(frames))


class OfLogits(AddedUp):
    """Classifies one frame after another."""

    def head(self, x):
        frames = self.features(x).unbind(1)
        return self.total([self.fc(frame) for frame in frames]) / len(frames)


class OfMaps(AddedUp):
    """Pools what was added up."""

    def head(self, x):
        frames = list(x.unbind(2))
        return self.fc((self.total(frames) / len(frames)).mean((2, 3)))


@pytest.mark.parametrize("contrastive", [False, True])
@pytest.mark.parametrize("net", [AddedUp, OfLogits, OfMaps])
def test_frames_that_are_added_up_have_the_rows_of_their_average(net, contrastive):
    check_rows(net, contrastive)


@pytest.mark.parametrize("net", [AddedUp, OfLogits])
@pytest.mark.parametrize("loop", LOOPS)
def test_it_does_not_matter_how_the_loop_is_written(loop, net, monkeypatch):
    monkeypatch.setattr(AddedUp, "total", staticmethod(LOOPS[loop]))
    check_rows(net, contrastive=False)


@pytest.mark.parametrize("taken", FRAMES)
def test_it_does_not_matter_how_frames_are_taken(taken):
    class Taken(AddedUp):
        def head(self, x):
            frames = FRAMES[taken](self.features(x))
            return self.fc(sum(frames) / len(frames))

    check_rows(Taken, contrastive=False)


def signed(function):
    """A network of one operation on features of both signs."""

    class Features(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.conv, self.fc = nn.Conv3d(3, 6, 1), nn.Linear(6, 4)
            self.double().eval()

        def forward(self, clip):
            return self.fc(function(self.conv(clip).mean((3, 4)).mT))

    return Features()


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("composite", ["paper", "epsilon", "attnlrp"])
def test_values_of_both_signs_share_as_in_one_sum(loop, composite):
    options = {"contrastive": False, "temporal": False, "composite": composite}
    added_up, at_once = (
        lrp3d.explain(signed(function), clips(2, 6, 3), 1, **options).relevance
        for function in (lambda x: LOOPS[loop](list(x.unbind(1))), lambda x: x.sum(1))
    )
    torch.testing.assert_close(added_up, at_once, rtol=1e-9, atol=1e-12)


def test_sums_of_what_is_not_alike_are_made_one_by_one():
    first, *others = (lambda x: x[:, 0], lambda x: x[:, 1].relu(), lambda x: x[:, 2].tanh())
    options = {"contrastive": False, "temporal": False}
    found = lrp3d.explain(signed(lambda x: first(x) + others[0](x) + others[1](x)), clips(2, 6, 3), 1, **options)
    assert {"add", "add_1"} <= {entry.layer for entry in found.ledger}
    model = signed(lambda x: torch.stack([first(x), others[0](x), others[1](x)], 1).sum(1))
    together = lrp3d.explain(model, clips(2, 6, 3), 1, **options).relevance
    assert not torch.allclose(found.relevance, together)


def test_outputs_of_different_layers_are_not_alike():
    class Branches(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.branches, self.fc = nn.ModuleList(nn.Conv3d(3, 6, 1) for _ in range(3)), nn.Linear(6, 4)
            self.double().eval()

        def forward(self, clip):
            return self.fc(sum(branch(clip) for branch in self.branches).mean((2, 3, 4)))

    found = lrp3d.explain(Branches(), clips(2, 6, 3), 1, contrastive=False, temporal=False)
    assert {"add_1", "add_2"} <= {entry.layer for entry in found.ledger}
    rules = [row.rule for row in lrp3d.inspect(Branches(), clips(2, 6, 3)) if row.operation == "add"]
    assert len(rules) == 3  # zero and the first, the second, the third


def test_a_state_that_every_frame_changes_is_no_sum_of_frames():
    class Smoothed(AddedUp):
        def head(self, x):
            state = 0
            for frame in self.features(x).unbind(1):
                state = (state + frame).relu()
            return self.fc(state)

    with pytest.raises(lrp3d.NoFrameLogits):
        lrp3d.explain(make(Smoothed), clips(2, 6, 3), 1)


def test_running_sums_are_each_the_sum_of_what_came_before():
    def running(x):
        total, sums = 0, []
        for frame in x.unbind(1):
            total = total + frame
            sums.append(total.relu())
        return torch.stack(sums, 1).mean(1)

    options = {"contrastive": False, "temporal": False}
    one_by_one, cumulated = (
        lrp3d.explain(signed(function), clips(2, 6, 3), 1, **options).relevance
        for function in (running, lambda x: x.cumsum(1).relu().mean(1))
    )
    torch.testing.assert_close(one_by_one, cumulated, rtol=1e-9, atol=1e-12)
