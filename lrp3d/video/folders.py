"""Reads videos that are folders of images."""

from __future__ import annotations

import math
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

from torch import Tensor

from lrp3d.filenames import extension
from lrp3d.printed import few
from lrp3d.video.losses import MOST, Losses, stretch
from lrp3d.video.pixels import Framing
from lrp3d.video.pyav import import_av, limit_pixels, open_container, to_array
from lrp3d.video.source import Choose, Source, VideoError, chosen_frames

_NOT_OURS = {"__MACOSX", "@eaDir", "$RECYCLE.BIN", "System Volume Information", "lost+found"}
# Images of other kinds that data sets keep in the same folder as their frames.
_BESIDE = re.compile(r"(flow|optical|depth|mask|seg|thumb|[xyuv]_?#)", re.IGNORECASE)
_USUAL = "img_#"  # how tools that extract frames for action recognition name the images
IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm"}


def template_pattern(template: str) -> re.Pattern[str] | None:
    """The pattern for names like ``img_%05d.jpg`` or ``img_{:05}.jpg``; None for a template without a number."""
    parts = re.split(r"%0?(\d*)d|\{:0?(\d*)d?\}", template)
    if len(parts) != 4:
        return None
    before, percent, brace, after = parts
    digits = percent or brace or "1"
    return re.compile(f"{re.escape(before)}(\\d{{{digits},}}){re.escape(after)}")


def read_folder(folder: Path, template: str | None, choose: Choose, framing: Framing) -> Source:
    """The chosen images of a folder; raises VideoError if there are none."""
    av = import_av()
    files, notes, lost = list_images(folder, template)
    chosen_indices = chosen_frames(choose, len(files), folder.name)
    read: dict[int, Tensor | None] = {}

    def image(index: int) -> Tensor | None:
        if index not in read:
            read[index] = _read_image(av, files[index], framing)
        return read[index]

    shown = []
    for wanted in chosen_indices:
        nearest = sorted(range(len(files)), key=lambda index: (abs(index - wanted), index))
        index = next((index for index in nearest if image(index) is not None), None)
        if index is None:
            raise VideoError(f"no image in {folder.name} decodes")
        shown.append(index)
    images = [picture for index in shown if (picture := image(index)) is not None]
    losses = Losses.of_frames(folder.name, chosen_indices, shown, lost)
    return Source(images, shown, len(files), [math.nan] * len(shown), losses=losses, notes=notes)


def is_hidden(path: Path) -> bool:
    """Whether a file or folder is hidden or made by the operating system, such as ``._x.jpg`` of macOS."""
    return path.name.startswith(".") or path.name in _NOT_OURS


def list_images(folder: Path, template: str | None) -> tuple[list[Path], list[str], list[str]]:
    """The frames of a folder in order, sentences about decisions, and sentences about missing frames."""
    present = [entry for entry in folder.iterdir() if entry.is_file() and not is_hidden(entry)]
    if template is None:
        files, notes = _one_series([file for file in present if extension(file) in IMAGE_SUFFIXES], folder)
        return files, *_with_steps(notes, _numbers(files), folder)
    pattern = template_pattern(template)
    if pattern is None:
        raise VideoError(f"{template} names no frame number: a template is like img_%05d.jpg or img_{{:05}}.jpg")
    matches = sorted((int(match.group(1)), file) for file in present if (match := pattern.fullmatch(file.name)))
    if not matches:
        raise VideoError(f"there are no images {template} in {folder}")
    return [file for _, file in matches], *_with_steps([], [number for number, _ in matches], folder)


def _one_series(files: list[Path], folder: Path) -> tuple[list[Path], list[str]]:
    """The images of one series in the order of the numbers in their names, and a sentence about the other images."""
    if not files:
        raise VideoError(f"there are no images in {folder}")
    series: dict[str, list[Path]] = {}
    for file in files:
        series.setdefault(re.sub(r"\d+", "#", file.stem), []).append(file)
    numbered = [stem for stem in series if "#" in stem]
    if not numbered:
        sentences = [f"the images of {folder.name} have no numbers and are taken by name"] if len(files) > 1 else []
        return sorted(files, key=lambda file: file.name), sentences
    pictures = [stem for stem in numbered if not _BESIDE.match(stem)] or numbered
    if _USUAL in pictures:
        pictures = [_USUAL]
    if len(pictures) > 1:
        examples = few((series[stem][0].name for stem in sorted(pictures)), 4)
        raise VideoError(
            f"{folder.name} holds several series of images ({examples}): give a template such as img_{{:05}}.jpg"
        )
    chosen = series[pictures[0]]
    others = sorted(file.name for file in files if file not in chosen)
    sentences = [f"{len(others)} other images of {folder.name} are not read, such as {others[0]}"] if others else []
    order = sorted(chosen, key=lambda file: ([int(part) for part in re.findall(r"\d+", file.stem)], file.name))
    return order, sentences


def _numbers(files: list[Path]) -> list[int]:
    """The numbers of frames, if exactly one number in their names changes; else an empty list."""
    parts = [tuple(int(part) for part in re.findall(r"\d+", file.stem)) for file in files]
    columns = [column for column in zip(*parts, strict=False) if len(set(column)) > 1]
    if not columns and len(files) > 1 and parts[0]:
        columns = list(zip(*parts, strict=False))[-1:]  # all names have the same number
    return list(columns[0]) if len(columns) == 1 else []


def _with_steps(notes: list[str], numbers: list[int], folder: Path) -> tuple[list[str], list[str]]:
    """The notes, with one more if frames are numbered in steps, and a sentence about missing frames.

    Raises:
        VideoError: two images have the same number.
    """
    repeated = [after for before, after in pairwise(numbers) if before == after]
    if repeated:
        raise VideoError(
            f"{folder.name} has several images with the number {repeated[0]}: give a template, or remove one"
        )
    steps = {after - before for before, after in pairwise(numbers)}
    if len(steps) == 1 and (step := steps.pop()) > 1 and len(numbers) > 2:
        return [*notes, f"the frames of {folder.name} are numbered in steps of {step} and follow each other"], []
    gaps = [(before + 1, after - 1) for before, after in pairwise(numbers) if after > before + 1]
    missing = few([stretch(first, last) for first, last in gaps], MOST)
    single = len(gaps) == 1 and gaps[0][0] == gaps[0][1]
    frames, whose = (f"frame {missing}", "its") if single else (f"frames {missing}", "their")
    return notes, [f"{folder.name} has no {frames}: {whose} neighbours follow each other"] if gaps else []


# FFmpeg's decoder of TIFF takes every tag that it does not know for damage, also those that FFmpeg writes. A file that
# breaks off lacks the list of its pieces, which stands at the end, and does not decode in any case.
_DAMAGE = {".tif": "bitstream+buffer", ".tiff": "bitstream+buffer"}


def _read_image(av: Any, file: Path, framing: Framing) -> Tensor | None:
    """The image as a frame of the clip, or None if it does not decode."""
    try:
        with open_container(file) as container:
            stream = container.streams.video[0]
            limit_pixels(stream, err_detect=_DAMAGE.get(file.suffix.lower(), "explode"))
            frame = next(iter(container.decode(stream)), None)
            image = None if frame is None or frame.is_corrupt else to_array(frame)
    except (av.error.FFmpegError, OSError, ValueError, IndexError, AttributeError, MemoryError):
        return None
    return None if image is None else framing(image)
