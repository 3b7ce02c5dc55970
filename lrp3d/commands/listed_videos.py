"""Several videos for one command, given one by one or as a list in any form that studies take."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
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
    """Videos, and what is known about their classes."""

    paths: list[str | Path]
    labels: list[int | None]
    """The class of each video of a list; empty without a list."""
    notes: tuple[str, ...] = ()
    """One sentence for each decision made while reading the list."""

    def clips(self, choice: ModelChoice) -> Iterator[Tensor]:
        """The clips one after the other, (1, 3, t, h, w), on the model's device."""
        import torch

        from lrp3d.commands import one_clip

        device = next((parameter.device for parameter in choice.model.parameters()), torch.device("cpu"))
        for path in self.paths:
            yield one_clip.read(path, choice).tensor.to(device)

    def pixels(self, number: int, choice: ModelChoice) -> Tensor:
        """The frames of one clip as they are shown, uint8 RGB (t, h, w, 3)."""
        from lrp3d.commands import one_clip

        return one_clip.read(self.paths[number], choice).pixels


def add_videos(parser: argparse.ArgumentParser, most: int) -> None:
    """Adds the options that name videos."""
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
    """The videos that the options name; raises UsageError unless there are either videos or a list."""
    from lrp3d import study
    from lrp3d.commands.number_of_classes import check_names, number_of_classes

    if bool(options.videos) == (options.list is not None):
        raise UsageError("give either videos or --list")
    if options.list is None:
        return ListedVideos(list(options.videos[: options.clips]), [])
    by_label = options.target == "label"  # else the list's classes are not used, whatever they are
    num_classes = number_of_classes(choice, options.layout) if by_label else None
    listed = study.read_list(options.list, labels=choice.labels, limit=options.clips, num_classes=num_classes)
    check_names(listed, choice, num_classes)
    root = options.root or (options.list if options.list.is_dir() else options.list.parent)
    paths: list[str | Path] = [_video_file(root, item.name, item.places) for item in listed.items]
    return ListedVideos(paths, [item.label for item in listed.items], listed.notes)


def targets(options: argparse.Namespace, videos: ListedVideos, choice: ModelChoice) -> int | list[int] | None:
    """What --target means for each video: the class in the list, one class for all, or None for the prediction."""
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


def add_out(parser: argparse.ArgumentParser) -> None:
    """Adds the option that names the file of the results."""
    about = "write all numbers to this file, as json; a name that ends in .html gives a page instead"
    parser.add_argument("--out", type=arguments.file_to_write, metavar="F", help=about)


def write_file(file: Path | None, facts: dict[str, Any], page: Callable[[], str]) -> None:
    """Write the results of a command as json or as a page, if a file is named; the file is complete or not there."""
    from lrp3d.files import as_json, replacing

    if file is not None:
        is_page = file.suffix.lower() in (".html", ".htm")
        text = page() if is_page else json.dumps(as_json(facts), indent=1, allow_nan=False)
        with replacing(file) as temporary:
            temporary.write_text(text, encoding="utf-8")
        say(f"wrote {file}")


def _video_file(root: Path, name: str, places: tuple[str, ...]) -> Path:
    """The path of a video of the list, whether the list gives its suffix or not."""
    for place in places or (name,):
        path = root / place
        if path.exists():
            return path
        if beside := sorted(path.parent.glob(f"{path.name}.*")):
            return beside[0]
    raise ValueError(f"{name} of the list is not in {root}; say with --root where its videos lie")
