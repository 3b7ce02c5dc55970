"""`lrp3d explain`: what a model made of some videos."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lrp3d.commands import UsageError, arguments
from lrp3d.commands.each_video import each_video
from lrp3d.commands.writable import check_folder
from lrp3d.filenames import last_name, unique_names

if TYPE_CHECKING:
    from lrp3d.commands.model_options import ModelChoice


def add_to(commands: arguments.Commands) -> None:
    """Add the parser of this command."""
    parser = commands.add_parser(
        "explain",
        help="explain what a model made of some videos",
        description="Explain what a model made of videos: top classes, the temporal relevance matrix and "
        "action temporal relevance (ATR). A video is a file, a folder of frames, a template such as "
        "frames/img_%05d.jpg, or a tensor file. If one fails, the others are still explained.",
        epilog="Example: lrp3d explain a.mp4 b.mp4 --model TAM2D-R50-f16 --weights tam.safetensors "
        "--labels kinetics.json --target 'arm wrestling' --out out",
    )
    parser.add_argument("videos", nargs="+", metavar="VIDEO", help="a video file, a folder of frames, or a tensor file")
    arguments.add_options(parser)
    parser.add_argument(
        "--target",
        metavar="CLASS|INDEX",
        help="the class to explain, by name or number (default: the prediction)",
    )
    about = "explain the class rather than this one, or than the best other one (next); may be repeated"
    parser.add_argument("--against", action="append", default=[], metavar="CLASS|INDEX|next", help=about)
    about = (
        "show the matrix of the untrained network, and what stands above it (default: where it can be computed, "
        "unless the weights are known to be random)"
    )
    parser.add_argument(
        "--motion",
        action="store_true",
        help="split relevance into what frames contribute by standing still and by differing from each other",
    )
    parser.add_argument("--floor", action=argparse.BooleanOptionalAction, default=None, help=about)
    arguments.add_inside(parser)
    arguments.add_rows_at(parser)
    arguments.add_whole(parser)
    arguments.add_sampling(parser)
    arguments.add_rules(parser)
    arguments.add_merge(parser)
    arguments.add_layout(parser)
    arguments.add_sigma(parser)
    about = (
        "write explanation.safetensors, explanation.json, pictures and report.html here; of "
        "several videos, each into a folder of its own"
    )
    parser.add_argument("--out", type=arguments.place, metavar="DIR", help=about)
    about = "also write relevance.gif or relevance.mp4: the clip beside its relevance, with logits and a moving curve"
    parser.add_argument("--animate", choices=("gif", "mp4"), help=f"{about} (needs --out)")
    about = (
        "let the page of --out switch to LRP, CLRP and interventions and to the five best classes (ten explanations)"
    )
    parser.add_argument("--compare", action="store_true", help=about)
    about = "colours of the pictures of --out (default: light); the page follows the setting of its reader"
    parser.add_argument("--theme", choices=("light", "dark"), help=about)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Explain every video; returns 1 if any of them failed."""
    from lrp3d.commands import model_options, one_clip, output_folder, summaries, whole_videos
    from lrp3d.commands.labels import find_class, label_of
    from lrp3d.commands.many_frames import ManyFrames
    from lrp3d.commands.number_of_classes import check_classes
    from lrp3d.twin.twin import convert

    check_folder(options.out)
    _check_combinations(options)
    choice = model_options.choose(options)
    target = None if options.target is None else find_class(options.target, choice.labels)
    check_classes(choice, [] if target is None else [target], options.layout)
    if options.whole:
        return whole_videos.run(options, choice, target, _folders(options.videos, options.out))
    twin = convert(choice.model, options.composite)
    against = _foils(options.against, choice, options.layout)
    if isinstance(against, tuple) and target in against:
        raise UsageError(f"--against {label_of(target, choice.labels)} is the class of --target: name another one")
    settings = one_clip.ClipOptions(
        options.composite,
        contrastive=not options.plain and against is None,
        sigma=options.sigma,
        sampling=options.sampling,
        stride=arguments.stride_of(options),
        layout=options.layout,
        merge=options.merge,
        against=against,
        floor=options.floor,
        motion=options.motion,
        compare=options.compare,
        layers=tuple(options.layers),
        rows_at=options.rows_at,
        where=dict(options.where),
    )
    facts = {**summaries.settings(choice, settings), **summaries.origin(options, choice)}
    theme = options.theme or "light"
    many_frames = ManyFrames(choice, "--whole takes a long video by a window of fewer --frames")

    def explain_one(path: str, folder: Path | None, show: Callable[..., None]) -> dict[str, Any]:
        clip = one_clip.read(path, choice, settings.sampling, settings.stride)
        many_frames.say()
        explained = one_clip.explain_clip(clip, last_name(path), choice, twin, target, settings)
        show(*summaries.summary(explained))
        for file in output_folder.write(explained, folder, facts, options.animate, theme) if folder else ():
            show(f"  wrote {file}")
        return {**summaries.record(explained), "video": path, "folder": None if folder is None else str(folder)}

    return each_video(
        options, _folders(options.videos, options.out), explain_one, lambda records: {**facts, "clips": records}
    )


def _check_combinations(options: argparse.Namespace) -> None:
    """Refuse options that exclude each other, or would change nothing, before a model is made."""
    if not options.whole:
        _check_clip(options)
    if options.compare and options.against:
        raise UsageError("--compare is with other classes by itself: leave it out, or leave out --against")
    if options.floor and options.against:
        raise UsageError("--floor is that of a matrix of one class: leave it out, or leave out --against")
    for name, given in (("--floor", options.floor), ("--motion", options.motion)):
        if given and options.where:
            raise UsageError(f"{name} needs all channels: leave it out, or leave out --where")
    if options.rows_at and options.where:
        raise UsageError("--rows-at and --where both choose what relevance flows through: leave out one of them")


def _check_clip(options: argparse.Namespace) -> None:
    """Refuse options that would change nothing of a single clip."""
    arguments.stride_of(options)
    if options.every:
        raise UsageError("--every says which frames of a whole video are taken: it goes with --whole")
    if options.out is not None:
        return
    if options.animate:
        raise UsageError(f"--animate {options.animate} writes a file: say where with --out DIR")
    if options.compare:
        raise UsageError("--compare is for the page: say where to write it with --out DIR")
    if options.theme:
        raise UsageError("--theme is for the pictures: say where to write them with --out DIR")


def _foils(classes_given: Sequence[str], choice: ModelChoice, layout: str) -> str | tuple[int, ...] | None:
    """The classes of --against, by their numbers, or "next"."""
    from lrp3d.commands.labels import find_class
    from lrp3d.commands.number_of_classes import check_classes

    if "next" in classes_given:
        if len(classes_given) > 1:
            raise UsageError("--against next means the best other class: give no further --against")
        return "next"
    classes = tuple(find_class(name, choice.labels) for name in classes_given)
    check_classes(choice, classes, layout, "--against")
    return classes or None


def _folders(videos: Sequence[str], out: Path | None) -> list[Path | None]:
    """Where the results of each video go: `out` itself for one, below it by name for several."""
    if out is None or len(videos) == 1:
        return [out] * len(videos)
    return [out / name for name in unique_names(map(_stem, videos))]


def _stem(path: str) -> str:
    """The name of a video: that of a file without its suffix, of a folder, or of the folder of a template."""
    source = Path(os.path.abspath(path))
    try:
        return (source if source.exists() else source.parent).stem
    except (OSError, ValueError):  # this path has no name; the error comes when it is read
        return source.stem
