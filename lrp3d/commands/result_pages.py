"""Pages of commands whose results are about several videos: tables, and clips with their frames, in one file."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from lrp3d.printed import printable

if TYPE_CHECKING:
    from torch import Tensor

    from lrp3d.study.reporting.table_format import Table

SHOWN = 8  # frames of a clip
HEIGHT = 72  # pixels of a frame, at most


class Strip(NamedTuple):
    """A clip, with what is said of it."""

    name: str
    remark: str
    pixels: Tensor
    """uint8 RGB (t, h, w, 3)."""


class Section(NamedTuple):
    """A part of a page: a table."""

    table: Table
    words: Mapping[str, str] = {}
    """What words of the table mean."""
    points: Sequence[str] = ()
    """What the table's title rests on, a sentence each, as a list above the table."""


class Strips(NamedTuple):
    """A part of a page: clips, each below its name."""

    title: str
    strips: Sequence[Strip]


def page_of(title: str, facts: Sequence[str], sections: Sequence[Section | Strips]) -> str:
    """The HTML of a page.

    Args:
        title: its title.
        facts: what holds for all of it, a paragraph each.
        sections: its parts, from top to bottom.
    """
    from lrp3d.figures.pages import fill_template

    body = "".join(f'<p class="quiet">{html.escape(printable(fact))}</p>' for fact in facts)
    body += "".join(_of_strips(part) if isinstance(part, Strips) else _of_table(part) for part in sections)
    return fill_template("lrp3d.study.reporting", "page.html", {"title": html.escape(printable(title)), "body": body})


def _of_table(section: Section) -> str:
    table, words, points = section
    listed = "".join(f"<li>{html.escape(printable(point))}</li>" for point in points)
    listed = f'<ul style="margin: 0 0 12px; padding-left: 20px">{listed}</ul>' if listed else ""
    note = f'<p class="note">{html.escape(printable(table.note))}</p>' if table.note else ""
    note += "".join(
        f'<p class="note"><b>{html.escape(word)}</b>: {html.escape(meaning)}</p>' for word, meaning in words.items()
    )
    heading = f"<h2>{html.escape(printable(table.title))}</h2>"
    return f'<section>{heading}{listed}<div class="scroll">{table.html()}</div>{note}</section>'


def _of_strips(section: Strips) -> str:
    """Every clip's name, and below it its frames with their numbers: what belongs together cannot be parted."""
    clips = "".join(
        '<figure style="margin: 14px 0 0; overflow-wrap: anywhere">'
        f"<figcaption><b>{html.escape(printable(strip.name))}</b> "
        f'<span class="quiet">{html.escape(printable(strip.remark))}</span></figcaption>'
        f'<div style="display: flex; gap: 4px; margin-top: 4px">{_frames(strip)}</div></figure>'
        for strip in section.strips
    )
    return f"<section><h2>{html.escape(printable(section.title))}</h2>{clips}</section>"


def _frames(strip: Strip) -> str:
    t = len(strip.pixels)
    name = html.escape(printable(strip.name))
    return "".join(
        f'<span style="flex: 0 1 auto; min-width: 0; text-align: center; font-size: 12px" class="quiet">'
        f'<img style="margin: 0; border-radius: 3px" src="{picture(strip.pixels[frame])}" '
        f'alt="frame {frame + 1} of {name}">{frame + 1}</span>'
        for frame in (i * (t - 1) // max(1, min(SHOWN, t) - 1) for i in range(min(SHOWN, t)))
    )


def picture(pixels: Tensor) -> str:
    """A frame (h, w, 3) as the address of a JPEG."""
    from lrp3d.extras import missing
    from lrp3d.figures.embedded import address_of

    try:
        from PIL import Image
    except ImportError:
        raise missing("matplotlib", "a page with frames (Pillow, which comes with it)") from None
    image = Image.fromarray(pixels.contiguous().numpy())
    if image.height > HEIGHT:
        image = image.resize((max(1, image.width * HEIGHT // image.height), HEIGHT))
    return address_of(image, "jpeg", quality=85)
