"""A report: one HTML page with everything about a clip, which needs no network connection and no other file."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from lrp3d.explanation.explanation import Explanation
from lrp3d.explanation.report_cards import cards, escaped, sentence
from lrp3d.explanation.rows_wording import column_unit, no_positive_row, row_axis, row_quantity, rows_words
from lrp3d.explanation.wording import (
    amount,
    channel_words,
    comparison,
    conservation_answer,
    conservation_remark,
    subject,
)
from lrp3d.figures import overlay
from lrp3d.figures.colours import scale
from lrp3d.figures.embedded import address_of
from lrp3d.figures.pages import fill_template
from lrp3d.figures.values import pixel_relevance
from lrp3d.files import as_json
from lrp3d.metrics.atr import frame_atr, frame_windows
from lrp3d.printed import printable

__all__ = ["Provenance", "report"]

LARGEST = 320  # pixels of the longer side of a frame in the page
QUALITY = 85
SMOOTH = 0.7  # pixels by which such frames are smoothed
SHARP = 64  # pixels; in frames up to this size every pixel is visible


class Provenance(NamedTuple):
    """Where what a page shows comes from, as its head and its foot say."""

    model: str = ""
    """Name of the model."""
    video: str = ""
    """Name of the video."""
    weights: str = ""
    """Where the weights come from, in one sentence."""
    trained: bool = True
    """False marks that sentence as a warning."""
    random_weights: bool = False
    """Whether the network is known to be untrained, so that its floor is another of its kind."""
    composite: str = ""
    """Name of the composite."""
    made: Mapping[str, str] = {}
    """How the page was made, such as its version, command and date, by name."""


UNKNOWN = Provenance()
ABOUT = ("model", "video", "weights")  # what is saved with a matrix that is downloaded


def report(
    explanation: Explanation,
    pixels: Tensor,
    *,
    clip: int = 0,
    title: str | None = None,
    origin: Provenance = UNKNOWN,
    top: Sequence[Mapping[str, Any]] = (),
    notes: Sequence[str] = (),
    times: Sequence[float] = (),
    others: Sequence[tuple[str, str, Explanation | Tensor]] = (),
) -> str:
    """Make a page of one clip: a player that shows relevance over the frames, the matrix, and a strip of frames.

    Args:
        explanation: explanation of a batch of clips of one pathway.
        pixels: uint8 RGB (t, h, w, 3), the frames of the clip as a person sees them.
        clip: index of the clip in the batch.
        title: what was explained; by default the number of the class.
        origin: the model, its weights and the video, and how the page was made.
        top: the best classes, each with "label" and "score" (0 to 1).
        notes: what the reader must know, one sentence each.
        times: when each frame is shown, in seconds; NaN if unknown.
        others: further matrices to which the reader can switch, each with its class, its method and an explanation of
            one clip or a matrix (n, n), such as that of interventions.

    Returns:
        Self-contained HTML: pictures are embedded, and the page's security policy forbids all requests.

    Raises:
        ValueError: if shapes do not belong together.
        ImportError: if matplotlib is not installed.

    >>> import lrp3d
    >>> network = lrp3d.models.i3d_resnet(18, num_classes=10, width=8).eval()
    >>> drawn = lrp3d.video.prepare_clip(lrp3d.video.draw_clip(frames=8, size=32))
    >>> page = report(lrp3d.explain(network, drawn.tensor), drawn.pixels, title="bouncing")
    >>> "<title>bouncing" in page, "http:" in page or "https:" in page
    (True, False)
    """
    if not isinstance(explanation.relevance, Tensor):
        raise ValueError("a report needs an explanation of one pathway, and this one has several pathways")
    title = title or subject(explanation, clip)
    data = {
        **_pictures(pixels, explanation.relevance[clip], times),
        **_temporal(explanation, clip, len(pixels), title, others),
        "quantity": amount(explanation, clip)[1],
        "rowQuantity": row_quantity(explanation, clip),
        "rowAxis": row_axis(explanation),
        "small": max(pixels.shape[1:3]) <= SHARP,
        "about": {
            "title": title,
            "model": origin.model,
            "video": origin.video,
            "weights": origin.weights,
            **origin.made,
        },
    }
    parts = {
        "title": escaped(title),
        "subtitle": escaped(" · ".join(part for part in (origin.model, origin.video) if part)),
        "warnings": "".join(
            f'<p class="warning" role="note">{sentence(note)}</p>'
            for note in [*([] if origin.trained else [origin.weights]), *notes, *_only_through(explanation)]
            if note
        ),
        "facts": _facts(explanation, clip),
        "top": _top(top),
        "weights": f"<li>{sentence(origin.weights)}</li>" if origin.weights else "",
        "made": "".join(
            f"<li>{escaped(name)}: <code>{escaped(value)}</code></li>" for name, value in origin.made.items()
        ),
        "method": escaped(_method(explanation, origin.composite)),
        "differ": _differ(explanation, clip),
        "negative": _negative(explanation, clip),
        "cards": cards(explanation, clip, origin.random_weights),
        "rows": "each frame’s logit rests on" if explanation.rows_at is None else "the time steps of a layer rest on",
        "rows_at": escaped(f"Rows are {words}. ") if (words := rows_words(explanation, [clip])) else "",
        "sigma": f"{100 * explanation.sigma:g}",
        **_of_rows(explanation, clip),
        # A text must not be able to end the script that contains it.
        "data": json.dumps(data, allow_nan=False).replace("<", "\\u003c"),
    }
    return fill_template("lrp3d.explanation", "report.html", parts)


def _of_rows(explanation: Explanation, clip: int) -> dict[str, str]:
    """What a row of the matrix stands for, what it explains and what it sums to, in words."""
    unit = column_unit(explanation)
    explained, total = f"the logit of {unit} i", "that logit"
    if comparison(explanation, clip):
        explained, total = f"how far the logit of {unit} i is {comparison(explanation, clip)}", "that difference"
    if explanation.rows_at is not None:
        flows = (
            f"what of the {total.removeprefix('that ')} flows through {unit} i at the output of {explanation.rows_at}"
        )
        number = 0 if explanation.matrix is None else explanation.matrix.shape[1]
        return {
            "unit": unit,
            "explained": escaped(flows),
            "total": f"{number} times that",
            "sum": f"{number} times that",
        }
    part = "the part of it that flows through these channels"
    return {"unit": unit, "explained": explained, "total": total, "sum": total if explanation.where is None else part}


def _only_through(explanation: Explanation) -> list[str]:
    where = explanation.where
    return [] if where is None else [f"only what flows through {channel_words(where)} is shown"]


def _method(explanation: Explanation, composite: str) -> str:
    kind = "Contrastive LRP" if explanation.contrastive else "Plain LRP"
    return f"{kind}, composite “{composite}”" if composite else kind


def _facts(explanation: Explanation, clip: int) -> str:
    """The numbers at the head of the page."""
    number, _ = amount(explanation, clip)
    facts = [("Logit", f"{number:.4g}", comparison(explanation, clip) or "of the explained class")]
    if explanation.matrix is not None and explanation.avg_atr is not None and explanation.max_atr is not None:
        columns = explanation.matrix.shape[-1]
        average, longest = explanation.avg_atr[clip], explanation.max_atr[clip]
        is_negative = bool(average.isnan() & ~longest.isnan())  # else there is no relevance at all
        none = no_positive_row(explanation) if is_negative else ""
        span_text = none or f"of {columns} {explanation.unit} hold {100 * explanation.sigma:g} % of a row of the matrix"
        facts += [
            ("Average ATR", _number(average, "{:.2f}"), span_text),
            ("Maximum ATR", _number(longest, "{:.0f}"), f"of {columns} {explanation.unit}"),
        ]
    error = float(explanation.conservation[clip])
    facts += [("Conserved", conservation_answer(error)[0], conservation_remark(error))]
    return "".join(
        f"<div><dt>{name}</dt><dd><b>{escaped(value)}</b> <span>{escaped(of)}</span></dd></div>"
        for name, value, of in facts
    )


PARTS = 4  # of a clip, for the comparison of the map and the matrix
APART = 0.1  # from this share of relevance that lies elsewhere, the page says so


def _differ(explanation: Explanation, clip: int) -> str:
    """A sentence if the map of the clip's logit and the matrix of frame logits put relevance on different frames."""
    if explanation.matrix is None or explanation.frame_relevance is None or explanation.where:
        return ""  # what flows through some channels has both signs, and may cancel: shares of it say nothing
    both = explanation.frame_relevance[clip], explanation.matrix[clip].sum(0)
    if any(len(frames) < PARTS for frames in both):
        return ""
    shares = [_shares(frames.double().cpu()) for frames in both]
    if float((shares[0] - shares[1]).abs().sum()) / 2 < APART or min(float(s.min()) for s in shares) < 0:
        return ""
    of_map, of_matrix = (
        "{}, {}, {} and {}".format(*(f"{100 * share:.0f}" for share in quarters)) for quarters in shares
    )
    alone = "the logit that each frame has alone" if explanation.rows_at is None else "what each time step holds of it"
    contrast = " and takes the positive part of each frame’s contrast, not of the clip’s" * explanation.contrastive
    return (
        '<p class="hint" id="differ">The colours and the matrix answer two questions. The colours explain the clip’s '
        f"logit as the network computes it, and the four quarters of the clip hold {of_map} % of the map. The matrix "
        f"explains {alone}{contrast}; in it, they hold {of_matrix} %.</p>"
    )


def _negative(explanation: Explanation, clip: int) -> str:
    """A sentence if rows of contrastive relevance are negative while the map, which shows the same, never is."""
    if explanation.matrix is None or not explanation.contrastive or explanation.where:
        return ""  # a row of what flows through some channels sums to no logit
    below = int((explanation.matrix[clip].sum(1) < 0).sum())
    if not below:
        return ""
    unit, rows = _of_rows(explanation, clip)["unit"], len(explanation.matrix[clip])
    one_or_more = "has" if below == 1 else "have"
    have = f"All {rows} {unit}s have" if below == rows > 1 else f"{below} of {rows} {unit}s {one_or_more}"
    return (
        f'<p class="hint" id="negative">{have} a negative logit and so a negative row, as a row sums to its logit; '
        "its cells of greatest size still mark what speaks for the class, as the map does, which is never negative.</p>"
    )


def _shares(frames: Tensor) -> Tensor:
    """The share of each quarter of the clip in all relevance."""
    part = torch.arange(len(frames), device="cpu") * PARTS // len(frames)
    total = frames.sum()
    return torch.zeros(PARTS, dtype=frames.dtype, device="cpu").index_add(0, part, frames) / (total if total else 1)


def _number(value: Tensor, form: str) -> str:
    return form.format(float(value)) if math.isfinite(float(value)) else "none"


def _top(top: Sequence[Mapping[str, Any]]) -> str:
    rows = "".join(
        f'<li><span class="name">{escaped(entry["label"])}</span>'
        f'<span class="meter" aria-hidden="true"><i style="width:{100 * entry["score"]:.1f}%"></i></span>'
        f'<span class="score">{100 * entry["score"]:.1f} %</span></li>'
        for entry in top
    )
    return f'<section class="top"><h2>Top classes, by softmax</h2><ol>{rows}</ol></section>' if rows else ""


# The data of the page's script

_rounded = partial(as_json, digits=5)  # digits that are enough to read


def _pictures(pixels: Tensor, relevance: Tensor, times: Sequence[float]) -> dict[str, Any]:
    """The frames, the frames painted with relevance, and the data that belong to them."""
    images = pixels.numpy(force=True)
    painted = overlay(images, relevance, smooth=SMOOTH if max(images.shape[1:3]) <= SHARP else None)
    by_frame = pixel_relevance(relevance, images).sum((1, 2))
    total = np.abs(by_frame).sum()
    return {
        "frames": [_picture_of(image) for image in images],
        "painted": [_picture_of(image) for image in painted],
        "shares": _rounded(by_frame / total if total else by_frame),
        "times": as_json([round(second, 3) for second in times]),
        "signed": bool(relevance.min() < 0),
    }


def _picture_of(image: np.ndarray) -> str:
    """A frame as the page embeds it: a small one without loss, a larger one as a JPEG."""
    from PIL import Image  # matplotlib depends on it

    picture = Image.fromarray(image)
    if max(image.shape[:2]) <= SHARP:
        return address_of(picture, "png")
    picture.thumbnail((LARGEST, LARGEST))
    return address_of(picture, "jpeg", quality=QUALITY)


def _temporal(
    explanation: Explanation,
    clip: int,
    frames: int,
    title: str,
    others: Sequence[tuple[str, str, Explanation | Tensor]],
) -> dict[str, Any]:
    """The matrices to choose from, the explanation's own first; empty if it has none."""
    if explanation.matrix is None or explanation.frame_logits is None or explanation.atr is None:
        return {"views": []}
    positions, sigma = explanation.positions, explanation.sigma
    matrix, logits = explanation.matrix[clip], explanation.frame_logits[clip]
    kind = "CLRP" if explanation.contrastive else "LRP"
    views = [_view(title, kind, matrix, logits, explanation.atr[clip], sigma, positions)]
    bare = [(title, f"{kind}, untrained", explanation.floor[clip])] if explanation.floor is not None else []
    for number, (name, method, other) in enumerate([*bare, *others]):
        if isinstance(other, Tensor):
            values, of_rows, atr = other, logits, frame_atr(other[None], sigma, positions)[0]
        elif other.matrix is None or other.frame_logits is None or other.atr is None:
            continue
        else:
            values, of_rows, atr = other.matrix[0], other.frame_logits[0], other.atr[0]
        if values.shape != matrix.shape:
            raise ValueError(f"{method} has a matrix {tuple(values.shape)}, and the explanation {tuple(matrix.shape)}")
        view = _view(name, method, values, of_rows, atr, sigma, positions)
        # What is measured, as by interventions, adds up to nothing; a floor is scaled to the rows.
        view["sums"] = not isinstance(other, Tensor) or number < len(bare)
        views.append(view)
    return {"views": views, "columns": _blocks(frames, matrix.shape[1])}


def _view(
    name: str, method: str, matrix: Tensor, logits: Tensor, atr: Tensor, sigma: float, positions: list[int] | None
) -> dict[str, Any]:
    """A matrix, its colours, and for each row its logit, ATR and window."""
    from matplotlib.colors import Normalize, to_hex

    matrix = matrix.double().cpu()
    first, last = frame_windows(matrix, sigma, positions)
    colouring = scale(matrix.numpy())
    colours = colouring["cmap"](Normalize(colouring["vmin"], colouring["vmax"])(matrix.numpy()))
    own = positions or list(range(len(matrix)))
    rows = [
        {
            "logit": _rounded(logits[i]),
            "atr": _rounded(atr[i]),
            "window": [int(first[i]), int(last[i])],
            "own": own[i],
            "values": _rounded(matrix[i].numpy()),
            "colours": [to_hex(colour) for colour in colours[i]],
        }
        for i in range(len(matrix))
    ]
    ramp = [to_hex(colour) for colour in colouring["cmap"](np.linspace(0, 1, 12))]
    limits = {"low": _rounded(colouring["vmin"]), "high": _rounded(colouring["vmax"]), "ramp": ramp}
    return {"class": printable(name), "method": method, "rows": rows, "scale": limits, "sums": True}


def _blocks(frames: int, columns: int) -> list[list[int]]:
    """First and last frame of every column; blocks are as equal as possible, as in the matrix."""
    column = torch.arange(frames, device="cpu") * columns // frames
    return [[int((column == j).nonzero()[0]), int((column == j).nonzero()[-1])] for j in range(columns)]
