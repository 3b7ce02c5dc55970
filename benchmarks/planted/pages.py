"""What the bench writes: numbers for programs, tables and pictures for readers."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable
from pathlib import Path

from lrp3d.files import replacing
from benchmarks.planted.columns import SIGMAS, percent
from benchmarks.planted.picture import draw
from benchmarks.planted.tables import LEARNED, Report, Table, Target

INTRODUCTION = """\
`python -m benchmarks.truth`, {date}; {machine}; Python {python}, torch {torch}, lrp3d {lrp3d}. Clips that the network
classifies correctly: {clips}. Mean ± standard deviation over training seeds. d is the gap; the true span is d + 1, and
1 where one frame is enough. What the columns mean and what follows from them: [meaning.md](../../docs/meaning.md).

![Mean ATR and excess span at each true span](truth-atr.png)
"""


def write(result: Report, out: Path) -> None:
    """JSON, Markdown and a picture."""
    out.mkdir(parents=True, exist_ok=True)
    for name, text in (("truth.json", json.dumps(result, indent=1) + "\n"), ("truth.md", page(result))):
        with replacing(out / name) as temporary:
            temporary.write_text(text)
        print(f"wrote {out / name}")
    with replacing(out / "truth-atr.png") as temporary:
        draw(result["tables"], temporary)
    print(f"wrote {out / 'truth-atr.png'}")


def page(result: Report) -> str:
    """Everything, as Markdown."""
    clips = "; ".join(f"{name} {count['pairs']} and {count['controls']}" for name, count in result["clips"].items())
    facts = {**result, "clips": f"of pairs and of controls: {clips}"}
    lines = ["# Temporal relevance against planted dependencies", "", INTRODUCTION.format(**facts)]
    lines += ["## Networks", "", networks_text(result), "", *networks_table(result["networks"]), ""]
    lines += ["## Targets", "", *targets_table(result["targets"]), ""]
    for name, tables in result["tables"].items():
        for title, table in displayed(tables):
            lines += [f"## {name}: {title}", "", *markdown(table), ""]
    return "\n".join(lines)


def displayed(tables: dict[str, Table]) -> Iterable[tuple[str, Table]]:
    """The tables as a reader gets them: ATR apart for each share of a row, the controls beside the pairs."""
    controls = tables.get("ATR where one frame is enough", {})
    for title, table in tables.items():
        if title == "ATR where one frame is enough":
            continue
        if title != "ATR against the true span":
            yield title, table
            continue
        for sigma in SIGMAS:
            label = percent(sigma)
            prefix = "ATR " if sigma == SIGMAS[0] else f"ATR {label} "
            shown = {}
            for method, row in table.items():
                cells = {name.replace(f"ATR {label} ", ""): cell for name, cell in row.items() if label in name}
                cells = {name.replace(f" {label}", ""): cell for name, cell in cells.items()}
                for family in ("static", "flash"):
                    if prefix + family in controls.get(method, {}):
                        cells[family] = controls[method][prefix + family]
                shown[method] = cells
            yield f"ATR at {label} of a row against the true span", shown


def markdown(table: Table) -> list[str]:
    """Rows that have numbers, columns in the order they come."""
    columns = list(dict.fromkeys(column for row in table.values() for column in row))
    lines = ["| | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for method, row in table.items():
        if row:
            cells = [cell(*row[column]) if column in row else "" for column in columns]
            lines.append(f"| {method} | " + " | ".join(cells) + " |")
    return lines


def cell(mean: float, deviation: float | None) -> str:
    """A number as a table has it.

    >>> cell(0.123, 0.01), cell(0.123, None)
    ('0.12 ± 0.01', '0.12')
    """
    return f"{mean:.2f}" if deviation is None else f"{mean:.2f} ± {deviation:.2f}"


def networks_text(result: Report) -> str:
    """What training cost."""
    minutes = result["core minutes of training"]
    return (
        "Accuracy on fresh clips, the mean of the seeds (the worst); steps of 48 clips (of 32 for trajectories) and "
        f"seconds of one core, of all seeds and gaps. In all {minutes:.0f} minutes of one core. What stays below "
        f"{LEARNED:.0%} counts in no other table. Radius: how many frames to either side a frame logit sees; gaps up "
        "to twice as long are within reach."
    )


def networks_table(networks: dict[str, dict[str, list[float]]]) -> list[str]:
    """Accuracy of every network."""
    gaps = sorted({column for row in networks.values() for column in row if column.startswith("d=")})
    totals = ("steps", "seconds")
    lines = ["| | radius | " + " | ".join([*gaps, *totals]) + " |", "|---" * (len(gaps) + 4) + "|"]
    for name, row in networks.items():
        cells = [f"{statistics.fmean(row[gap]):.3f} ({min(row[gap]):.3f})" if gap in row else "" for gap in gaps]
        cells += [f"{sum(row[total]):.0f}" for total in totals]
        lines.append(f"| {name} | {row['radius'][0]} | " + " | ".join(cells) + " |")
    return lines


def targets_table(targets: dict[str, dict[str, Target]]) -> list[str]:
    """Which are met, where."""
    lines = ["| mean of the seeds | " + " | ".join(targets) + " |", "|---" * (len(targets) + 1) + "|"]
    for name in next(iter(targets.values()), {}):
        cells = []
        for found in targets.values():
            numbers = ", ".join(f"{value:.2f}" for value in found[name]["found"].values() if value == value)
            cells.append(f"{'yes' if found[name]['met'] else 'no'}: {numbers}" if numbers else "–")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return lines
