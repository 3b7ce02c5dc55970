"""The colours of pictures and of maps on pages; lighter means more, so that a picture reads the same in grey."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from lrp3d.extras import missing

if TYPE_CHECKING:
    from matplotlib.colors import Colormap


SEQUENTIAL = "magma"
SEQUENTIAL_ANCHORS = ("#000004", "#3b0f70", "#8c2981", "#de4968", "#fe9f6d", "#fcfdbf")
"""The same colours for where matplotlib is not installed."""
# Blue speaks against the class, yellow for it; lightness grows all the way from one end to the other.
DIVERGING = ("#06124a", "#2f58a8", "#999999", "#f0b541", "#fff8c4")


@dataclass(frozen=True)
class Theme:
    """The colours of everything that is not relevance."""

    paper: str
    ink: str
    quiet: str
    """For remarks and scales."""
    window: str
    """Edges of ATR windows, and bars."""
    inside: str
    """What lies inside an ATR window."""
    mark: str
    """What a reader should see first, such as the frames that decide."""
    against: str
    """For the bars of negative logits."""


LIGHT = Theme("#ffffff", "#1b2430", "#555555", "#1f4e79", "#a9c7e0", "#d1570a", "#9a5a37")
DARK = Theme("#12161c", "#e6eaf0", "#a3adba", "#8fbfe8", "#2f5577", "#ff9447", "#d39a78")
INKED = ("text.color", "axes.labelcolor", "axes.titlecolor", "xtick.color", "ytick.color", "axes.edgecolor")
PAPERED = ("figure.facecolor", "axes.facecolor")
THEMES = {"light": LIGHT, "dark": DARK}
WINDOW = LIGHT.window
_theme: ContextVar[Theme] = ContextVar("theme", default=LIGHT)


def theme() -> Theme:
    """The colours that are in use."""
    return _theme.get()


@contextmanager
def style(name: str) -> Iterator[Theme]:
    """Draw figures in the colours "light" (the default) or "dark" inside this block.

    Raises:
        ValueError: the name is another one.
        ImportError: matplotlib is not installed.

    >>> import torch, lrp3d
    >>> with lrp3d.figures.style("dark"):
    ...     figure = lrp3d.figures.matrix_heatmap(torch.eye(4))
    >>> sum(figure.get_facecolor()[:3]) < 0.5
    True
    """
    if name not in THEMES:
        raise ValueError(f"a style is one of {', '.join(map(repr, THEMES))}, not {name!r}")
    import_matplotlib()
    from matplotlib import rc_context

    chosen = THEMES[name]
    settings: Any = dict.fromkeys(INKED, chosen.ink) | dict.fromkeys(PAPERED, chosen.paper)
    before = _theme.set(chosen)
    try:
        with rc_context(settings | {"savefig.facecolor": "auto"}):
            yield chosen
    finally:
        _theme.reset(before)


def import_matplotlib() -> None:
    """Imports matplotlib; raises ImportError with the command that installs it if it is missing."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise missing("matplotlib", "drawing") from None


def colormap(signed: bool) -> Colormap:
    """The colour map of relevance: diverging if there are both signs, else sequential."""
    import_matplotlib()
    from matplotlib import colormaps
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("relevance", DIVERGING) if signed else colormaps[SEQUENTIAL]


def scale(values: np.ndarray) -> dict[str, Any]:
    """A colour map and its limits: centred on 0 if there are both signs, else starting at 0."""
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    if low < 0:
        bound = max(-low, high)
        return {"cmap": colormap(signed=True), "vmin": -bound, "vmax": bound}
    return {"cmap": colormap(signed=False), "vmin": 0.0, "vmax": high or 1.0}


def limit_of(values: np.ndarray, quantile: float) -> float:
    """The magnitude at which the colours end; a few extreme pixels hardly change it, and it is never 0."""
    magnitude = np.abs(values)
    limit = float(np.quantile(magnitude, quantile)) or float(magnitude.max())
    return limit if limit > 0 else 1.0
