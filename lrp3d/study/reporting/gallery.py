"""The gallery of a study's clips: a small heat map and the numbers of each, and where the page of each is."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import quote

import numpy as np
import torch
from torch import Tensor

from lrp3d.figures.colours import colormap, limit_of
from lrp3d.figures.embedded import data_address
from lrp3d.figures.thumbnail import LARGEST, reduced, thumbnail
from lrp3d.metrics.aggregation import mean_matrix
from lrp3d.study.reporting.study_clips import ENDS, ORDERS, StudyClip, by_importance
from lrp3d.study.reporting.table_format import Table, Value, in_html
from lrp3d.study.running.records import Record

__all__ = ["Gallery", "ReadRecord", "gallery"]

MOST = 600  # clips of a gallery
QUANTILE = 0.999  # of all values of a gallery: where the colours end
FIRST = 24  # clips that are seen until a reader asks for more

ReadRecord = Callable[[int], Record]
"""Returns the record of a clip by its number, as `lrp3d.study.Study.record` does."""


@dataclass(frozen=True)
class Gallery:
    """Some clips of a study, each with a picture of its matrix."""

    name: str
    title: str
    place: str
    """The id of the gallery in the page; those of its clips begin with it."""
    clips: Sequence[StudyClip]
    """From the greatest logit to the least."""
    pictures: Mapping[int, bytes]
    """The matrix of each of these clips, as PNG."""
    shape: tuple[int, int]
    """Of a matrix."""
    limit: float
    """Where the colours end."""
    signed: bool
    of: int
    """How many clips the study has."""
    outstanding: Sequence[tuple[str, StudyClip]] = ()
    """Why some of these clips stand out, and which."""
    pages: Mapping[int, Path] = field(default_factory=dict)
    data: Table | None = None
    """The numbers of all clips of the study."""

    @property
    def note(self) -> str:
        """Says which clips are shown, and what their colours mean."""
        shown = len(self.clips)
        if shown == self.of:
            clips = "The study's only clip is" if shown == 1 else f"All {shown} clips of the study are"
            selection = f"{clips} on this page."
        else:
            selection = (
                f"{shown} of the study's {self.of} clips are on this page: up to {ENDS} from both ends of each order, "
                "up to two of each class, and others evenly spread between. The csv has the numbers of all."
            )
        rows, columns = self.shape
        blocks = f" Each cell is the mean of a block of the {rows} x {columns} matrix." * (max(self.shape) > LARGEST)
        return (
            f"{selection} Rows of a matrix are explained frames, columns the frames that contribute; a clip is divided "
            f"by the sum of its positive frame logits. All clips have the same colours.{blocks}"
        )

    def link(self, clip: StudyClip) -> str:
        """Returns where a clip is in the page; nothing if it is not there."""
        return f"#{self.place}-{clip.number}" if clip.number in self.pictures else ""

    def link_of_class(self, index: int) -> str:
        """Returns where the clips of a class are in the page; nothing if there are none."""
        return f"#{self.place}-class-{index}" if any(clip.group == index for clip in self.clips) else ""

    def link_of_mistakes(self) -> str:
        """Returns where the clips are that are predicted wrongly; nothing if there are none."""
        return f"#{self.place}-wrong" if any(clip.right is False for clip in self.clips) else ""

    def html(self, folder: str | Path | None = None) -> str:
        """Returns the gallery as HTML.

        Args:
            folder: where the page will be; links to the pages of clips are relative to it.
        """
        first_of: dict[str, int] = {}  # the first clip of a class, or that is wrong, is where links to all of them lead
        for clip in self.clips:
            first_of.setdefault(f"class-{clip.group}", clip.number)
            if clip.right is False:
                first_of.setdefault("wrong", clip.number)
        items = "".join(
            self._item(clip, [mark for mark, number in first_of.items() if number == clip.number], folder)
            for clip in self.clips
        )
        rows, columns = self.shape
        tall = max(rows, -(-columns // 2))  # a few rows are taller
        orders = ",".join(ORDERS)
        return (
            f'<div class="gallery" id="{self.place}" data-orders="{orders}" data-shown="{FIRST}" data-of="{self.of}" '
            f'style="--shape:{columns}/{tall}">{self._legend()}<ol class="clips">{items}</ol></div>'
        )

    def _item(self, clip: StudyClip, marks: Sequence[str], folder: str | Path | None) -> str:
        """A clip, with the ids to which links to several clips lead."""
        numbers = {"logit": clip.logit, "avg": clip.avg_atr, "max": clip.max_atr, "right": _truth(clip.right)}
        data = "".join(f' data-{name}="{value:.5g}"' for name, value in numbers.items() if value is not None)
        anchors = "".join(f'<span id="{self.place}-{mark}"></span>' for mark in marks)
        picture = data_address(self.pictures[clip.number])
        cells = "".join(
            f"<i>{'–' if value is None else f'{value:{form}}'}</i>"
            for value, form in ((clip.logit, ".3g"), (clip.avg_atr, ".2f"), (clip.max_atr, ".0f"))
        )
        name = in_html(clip.name)
        if clip.number in self.pages:
            name = f'<a href="{_address(self.pages[clip.number], folder)}">{name}</a>'
        verdict = {
            True: "predicted correctly",
            False: f"predicted: {clip.predicted}",
            None: f"predicted: {clip.predicted}",
        }
        wrong = ' class="wrong"' if clip.right is False else ""
        uncounted = "" if clip.counted else "<span>does not count</span>"
        return (
            f'<li id="{self.place}-{clip.number}" data-class="{clip.group}"{data} tabindex="-1">{anchors}'
            f'<img alt="Relevance matrix" src="{picture}">'
            f"<b>{in_html(clip.class_name if clip.known else 'class unknown')}</b>"
            f"<span{wrong}>{in_html(verdict[clip.right])}</span>"
            f'<span class="numbers">{cells}</span>{uncounted}<span class="name">{name}</span></li>'
        )

    def _legend(self) -> str:
        ramp = ", ".join(_hex(colour) for colour in colormap(self.signed)(np.linspace(0, 1, 9)))
        low = f"−{100 * self.limit:.2g} %" if self.signed else "0"
        return (
            f'<p class="legend note"><span>{low}</span><i style="background:linear-gradient(to right, {ramp})"></i>'
            f"<span>{100 * self.limit:.2g} % of the clip’s relevance, or more, in one cell</span></p>"
        )


def gallery(
    clips: Sequence[StudyClip],
    read: ReadRecord,
    outstanding: Sequence[tuple[str, StudyClip]],
    room: int,
    *,
    name: str,
    title: str,
    place: str,
    pages: Mapping[int, Path] | None = None,
) -> Gallery:
    """Makes a gallery of as many clips as there is room for.

    Args:
        clips: all clips of the study.
        read: reads the record of a clip.
        outstanding: why some clips stand out, and which; they are shown before all others.
        room: bytes that the clips may take.
        name: the name of its files.
        title: what stands above.
        place: its id in the page.
        pages: the page of each clip that has one.
    """
    wanted = by_importance(clips, [clip for _, clip in outstanding])[:MOST]
    matrices = {clip.number: _relative(read(clip.number).matrix) for clip in wanted}
    shape = matrices[wanted[0].number].shape
    small = {number: reduced(matrix) for number, matrix in matrices.items()}
    values = torch.stack(list(small.values())).numpy()
    limit, signed = limit_of(values, QUANTILE), bool(values.min() < 0)
    pictures = {number: thumbnail(matrix, limit, signed) for number, matrix in small.items()}
    data = _table(name, title, clips)
    whole = Gallery(
        name,
        title,
        place,
        wanted,
        pictures,
        (shape[0], shape[1]),
        limit,
        signed,
        len(clips),
        outstanding,
        pages or {},
        data,
    )
    kept = []
    for clip in wanted:
        room -= len(whole._item(clip, [f"class-{clip.group}"], None).encode())
        if room < 0:
            break
        kept.append(clip)
    return replace(
        whole,
        clips=sorted(kept, key=ORDERS["logit"]),
        pictures={clip.number: pictures[clip.number] for clip in kept},
    )


def _relative(matrix: Tensor) -> Tensor:
    """A matrix as the mean heat maps of a study count it; 0 where the clip has no relevance."""
    return mean_matrix(matrix[None]).nan_to_num(0.0)


def _table(name: str, title: str, clips: Sequence[StudyClip]) -> Table:
    headers = ["number", "clip", "class", "class number", "predicted", "explained", "correct", "counted", "logit"]
    headers += ["score", "avg-ATR", "max-ATR"]
    rows = [
        [
            clip.number,
            clip.name,
            clip.class_name if clip.known else "",
            clip.group if clip.known else "",
            clip.predicted,
            clip.explained,
            "" if clip.right is None else int(clip.right),
            int(clip.counted),
            *(Value(number) for number in (clip.logit, clip.score, clip.avg_atr, clip.max_atr)),
        ]
        for clip in clips
    ]
    return Table(name, title, headers, rows)


def _truth(right: bool | None) -> float | None:
    return None if right is None else float(right)


def _address(page: Path, folder: str | Path | None) -> str:
    """A page as a link: relative to a folder, or from the root where the two have nothing in common."""
    absolute = os.path.abspath(page)
    if folder is None:
        return Path(absolute).as_uri()
    try:
        return quote(os.fsencode(Path(os.path.relpath(absolute, os.path.abspath(folder))).as_posix()))
    except ValueError:  # on another drive
        return Path(absolute).as_uri()


def _hex(colour: Sequence[float]) -> str:
    return "#" + "".join(f"{round(255 * part):02x}" for part in colour[:3])
