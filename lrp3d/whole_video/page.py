"""The page of a whole video: tracks over time, the band, and the frames under the pointer, in one file."""

from __future__ import annotations

import html
import json
import math
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from lrp3d.explanation.display import png
from lrp3d.extras import missing
from lrp3d.figures.embedded import address_of, data_address
from lrp3d.figures.pages import fill_template
from lrp3d.files import as_json
from lrp3d.printed import printable

if TYPE_CHECKING:
    from lrp3d.whole_video.timeline import VideoExplanation

MOST_COLUMNS = 1200  # of the page; of a longer video, each stands for the row in the middle of several


def page(explanation: VideoExplanation, labels: Sequence[str], title: str) -> str:
    """The HTML of the page; see `VideoExplanation.page`."""
    name = title or explanation.about.get("video", "video")
    facts = [
        f"{len(explanation.indices)} frames",
        explanation.about.get("model", ""),
        "CLRP" if explanation.contrastive else "LRP",
    ]
    if not math.isnan(explanation.avg_atr):
        units = "frames" if explanation.step == 1 else f"steps of {explanation.step} frames"
        facts.append(f"average ATR {explanation.avg_atr:.2f} of {explanation.band.shape[1]} {units}")
    unit = "frame" if explanation.step == 1 else "step"
    at_layer = explanation.rows_at is not None
    parts = {
        "title": html.escape(printable(name)),
        "facts": html.escape(" · ".join(printable(fact) for fact in facts if fact)),
        "notes": "".join(f"<p>{html.escape(printable(note))}</p>" for note in explanation.notes),
        "unit": unit,
        "quantity": "part of the logit" if at_layer else f"{unit} logit",
        "explained": f"what flows through this {unit} of the layer" if at_layer else f"this {unit}’s logit",
        "sigma": f"{100 * explanation.sigma:g}",
        # No text may end the script that contains it.
        "data": json.dumps(_data(explanation, labels), allow_nan=False).replace("<", "\\u003c"),
    }
    return fill_template("lrp3d.whole_video", "timeline.html", parts)


def _data(explanation: VideoExplanation, labels: Sequence[str]) -> dict[str, Any]:
    rows = len(explanation.band)
    each = -(-rows // MOST_COLUMNS)
    chosen = torch.arange(each // 2, rows, each, device="cpu")
    relevance = explanation.relevance
    total = float(relevance.abs().sum()) or 1.0
    target = explanation.target[chosen].tolist()
    numbers = partial(as_json, digits=4)  # more than a page can show
    return {
        "rows": chosen.tolist(),
        "step": explanation.step,
        "classes": target,
        "names": {
            index: printable(labels[index] if index < len(labels) else f"class {index}") for index in set(target)
        },
        "scores": numbers(explanation.scores[chosen]),
        "quantity": "logit" if explanation.rows_at is None else f"{explanation.band.shape[1]} × its part of the logit:",
        "logits": numbers(explanation.frame_logits[chosen]),
        "atr": numbers(explanation.atr[chosen]),
        "relevance": numbers(relevance[chosen] / total * rows),
        "first": explanation.first[chosen].tolist(),
        "band": numbers(explanation.band[chosen]),
        "times": numbers(explanation.times[:: explanation.step][chosen]),
        **_frame_numbers(explanation, chosen),
        "width": explanation.band.shape[1],
        "picture": data_address(png(_by_lag(explanation)[chosen].T.flip(0))),
        "thumbnails": [_jpeg(image) for image in explanation.thumbnails],
        "shown": explanation.thumbnail_frames.tolist(),
    }


def _frame_numbers(explanation: VideoExplanation, chosen: Tensor) -> dict[str, Any]:
    """The numbers in the video of the frames, first and last, of each chosen row and of the window around it."""
    step, width = explanation.step, explanation.band.shape[1]
    begins, ends = explanation.indices[::step], explanation.indices[step - 1 :: step]
    first = explanation.first[chosen]
    return {
        "numbers": begins[chosen].tolist(),
        "ends": ends[chosen].tolist(),
        "windows": torch.stack([begins[first], ends[first + width - 1]], 1).tolist(),
    }


def _by_lag(explanation: VideoExplanation) -> Tensor:
    """(n, 2 c - 1): each row's relevance by its distance from the row's own frame, as shares of the row."""
    n, c = explanation.band.shape
    lag = explanation.first[:, None] + torch.arange(c, device="cpu") - torch.arange(n, device="cpu")[:, None] + c - 1
    shares = explanation.band / explanation.band.abs().sum(1, keepdim=True).clamp(min=1e-30)
    return shares.new_zeros(n, 2 * c - 1).scatter(1, lag, shares)


def _jpeg(pixels: Tensor) -> str:
    try:
        from PIL import Image
    except ImportError:
        raise missing("matplotlib", "the page of a video (Pillow, which comes with it)") from None
    return address_of(Image.fromarray(pixels.numpy()), "jpeg", quality=80)
