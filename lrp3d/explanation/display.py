"""How an explanation is shown: as a figure, and as a piece of HTML in notebooks."""

from __future__ import annotations

import struct
import zlib
from functools import partial
from html import escape
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from lrp3d.explanation.rows_wording import column_unit, row_axis, row_quantity
from lrp3d.explanation.wording import amount, amount_words, conservation_words, subject
from lrp3d.figures import matrix_heatmap
from lrp3d.figures.canvas import NORMAL, SMALL, canvas, colour_bar, fit, room, ticks, write
from lrp3d.figures.colours import DIVERGING, SEQUENTIAL_ANCHORS, scale, theme
from lrp3d.figures.embedded import data_address
from lrp3d.metrics.atr import frame_windows
from lrp3d.printed import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from lrp3d.explanation.explanation import Explanation

SHOWN = 4  # number of clips of a batch that are shown


def plot(explanation: Explanation, clip: int, ax: Axes | None, title: str | None, footnote: str | None) -> Figure:
    """Draws the picture of `Explanation.plot`."""
    clips = len(explanation.logits)
    if not -clips <= clip < clips:
        raise IndexError(f"there is no clip {clip} in an explanation of {clips}")
    title = title or f"{subject(explanation, clip)}, {amount_words(explanation, clip)}"
    if explanation.matrix is not None:
        matrix = explanation.matrix[clip]
        windows = frame_windows(matrix, explanation.sigma, explanation.positions)
        positions, unit = explanation.positions, column_unit(explanation)
        label, rows = f"relevance ({row_quantity(explanation, clip)})", row_axis(explanation)
        draw = partial(matrix_heatmap, matrix, label=label, windows=windows, positions=positions, unit=unit, rows=rows)
        return draw(ax=ax, title=title, footnote=footnote)
    if explanation.frame_relevance is not None:
        return _bars(explanation, clip, ax, title, footnote)
    return _image(explanation, clip, ax, title, footnote)


def _bars(explanation: Explanation, clip: int, ax: Axes | None, title: str, footnote: str | None) -> Figure:
    """A bar for each frame's relevance."""
    assert explanation.frame_relevance is not None
    relevance = explanation.frame_relevance[clip]
    figure, axes = canvas(ax, 4.6, 2.6 + room(title, footnote, 4.6))
    axes.bar(range(1, len(relevance) + 1), relevance.tolist(), color=theme().window)
    axes.set_xticks(ticks(len(relevance)))
    axes.set_xlabel("frame", fontsize=NORMAL)
    axes.set_ylabel(f"relevance ({amount(explanation, clip)[1]})", fontsize=NORMAL)
    axes.tick_params(labelsize=SMALL)
    axes.spines[["top", "right"]].set_visible(False)
    write(axes, title, footnote)
    return figure


def _image(explanation: Explanation, clip: int, ax: Axes | None, title: str, footnote: str | None) -> Figure:
    """The relevance of every pixel of an image, summed over colour channels."""
    relevance = explanation.relevance
    values = (relevance if isinstance(relevance, Tensor) else relevance[0])[clip].double().cpu()
    values = values.sum(0) if values.dim() == 3 else values.reshape(-1, values.shape[-1])
    figure, axes = canvas(ax, 4.2, 3.6 + room(title, footnote, 4.2))
    image = axes.imshow(values.numpy(), interpolation="nearest", **scale(values.numpy()))
    colour_bar(image, f"relevance ({amount(explanation, clip)[1]})", ax=axes, shrink=0.85)
    axes.set_xlabel("pixel", fontsize=NORMAL)
    axes.set_ylabel("pixel", fontsize=NORMAL)
    axes.tick_params(labelsize=SMALL)
    write(axes, title, footnote)
    if ax is None:
        fit(figure)
    return figure


def html(explanation: Explanation) -> str:
    """A small table of headline numbers, and the matrix of each of the first clips."""
    clips = len(explanation.logits)
    temporal = explanation.matrix is not None
    head = [
        "clip",
        "class",
        "logit",
        "conserved",
        *(["avg-ATR", "max-ATR", "relevance matrix"] if temporal else []),
    ]
    rows = "".join(f"<tr>{_cells(_row(explanation, clip))}</tr>" for clip in range(min(clips, SHOWN)))
    kind = "contrastive LRP" if explanation.contrastive else "plain LRP"
    more = f"<div>and {clips - SHOWN} more</div>" if clips > SHOWN else ""
    about = "".join(
        f"<div>{escape(printable(name))}: {escape(printable(value))}</div>" for name, value in explanation.about.items()
    )
    return (
        f"<div><div><b>Explanation</b> of {clips} clip{'s' if clips != 1 else ''}, {kind}</div>"
        f"<table><thead><tr>{''.join(f'<th>{name}</th>' for name in head)}</tr></thead>"
        f"<tbody>{rows}</tbody></table>{more}{about}</div>"
    )


def _cells(cells: list[str]) -> str:
    return "".join(f'<td style="vertical-align:top">{cell}</td>' for cell in cells)


def _row(explanation: Explanation, clip: int) -> list[str]:
    cells = [
        str(clip),
        subject(explanation, clip, str),
        f"{amount(explanation, clip)[0]:.4g}",
        conservation_words(float(explanation.conservation[clip])),
    ]
    if explanation.matrix is None or explanation.avg_atr is None or explanation.max_atr is None:
        return cells
    rows, columns = explanation.matrix.shape[1:]
    side = max(8, min(24, 192 // columns))
    picture = data_address(png(explanation.matrix[clip]))
    row = "frame logits" if explanation.rows_at is None else f"time steps of {escape(explanation.rows_at)}"
    words = f"relevance of {columns} frames (from left to right) for {rows} {row} (from top to bottom)"
    return [
        *cells,
        f"{explanation.avg_atr[clip]:.2f} of {columns} {explanation.unit}",
        f"{explanation.max_atr[clip]:.0f}",
        f'<img alt="{words}" title="{words}; lighter is more" width="{side * columns}" '
        f'height="{side * rows}" style="image-rendering:pixelated" src="{picture}">',
    ]


def png(values: Tensor, top: float | None = None, signed: bool | None = None) -> bytes:
    """A PNG with one pixel for each value (h, w), on a scale from 0 to `top`, or centred on 0 for both signs.

    Args:
        values: what is drawn.
        top: where the scale ends; by default at the greatest size of a value.
        signed: whether the scale is centred on 0, as it is by default where a value is below 0.
    """
    colours = _colours(values.detach().double().cpu(), top, signed).numpy()
    height, width = values.shape
    lines = b"".join(b"\0" + line.tobytes() for line in colours)

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")


def _colours(values: Tensor, top: float | None = None, signed: bool | None = None) -> Tensor:
    """Uint8 RGB (h, w, 3), interpolated between the colours above."""
    values = values.nan_to_num(0.0, 0.0, 0.0)
    signed = bool(values.min() < 0) if signed is None else signed
    named = DIVERGING if signed else SEQUENTIAL_ANCHORS
    anchors = torch.tensor([list(bytes.fromhex(colour[1:])) for colour in named], dtype=torch.float64, device="cpu")
    greatest = float(values.abs().max()) if top is None else top
    share = values / max(greatest, torch.finfo(torch.float64).tiny)
    place = ((share + 1) / 2 if signed else share) * (len(anchors) - 1)
    below = place.floor().long().clamp(max=len(anchors) - 2)
    weight = (place - below).unsqueeze(-1)
    return ((1 - weight) * anchors[below] + weight * anchors[below + 1]).round().to(torch.uint8)
