"""Relevance at layers has the clips first, wherever a module's output has them."""

import pytest
import torch
from torch import nn

import lrp3d

# As many clips as frames: no axis can be told by its size.
CLIPS = torch.rand(4, 3, 4, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


class Net(nn.Module):
    """Frames as features, a layer `here` that has them in some order, and a classifier for each frame."""

    def __init__(self, here, put, back):
        super().__init__()
        self.stem, self.here, self.classifier = nn.Conv3d(3, 5, (1, 8, 8), bias=False), here, nn.Linear(6, 4)
        self.put, self.back = put, back

    def forward(self, clip):
        frames = self.stem(clip).relu()[..., 0, 0].mT  # (b, t, c)
        return self.classifier(self.back(self.here(self.put(frames)), len(clip))).mean(1)


class Gru(nn.Module):
    """Returns the states alone."""

    def __init__(self, **options):
        super().__init__()
        self.gru = nn.GRU(5, 6, **options)

    def forward(self, x):
        return self.gru(x)[0]


class Frames(nn.Module):
    """A convolution over space of frames in the batch, in either order."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(5, 6, 1, bias=False)

    def forward(self, x):
        return self.conv(x)


CASES = {
    "time first": (Gru, lambda x: x.transpose(0, 1), lambda y, b: y.transpose(0, 1)),
    "clips first": (lambda: Gru(batch_first=True), lambda x: x, lambda y, b: y),
    "a linear layer, time first": (
        lambda: nn.Linear(5, 6, bias=False),
        lambda x: x.transpose(0, 1),
        lambda y, b: y.transpose(0, 1),
    ),
    "frames of a clip together": (
        Frames,
        lambda x: x.flatten(0, 1)[..., None, None],
        lambda y, b: y[..., 0, 0].unflatten(0, (b, -1)),
    ),
    "clips of a frame together": (
        Frames,
        lambda x: x.transpose(0, 1).flatten(0, 1)[..., None, None],
        lambda y, b: y[..., 0, 0].unflatten(0, (-1, b)).transpose(0, 1),
    ),
    "clips of a frame together, as features": (
        lambda: nn.Linear(5, 6, bias=False),
        lambda x: x.transpose(0, 1).flatten(0, 1),
        lambda y, b: y.unflatten(0, (-1, b)).transpose(0, 1),
    ),
}


def net(case):
    torch.manual_seed(0)
    here, put, back = CASES[case]
    return Net(here(), put, back).double().eval()


def together_and_alone(case, **options):
    """The explanation of the batch, and for each clip its number in it and its own explanation."""
    model = net(case)
    together = lrp3d.explain(model, CLIPS, 1, layers=["here"], **options)
    for i, clip in enumerate(CLIPS):
        yield together, i, lrp3d.explain(model, clip[None], 1, layers=["here"], **options)


@pytest.mark.parametrize("case", CASES)
def test_a_batch_has_at_a_layer_what_its_clips_have_one_by_one(case):
    for together, i, alone in together_and_alone(case, temporal=False):
        torch.testing.assert_close(together.channels("here")[i], alone.channels("here")[0], rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(of_clip(together.layers["here"], i, 4), of_clip(alone.layers["here"], 0, 1))


@pytest.mark.parametrize("case", CASES)
def test_rows_of_a_batch_have_there_what_those_of_its_clips_have(case):
    for together, i, alone in together_and_alone(case, layer_rows=True):
        torch.testing.assert_close(of_clip(together.layer_rows["here"], i, 4), of_clip(alone.layer_rows["here"], 0, 1))
        torch.testing.assert_close(together.matrix[i], alone.matrix[0], rtol=1e-9, atol=1e-12)


def of_clip(x, number, clips):
    """What belongs to one clip; frames in the batch (b t, ...) lie clip by clip."""
    return x.unflatten(0, (clips, -1))[number]


@pytest.mark.parametrize("case", ["time first", "clips first", "a linear layer, time first"])
def test_time_first_is_given_as_clips_first(case):
    found = lrp3d.explain(net(case), CLIPS[:2], 1, layers=["here"], layer_rows=True, contrastive=False)
    assert found.layers["here"].shape == (2, 4, 6)
    assert found.layer_rows["here"].shape == (2, 4, 4, 6)
    assert found.channel_axes == {"here": 2}
    # Each row has its own frame's states alone, as the classifier sees one frame at a time.
    of_frames = found.layer_rows["here"].sum(-1)
    assert of_frames.diagonal(dim1=1, dim2=2).abs().min() > 0
    torch.testing.assert_close(of_frames, of_frames.diagonal(dim1=1, dim2=2).diag_embed(), rtol=0, atol=1e-12)


def test_prototypes_of_a_layer_with_time_first_are_those_of_single_clips():
    model = net("time first")
    together = lrp3d.prototypes(model, CLIPS, "here", batch_size=4, top=4, targets=1)
    alone = lrp3d.prototypes(model, CLIPS, "here", batch_size=1, top=4, targets=1)
    torch.testing.assert_close(together.of_clips, alone.of_clips, rtol=1e-9, atol=1e-12)


def test_rows_at_a_layer_of_several_pathways_are_those_of_the_matrix():
    class Pathways(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.slow, self.fast = nn.Conv3d(3, 8, (1, 3, 3)), nn.Conv3d(3, 4, 3, padding=(1, 0, 0))
            self.fc = nn.Linear(12, 5)

        def forward(self, x):
            pathways = self.slow(x[:, :, ::3]), self.fast(x)
            return self.fc(torch.cat([features.relu().mean((2, 3, 4)) for features in pathways], 1))

    clip = torch.rand(2, 3, 6, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    options = {"layers": ["fast"], "layer_rows": True, "contrastive": False, "input_range": (0, 1)}
    found = lrp3d.explain(Pathways().double().eval(), clip, 0, **options)
    assert found.layer_rows["fast"].shape[:2] == found.matrix.shape[:2] == (2, 2)
    through_fast = lrp3d.explain(Pathways().double().eval(), clip, 0, where={"fast": range(4)}, **options).matrix.sum(
        -1
    )
    torch.testing.assert_close(found.layer_rows["fast"].flatten(2).sum(2), through_fast)
