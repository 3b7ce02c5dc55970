"""The picture of the bench: ATR and excess span of every network at each true span."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.planted.tables import Table

SHOWN = {"CLRP": "C3", "LRP": "C0", "intervention": "C2", "untrained CLRP": "C3", "untrained LRP": "C0"}
MEASURES = ("ATR 97.5%", "excess span")
ACROSS = 5  # networks side by side
LONGEST = 12  # frames


def draw(tables: Mapping[str, Mapping[str, Table]], path: Path) -> None:
    """With the truth, and dotted what the untrained networks have; the seeds that nothing was chosen on."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    names = list(tables)
    across, down = min(ACROSS, len(names)), -(-len(names) // ACROSS)
    figure, axes = plt.subplots(
        2 * down, across, figsize=(2.4 * across + 0.6, 4.0 * down + 0.4), sharex=True, sharey=True, squeeze=False
    )
    for panel in axes.flat:
        panel.set_visible(False)
    for i, name in enumerate(names):
        spans = tables[name].get("Spans, other seeds") or tables[name].get("Spans, seed 0") or {}
        for j, measure in enumerate(MEASURES):
            panel = axes[2 * (i // across) + j][i % across]
            _draw_panel(panel, spans, measure)
            if j == 0:
                panel.set_title(name, fontsize=9)
            else:
                panel.set_xlabel("true span, frames", fontsize=8)
                panel.tick_params(labelbottom=True)
            if i % across == 0:
                panel.set_ylabel(f"{measure}, frames", fontsize=8)
    handles, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower center", ncols=len(labels), fontsize=9, frameon=False)
    figure.tight_layout(rect=(0, 0.03 if down > 1 else 0.06, 1, 1))
    figure.savefig(path, dpi=110, format="png")
    plt.close(figure)


def _draw_panel(panel: Any, spans: Table, measure: str) -> None:
    panel.set_visible(True)
    panel.plot([1, 9], [1, 9], color="0.7", linewidth=1, label="truth")
    for method, colour in SHOWN.items():
        row = spans.get(f"{measure}, {method}", {})
        gaps = [column for column in row if column.startswith("d=")]
        true = [int(gap[2:]) + 1 for gap in gaps]
        means, deviations = [row[gap][0] for gap in gaps], [row[gap][1] or 0 for gap in gaps]
        if method.startswith("untrained"):
            panel.plot(true, means, ":", color=colour, linewidth=1.2, label=method)
        else:
            panel.errorbar(true, means, deviations, fmt="o-", color=colour, linewidth=1.2, ms=3, label=method)
    panel.set_ylim(0, LONGEST)
    panel.spines[["top", "right"]].set_visible(False)
    panel.tick_params(labelsize=7)
