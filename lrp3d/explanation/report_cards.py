"""The cards of a clip's page that need no script: matrices beside each other, with their scales, and channels."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from lrp3d.explanation.display import png
from lrp3d.explanation.explanation import Explanation
from lrp3d.explanation.rows_wording import above_floor, column_unit, row_axis, row_quantity
from lrp3d.explanation.wording import is_part, motion_words, shares_of_channels
from lrp3d.figures.colours import DIVERGING, SEQUENTIAL_ANCHORS
from lrp3d.figures.embedded import data_address
from lrp3d.figures.heatmap import COLUMNS, ROWS
from lrp3d.printed import printable

__all__ = ["cards", "escaped", "sentence"]

FAINT = 0.2  # of the strongest cell: a matrix with weaker cells alone is drawn once more, in stronger colours


def cards(explanation: Explanation, clip: int, random_weights: bool) -> str:
    """All cards that there is something to say in."""
    return _floor(explanation, clip, random_weights) + _motion(explanation, clip) + _inside(explanation, clip)


def escaped(text: object) -> str:
    """Escapes a name for the text of the page."""
    return html.escape(printable(text))


def sentence(text: str) -> str:
    """Escapes a remark, as a sentence with a capital and a full stop."""
    first = text.partition(" ")[0]
    begun = text[:1].upper() + text[1:] if first.isalpha() and first.islower() else text  # a file keeps its name
    return escaped(begun + ("" if text.endswith(".") else "."))


class _Panel(NamedTuple):
    """A matrix in a card."""

    name: str
    remark: str
    values: Tensor


def _floor(explanation: Explanation, clip: int, random_weights: bool) -> str:
    """A card with the matrix, its floor and what is above it, side by side."""
    if explanation.matrix is None or explanation.floor is None or explanation.excess is None:
        return ""
    matrix, floor = explanation.matrix[clip].double().cpu(), explanation.floor[clip].double().cpu()
    panels = [_Panel("this network", "", matrix), _Panel("untrained", "", floor)]
    is_counted = matrix.sum(1, keepdim=True) > 0  # as in `lrp3d.excess_span`
    if bool(is_counted.any()):
        share = f"{100 * float(explanation.excess.share[clip]):.0f} % of the relevance"
        panels.append(_Panel("above it", share, torch.where(is_counted, matrix - floor, 0.0).clamp(min=0)))
    what = "Only relevance above that can come from training."
    if random_weights:
        what = "The network explained here is untrained, too: the two differ by the draw of their weights alone."
    return (
        '<section class="card" id="floor"><h2>What comes from the architecture alone</h2>'
        '<p class="hint">An untrained network of this architecture spreads relevance too: kernels smear it around '
        f"every frame. {what} {sentence(above_floor(explanation, clip))}</p>"
        f'<div class="three">{_panels(explanation, clip, panels)}</div></section>'
    )


def _motion(explanation: Explanation, clip: int) -> str:
    """A card with both parts of the matrix, static and dynamic."""
    if explanation.static_matrix is None or explanation.dynamic_matrix is None or explanation.motion is None:
        return ""
    parts = [part[clip].double().cpu() for part in (explanation.static_matrix, explanation.dynamic_matrix)]
    share = float(explanation.motion[clip])
    caption = motion_words(share, explanation.contrastive)
    if is_part(share):
        caption += "; that is of the clip's map, and rows of the matrices have shares of their own"
    total = float(sum(part.sum() for part in parts))
    panels = [
        _Panel(name, f"{_short(round(100 * float(part.sum()) / total))} % of the matrix" if total else "", part)
        for name, part in zip(("static", "dynamic"), parts, strict=True)
    ]
    figures = _panels(explanation, clip, panels)
    grey = " Grey cells have no relevance." if _signed(panels) else ""
    if 0 < _strongest(parts[1:]) < FAINT * _strongest(parts):
        figures += _panels(explanation, clip, [_Panel("dynamic", "in stronger colours", parts[1])])
    return (
        '<section class="card" id="motion"><h2>Motion and appearance</h2>'
        f'<p class="hint">{sentence(caption)} Dynamic is what goes through the '
        "differences of frames from the mean of the frames they are mixed with. This does not say how much the "
        f"network needs motion: <code>lrp3d study run --time</code> measures that.{grey}</p>"
        f'<div class="three">{figures}</div></section>'
    )


def _strongest(matrices: Sequence[Tensor]) -> float:
    return max(float(values.abs().max()) for values in matrices)


def _signed(panels: Sequence[_Panel]) -> bool:
    return any(bool((panel.values < 0).any()) for panel in panels)


def _panels(explanation: Explanation, clip: int, panels: Sequence[_Panel]) -> str:
    """Matrices on one scale, each with its axes and the scale's colours: up to the strongest cell of them all."""
    top = _strongest([panel.values for panel in panels])
    signed = _signed(panels)
    unit = column_unit(explanation)
    rows, columns = panels[0].values.shape
    own = explanation.positions or range(rows)
    colours = ", ".join(DIVERGING if signed else SEQUENTIAL_ANCHORS)
    key = (
        f'<div class="key"><span>{_short(-top) if signed else "0"}</span>'
        f'<i style="background:linear-gradient(to right, {colours})"></i><span>{_short(top)}</span>'
        f"<span>{escaped(row_quantity(explanation, clip))}</span></div>"
    )
    across = f"<span>1</span><span>{COLUMNS.format(unit)}</span><span>{columns}</span>"
    row = escaped(row_axis(explanation) or ROWS.format(unit))
    down = f"<span>{own[-1] + 1}</span><span>{row}</span><span>{own[0] + 1}</span>"
    return "".join(
        f'<figure class="panel"><figcaption><b>{name}</b>{": " if remark else ""}{remark}</figcaption>'
        f'<div class="down" aria-hidden="true">{down}</div>'
        f'<img alt="Matrix, {name}" src="{data_address(png(values, top, signed))}">'
        f'<div class="across" aria-hidden="true">{across}</div>{key}</figure>'
        for name, remark, values in panels
    )


def _short(number: float) -> str:
    return (str(number) if isinstance(number, int) else f"{number:.2g}").replace("-", "\N{MINUS SIGN}")


CHANNELS = 10  # of a layer in the list


def _inside(explanation: Explanation, clip: int) -> str:
    """A card with the channels of layers that have the most relevance."""
    if not explanation.layers:
        return ""
    lists = []
    for name in explanation.layers:
        shares = shares_of_channels(explanation, name, clip, CHANNELS)
        rows = "".join(
            f'<li><span class="name">channel {channel}</span>'
            f'<span class="meter" aria-hidden="true"><i style="width:{100 * share:.1f}%"></i></span>'
            f'<span class="score">{100 * share:.1f} %</span></li>'
            for channel, share in shares
        )
        lists.append(f'<figure class="top"><figcaption>{escaped(name)}</figcaption><ol>{rows}</ol></figure>')
    return (
        '<section class="card" id="inside"><h2>What relevance flows through</h2>'
        '<p class="hint">At the outputs of modules: the channels with most relevance, each as a share of all that '
        f'speaks for the class there.</p><div class="three">{"".join(lists)}</div></section>'
    )
