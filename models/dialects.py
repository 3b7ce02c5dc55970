"""Recognises the source of a checkpoint by its names, and translates them to ours.

A dialect is a table of regular expressions from the source's names to ours; nothing here knows models or
tensors. The families themselves are described in `docs/models.md`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from typing import NamedTuple


class Target(NamedTuple):
    """Our name for a source's tensor, and its time offset if the source splits a kernel."""

    name: str
    offset: int | None = None


class Dialect(NamedTuple):
    """The names that one source gives to parameters.

    `rename` maps a name, given all names, to its target, or to None if it does not belong to the network. For an
    unknown name it raises KeyError.
    """

    name: str
    recognises: Callable[[Collection[str]], bool]
    rename: Callable[[str, Collection[str]], Target | None]


def recognise(names: Collection[str]) -> Dialect | None:
    """The dialect of a checkpoint; None if no known source names its parameters in this way."""
    return next((dialect for dialect in DIALECTS if dialect.recognises(names)), None)


def shift_place(names: Collection[str]) -> str | None:
    """The place at which a TSM checkpoint shifts: the "residual" branch or the whole "block"; None without shifts."""
    if any(re.search(r"layer\d\.\d+\.conv1\.net\.", name) for name in names):
        return "residual"
    return "block" if any(re.search(r"layer\d\.\d+\.net\.", name) for name in names) else None


def _table(
    *rules: tuple[str, str | Callable[[re.Match[str]], str]],
) -> Callable[[str, Collection[str]], Target]:
    """A dialect that needs one name at a time: the first expression that matches the whole name gives ours."""
    compiled = [(re.compile(pattern), replacement) for pattern, replacement in rules]

    def rename(name: str, names: Collection[str]) -> Target:
        for pattern, replacement in compiled:
            match = pattern.fullmatch(name)
            if match:
                return Target(match.expand(replacement) if isinstance(replacement, str) else replacement(match))
        raise KeyError(name)

    return rename


# --- our own --------------------------------------------------------------------------------------


def _ours(name: str, names: Collection[str]) -> Target:
    return Target(name)


# --- torchvision's 2D networks, and IBM's networks, which keep torchvision's names ----------------

_OFFSETS = {"prev_se": 0, "curr_se": 1, "next_se": 2}  # of frames t-1, t, t+1
_BLENDING = re.compile(r"(?:(layer\d\.\d+)\.)?(tam\w*)\.(?:(\w+_se)|blending_layers\.(\d+))\.fc1\.weight")


def _ibm(name: str, names: Collection[str]) -> Target | None:
    if name.startswith("fc."):
        return Target(name)
    if name.startswith(("aux1.", "aux2.")):  # GoogLeNet's training heads
        return None
    blending = _BLENDING.fullmatch(name)
    if blending:
        block, module, side, offset = blending.groups()
        where = f"{block}.temporal" if block else module
        return Target(f"features.{where}.conv.weight", int(offset) if side is None else _OFFSETS[side])
    if not re.match(r"conv\d\.|bn1\.|layer\d\.|inception\d\w\.", name):
        raise KeyError(name)
    return Target("features." + _separable(name, names))


def _separable(name: str, names: Collection[str]) -> str:
    """S3D writes conv, bn, conv_t, bn_t side by side; ours has three of them in one separable convolution."""
    match = re.fullmatch(r"(.*\b)(conv|bn)(\d?)(_t)?\.(\w+)", name)
    if match is None:
        return name
    unit, kind, number, along_time, parameter = match.groups()
    if f"{unit}conv{number}_t.weight" not in names:
        return name
    if along_time:
        return f"{unit}conv{number}.temporal.{parameter}" if kind == "conv" else f"{unit}bn{number}.{parameter}"
    return f"{unit}conv{number}.{'spatial' if kind == 'conv' else 'bn'}.{parameter}"


# --- TSM: torchvision's names inside a wrapper ----------------------------------------------------


def _tsm(name: str, names: Collection[str]) -> Target | None:
    if name.startswith("new_fc."):
        return Target(name.removeprefix("new_"))
    if not name.startswith("base_model."):
        raise KeyError(name)
    return _ibm(name.removeprefix("base_model.").replace(".net.", "."), ())


# --- SlowFast -------------------------------------------------------------------------------------

_PATHWAY = {"0": "slow", "1": "fast", "": "slow", "t_": "fast"}
_BRANCH = {"a": "1", "b": "2", "c": "3"}


def _slowfast_block(pathway: str, stage: int, block: str, conv: str, norm: bool, parameter: str) -> str:
    """`conv` is "a", "b", "c" for the branch, anything else for the shortcut."""
    if conv in _BRANCH:
        layer = ("bn" if norm else "conv") + _BRANCH[conv]
    else:
        layer = "downsample.1" if norm else "downsample.0"
    return f"{_PATHWAY[pathway]}.stages.{stage}.{block}.{layer}.{parameter}"


_pyslowfast = _table(
    (r"s1\.pathway([01])_stem\.(conv|bn)\.(\w+)", lambda m: f"{_PATHWAY[m[1]]}.stem.{m[2]}.{m[3]}"),
    (
        r"s(\d)_fuse\.(conv_f2s|bn)\.(\w+)",
        lambda m: f"lateral.{int(m[1]) - 1}.{m[2].removesuffix('_f2s')}.{m[3]}",
    ),
    (
        r"s(\d)\.pathway([01])_res(\d+)\.branch(1|2\.[abc])(_bn)?\.(\w+)",
        lambda m: _slowfast_block(m[2], int(m[1]) - 2, m[3], m[4][2:], bool(m[5]), m[6]),
    ),
    (r"head\.projection\.(\w+)", r"fc.\1"),
)

_pytorchvideo = _table(
    (
        r"blocks\.0\.multipathway_blocks\.([01])\.(conv|norm)\.(\w+)",
        lambda m: f"{_PATHWAY[m[1]]}.stem.{m[2].replace('norm', 'bn')}.{m[3]}",
    ),
    (r"blocks\.(\d)\.multipathway_fusion\.conv_fast_to_slow\.(\w+)", r"lateral.\1.conv.\2"),
    (r"blocks\.(\d)\.multipathway_fusion\.norm\.(\w+)", r"lateral.\1.bn.\2"),
    (
        r"blocks\.(\d)\.multipathway_blocks\.([01])\.res_blocks\.(\d+)\.branch1_(conv|norm)\.(\w+)",
        lambda m: _slowfast_block(m[2], int(m[1]) - 1, m[3], "", m[4] == "norm", m[5]),
    ),
    (
        r"blocks\.(\d)\.multipathway_blocks\.([01])\.res_blocks\.(\d+)\.branch2\.(conv|norm)_([abc])\.(\w+)",
        lambda m: _slowfast_block(m[2], int(m[1]) - 1, m[3], m[5], m[4] == "norm", m[6]),
    ),
    (r"blocks\.\d\.proj\.(\w+)", r"fc.\1"),
)

_BLOB = {
    "w": "weight",
    "b": "bias",
    "bn_s": "weight",
    "bn_b": "bias",
    "bn_rm": "running_mean",
    "bn_riv": "running_var",
}
_caffe2_network = _table(
    (r"(t_|)(?:res_)?conv1_(w|bn_\w+)", lambda m: f"{_PATHWAY[m[1]]}.stem.{_norm(m[2])}.{_BLOB[m[2]]}"),
    (r"t_pool1_subsample_(w|bn_\w+)", lambda m: f"lateral.0.{_norm(m[1])}.{_BLOB[m[1]]}"),
    (
        r"t_res(\d)_\d+_branch2c_bn_subsample_(w|bn_\w+)",
        lambda m: f"lateral.{int(m[1]) - 1}.{_norm(m[2])}.{_BLOB[m[2]]}",
    ),
    (
        r"(t_|)res(\d)_(\d+)_branch(1|2[abc])_(w|bn_\w+)",
        lambda m: _slowfast_block(m[1], int(m[2]) - 2, m[3], m[4][1:], m[5] != "w", _BLOB[m[5]]),
    ),
    (r"pred_([wb])", lambda m: f"fc.{_BLOB[m[1]]}"),
)


def _norm(blob: str) -> str:
    return "conv" if blob == "w" else "bn"


def _caffe2(name: str, names: Collection[str]) -> Target | None:
    if name.endswith("_momentum") or name in ("lr", "model_iter"):  # a counter of the solver
        return None
    return _caffe2_network(name, names)


# --- the original I3D -----------------------------------------------------------------------------

_I3D_UNITS = {"1a_7x7": "conv1.unit", "2b_1x1": "conv2", "2c_3x3": "conv3"}
_PIERGIAJ_BRANCH = {"0": "1", "1a": "2.0", "1b": "2.1", "2a": "3.0", "2b": "3.1", "3b": "4.1"}


def _mixed(stage: str, letter: str) -> str:
    """The name of a mixed block; TensorFlow counts the pool as the stage's first layer, so that its 3b is 3a here."""
    return f"features.inception{stage}{chr(ord(letter) - 1)}"


def _conv_or_bn(layer: str) -> str:
    return "conv" if layer == "conv3d" else "bn"


_piergiaj = _table(
    (
        r"Conv3d_(\w+)\.(conv3d|bn)\.(\w+)",
        lambda m: f"features.{_I3D_UNITS[m[1]]}.{_conv_or_bn(m[2])}.{m[3]}",
    ),
    (
        r"Mixed_(\d)([b-f])\.b(\d[ab]?)\.(conv3d|bn)\.(\w+)",
        lambda m: f"{_mixed(m[1], m[2])}.branch{_PIERGIAJ_BRANCH[m[3]]}.{_conv_or_bn(m[4])}.{m[5]}",
    ),
    (r"logits\.conv3d\.(\w+)", r"fc.\1"),
)

_hassony2 = _table(
    (r"conv3d_0c_1x1\.conv3d\.(\w+)", r"fc.\1"),
    (
        r"conv3d_(\w+)\.(conv3d|batch3d)\.(\w+)",
        lambda m: f"features.{_I3D_UNITS[m[1]]}.{_conv_or_bn(m[2])}.{m[3]}",
    ),
    (
        r"mixed_(\d)([b-f])\.branch_(\d)((?:\.\d)?)\.(conv3d|batch3d)\.(\w+)",
        lambda m: f"{_mixed(m[1], m[2])}.branch{int(m[3]) + 1}{m[4]}.{_conv_or_bn(m[5])}.{m[6]}",
    ),
)


def _any_matches(pattern: str) -> Callable[[Collection[str]], bool]:
    expression = re.compile(pattern)
    return lambda names: any(expression.match(name) for name in names)


DIALECTS = (
    Dialect("lrp3d", _any_matches(r"features\.|slow\.stem\."), _ours),
    Dialect("pytorchvideo SlowFast", _any_matches(r"blocks\.\d\.multipathway_blocks\."), _pytorchvideo),
    Dialect("PySlowFast", _any_matches(r"s1\.pathway0_stem\."), _pyslowfast),
    Dialect("caffe2 SlowFast", _any_matches(r"t_conv1_w$|t_res_conv1_bn"), _caffe2),
    Dialect("piergiaj I3D", _any_matches(r"Conv3d_1a_7x7\."), _piergiaj),
    Dialect("hassony2 I3D", _any_matches(r"conv3d_1a_7x7\."), _hassony2),
    Dialect("TSM", _any_matches(r"base_model\."), _tsm),
    Dialect("IBM or torchvision", _any_matches(r"layer\d\.\d+\.(conv|bn)\d|inception\d\w\."), _ibm),
)
