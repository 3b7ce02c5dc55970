"""An explanation as `print` shows it: a line for each thing that is known of its clips, in reading order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from lrp3d.explanation.rows_wording import no_positive_row, rows_without_relevance, rows_words
from lrp3d.explanation.wording import channel_words, conservation_words
from lrp3d.printed import few, printable

if TYPE_CHECKING:
    from lrp3d.explanation.explanation import Explanation

SHOWN = 4  # of the numbers of a batch, and of the other classes of a clip

Line = tuple[str, str | None]
"""A label, and what stands beside it; None where there is nothing to say."""


def text_of(explanation: Explanation) -> str:
    """All lines of an explanation."""
    kind = "contrastive (CLRP)" if explanation.contrastive else "plain (LRP)"
    lines: list[Line] = [
        ("only through", None if explanation.where is None else channel_words(explanation.where)),
        ("target", _target(explanation)),
        ("lone logit", _lone_logit(explanation)),
        ("rather than", _others(explanation)),
        ("relevance", _shapes(explanation.relevance)),
        *_of_matrix(explanation),
        ("conserved", _several([conservation_words(error) for error in explanation.conservation.tolist()])),
        *[("layer", f"{name} {_shapes(x)}") for name, x in explanation.layers.items()],
        ("motion", _motion(explanation)),
        ("above floor", _above_floor(explanation)),
        *[(printable(name), printable(value)) for name, value in explanation.about.items()],
    ]
    head = f"Explanation of {len(explanation.logits)} clip(s), {kind}"
    return "\n".join([head, *(f"  {label:<12}  {text}" for label, text in lines if text is not None)])


def _several(texts: list[str]) -> str:
    """The first of some texts, one for each clip."""
    return f"[{few(texts, SHOWN)}]"


def _numbers(values: Tensor, form: str) -> str:
    return _several([form.format(value) for value in values.tolist()])


def _shapes(value: Tensor | list[Tensor]) -> str:
    return " + ".join(str(tuple(x.shape)) for x in (value if isinstance(value, list) else [value]))


def _target(explanation: Explanation) -> str:
    logits = explanation.logits.gather(1, explanation.target[:, None]).squeeze(1)
    return f"{_numbers(explanation.target, '{}')}, logit {_numbers(logits, '{:.4g}')}"


def _lone_logit(explanation: Explanation) -> str | None:
    if explanation.sign is None:
        return None
    against = [clip for clip, sign in enumerate(explanation.sign.tolist()) if sign < 0]
    ellipsis = " ..." if len(against) > SHOWN else ""
    return f"negative in clip(s) {against[:SHOWN]}{ellipsis}: what speaks against it is explained"


def _others(explanation: Explanation) -> str | None:
    """The classes with which that of each clip is compared."""
    if explanation.against is None:
        return None
    named = [[*map(str, others[:SHOWN]), *["..."] * (len(others) > SHOWN)] for others in explanation.against.tolist()]
    return _several([" or ".join(others) for others in named])


def _of_matrix(explanation: Explanation) -> list[Line]:
    """The lines about frame logits; empty without a matrix."""
    matrix, average, longest = explanation.matrix, explanation.avg_atr, explanation.max_atr
    if matrix is None or average is None or longest is None:
        return []
    spans = f"{_numbers(average, '{:.2f}')} of {matrix.shape[-1]} {explanation.unit}"
    lines: list[Line] = [
        ("matrix", _shapes(matrix)),
        ("rows", rows_words(explanation, range(len(average))[:SHOWN]) or None),
        ("avg-ATR", f"{spans}, max-ATR {_numbers(longest, '{:.0f}')}"),
    ]
    without_average = (average.isnan() & ~longest.isnan()).nonzero().flatten().tolist()
    if without_average:
        of = "" if len(average) == 1 else f" of clip(s) {without_average[:SHOWN]}"
        lines.append(("no average", f"{no_positive_row(explanation)}{of}"))
    return lines + _empty_rows(explanation)


def _empty_rows(explanation: Explanation) -> list[Line]:
    """A line for each of the first clips with frame logits that no relevance explains."""
    if explanation.atr is None:
        return []
    words = [(clip, rows_without_relevance(explanation, clip)) for clip in range(len(explanation.atr[:SHOWN]))]
    of = "" if len(explanation.logits) == 1 else " of clip {}"
    return [("no relevance", f"{said}{of.format(clip)}") for clip, said in words if said]


def _motion(explanation: Explanation) -> str | None:
    if explanation.motion is None:
        return None
    return f"{_numbers(100 * explanation.motion, '{:.0f}')} % of the relevance"


def _above_floor(explanation: Explanation) -> str | None:
    excess = explanation.excess
    if excess is None or explanation.matrix is None:
        return None
    share = f"{_numbers(100 * excess.share, '{:.0f}')} % of the relevance"
    if bool(excess.span.isnan().all()):
        return f"{share}: no frame stands out, so that there is no excess span"
    span = f"{_numbers(excess.span, '{:.0f}')} of {explanation.matrix.shape[-1]} {explanation.unit}"
    return f"{share}, excess span {span}"
