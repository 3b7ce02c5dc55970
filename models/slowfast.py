"""SlowFast: a wide pathway over few frames and a narrow one over all of them (Feichtenhofer et al. 2019)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .base import Channels, VideoModel, builder, check_at_least, check_clip
from .blocks import ConvUnit, Size, conv3d, initialise
from .resnet import Bottleneck

PIXELS: tuple[Channels, Channels] = ((0.45, 0.45, 0.45), (0.225, 0.225, 0.225))
BLOCKS = (3, 4, 6, 3)
LATERAL_KERNEL = 7


def _spatial(in_channels: int, out_channels: int, stride: Size = (1, 1, 1)) -> nn.Conv3d:
    return conv3d(in_channels, out_channels, (1, 3, 3), stride)


class Pathway(nn.Module):
    """The stem and the four stages of one pathway; `extra` channels join before each stage."""

    def __init__(self, in_channels: int, width: int, stem_time: int, times: Sequence[int], extra: Sequence[int]):
        super().__init__()
        self.stem: nn.Sequential = nn.Sequential(
            OrderedDict(
                conv=conv3d(in_channels, width, (stem_time, 7, 7), (1, 2, 2)),
                bn=nn.BatchNorm3d(width),
                relu=nn.ReLU(),
                pool=nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1)),
            )
        )
        stages = []
        channels = width
        for stage, count in enumerate(BLOCKS):
            planes = width * 2**stage
            blocks = []
            channels += extra[stage]
            for i in range(count):
                stride = (1, 2, 2) if stage > 0 and i == 0 else (1, 1, 1)
                blocks.append(Bottleneck(channels, planes, stride, _spatial, reduce_time=times[stage]))
                channels = planes * Bottleneck.expansion
            stages.append(nn.Sequential(*blocks))
        self.stages: nn.ModuleList = nn.ModuleList(stages)


def _lateral(channels: int, alpha: int) -> ConvUnit:
    """Fast features on the slow clock: a temporal convolution of stride alpha that doubles the channels."""
    conv = conv3d(channels, 2 * channels, (LATERAL_KERNEL, 1, 1), (alpha, 1, 1))
    return ConvUnit(conv, 2 * channels, eps=1e-5)


class SlowFast(VideoModel):
    """SlowFast-R50; see `slowfast_resnet50`."""

    frames: int
    fixed_frames = True

    def __init__(self, num_classes: int, frames: int, alpha: int, in_channels: int, dropout: float, width: int):
        check_at_least(1, frames=frames, alpha=alpha)
        check_at_least(8, width=width)
        if width % 8:
            raise ValueError(f"width must be a multiple of 8, the fast pathway has one eighth of it, got {width}")
        if frames % alpha:
            raise ValueError(f"SlowFast needs a multiple of alpha = {alpha} frames, got {frames}")
        thin = width // 8
        expansion = 8 * Bottleneck.expansion
        super().__init__(
            num_classes,
            (width + thin) * expansion,
            statistics=PIXELS,
            in_channels=in_channels,
            dropout=dropout,
        )
        self.name: str = f"SlowFast-R50-{frames // alpha}x8"
        self.frames = frames
        self.alpha = alpha
        outputs = [thin] + [thin * 2**i * Bottleneck.expansion for i in range(3)]  # of the fast stem and stages
        self.slow: Pathway = Pathway(in_channels, width, 1, (1, 1, 3, 3), [2 * channels for channels in outputs])
        self.fast: Pathway = Pathway(in_channels, thin, 5, (3, 3, 3, 3), (0, 0, 0, 0))
        self.lateral: nn.ModuleList = nn.ModuleList(_lateral(channels, alpha) for channels in outputs)
        self.slow_channels: int = width * expansion
        initialise(self)

    @property
    def stems(self) -> tuple[nn.Module, ...]:
        """The convolutions that read the clip, one for each pathway."""
        return self.slow.stem.get_submodule("conv"), self.fast.stem.get_submodule("conv")

    @property
    def slow_indices(self) -> tuple[int, ...]:
        """The fast frames that the slow pathway sees: evenly spaced from first to last, not every alpha-th.

        >>> slowfast_resnet50(5, width=8).slow_indices
        (0, 4, 8, 13, 17, 22, 26, 31)
        """
        slow = self.frames // self.alpha
        return tuple(torch.linspace(0, self.frames - 1, slow, device="cpu").long().tolist())

    def pathways(self, clip: Tensor | Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """The slow and the fast clip, made from one clip, or the given pathways after a check.

        Raises:
            ValueError: there is not one clip or two pathways, or a shape or a number of frames is wrong.
        """
        if isinstance(clip, Tensor):
            self._check_pathway(clip, self.frames, "clip")
            slow_indices = torch.tensor(self.slow_indices, device="cpu").to(
                clip.device, non_blocking=clip.device.type != "mps"
            )
            return clip.index_select(2, slow_indices), clip
        if len(clip) != 2:
            raise ValueError(f"SlowFast takes a clip or the pathways [slow, fast], got {len(clip)} tensors")
        slow, fast = clip
        self._check_pathway(slow, self.frames // self.alpha, "the slow pathway")
        self._check_pathway(fast, self.frames, "the fast pathway")
        return slow, fast

    def _check_pathway(self, clip: Tensor, frames: int, pathway: str) -> None:
        check_clip(clip, self.in_channels, pathway)
        if clip.shape[2] != frames:
            raise ValueError(f"{self.name} was built for {frames} frames in {pathway}, got {clip.shape[2]}")

    def pathway_features(self, clip: Tensor | Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Features of both pathways, (b, c, t, h, w) each, at their own frame rates."""
        slow, fast = self.pathways(clip)
        slow, fast = self.slow.stem(slow), self.fast.stem(fast)
        for lateral, slow_stage, fast_stage in zip(self.lateral, self.slow.stages, self.fast.stages, strict=True):
            slow = torch.cat([slow, lateral(fast)], 1)
            slow, fast = slow_stage(slow), fast_stage(fast)
        return slow, fast

    def pool(self, features: Tensor) -> Tensor:
        """Average 7x7 windows of stride 1, and then the windows: four for 256 pixels, one for 224 or fewer."""
        window = (1, min(7, features.shape[3]), min(7, features.shape[4]))
        return F.avg_pool3d(features, window, stride=1).mean((3, 4))

    def forward(self, clip: Tensor | Sequence[Tensor]) -> Tensor:
        """Logits (b, k) of a clip (b, c, t, h, w) or of its pathways [slow, fast]."""
        slow, fast = (self.pool(features).mean(2) for features in self.pathway_features(clip))
        logits: Tensor = self.fc(self.dropout(torch.cat([slow, fast], 1)))
        return logits

    def frame_logits(self, clip: Tensor | Sequence[Tensor], merge: str = "average") -> Tensor:
        """Logits of every fast frame, (b, n, k).

        The head is linear: frame t adds W_fast f_t and, if the slow pathway sees it, W_slow s_t. The bias counts in
        every frame.

        Args:
            clip: as in `forward`.
            merge: "average" adds n / m times W_slow s_t, for n fast and m slow frames, so that the mean over n is the
                model's output, as of every other model; "paper" adds W_slow s_t as it is (App. A).

        Raises:
            ValueError: `merge` has another value.
        """
        if merge not in ("average", "paper"):
            raise ValueError(f"merge is 'average' or 'paper', not {merge!r}")
        slow, fast = (self.pool(features).transpose(1, 2) for features in self.pathway_features(clip))
        weight = self.fc.weight.split([self.slow_channels, self.fc.in_features - self.slow_channels], 1)
        slow_logits = F.linear(self.dropout(slow), weight[0])
        if merge == "average":
            slow_logits = slow_logits * (fast.shape[1] / slow.shape[1])
        fast_logits = F.linear(self.dropout(fast), weight[1], self.fc.bias)
        # The slow logit of every fast frame, by its row; a last row of zeros stands for frames without one.
        rows = dict(zip(self.slow_indices, range(slow.shape[1]), strict=True))
        where = [rows.get(frame, slow.shape[1]) for frame in range(fast.shape[1])]
        on_fast_clock = F.pad(slow_logits, (0, 0, 0, 1)).index_select(1, torch.tensor(where, device=slow.device))
        return fast_logits + on_fast_clock


@builder
def slowfast_resnet50(
    num_classes: int,
    frames: int = 32,
    alpha: int = 4,
    *,
    dropout: float = 0.5,
    in_channels: int = 3,
    width: int = 64,
) -> SlowFast:
    """SlowFast-R50 (Feichtenhofer et al. 2019): 8x8 is `frames=32`, 16x8 is `frames=64`.

    Takes a clip (b, 3, frames, h, w), from which the slow pathway picks its frames, or the list [slow,
    fast] with frames / alpha and frames frames. Logits are (b, k). The weights do not depend on `frames`.

    Args:
        num_classes: `k`.
        frames: frames of the fast pathway.
        alpha: fast frames per slow frame.
        dropout: before the classifier.
        in_channels: channels of the clip.
        width: channels of the slow pathway's stem, a multiple of 8.

    Raises:
        ValueError: frames is not a multiple of alpha; in `forward`, a clip or pathways do not fit.

    >>> import torch
    >>> model = slowfast_resnet50(5, frames=8, width=8).eval()
    >>> model.frame_logits(torch.zeros(1, 3, 8, 32, 32)).shape
    torch.Size([1, 8, 5])
    """
    return SlowFast(num_classes, frames, alpha, in_channels, dropout, width)
