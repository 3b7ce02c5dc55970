"""A forward that picks frames of its clip has rows where these frames are; parts of a clip are no pathways."""

import pytest
import torch
from torch import nn

import lrp3d

CLIP = torch.rand(2, 3, 6, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


class FrameByFrame(nn.Module):
    """Sees every frame alone; `function` says which frames, and how their features become logits."""

    def __init__(self, function):
        super().__init__()
        torch.manual_seed(0)
        self.function = function
        self.conv, self.fc = nn.Conv2d(3, 6, 3), nn.Linear(6, 4)
        self.double().eval()

    def features(self, x):
        """(b, t, c)."""
        frames = self.conv(x.transpose(1, 2).flatten(0, 1)).relu().mean((2, 3))
        return frames.unflatten(0, (len(x), -1))

    def logits(self, x):
        return self.fc(self.features(x).mean(1))

    def forward(self, x):
        return self.function(self, x)


def explain(function):
    return lrp3d.explain(FrameByFrame(function), CLIP, 0, contrastive=False)


PICKED = {
    "the first": (lambda net, x: net.logits(x[:, :, :4]), [0, 1, 2, 3]),
    "the last": (lambda net, x: net.logits(x[:, :, 2:]), [2, 3, 4, 5]),
    "those in the middle": (lambda net, x: net.logits(x[:, :, 1:-1]), [1, 2, 3, 4]),
    "some, of the normalised clip": (lambda net, x: net.logits(((x - 0.5) * 2)[:, :, [0, 1, 3, 5]]), [0, 1, 3, 5]),
    "the first, with frame logits": (lambda net, x: net.fc(net.features(x[:, :, :4])), [0, 1, 2, 3]),
    "some that are near each other": (lambda net, x: net.logits(x[:, :, 1:5]), [1, 2, 3, 4]),
    "the first of features": (lambda net, x: net.fc(net.features(x)[:, :4].mean(1)), [0, 1, 2, 3]),
}


@pytest.mark.parametrize("name", PICKED)
def test_rows_stand_at_the_frames_that_were_picked(name):
    function, positions = PICKED[name]
    found = explain(function)
    assert found.positions == positions
    assert found.matrix.shape == (2, 4, 6)
    assert found.unit == "frames"
    assert torch.equal(found.matrix != 0, torch.eye(6, dtype=torch.bool)[positions].expand(2, 4, 6))
    assert torch.equal(found.atr, torch.ones(2, 4, dtype=torch.float64))
    assert lrp3d.intervention_matrix(FrameByFrame(function), CLIP, 0).shape == (2, 4, 6)


@pytest.mark.parametrize("frames", [[2, 3], [1, 2, 3, 4, 5], [0, 1, 2, 3, 4], [1, 2, 4, 5]])
def test_frames_with_none_left_out_between_them_are_no_steps(frames):
    found = explain(lambda net, x: net.logits(x[:, :, frames]))
    assert (found.positions, found.unit, found.matrix.shape) == (frames, "frames", (2, len(frames), 6))
    assert torch.equal(found.segments[0], torch.tensor(frames).expand(2, -1))


def test_frames_that_are_spread_over_the_clip_are_steps():
    found = explain(lambda net, x: net.logits(x[:, :, ::2]))
    assert (found.positions, found.unit, found.matrix.shape) == (None, "steps of 2 frames", (2, 3, 3))


PARTS = {
    "segments": lambda net, x: torch.stack([net.logits(part) for part in x.chunk(3, 2)], 1).mean(1),
    "halves": lambda net, x: net.logits(x[:, :, :3]) + net.logits(x[:, :, 3:]),
    "windows that overlap": lambda net, x: net.logits(x[:, :, :4]) + net.logits(x[:, :, 2:]),
}
NO_CLOCK = "some layers see frames 0.* and others frames .*no common clock|different parts of the clip.*no common clock"


@pytest.mark.parametrize("name", PARTS)
def test_parts_of_a_clip_are_no_pathways_of_one_clock(name):
    with pytest.raises(ValueError, match=NO_CLOCK):
        explain(PARTS[name])
    assert lrp3d.explain(FrameByFrame(PARTS[name]), CLIP, 0, temporal=False).conservation.max() < 1e-12


def test_parts_whose_features_are_joined_have_the_rows_of_their_frames():
    found = explain(lambda net, x: net.fc(torch.cat([net.features(part) for part in x.chunk(3, 2)], 1).mean(1)))
    assert torch.equal(found.matrix != 0, torch.eye(6, dtype=torch.bool).expand(2, -1, -1))


def test_parts_that_meet_in_a_layer_of_all_frames_have_rows_for_all():
    class Meet(nn.Module):
        def __init__(self):
            super().__init__()
            self.parts, self.all = nn.Conv3d(3, 4, (1, 3, 3)), nn.Conv3d(4, 5, 3, padding=1)
            self.fc = nn.Linear(5, 4)

        def forward(self, x):
            features = torch.cat([self.parts(part) for part in x.chunk(3, 2)], 2).relu()
            return self.fc(self.all(features).relu().mean((2, 3, 4)))

    found = lrp3d.explain(Meet().double().eval(), CLIP)
    assert (found.positions, found.matrix.shape) == (None, (2, 6, 6))


def mean_of_the_past(x):
    weights = torch.ones(6, 6).tril().to(x)
    return weights / weights.sum(1, keepdim=True)


RUNNING_MEANS = {
    "products that are summed": lambda v: (mean_of_the_past(v)[:, :, None] * v[:, None]).sum(2),
    "a matrix": lambda v: mean_of_the_past(v) @ v,
    "einsum": lambda v: torch.einsum("ij,bjc->bic", mean_of_the_past(v), v),
    "cumsum": lambda v: v.cumsum(1) / torch.arange(1, 7)[:, None].to(v),
    "frame by frame": lambda v: torch.stack([v[:, : i + 1].mean(1) for i in range(6)], 1),
}


@pytest.mark.parametrize("name", RUNNING_MEANS)
def test_frame_logits_that_a_model_returns_are_the_rows_whatever_they_are_made_of(name):
    def function(net, x):
        return net.fc(RUNNING_MEANS[name](net.features(x)))

    found = explain(function)
    torch.testing.assert_close(found.frame_logits, FrameByFrame(function)(CLIP)[..., 0].detach())
    assert found.matrix.shape == (2, 6, 6)
    assert not found.matrix.triu(1).any()
    assert torch.equal(found.matrix.tril() != 0, torch.ones(2, 6, 6, dtype=torch.bool).tril())


def chosen(net, x, count=4):
    """The frames with the greatest mean of a colour, in their order."""
    return x[:, 0].mean((2, 3)).topk(count, 1)[1].sort(1)[0]


CHOSEN = {
    "of the clip": lambda net, x: net.logits(
        x.gather(2, chosen(net, x)[:, None, :, None, None].expand(-1, 3, -1, *x.shape[3:]))
    ),
    "of features": lambda net, x: net.fc(
        net.features(x).gather(1, chosen(net, x)[..., None].expand(-1, -1, 6)).mean(1)
    ),
}


@pytest.mark.parametrize("name", CHOSEN)
def test_frames_that_each_clip_chooses_for_itself_are_those_of_single_clips(name):
    net = FrameByFrame(CHOSEN[name])
    frames = chosen(net, CLIP).tolist()
    assert frames[0] != frames[1]
    for clip, own in zip(CLIP.split(1), frames, strict=True):
        found = lrp3d.explain(net, clip, 0, contrastive=False)
        assert found.positions == own
        assert torch.equal(found.atr, torch.ones(1, 4, dtype=torch.float64))
    with pytest.raises(lrp3d.NoFrameLogits, match=r"clips? one by one"):
        lrp3d.explain(net, CLIP, 0, contrastive=False)
    same = torch.cat([CLIP[:1], CLIP[:1]])
    assert lrp3d.explain(net, same, 0, contrastive=False).positions == frames[0]


def test_frames_that_a_loop_picks_for_each_clip_are_no_common_rows_either():
    def picked(net, x):
        features = net.features(x)
        frames = chosen(net, x)
        return net.fc(
            torch.stack([one.index_select(0, own) for one, own in zip(features, frames, strict=True)]).mean(1)
        )

    net = FrameByFrame(picked)
    for clip, own in zip(CLIP.split(1), chosen(net, CLIP).tolist(), strict=True):
        assert lrp3d.explain(net, clip, 0, contrastive=False).positions == own
    with pytest.raises(lrp3d.NoFrameLogits, match=r"clips? one by one"):
        lrp3d.explain(net, CLIP, 0, contrastive=False)
