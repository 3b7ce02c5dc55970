"""The maps of an explanation in the axes of the clip that was read, whatever the axes are that the model takes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from lrp3d.defaults import LAYOUT
from lrp3d.explanation.explanation import Explanation
from lrp3d.layout import as_clip


def with_clip_axes(explanation: Explanation) -> Explanation:
    """The same explanation with maps (b, c, t, h, w); those of several pathways are left as they are."""
    if explanation.layout == LAYOUT or isinstance(explanation.relevance, list):
        return explanation
    parts = {name: getattr(explanation, name) for name in ("relevance", "static", "dynamic")}
    clips: dict[str, Any] = {
        name: as_clip(value, explanation.layout, len(explanation.logits))
        for name, value in parts.items()
        if value is not None
    }
    return replace(explanation, **clips, layout=LAYOUT)
