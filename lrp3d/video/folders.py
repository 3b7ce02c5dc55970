"""Videos that are folders of images."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

from torch import Tensor

from lrp3d.video.pixels import Framing
from lrp3d.video.pyav import import_av, limit_pixels, open_container, to_array
from lrp3d.video.source import Choose, Source, VideoError, stand_ins

IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm"}


def template_pattern(template: str) -> re.Pattern | None:
    """What ``img_%05d.jpg`` or ``img_{:05}.jpg`` matches; None for a name without a number."""
    parts = re.split(r"%0?(\d*)d|\{:0?(\d*)d?\}", template)
    if len(parts) != 4:
        return None
    before, percent, brace, after = parts
    digits = percent or brace or "1"
    return re.compile(f"{re.escape(before)}(\\d{{{digits},}}){re.escape(after)}")


def read_folder(folder: Path, template: str | None, choose: Choose, framing: Framing) -> Source:
    """The chosen images of a folder; raises VideoError if there are none."""
    av = import_av()
    files, lost = _list_images(folder, template)
    asked = choose(len(files))
    read: dict[int, Tensor | None] = {}

    def image(index: int) -> Tensor | None:
        if index not in read:
            read[index] = _read_image(av, files[index], framing)
        return read[index]

    shown = []
    for wanted in asked:
        nearest = sorted(range(len(files)), key=lambda index: (abs(index - wanted), index))
        index = next((index for index in nearest if image(index) is not None), None)
        if index is None:
            raise VideoError(f"no image in {folder.name} decodes")
        shown.append(index)
    images = [found for index in shown if (found := image(index)) is not None]
    lost += stand_ins(asked, shown, folder.name)
    return Source(images, shown, len(files), [math.nan] * len(shown), lost=lost)


def _list_images(folder: Path, template: str | None) -> tuple[list[Path], list[str]]:
    """The frames of a folder in order, and the sentence about numbers that are missing."""
    if template is None:
        files = [file for file in folder.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES]
        if not files:
            raise VideoError(f"there are no images in {folder}")
        by_number = [[int(part) if part.isdigit() else part for part in re.split(r"(\d+)", f.name)] for f in files]
        return [file for _, file in sorted(zip(by_number, files, strict=True))], []
    pattern = template_pattern(template)
    if pattern is None:
        raise VideoError(f"{template} names no frame number: a template is like img_%05d.jpg or img_{{:05}}.jpg")
    matches = [(match, file) for file in folder.iterdir() if (match := pattern.fullmatch(file.name))]
    if not matches:
        raise VideoError(f"there are no images {template} in {folder}")
    numbered = {int(match.group(1)): file for match, file in matches}
    missing = sorted(set(range(min(numbered), max(numbered))) - set(numbered))
    told = ", ".join(map(str, missing[:8])) + (", ..." if len(missing) > 8 else "")
    lost = [f"{folder.name} has no frame {told}: its neighbours follow each other"] if missing else []
    return [numbered[number] for number in sorted(numbered)], lost


def _read_image(av: Any, file: Path, framing: Framing) -> Tensor | None:
    """The image as a frame of the clip, or None if it does not decode."""
    try:
        with open_container(file) as container:
            stream = container.streams.video[0]
            limit_pixels(stream, err_detect="explode")
            frame = next(iter(container.decode(stream)), None)
            image = None if frame is None or frame.is_corrupt else to_array(frame)
    except (av.error.FFmpegError, OSError, ValueError, IndexError, AttributeError, MemoryError):
        return None
    return None if image is None else framing(image)
