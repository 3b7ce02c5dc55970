"""Pages of commands whose results are about several videos: tables and strips of frames, in one file."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from lrp3d.printed import printable

if TYPE_CHECKING:
    from torch import Tensor

    from lrp3d.study.reporting.table_format import Table

SHOWN = 8  # frames of a strip
HEIGHT = 72  # pixels of a frame in a strip, at most


class Section(NamedTuple):
    """A part of a page: a table, and a strip of frames (or none) for each of its rows."""

    table: Table
    strips: Sequence[Tensor] = ()
    """Frames, uint8 RGB (t, h, w, 3)."""
    words: Mapping[str, str] = {}
    """What words of the table mean."""
    points: Sequence[str] = ()
    """What the table's title rests on, a sentence each, as a list above the table."""


def page_of(title: str, facts: Sequence[str], sections: Sequence[Section]) -> str:
    """The HTML of a page.

    Args:
        title: its title.
        facts: what holds for all of it, a paragraph each.
        sections: its parts, from top to bottom.
    """
    from lrp3d.figures.pages import fill_template

    body = "".join(f'<p class="quiet">{html.escape(printable(fact))}</p>' for fact in facts)
    for table, strips, words, points in sections:
        heading = f"<h2>{html.escape(printable(table.title))}</h2>"
        listed = "".join(f"<li>{html.escape(printable(point))}</li>" for point in points)
        listed = f'<ul style="margin: 0 0 12px; padding-left: 20px">{listed}</ul>' if listed else ""
        note = f'<p class="note">{html.escape(printable(table.note))}</p>' if table.note else ""
        pictures = "".join(
            f'<img style="--wide: {strip.shape[2] * min(SHOWN, len(strip))}px" src="{picture(strip)}" '
            f'alt="frames of row {i + 1}">'
            for i, strip in enumerate(strips)
        )
        note += "".join(
            f'<p class="note"><b>{html.escape(word)}</b>: {html.escape(meaning)}</p>' for word, meaning in words.items()
        )
        body += f'<section>{heading}{listed}<div class="scroll">{table.html()}</div>{pictures}{note}</section>'
    return fill_template("lrp3d.study.reporting", "page.html", {"title": html.escape(printable(title)), "body": body})


def picture(pixels: Tensor) -> str:
    """A strip of frames (t, h, w, 3), evenly spaced, as the address of a JPEG."""
    from lrp3d.extras import missing
    from lrp3d.figures.embedded import address_of

    try:
        from PIL import Image
    except ImportError:
        raise missing("matplotlib", "a page with frames (Pillow, which comes with it)") from None
    t = len(pixels)
    chosen = pixels[[i * (t - 1) // max(1, min(SHOWN, t) - 1) for i in range(min(SHOWN, t))]]
    image = Image.fromarray(chosen.permute(1, 0, 2, 3).flatten(1, 2).contiguous().numpy())
    if image.height > HEIGHT:
        image = image.resize((image.width * HEIGHT // image.height, HEIGHT))
    return address_of(image, "jpeg", quality=85)
