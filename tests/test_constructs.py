"""Constructs of public action networks, each in a small network of its own, in float64."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import lrp3d


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def ready(model: nn.Module) -> nn.Module:
    """With random weights that are always the same, in float64 and evaluation mode."""
    generator = torch.Generator().manual_seed(3)
    model = model.double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64) / 2)
    return model


class TemporalPool(nn.Module):
    """TSM with a max pool over time before its second stage."""

    def __init__(self, frames: int):
        super().__init__()
        self.frames = frames
        self.first, self.second, self.fc = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1), nn.Linear(4, 5)

    def shift(self, x: Tensor, frames: int) -> Tensor:
        x = x.view(-1, frames, *x.shape[1:])
        out = torch.zeros_like(x)
        out[:, :-1, :1], out[:, 1:, 1:2], out[:, :, 2:] = x[:, 1:, :1], x[:, :-1, 1:2], x[:, :, 2:]
        return out.flatten(0, 1)

    def forward(self, clip: Tensor) -> Tensor:
        if clip.dim() == 5:
            clip = (clip if clip.shape[1] == self.frames else clip.transpose(1, 2)).flatten(0, 1)
        x = self.first(clip.reshape(-1, 3, *clip.shape[-2:])).relu()
        x = x.view(-1, self.frames, *x.shape[1:]).transpose(1, 2)
        x = F.max_pool3d(x, (3, 1, 1), (2, 1, 1), (1, 0, 0)).transpose(1, 2).flatten(0, 1)
        x = self.second(self.shift(x, self.frames // 2)).relu().mean((2, 3))
        return self.fc(x).view(-1, self.frames // 2, 5).mean(1)


@pytest.mark.parametrize("clips", [1, 2])
@pytest.mark.parametrize("layout", ["bcthw", "btchw", "b (t c) h w", "(b t) c h w"])
def test_a_pool_over_time_leaves_a_row_for_every_second_frame(layout, clips):
    clip = random(clips, 4, 3, 5, 5)
    laid_out = {"bcthw": clip.transpose(1, 2), "btchw": clip, "b (t c) h w": clip.flatten(1, 2)}.get(
        layout, clip.flatten(0, 1)
    )
    model = ready(TemporalPool(4))
    explanation = lrp3d.explain(model, laid_out, 1, layout=layout, contrastive=False)
    assert explanation.matrix.shape == (clips, 2, 2)
    assert explanation.unit == "steps of 2 frames"
    torch.testing.assert_close(explanation.frame_logits.mean(1), explanation.logits[:, 1])
    torch.testing.assert_close(explanation.matrix.sum(2), explanation.frame_logits)
    assert explanation.conservation.max() < 1e-9


class ShortcutA(nn.Module):
    """A residual block whose shortcut is padded with channels of zeros and read as `.data`."""

    def __init__(self, data: bool):
        super().__init__()
        self.data = data
        self.stem, self.conv, self.fc = nn.Conv3d(3, 2, 1), nn.Conv3d(2, 4, 3, padding=1), nn.Linear(4, 5)

    def forward(self, clip: Tensor) -> Tensor:
        x = self.stem(clip).relu()
        shortcut = x.data if self.data else x
        shortcut = torch.cat([shortcut, torch.zeros_like(shortcut)], 1)
        return self.fc((self.conv(x) + shortcut).relu().mean((2, 3, 4)))


def test_a_shortcut_read_as_data_is_the_shortcut():
    clip = random(1, 3, 3, 4, 4)
    found, expected = (lrp3d.explain(ready(ShortcutA(data)), clip) for data in (True, False))
    assert found.matrix.equal(expected.matrix)
    assert found.relevance.equal(expected.relevance)


def test_what_is_written_into_data_is_written_into_the_signal():
    class Written(ShortcutA):
        def forward(self, clip):
            x = self.stem(clip)
            if self.data:
                x.data.mul_(2)
            else:
                x = x * 2
            return self.fc(self.conv(x).mean((2, 3, 4)))

    clip = random(1, 3, 3, 4, 4)
    found, expected = (lrp3d.explain(ready(Written(data)), clip) for data in (True, False))
    assert found.logits.equal(expected.logits)
    assert found.relevance.equal(expected.relevance)


@pytest.mark.parametrize("pool", [nn.MaxPool3d(1), nn.AdaptiveMaxPool3d((3, 4, 4)), nn.AvgPool3d(1)], ids=str)
def test_a_lone_pool_left_in_training_mode_does_no_harm(pool):
    class Pools(ShortcutA):
        def __init__(self):
            super().__init__(False)
            self.pools = nn.ModuleList([pool])

        def forward(self, clip):
            return super().forward(self.pools[0](clip))

    model = ready(Pools())
    model.pools[0].train()
    assert lrp3d.explain(model, random(1, 3, 3, 4, 4)).matrix.shape == (1, 3, 3)
    assert pool.training


def test_a_cumulative_sum_is_shared_over_all_that_came_before():
    class Cumulative(nn.Module):
        """The mean of what a stream has seen, at its last frame."""

        def __init__(self):
            super().__init__()
            self.conv, self.fc = nn.Conv3d(3, 4, 1), nn.Linear(4, 5)

        def forward(self, clip: Tensor) -> Tensor:
            x = self.conv(clip).relu().mean((3, 4))
            seen = torch.cumsum(x, 2) / torch.arange(1, 5) if self.cumulative else x.mean(2, keepdim=True)
            return self.fc(seen[:, :, -1])

    model, clip = ready(Cumulative()), random(2, 3, 4, 3, 3)
    relevance = []
    for model.cumulative in (True, False):
        explanation = lrp3d.explain(model, clip, contrastive=False, temporal=False)
        assert explanation.conservation.max() < 1e-9
        relevance.append(explanation.relevance)
    torch.testing.assert_close(*relevance)
