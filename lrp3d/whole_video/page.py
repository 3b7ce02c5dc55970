"""The page of a whole video: tracks over time, the band, and the frames under the pointer, in one file."""

from __future__ import annotations

import base64
import html
import io
import json
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from lrp3d.explanation.display import png
from lrp3d.extras import missing
from lrp3d.figures.pages import filled
from lrp3d.printed import printable
from lrp3d.whole_video.timeline import VideoExplanation

MOST_COLUMNS = 1200  # of the page; of a longer video, each stands for the row in the middle of several


def page(found: VideoExplanation, labels: Sequence[str], title: str) -> str:
    """The page; see `VideoExplanation.page`."""
    name = title or found.about.get("video", "video")
    facts = [f"{len(found.indices)} frames", found.about.get("model", ""), "CLRP" if found.contrastive else "LRP"]
    if not math.isnan(found.avg_atr):
        unit = "frames" if found.step == 1 else f"steps of {found.step} frames"
        facts.append(f"average ATR {found.avg_atr:.2f} of {found.band.shape[1]} {unit}")
    parts = {
        "title": html.escape(printable(name)),
        "facts": html.escape(" · ".join(printable(fact) for fact in facts if fact)),
        "notes": "".join(f"<p>{html.escape(printable(note))}</p>" for note in found.notes),
        "sigma": f"{100 * found.sigma:g}",
        # Nothing in a text can end the script it stands in.
        "data": json.dumps(_data(found, labels), allow_nan=False).replace("<", "\\u003c"),
    }
    return filled("lrp3d.whole_video", "timeline.html", parts)


def _data(found: VideoExplanation, labels: Sequence[str]) -> dict[str, Any]:
    rows = len(found.band)
    each = -(-rows // MOST_COLUMNS)
    chosen = torch.arange(each // 2, rows, each)
    relevance = found.relevance
    total = float(relevance.abs().sum()) or 1.0
    target = found.target[chosen].tolist()
    return {
        "rows": chosen.tolist(),
        "step": found.step,
        "classes": target,
        "names": {
            index: printable(labels[index] if index < len(labels) else f"class {index}") for index in set(target)
        },
        "scores": _numbers(found.scores[chosen]),
        "logits": _numbers(found.frame_logits[chosen]),
        "atr": _numbers(found.atr[chosen]),
        "relevance": _numbers(relevance[chosen] / total * rows),
        "first": found.first[chosen].tolist(),
        "band": [_numbers(row) for row in found.band[chosen]],
        "times": _numbers(found.times[:: found.step][chosen]),
        "numbers": found.indices[:: found.step][chosen].tolist(),
        "width": found.band.shape[1],
        "picture": "data:image/png;base64," + base64.b64encode(png(_by_lag(found)[chosen].T.flip(0))).decode(),
        "thumbnails": [_jpeg(image) for image in found.thumbnails],
        "shown": found.thumbnail_frames.tolist(),
    }


def _by_lag(found: VideoExplanation) -> Tensor:
    """(n, 2 c - 1) each row's relevance by how far from its own frame it lies, as a share of the row."""
    n, c = found.band.shape
    lag = found.first[:, None] + torch.arange(c) - torch.arange(n)[:, None] + c - 1
    shares = found.band / found.band.abs().sum(1, keepdim=True).clamp(min=1e-30)
    return shares.new_zeros(n, 2 * c - 1).scatter(1, lag, shares)


def _numbers(values: Tensor) -> list[float | None]:
    """Four digits are more than anyone sees; json has no NaN."""
    return [float(f"{value:.4g}") if math.isfinite(value) else None for value in values.tolist()]


def _jpeg(pixels: Tensor) -> str:
    try:
        from PIL import Image
    except ImportError:
        raise missing("matplotlib", "the page of a video (Pillow, which comes with it)") from None
    buffer = io.BytesIO()
    Image.fromarray(pixels.numpy()).save(buffer, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
