"""Colours and their limits; in all of them lighter means more, so that a picture reads the same in grey."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from lrp3d.extras import missing

if TYPE_CHECKING:
    from matplotlib.colors import Colormap


SEQUENTIAL = "magma"


LOGITS = "cividis"


# Blue against, yellow for; lightness grows all the way from one end to the other.
DIVERGING = ("#06124a", "#2f58a8", "#999999", "#f0b541", "#fff8c4")


WINDOW = "#1f4e79"


def import_matplotlib() -> None:
    """Raises ImportError naming the command where matplotlib is not installed."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise missing("matplotlib", "drawing") from None


def colormap(signed: bool) -> Colormap:
    """The colours of relevance: with both signs centred on 0, else from 0 on."""
    import_matplotlib()
    from matplotlib import colormaps
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("relevance", DIVERGING) if signed else colormaps[SEQUENTIAL]


def scale(values: np.ndarray) -> dict[str, Any]:
    """Colours and their limits: centred on 0 where there are both signs, from 0 on where there is one."""
    known = values[np.isfinite(values)]
    low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 0.0)
    if low < 0:
        bound = max(-low, high)
        return {"cmap": colormap(signed=True), "vmin": -bound, "vmax": bound}
    return {"cmap": colormap(signed=False), "vmin": 0.0, "vmax": high or 1.0}


def limit_of(values: np.ndarray, quantile: float) -> float:
    """Where the colours end: robust against a few hot pixels, never 0."""
    magnitude = np.abs(values)
    limit = float(np.quantile(magnitude, quantile)) or float(magnitude.max())
    return limit if limit > 0 else 1.0


def limits(values: np.ndarray) -> tuple[float, float]:
    """Where colours begin and end, never at the same value."""
    low, high = float(values.min()), float(values.max())
    return (low, high) if high > low else (low - 0.5, high + 0.5)
