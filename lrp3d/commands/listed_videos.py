"""Several videos for one command, given one by one or as a list in any form that studies take."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from lrp3d.commands import DONE, FAILED, UsageError, arguments
from lrp3d.commands.arguments import root_of, stride_of
from lrp3d.commands.each_video import failure
from lrp3d.commands.terminal import complain
from lrp3d.printed import say

if TYPE_CHECKING:
    from torch import Tensor

    from lrp3d import study
    from lrp3d.commands.model_options import ModelChoice
    from lrp3d.video import Clip


class GivenVideo(NamedTuple):
    """A video as it is given or listed."""

    path: str | Path
    label: int | None = None
    """Its class, where a list says it."""


@dataclass
class ListedVideos:
    """Videos, of which some may be missing or broken: those are left out, and named."""

    given: list[GivenVideo]
    options: argparse.Namespace
    notes: tuple[str, ...] = ()
    """One sentence for each decision about which videos are taken."""
    read: list[GivenVideo] = field(default_factory=list)
    """Those that were read so far, in the order of their clips."""
    failed: list[tuple[str, str]] = field(default_factory=list)
    """The paths of others, and why they could not be read."""

    def clips(self, choice: ModelChoice) -> Iterator[tuple[Tensor, int | None]]:
        """The clips one after the other, (1, 3, t, h, w), on the model's device, each with its class.

        Raises:
            ValueError: no video could be read; of a single one the error is its own.
        """
        from lrp3d.transfer import device_of_model

        device = device_of_model(choice.model)
        for video in self.given:
            try:
                clip = self._read(video, choice).tensor
            except Exception as error:
                if len(self.given) == 1:
                    raise
                why = failure(str(video.path), error, self.options)
                complain(why)
                self.failed.append((str(video.path), why))
                continue
            self.read.append(video)
            yield clip.to(device), video.label
        if not self.read:
            raise ValueError(self._none())

    def _none(self) -> str:
        said = f"none of the {len(self.given)} videos could be read"
        if self.options.list is not None and not any(Path(video.path).exists() for video in self.given):
            said += f": {self.options.list} names no file in {root_of(self.options)}; say with --root where they lie"
        return said

    def left_out(self) -> tuple[str, ...]:
        """The note that videos are left out of the results, if any are."""
        if not self.failed:
            return ()
        left = "is" if len(self.failed) == 1 else "are"
        return (f"{len(self.failed)} of {len(self.given)} videos could not be read and {left} left out",)

    def facts(self) -> dict[str, Any]:
        """What json says of the videos."""
        failed = [{"video": path, "error": why} for path, why in self.failed]
        read = [str(video.path) for video in self.read]
        sampling = {"sampling": self.options.sampling, "stride": stride_of(self.options)}
        return {"videos": read, "failed": failed, **sampling}

    def code(self) -> int:
        """The exit code: that something failed if a video did."""
        return FAILED if self.failed else DONE

    def pixels(self, number: int, choice: ModelChoice) -> Tensor:
        """The frames of one clip as they are shown, uint8 RGB (t, h, w, 3)."""
        return self._read(self.read[number], choice).pixels

    def _read(self, video: GivenVideo, choice: ModelChoice) -> Clip:
        from lrp3d.commands import one_clip

        return one_clip.read(video.path, choice, self.options.sampling, stride_of(self.options))


def add_videos(parser: argparse.ArgumentParser, most: int) -> None:
    """Adds the options that name videos."""
    parser.add_argument("videos", nargs="*", metavar="VIDEO", help="a video file, a folder of frames, or a tensor file")
    parser.add_argument(
        "--list", type=arguments.place, metavar="F", help="a list of videos instead, as studies take it"
    )
    parser.add_argument(
        "--root", type=arguments.place, metavar="DIR", help="where the list's videos lie (default: beside it)"
    )
    about = f"use at most N videos (default: {most})"
    parser.add_argument("--clips", type=arguments.positive, default=most, metavar="N", help=about)
    about = "the class to explain, or label: the one that the list says (default: the prediction)"
    parser.add_argument("--target", metavar="CLASS|INDEX|label", help=about)
    arguments.add_sampling(parser)
    arguments.add_dense(parser)


def listed_videos(options: argparse.Namespace, choice: ModelChoice) -> ListedVideos:
    """The videos that the options name; raises UsageError unless there are either videos or a list."""
    from lrp3d import study
    from lrp3d.commands.number_of_classes import check_names, labels_note, number_of_classes

    stride_of(options)  # refuses one that would change nothing
    has_labels = bool(choice.labels)
    few_labels = labels_note(len(choice.labels), number_of_classes(choice, options.layout) if has_labels else None)
    if bool(options.videos) == (options.list is not None):
        raise UsageError("give either videos or --list")
    if options.list is None:
        if options.root is not None:
            raise UsageError("--root says where the videos of --list lie: leave it out, or give --list")
        videos = [GivenVideo(path) for path in options.videos]
        more = f"{len(videos)} videos are given, and the first {options.clips} taken: see --clips"
        notes = (more,) if len(videos) > options.clips else ()
        return ListedVideos(videos[: options.clips], options, (*few_labels, *notes))
    root = root_of(options)
    # Without --target label the list's classes are not used, whatever they are.
    num_classes = number_of_classes(choice, options.layout) if by_label(options) else None
    listed = study.read_list(options.list, labels=choice.labels, limit=options.clips, num_classes=num_classes)
    check_names(listed, choice, num_classes)
    _check_labels(listed, num_classes)
    reader = study.Reader(root)
    given = [GivenVideo(_path(reader, item), item.label) for item in listed.items]
    return ListedVideos(given, options, (*few_labels, *listed.notes))


def _check_labels(listed: study.VideoList, num_classes: int | None) -> None:
    """Refuse a class that the model does not have, naming the clip; None where their number is not known."""
    for item in listed.items:
        if num_classes is not None and item.label is not None and item.label >= num_classes:
            raise UsageError(
                f"--target label: the list says class {item.label} of {item.name}, and the model has classes 0 to "
                f"{num_classes - 1}"
            )


def _path(reader: study.Reader, item: study.Item) -> Path:
    """Where a video of the list is, as studies find it, or where it should be: reading it says that it is not."""
    from lrp3d.video import VideoError

    try:
        return reader.locate(item)
    except VideoError:
        return Path(reader.root, (item.places or (item.name,))[0])


def one_target(options: argparse.Namespace, videos: ListedVideos, choice: ModelChoice) -> int | None:
    """The class that --target means for all videos; None for the prediction, and for the class that the list says."""
    from lrp3d.commands.labels import find_class
    from lrp3d.commands.number_of_classes import check_classes, number_of_logits, refuse_of_lone_logit

    if by_label(options):
        if number_of_logits(choice, options.layout) == 1:
            refuse_of_lone_logit("--target label")
        if any(video.label is None for video in videos.given):
            raise UsageError("--target label: nothing says the class of every video; give a --list that does")
        return None
    if options.target is None:
        return None
    target = find_class(options.target, choice.labels)
    check_classes(choice, [target], options.layout)
    return target


def by_label(options: argparse.Namespace) -> bool:
    """Whether the class that the list says is explained."""
    return bool(options.target == "label")


def add_out(parser: argparse.ArgumentParser) -> None:
    """Adds the option that names the file of the results."""
    about = "write all numbers to this file, as json; a name that ends in .html gives a page instead"
    parser.add_argument("--out", type=arguments.file_to_write, metavar="F", help=about)


def write_file(file: Path | None, facts: dict[str, Any], page: Callable[[], str]) -> None:
    """Write the results of a command as json or as a page, if a file is named; the file is complete or not there."""
    from lrp3d.files import as_json, write_text

    if file is not None:
        is_page = file.suffix.lower() in (".html", ".htm")
        text = page() if is_page else json.dumps(as_json(facts), indent=1, allow_nan=False)
        file.parent.mkdir(parents=True, exist_ok=True)
        write_text(file, text)
        say(f"wrote {file}")
