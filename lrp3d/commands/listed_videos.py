"""Several videos for one command: named one by one, or by a list as studies take it."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lrp3d.commands import UsageError, arguments
from lrp3d.printed import say

if TYPE_CHECKING:
    from torch import Tensor

    from lrp3d.commands.model_options import ModelChoice


@dataclass
class ListedVideos:
    """Videos, and what is known of their classes."""

    paths: list[str | Path]
    labels: list[int | None]
    """Of each video of a list; empty without one."""

    def clips(self, choice: ModelChoice) -> Iterator[Tensor]:
        """One after the other, (1, 3, t, h, w), where the model is."""
        import torch

        from lrp3d.commands import one_clip

        device = next((parameter.device for parameter in choice.model.parameters()), torch.device("cpu"))
        for path in self.paths:
            yield one_clip.read(path, choice).tensor.to(device)


def add_videos(parser: argparse.ArgumentParser, most: int) -> None:
    """The options that name videos."""
    parser.add_argument("videos", nargs="*", metavar="VIDEO", help="a video file, a folder of frames, or a tensor file")
    parser.add_argument(
        "--list", type=arguments.place, metavar="F", help="a list of videos instead, as studies take it"
    )
    parser.add_argument(
        "--root", type=arguments.place, metavar="DIR", help="where the list's videos lie (default: beside it)"
    )
    about = f"at most (default: {most})"
    parser.add_argument("--clips", type=arguments.positive, default=most, metavar="N", help=about)
    about = "the class to explain, or label: the one that the list says (default: the prediction)"
    parser.add_argument("--target", metavar="CLASS|INDEX|label", help=about)


def listed_videos(options: argparse.Namespace, choice: ModelChoice) -> ListedVideos:
    """The videos that the options name; raises UsageError where they name none, or say it twice."""
    from lrp3d import study

    if bool(options.videos) == (options.list is not None):
        raise UsageError("give videos or --list, one of them")
    if options.list is None:
        return ListedVideos(list(options.videos[: options.clips]), [])
    num_classes = getattr(choice.model, "num_classes", None)
    listed = study.read_list(
        options.list,
        labels=choice.labels,
        limit=options.clips,
        num_classes=num_classes if isinstance(num_classes, int) else None,
    )
    root = options.root or (options.list if options.list.is_dir() else options.list.parent)
    paths: list[str | Path] = [_video_file(root, item.name, item.places) for item in listed.items]
    return ListedVideos(paths, [item.label for item in listed.items])


def targets(options: argparse.Namespace, videos: ListedVideos, choice: ModelChoice) -> int | list[int] | None:
    """What --target says of each video: its own class, one for all, or nothing."""
    from lrp3d.commands.labels import check_target, find_class

    if options.target == "label":
        classes = [label for label in videos.labels if label is not None]
        if len(classes) < len(videos.paths) or not classes:
            raise UsageError("--target label: nothing says the class of every video; give a --list that does")
        return classes
    if options.target is None:
        return None
    target = find_class(options.target, choice.labels)
    check_target(target, choice)
    return target


def write_numbers(file: Path | None, facts: dict[str, Any]) -> None:
    """Write what a command found as json, whole or not at all, where a file is named."""
    from lrp3d.files import replacing

    if file is not None:
        with replacing(file) as temporary:
            temporary.write_text(json.dumps(facts, indent=1), encoding="utf-8")
        say(f"wrote {file}")


def _video_file(root: Path, name: str, places: tuple[str, ...]) -> Path:
    """Where a video of the list lies, with or without its suffix."""
    for place in places or (name,):
        path = root / place
        if path.exists():
            return path
        if beside := sorted(path.parent.glob(f"{path.name}.*")):
            return beside[0]
    raise ValueError(f"{name} of the list is not in {root}; say with --root where its videos lie")
