"""The paper's names, X-Y-f[Z]: temporal module X, backbone Y, Z frames (Sec. 4.1); `build` makes them."""

from __future__ import annotations

import re
from collections.abc import Callable
from inspect import signature
from typing import Any

import numpy as np

from .base import VideoModel, expected_kind
from .i3d import i3d_inception, i3d_resnet
from .i3d_original import i3d_original
from .s3d import s3d, s3d_resnet
from .slowfast import slowfast_resnet50
from .tam import tam_inception, tam_resnet, tsn_inception, tsn_resnet
from .tsm import tsm_resnet

Make = Callable[..., VideoModel]

# Family and backbone -> builder, and whether the number of frames is an argument of it.
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
    "SlowFast-R50-[8|16]x8",
)


class UnknownModel(ValueError):
    """No model has this name; the message lists those that are known."""


def build(name: str, num_classes: int, **options: Any) -> VideoModel:
    """A model by the name the paper gives it, with random weights.

    `I3D-f64` is the original I3D, `I3D-R50-f8` the ResNet of the paper; `SlowFast-R50-16x8` has 16 slow and
    64 fast frames. The number of frames may be left out where the network takes any.

    Args:
        name: X-Y-f[Z] with Z frames, or SlowFast-R50-[slow frames]x[stride].
        num_classes: `k`.
        options: further arguments of the family's builder, such as `kernel_size=5` or `output_frames=4`.

    Raises:
        UnknownModel: (a ValueError) an unknown name; the message has those that are known.
        ValueError: an argument that its builder refuses.

    >>> build("TAM2D-R18-f16", num_classes=10, width=8).frames
    16
    """
    make, arguments, frames = _parse(name)
    accepted = set(signature(make).parameters) - {"num_classes", *arguments}
    unknown = sorted(set(options) - accepted)
    if unknown:
        raise ValueError(f"{name} takes {', '.join(sorted(accepted))}, not {', '.join(unknown)}")
    given = {"num_classes": num_classes, **options}
    given = {option: value.item() if isinstance(value, np.generic) else value for option, value in given.items()}
    for option, value in given.items():
        if expected := expected_kind(make, option, value):
            raise ValueError(f"{option} of {name} must be {expected}, got {value!r}")
    model = make(**arguments, **given)
    if frames is not None and frames % model.frame_multiple:
        raise ValueError(f"{name} with temporal stride needs a multiple of {model.frame_multiple} frames")
    model.name, model.frames = name, frames
    return model


def built_otherwise(model: VideoModel) -> dict[str, Any]:
    """The options with which a model was built, beside its name: `build(name, num_classes, **options)` makes it again.

    Empty for a name of another kind. Dropout is left out, which changes no number of a trained model.

    >>> built_otherwise(build("TAM2D-R18-f8", num_classes=2, kernel_size=5, width=8))
    {'kernel_size': 5, 'width': 8}
    """
    try:
        make, arguments, _ = _parse(model.name)
    except ValueError:
        return {}
    if make.__name__ != model.builder:
        return {}
    usual = {name: parameter.default for name, parameter in signature(make).parameters.items()} | arguments
    left_out = ("num_classes", "dropout")
    return {name: value for name, value in model.arguments.items() if name not in left_out and value != usual[name]}


def _parse(name: str) -> tuple[Make, dict[str, int], int | None]:
    """Builder, its arguments, and the number of frames, which only 2D + time networks must be told."""
    slowfast = re.fullmatch(r"SlowFast-R50-([1-9]\d*)x8", name)
    if slowfast:
        return slowfast_resnet50, {"frames": 4 * int(slowfast[1])}, 4 * int(slowfast[1])
    match = re.fullmatch(r"(\w+?)(?:-(?:R(\d+)|(Inception)))?(?:-f([1-9]\d*))?", name)
    if match:
        family, depth, inception, length = match.groups()
        table, key = (_RESNETS, family) if depth else (_OTHERS, "-".join(filter(None, (family, inception))))
        if key in table and (length or not table[key][1]):
            make, needs_frames = table[key]
            frames = int(length) if length else None
            arguments = {"depth": int(depth)} if depth else {}
            if needs_frames and frames:
                arguments["frames"] = frames
            return make, arguments, frames
    raise UnknownModel(f"unknown model {name!r}; known are {', '.join(KNOWN)}, with Z frames")
