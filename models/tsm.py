"""TSM: a 2D ResNet in which channels are shifted along time instead of convolved (Lin et al. 2019)."""

from __future__ import annotations

from torch import nn

from .base import builder
from .blocks import TemporalShift, frame_conv
from .resnet import ResNet
from .tam import check_frames

PLACES = ("residual", "block")


class ShiftResNet(ResNet):
    """A 2D ResNet with temporal shifts; see `tsm_resnet`."""

    shift: str

    def place_shift(self, place: str) -> None:
        """Shift before the "residual" branch only, or before the whole "block", shortcut included.

        Published networks with a stage of 23 blocks or more shift the residual branch of every second block
        only.
        """
        if place not in PLACES:
            raise ValueError(f"shift must be 'residual' or 'block', got {place!r}")
        self.shift = place
        self.arguments["shift"] = place
        stages = self.blocks()
        every = 2 if place == "residual" and len(stages[2]) >= 23 else 1
        for blocks in stages:
            for i, block in enumerate(blocks):
                channels = next(m.in_channels for m in block.modules() if isinstance(m, nn.Conv3d))
                block.temporal = TemporalShift(channels) if i % every == 0 else nn.Identity()
                block.temporal_shortcut = place == "block"


@builder
def tsm_resnet(
    depth: int,
    num_classes: int,
    frames: int,
    *,
    shift: str = "residual",
    dropout: float = 0.5,
    output_frames: int | str | None = None,
    in_channels: int = 3,
    width: int = 64,
) -> ShiftResNet:
    """TSM: a 2D ResNet that shifts channels along time in each residual branch (Lin et al. 2019).

    Clips are (b, 3, frames, h, w), logits (b, k).

    Args:
        depth: 18, 34, 50, 101 or 152.
        num_classes: `k`.
        frames: frames per clip.
        shift: "residual" shifts the branch only, "block" the shortcut as well.
        dropout: before the classifier.
        output_frames: how many evenly spaced frames are averaged, None or "all" for all.
        in_channels: channels of the clip.
        width: channels of the first stage.

    Raises:
        ValueError: unknown depth or place; in `forward`, a clip that does not fit.

    >>> import torch
    >>> tsm_resnet(18, 5, frames=4, width=8).eval()(torch.zeros(1, 3, 4, 32, 32)).shape
    torch.Size([1, 5])
    """
    check_frames(frames, temporal_stride=False, output_frames=output_frames)
    model = ShiftResNet(
        depth,
        num_classes,
        family="TSM",
        convolution=frame_conv,
        stem_time=1,
        dropout=dropout,
        output_frames=output_frames,
        in_channels=in_channels,
        width=width,
    )
    model.place_shift(shift)
    model.name += f"-f{frames}"
    model.frames, model.fixed_frames = frames, True
    return model
