"""Channels of a module's output are those that its layers made, wherever its shape has them."""

import pytest
import torch
from torch import nn

import lrp3d

CLIP = torch.rand(2, 3, 8, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


class Net(nn.Module):
    """What a module named `here` returns is `put` in another shape first, and `back` after it."""

    def __init__(self, layer, put, back):
        super().__init__()
        self.layer, self.here, self.classifier = layer, nn.Identity(), nn.Linear(8, 4)
        self.put, self.back = put, back

    def forward(self, clip):
        return self.classifier(self.back(self.here(self.put(self.layer(clip).relu()))))


class TokensOfFrames(nn.Module):
    """Frames in the batch, and patches of each as tokens (b t, n, c)."""

    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 4, 4, bias=False)

    def forward(self, clip):
        frames = clip.transpose(1, 2).flatten(0, 1)
        return self.patches(frames).flatten(2).mT


class Maximum(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv3d(3, 8, 3, padding=1, bias=False)

    def forward(self, clip):
        return self.conv(clip).amax((3, 4))


class Parts(nn.Module):
    """Two convolutions side by side, of 3 and of 5 channels."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv3d(3, 3, 1, bias=False), nn.Conv3d(3, 5, 1, bias=False)

    def forward(self, clip):
        return torch.cat([self.first(clip), self.second(clip)], 1)


class States(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(3, 8, batch_first=True)

    def forward(self, clip):
        return self.lstm(clip.mean((3, 4)).mT)[0]


class Mixed(nn.Module):
    """Time as tokens (b, t, c); the last operation is a sum with a product by a constant matrix."""

    def __init__(self):
        super().__init__()
        self.to_tokens, self.mix = nn.Linear(3, 8, bias=False), nn.Parameter(torch.rand(8, 8))

    def forward(self, clip):
        tokens = self.to_tokens(clip.mean((3, 4)).mT)
        return tokens + torch.einsum("st,btc->bsc", self.mix, tokens)


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.values = nn.Linear(3, 8, bias=False)

    def forward(self, clip):
        tokens = clip.mean((3, 4)).mT
        return torch.softmax(tokens @ tokens.mT, -1) @ self.values(tokens)


class Weighted(nn.Module):
    """A weight of its own, in a product that is written out."""

    def __init__(self, product):
        super().__init__()
        self.weight, self.product = nn.Parameter(torch.rand(8, 3)), product

    def forward(self, clip):
        return self.product(self.weight, clip)


def same(x):
    return x


def last(x):
    return x.permute(0, 2, 3, 4, 1)


def conv():
    return nn.Conv3d(3, 8, 3, padding=1, bias=False)


# Every size is 8 where nothing else is said, so that no axis can be told by its size.
CASES = {
    "of a clip": (1, conv, same, lambda x: x.mean((2, 3, 4))),
    "of a clip, last": (4, conv, last, lambda x: x.mean((1, 2, 3))),
    "of frames in the batch, last": (
        3,
        conv,
        lambda x: x.permute(0, 2, 3, 4, 1).flatten(0, 1),
        lambda x: x.mean((1, 2)).unflatten(0, (2, 8)).mean(1),
    ),
    "of a signal": (1, conv, lambda x: x.mean((3, 4)), lambda x: x.mean(2)),
    "of a signal behind a convolution over it": (
        1,
        lambda: nn.Sequential(
            nn.AdaptiveAvgPool3d((None, 1, 1)), nn.Flatten(2), nn.Conv1d(3, 8, 3, padding=1, bias=False)
        ),
        same,
        lambda x: x.mean(2),
    ),
    "of a signal behind a maximum": (1, Maximum, same, lambda x: x.mean(2)),
    "of tokens": (2, conv, lambda x: x.flatten(2).mT, lambda x: x.mean(1)),
    "of tokens of frames in the batch": (
        2,
        TokensOfFrames,
        same,
        lambda x: x.mean(1).unflatten(0, (2, 8)).mean(1),
    ),
    "of branches side by side": (4, Parts, last, lambda x: x.mean((1, 2, 3))),
    "of states": (2, States, same, lambda x: x.mean(1)),
    "of mixed tokens": (2, Mixed, same, lambda x: x.mean(1)),
    "of attended values": (2, Attention, same, lambda x: x.mean(1)),
    "of values in heads, put together again": (
        2,
        Attention,
        lambda x: x.unflatten(2, (2, 4)).transpose(1, 2).transpose(1, 2).flatten(2),
        lambda x: x.mean(1),
    ),
    "of attended values, turned": (1, Attention, lambda x: x.mT, lambda x: x.mean(2)),
    "behind a maximum over axes before them": (1, conv, lambda x: last(x).amax((2, 3)).mT, lambda x: x.mean(2)),
    "of a weight on the left": (
        1,
        lambda: Weighted(lambda weight, clip: weight @ clip.flatten(2)),
        same,
        lambda x: x.mean(2),
    ),
    "of an einsum": (
        4,
        lambda: Weighted(lambda weight, clip: torch.einsum("oc,bcthw->bothw", weight, clip)),
        last,
        lambda x: x.mean((1, 2, 3)),
    ),
    "turned twice": (1, conv, lambda x: last(x).permute(0, 4, 1, 2, 3), lambda x: x.mean((2, 3, 4))),
}


def net(name):
    _, layer, put, back = CASES[name]
    torch.manual_seed(0)
    return Net(layer(), put, back).double().eval()


def explained(model, **options):
    return lrp3d.explain(model, CLIP, 1, contrastive=False, temporal=False, **options)


@pytest.mark.parametrize("name", CASES)
def test_channels_are_on_the_axis_that_layers_made(name):
    found = explained(net(name), layers=["here"])
    assert found.channel_axes == {"here": CASES[name][0]}
    relevance = found.channels("here")
    assert relevance.shape == (2, 8)
    torch.testing.assert_close(relevance.sum(1), found.layers["here"].flatten(1).sum(1).view(2, -1).sum(1))


@pytest.mark.parametrize("name", CASES)
def test_parts_of_all_channels_add_up_to_the_whole(name):
    model = net(name)
    parts = sum(explained(model, where={"here": [channel]}).relevance for channel in range(8))
    torch.testing.assert_close(parts, explained(model).relevance, rtol=1e-9, atol=1e-12)
    with pytest.raises(ValueError, match="has channels from 0 to 7 on axis"):
        explained(model, where={"here": [8]})


@pytest.mark.parametrize("name", [name for name in CASES if name != "of states"])  # their gates have biases
def test_what_flows_through_a_channel_is_its_relevance(name):
    model = net(name)
    relevance = explained(model, layers=["here"]).channels("here")
    for channel in (0, 5):
        part = explained(model, where={"here": [channel]}).relevance.flatten(1).sum(1)
        torch.testing.assert_close(part, relevance[:, channel], rtol=1e-9, atol=1e-12)


def test_prototypes_are_clips_also_where_frames_are_in_the_batch():
    found = lrp3d.prototypes(net("of tokens of frames in the batch"), CLIP, "here", channel=[0, 3])
    assert found.of_clips.shape == (2, 2)
    assert sorted(found.clips[0].tolist()) == [0, 1]


def test_a_saved_explanation_knows_its_channels(tmp_path):
    found = explained(net("of a clip, last"), layers=["here", "layer"])
    found.save(tmp_path / "explanation.safetensors")
    again = lrp3d.Explanation.load(tmp_path / "explanation.safetensors")
    assert again.channel_axes == {"here": 4, "layer": 1}
    assert again.channels("here").equal(found.channels("here"))
