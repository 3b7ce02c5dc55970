"""The paper's names, X-Y-f[Z]: temporal module X, backbone Y, Z frames (Sec. 4.1); `build` makes them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from .base import VideoModel
from .i3d import i3d_inception, i3d_resnet
from .i3d_original import i3d_original
from .s3d import s3d, s3d_resnet
from .slowfast import slowfast_resnet50
from .tam import tam_inception, tam_resnet, tsn_inception, tsn_resnet
from .tsm import tsm_resnet

Make = Callable[..., VideoModel]

# Family and backbone -> builder, and whether the builder itself takes the number of frames.
_RESNETS: dict[str, tuple[Make, bool]] = {
    "I3D": (i3d_resnet, False),
    "S3D": (s3d_resnet, False),
    "TSN": (tsn_resnet, False),
    "TAM2D": (tam_resnet, True),
    "TSM": (tsm_resnet, True),
}
_OTHERS: dict[str, tuple[Make, bool]] = {
    "I3D-Inception": (i3d_inception, False),
    "TSN-Inception": (tsn_inception, False),
    "TAM2D-Inception": (tam_inception, True),
    "S3D": (s3d, False),
    "I3D": (i3d_original, False),
}
KNOWN = (
    *(f"{family}-R[18|34|50|101|152]-f[Z]" for family in _RESNETS),
    *(f"{name}-f[Z]" for name in _OTHERS),
    "SlowFast-R50-[slow frames]x8",
)


def build(name: str, num_classes: int, **options: Any) -> VideoModel:
    """A model by the name the paper gives it, with random weights.

    `I3D-f64` is the original I3D, `I3D-R50-f8` the ResNet of the paper; `SlowFast-R50-16x8` has 16 slow and
    64 fast frames. Networks without a fixed number of frames keep theirs in the name only.

    Args:
        name: X-Y-f[Z] with Z frames, or SlowFast-R50-[slow frames]x[stride].
        num_classes: `k`.
        options: further arguments of the family's builder, such as `kernel_size=5` or `output_frames=4`.

    Raises:
        ValueError: an unknown name, with what is known, or an argument that its builder refuses.

    >>> build("TAM2D-R18-f16", num_classes=10, width=8).frames
    16
    """
    make, arguments = _parse(name)
    try:
        model = make(num_classes=num_classes, **arguments, **options)
    except TypeError as error:
        raise ValueError(f"{name} has no such option: {error}") from None
    model.name = name
    return model


def _parse(name: str) -> tuple[Make, dict[str, int]]:
    slowfast = re.fullmatch(r"SlowFast-R50-(\d+)x8", name)
    if slowfast:
        return slowfast_resnet50, {"frames": 4 * int(slowfast[1])}
    resnet = re.fullmatch(r"(\w+)-R(\d+)-f(\d+)", name)
    if resnet and resnet[1] in _RESNETS:
        make, fixed = _RESNETS[resnet[1]]
        return make, {"depth": int(resnet[2])} | ({"frames": int(resnet[3])} if fixed else {})
    other = re.fullmatch(r"(\w+(?:-Inception)?)-f(\d+)", name)
    if other and other[1] in _OTHERS:
        make, fixed = _OTHERS[other[1]]
        return make, {"frames": int(other[2])} if fixed else {}
    raise ValueError(f"unknown model {name!r}; known are {', '.join(KNOWN)}, with [Z] frames")
