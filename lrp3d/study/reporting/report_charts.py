"""What a report is made of beside tables: charts, what is missing, and the colours that all heat maps share."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from lrp3d.figures.colours import import_matplotlib
from lrp3d.study.reporting.table_format import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Chart:
    """A figure with a name, a title and the numbers in it; it is drawn when it is first asked for."""

    name: str
    title: str
    draw: Callable[[], Figure]
    note: str = ""
    data: Table | None = None

    def __post_init__(self) -> None:
        import_matplotlib()  # raises ImportError before anything is drawn or written

    @cached_property
    def figure(self) -> Figure:
        """The figure itself."""
        return self.draw()

    def png(self) -> bytes:
        """Returns the figure as a PNG picture."""
        return self._drawing

    def svg(self) -> bytes:
        """Returns the figure as an SVG picture without a background, with the same bytes each time."""
        return self._lines

    @cached_property
    def _lines(self) -> bytes:
        import matplotlib as mpl

        buffer = io.BytesIO()
        with mpl.rc_context({"svg.hashsalt": self.name, "svg.fonttype": "path"}):
            about = {"Date": None, "Creator": None}
            self._laid_out.savefig(buffer, format="svg", dpi=150, transparent=True, metadata=about)
        return buffer.getvalue()

    @cached_property
    def _laid_out(self) -> Figure:
        """The figure with everything in its place, which takes as long to find as drawing does, and is found once."""
        self.figure.draw_without_rendering()
        self.figure.set_layout_engine("none")
        return self.figure

    @cached_property
    def _drawing(self) -> bytes:  # drawn once, for the file and for the page
        buffer = io.BytesIO()
        self._laid_out.savefig(buffer, format="png", dpi=150, metadata={"Software": None})
        return buffer.getvalue()


@dataclass(frozen=True)
class Missing:
    """A figure or table that the given studies cannot make, and what it needs."""

    what: str
    needed: str

    def __str__(self) -> str:
        return f"{self.what}: needs {self.needed}."


@dataclass(frozen=True)
class Ends:
    """The least and the greatest relevance of all heat maps of a page, at which its colours end."""

    least: float
    greatest: float

    @classmethod
    def of(cls, maps: Iterable[Sequence[Sequence[float]]]) -> Ends:
        """Returns the ends of these maps; 0 is always between them.

        >>> Ends.of([[[0.5, 2.0]], [[-1.0, 0.0]]])
        Ends(least=-1.0, greatest=2.0)
        """
        values = [value for matrix in maps for row in matrix for value in row]
        return cls(min(values, default=0.0), max(values, default=0.0))


Made = Iterator[Chart | Table | Missing]
"""What the functions of a report yield."""
