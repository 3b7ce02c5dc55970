"""Options that several commands share, and how their values are read. No model is loaded: help appears at once."""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lrp3d.commands import UsageError
from lrp3d.defaults import COMPOSITES, LAYOUT, MERGES, SIGMA

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]


def add_options(
    parser: argparse.ArgumentParser, default: str | None = None, labels: bool = True, others: bool = True
) -> None:
    """Adds the options from which `model_options.choose` makes a model.

    Args:
        parser: the parser of the command.
        default: what the help says of a command that takes a model where none is given.
        labels: whether the command has to do with names of classes.
        others: whether the command takes models other than the paper's.
    """
    default_text = f" (default: {default})" if default else ""
    of_others = (
        "; of a library that is installed: torchvision:r3d_18, pytorchvideo:slow_r50, timm:resnet18, hf:CLASS|FOLDER, "
        "mmaction:config.py; or your own: file.py:factory, package.module:factory, the current folder included"
    )
    parser.add_argument(
        "--model",
        metavar="NAME",
        help="name as in the paper, such as I3D-R50-f8, TAM2D-R18-f16, SlowFast-R50-8x8"
        f"{of_others if others else ''}{default_text}",
    )
    add_option(parser)
    parser.add_argument("--frames", type=positive, metavar="N", help="frames of a clip (default: what the model takes)")
    about = "side of a frame (default: what the model states, else 224)"
    parser.add_argument("--size", type=positive, metavar="PIXELS", help=about)
    parser.add_argument("--device", metavar="D", help="auto, cpu, cuda:0 (default: auto, a GPU if there is one)")
    parser.add_argument(
        "--weights",
        metavar="F",
        help="checkpoint: a file, the name of a public one (docs/models.md) or an https address, which are fetched "
        "once, verified where the source states a digest, and kept as torch.hub does; without it, weights are random",
    )
    if labels and others:  # a training draws the shorter side, and a table of rules has no video
        about = "length to which a video's shorter side is resized before squares of --size are cut (default: what the "
        about += "model states, else 256 for 224)"
        parser.add_argument("--short-side", type=positive, metavar="PIXELS", help=about)
    if labels:
        parser.add_argument(
            "--labels",
            type=place,
            metavar="F",
            help="class names: kinetics-400, ssv2, mini-kinetics, mini-ssv2, json (name to id, or id to name) or one "
            "per line",
        )


def add_option(parser: argparse.ArgumentParser) -> None:
    """Adds the option for further arguments of the model's builder."""
    about = "further argument of the model's builder, such as kernel_size=5; may be repeated"
    parser.add_argument("--option", action="append", default=[], metavar="KEY=VALUE", type=key_and_value, help=about)


def add_sampling(parser: argparse._ActionsContainer) -> None:
    """Adds the option that says which frames of a video make the clip."""
    about = "frames of the whole video, or frames that follow one another (default: uniform)"
    parser.add_argument("--sampling", choices=("uniform", "dense"), default="uniform", help=about)


def add_dense(parser: argparse._ActionsContainer) -> None:
    """Adds the option of dense sampling."""
    about = "with --sampling dense: distance between frames (default: 1)"
    parser.add_argument("--stride", type=positive, metavar="N", help=about)


def stride_of(options: argparse.Namespace) -> int:
    """The distance between frames; raises UsageError where it is given and would change nothing."""
    if options.stride is not None and options.sampling != "dense":
        whole = ", or --whole, where it is that between windows" if hasattr(options, "whole") else ""
        raise UsageError(
            f"--stride is the distance between frames in dense sampling: add --sampling dense{whole}, or leave it out"
        )
    return options.stride or 1


def root_of(options: argparse.Namespace) -> Path:
    """The folder in which the videos of --list lie; raises UsageError where --root is none."""
    root: Path | None = options.root
    if root is None:
        listed: Path = options.list
        return listed if listed.is_dir() else listed.parent
    if not root.is_dir():
        raise UsageError(f"--root {root}: {'this is no folder' if root.exists() else 'there is no such folder'}")
    return root


def add_sigma(parser: argparse.ArgumentParser) -> None:
    """Adds the option for the share of relevance that the window of a frame's ATR holds; None if it is not given."""
    about = f"share of a row of the matrix that its ATR window holds (default: {SIGMA})"
    parser.add_argument("--sigma", type=share, metavar="S", help=about)


def add_rules(parser: argparse.ArgumentParser) -> None:
    """Adds the options that say how relevance is shared."""
    about = (
        f"which rule for which layer: {', '.join(COMPOSITES)}, or a name that the module of --model registers "
        "(default: paper)"
    )
    parser.add_argument("--composite", default="paper", metavar="C", help=about)
    parser.add_argument("--plain", action="store_true", help="plain LRP instead of contrastive LRP")


def add_merge(parser: argparse.ArgumentParser) -> None:
    """Adds the option that says how pathways of several frame rates get frame logits."""
    about = (
        "frame logits of SlowFast: slow logits as they are, as in the paper, or scaled so that the frame logits' "
        "average is the clip's logit (default: paper)"
    )
    parser.add_argument("--merge", choices=MERGES, default=MERGES[0], help=about)


def add_layout(parser: argparse.ArgumentParser) -> None:
    """Adds the option for the axes of the model's clips."""
    about = "the axes of the clips that the model takes: bcthw, btchw, 'b (t c) h w', '(b t) c h w' "
    about += f"(default: {LAYOUT})"
    parser.add_argument("--layout", type=layout, default=LAYOUT, metavar="AXES", help=about)


def add_inside(parser: argparse.ArgumentParser) -> None:
    """Adds the options for relevance inside the network."""
    about = "also show the relevance at the output of this module, or of those that a pattern fits ('*layer?'); "
    about += "may be repeated"
    parser.add_argument("--layers", action="append", default=[], metavar="MODULE", help=about)
    about = "explain only what flows through these channels of a module, as in features.layer3=12,40; may be repeated"
    parser.add_argument("--where", action="append", default=[], metavar="MODULE=N,N", type=channels, help=about)


def add_rows_at(parser: argparse.ArgumentParser) -> None:
    """Adds the option for rows that are no frame logits."""
    about = (
        "make the rows of the matrix of the time steps at the output of this module, for networks whose frames have no "
        "logits (those with a class token, or a norm after the mean); lrp3d inspect lists the modules"
    )
    parser.add_argument("--rows-at", metavar="MODULE", help=about)


def add_whole(parser: argparse.ArgumentParser) -> None:
    """Adds the options for videos that are longer than a clip."""
    about = "explain the whole video, however long, by a window that slides over it; with --out, write a timeline page "
    about += "and keep finished parts there, so that a run that was killed can be continued"
    parser.add_argument("--whole", action="store_true", help=about)
    about = "with --sampling dense: distance between frames (default: 1); with --whole: frames from one window to the "
    about += "next (default: half a window)"
    parser.add_argument("--stride", type=positive, metavar="N", help=about)
    about = "with --whole: take every N-th frame of the video (default: 1)"
    parser.add_argument("--every", type=positive, metavar="N", help=about)


def channels(text: str) -> tuple[str, list[int]]:
    """Parses a module and some of its channels for argparse."""
    name, equals, numbers = text.rpartition("=")
    listed = [number.strip() for number in numbers.split(",")]
    if not equals or not name or not all(number.isdecimal() for number in listed):
        raise argparse.ArgumentTypeError(f"{text!r} is not MODULE=N,N such as features.layer3=12,40")
    return name, [int(number) for number in listed]


def layout(text: str) -> str:
    """Parses the axes of clips for argparse."""
    if text == LAYOUT:  # of which argparse asks, too, and importing torch takes seconds
        return text
    from lrp3d.layout import Layout

    try:
        Layout(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


def place(text: str) -> Path:
    """Parses a path for argparse; an empty path (from an unset shell variable) must not mean the current folder."""
    if not text:
        raise argparse.ArgumentTypeError("the path is empty")
    return Path(text)


def file_to_write(text: str) -> Path:
    """Parses the path of a file that a command writes for argparse, before anything is computed for it."""
    file = place(text)
    if file.is_dir():
        raise argparse.ArgumentTypeError(f"a file is written here, and {file} is a folder")
    if not file.parent.is_dir():
        raise argparse.ArgumentTypeError(f"{file} cannot be made: there is no folder {file.parent}")
    return file


def positive(text: str) -> int:
    """Parses a whole number from 1 on for argparse."""
    return _whole(text, 1)


def count(text: str) -> int:
    """Parses a whole number from 0 on for argparse."""
    return _whole(text, 0)


def seed(text: str) -> int:
    """Parses a seed for argparse: torch takes whole numbers of 64 bits."""
    number = count(text)
    if number >= 2**63:
        raise argparse.ArgumentTypeError(f"{text!r} is no seed: give a whole number from 0 to 2^63 - 1")
    return number


def _whole(text: str, least: int) -> int:
    number = int(text) if text.strip().isdecimal() else -1
    if number < least:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {least} on")
    return number


def above_zero(text: str) -> float:
    """Parses a number above 0 for argparse."""
    number = _number(text)
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return number


def from_zero(text: str) -> float:
    """Parses a number from 0 on for argparse."""
    number = _number(text)
    if not 0 <= number < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 on")
    return number


def _number(text: str) -> float:
    """The number that a text says, NaN if it says none."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def share(text: str) -> float:
    """Parses a number above 0 and up to 1 for argparse."""
    number = _number(text)
    if not 0 < number <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a share above 0, up to 1")
    return number


def key_and_value(text: str) -> tuple[str, Any]:
    """Parses KEY=VALUE for argparse; the value is read as json if it is json."""
    key, equals, value = text.partition("=")
    if not equals or not key.isidentifier():
        raise argparse.ArgumentTypeError(f"{text!r} is not KEY=VALUE")
    try:
        return key, json.loads(value.lower() if value in ("True", "False") else value)
    except json.JSONDecodeError:
        return key, value
