"""Write the tables of docs/meaning.md and docs/shot_boundaries.md from the results of the bench.

python -m benchmarks.truth      # first
python -m benchmarks.meaning    # replaces what stands between <!-- table: NAME --> and <!-- end -->
python -m benchmarks.meaning --check    # only says whether the pages have the numbers of the results
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable
from pathlib import Path

from lrp3d.files import replacing
from benchmarks.planted.training_plans import HELD_OUT
from benchmarks.planted.pages import cell
from benchmarks.planted.spans import MEASURES
from benchmarks.planted.tables import Report
from benchmarks.timing.common import Row

ROOT = Path(__file__).parent.parent
PAGES = (ROOT / "docs/meaning.md", ROOT / "docs/shot_boundaries.md")
LOST = ("lost, shuffled", "lost, frozen", "lost, single")
MARKED = re.compile(r"(<!-- table: ([a-z ]+) -->\n).*?(<!-- end -->)", re.DOTALL)
METHODS = (
    "CLRP",
    "LRP",
    "gradient",
    "gradient x input",
    "integrated gradients",
    "intervention",
    "random",
    "untrained CLRP",
    "untrained LRP",
)
MAIN = ("I3D-R18, 16 frames", "TAM5-R18, 16 frames")
SHORT = ("I3D-R18, 8 frames", "TAM5-R18, 8 frames")


def main() -> None:
    """Read the options, fill the pages or compare them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    about, results = "default: %(default)s", ROOT / "benchmarks/results/truth.json"
    parser.add_argument("--results", type=Path, default=results, metavar="FILE", help=about)
    parser.add_argument("--pages", type=Path, nargs="+", default=PAGES, metavar="FILE", help=about)
    parser.add_argument("--check", action="store_true", help="write nothing, fail if the page has other numbers")
    options = parser.parse_args()
    result: Report = json.loads(options.results.read_text())
    for page in options.pages:
        before = page.read_text()
        after = fill(before, result)
        if options.check and after != before:
            raise SystemExit(f"{page} has other numbers than the results: run benchmarks/meaning.py")
        if not options.check:
            with replacing(page) as temporary:
                temporary.write_text(after)


def fill(page: str, result: Report) -> str:
    """The page with every marked table made anew.

    Raises:
        KeyError: a table that there is not.
    """

    def table(found: re.Match[str]) -> str:
        return found[1] + "\n".join(TABLES[found[2]](result)) + "\n" + found[3]

    return MARKED.sub(table, page)


def outside(page: str) -> str:
    """The page without marked tables and without code."""
    return re.sub(r"```.*?```|`[^`]*`|^    .*?$", "", MARKED.sub("", page), flags=re.DOTALL | re.MULTILINE)


# ---------------------------------------------------------------------------------------------- the tables


def grid(corner: str, rows: dict[str, list[str]], columns: list[str]) -> list[str]:
    """Markdown of rows that have at least one number."""
    lines = [f"| {corner} | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    return lines + [f"| {name} | " + " | ".join(cells) + " |" for name, cells in rows.items() if any(cells)]


def short(network: str) -> str:
    """As a column has it.

    >>> short("TAM5-R18, 16 frames")
    'TAM5'
    """
    return network.split("-")[0]


def mean(result: Report, network: str, table: str, row: str, column: str, deviation: bool = False) -> str:
    """A number as the page has it, nothing where it was not measured."""
    found = result["tables"].get(network, {}).get(table, {}).get(row, {}).get(column)
    if found is None:
        return ""
    return cell(found[0], found[1] if deviation else None)


def of_methods(table: str, column: str) -> Callable[[Report], list[str]]:
    """One column of a table for every method and network."""

    def made(result: Report) -> list[str]:
        names = [name for name in result["tables"] if any(mean(result, name, table, row, column) for row in METHODS)]
        rows = {row: [mean(result, name, table, row, column, True) for name in names] for row in METHODS}
        return grid("", rows, names)

    return made


def shares(result: Report) -> list[str]:
    """Share of relevance on the decisive frames."""
    columns = [(network, gap) for network in MAIN for gap in (1, 2, 4, 8)]
    rows = {
        row: [mean(result, network, "Where the relevance lies", row, f"share d={gap}") for network, gap in columns]
        for row in METHODS
    }
    return grid("", rows, [f"{short(network)} d={gap}" for network, gap in columns])


def classes(result: Report) -> list[str]:
    """The same for both classes apart."""
    columns = [(network, which) for network in MAIN for which in ("weaker", "stronger")]
    rows = {
        row: [
            mean(result, network, "Where the relevance lies", row, f"share, {which} class")
            for network, which in columns
        ]
        for row in ("CLRP", "LRP", "intervention")
    }
    return grid("", rows, [f"{short(network)} {which} class" for network, which in columns])


def agreement(result: Report) -> list[str]:
    """What the maps agree with."""
    table = "What it agrees with"
    columns = [(network, column) for column in ("cosine with intervention", "relevance gain") for network in MAIN]
    columns += [(network, "ρ with Shapley values") for network in SHORT]
    rows = {row: [mean(result, network, table, row, column, True) for network, column in columns] for row in METHODS}
    names = {
        "cosine with intervention": "cosine",
        "relevance gain": "gain",
        "ρ with Shapley values": "Shapley ρ",
    }
    return grid("", rows, [f"{short(network)} {names[column]}" for network, column in columns])


def sanity(result: Report) -> list[str]:
    """What must change a map."""
    columns = [(network, test) for network in MAIN for test in ("the other logit", "random parameters")]
    rows = {
        row: [mean(result, network, "What must change it", row, f"ρ with {test}", True) for network, test in columns]
        for row in METHODS
    }
    return grid("", rows, [f"{short(network)}, {test}" for network, test in columns])


def atr(result: Report) -> list[str]:
    """Mean ATR at each gap and on the controls."""
    pairs, controls, rows = "ATR against the true span", "ATR where one frame is enough", {}
    for network in MAIN:
        for method in ("CLRP", "LRP", "intervention", "untrained CLRP", "untrained LRP"):
            cells = [mean(result, network, pairs, method, f"ATR 97.5% d={gap}") for gap in (1, 2, 4, 8)]
            cells += [mean(result, network, controls, method, f"ATR {family}") for family in ("static", "flash")]
            cells += [mean(result, network, pairs, method, column, True) for column in ("slope 97.5%", "ρ gaps 97.5%")]
            rows[f"{short(network)}: {method}"] = cells
    truth = ["2", "3", "5", "9", "1", "1", "1", "1"]
    return grid("", {"truth": truth, **rows}, ["d=1", "2", "4", "8", "static", "flash", "slope", "ρ"])


COMPARED = ("ATR 97.5%, CLRP", "ATR 97.5%, LRP", "excess span, CLRP", "excess span, LRP", "excess span, intervention")


def slope_and_error(result: Report, network: str, table: str, name: str) -> str:
    """Of one measure; empty where it was not measured."""
    cells = (mean(result, network, table, name, column) for column in ("slope", "error of means"))
    return " / ".join(filter(None, cells))


def spans(result: Report) -> list[str]:
    """Measures of the span on seeds that nothing was chosen on."""
    table, rows = "Spans, other seeds", {}
    for network in MAIN:
        for name in (*COMPARED, "excess span, untrained LRP"):
            cells = [mean(result, network, table, name, f"d={gap}") for gap in range(1, 9)]
            cells += [
                mean(result, network, table, name, column) for column in ("slope", "error of means", "ρ over clips")
            ]
            rows[f"{short(network)}: {name}"] = cells
    truth = [*map(str, range(2, 10)), "1", "0", "1"]
    return grid("", {"truth": truth, **rows}, [*(f"d={gap}" for gap in range(1, 9)), "slope", "error", "ρ over clips"])


def every_network(result: Report) -> list[str]:
    """Slope and mean error of ATR and of the excess span for all networks, on seeds that nothing was chosen on."""
    table = "Spans, other seeds"
    rows = {
        network: [slope_and_error(result, network, table, name) for name in COMPARED] for network in result["tables"]
    }
    return grid("slope / error", rows, list(COMPARED))


def alternatives(result: Report) -> list[str]:
    """All measures that were compared, by slope and error: chosen on the first column of each, judged by the others."""
    parts = [(network, part) for network in MAIN for part in ("seed 0", "other seeds")]
    rows = {
        f"{measure}, {source}": [
            slope_and_error(result, network, f"Spans, {part}", f"{measure}, {source}") for network, part in parts
        ]
        for measure in MEASURES
        for source in ("CLRP", "LRP", "intervention")
    }
    return grid("slope / error", rows, [f"{short(network)}, {part}" for network, part in parts])


def held_out(result: Report) -> list[str]:
    """The gaps that were trained after the choice."""
    table, rows = f"Spans, gaps {HELD_OUT[0]} and {HELD_OUT[1]}", {}
    for network in MAIN:
        for name in COMPARED:
            rows[f"{network}: {name}"] = [mean(result, network, table, name, f"d={gap}", True) for gap in HELD_OUT]
    return grid("", {"truth": [str(gap + 1) for gap in HELD_OUT], **rows}, [f"d={gap}" for gap in HELD_OUT])


def one_frame(result: Report) -> list[str]:
    """Measures of the span where one frame is enough."""
    table = "Spans where one frame is enough"
    columns = [(network, family) for network in MAIN for family in ("static", "flash")]
    rows = {
        f"{measure}, {source}": [
            mean(result, network, table, f"{measure}, {source}", family) for network, family in columns
        ]
        for measure in ("ATR 97.5%", "excess span")
        for source in ("CLRP", "LRP", "intervention")
    }
    return grid("", rows, [f"{short(network)} {family}" for network, family in columns])


def floor(result: Report) -> list[str]:
    """What stands above the floor, and in how many frames it lies for each class; of a result of its own."""
    spans = ("span above the floor", "span above the class")
    found: dict[str, dict[str, Row]] = {}
    for row in rows_of("floor-cpu"):
        kind, _, gap = row["network"].partition("-R18-f16-match-d")
        found.setdefault(f"{kind} d={gap}, {row['method']}", {})[row["class"]] = row
    rows = {
        name: [
            *(cell(of["both"][column], None) for column in ("all, on deciding", "above the floor, on deciding")),
            str(of["both"]["truth"]),
            *(cell(of[label][span], None) for span in spans for label in ("same", "different")),
        ]
        for name, of in found.items()
    }
    columns = ["all, on deciding", "above the floor, on deciding", "true span"]
    return grid(
        "network, method", rows, [*columns, *(f"{span}: {label}" for span in spans for label in ("same", "different"))]
    )


def motion(result: Report) -> list[str]:
    """Motion of each network beside what it loses with single frames; of a result of its own."""
    rows = {
        row["network"]: [cell(row[column], None) for column in ("lost, single", "motion", "motion, untrained")]
        for row in rows_of("motion-cpu")
        if row["network"] != "rank correlation"
    }
    return grid("network", rows, ["accuracy lost with single frames", "motion", "motion, untrained"])


def motion_kinds(result: Report) -> list[str]:
    """The same of networks whose frames meet by shift, attention or recurrence, mean of their seeds."""
    columns = (*LOST, "motion", "motion, untrained")
    found: dict[str, list[Row]] = {}
    for row in rows_of("motion_kinds-cpu"):
        name, is_network, _ = row["network"].partition(", seed ")
        if is_network:
            found.setdefault(name, []).append(row)
    rows = {
        name: [cell(sum(row[column] for row in of_seeds) / len(of_seeds), None) for column in columns]
        for name, of_seeds in found.items()
    }
    return grid("frames meet by, task", rows, list(columns))


def cuts(result: Report) -> list[str]:
    """How much lies where two shots dissolve; of a result of its own."""
    columns = ("inside", "by chance", "ATR", "excess span", "motion")

    def shown(row: Row, column: str) -> str:
        if row.get(column) is None:
            return ""
        low, high = row.get(f"{column}, low"), row.get(f"{column}, high")
        return cell(row[column], None) + ("" if low is None else f" ({low:.2f} to {high:.2f})")

    rows = {f"{row['d']}, {row['method']}": [shown(row, column) for column in columns] for row in rows_of("cuts-cpu")}
    headers = ["share inside", "by chance", "ATR of 32", "excess span", "motion"]
    return grid("frames that dissolve, method", rows, headers)


def rows_of(name: str) -> list[Row]:
    """The rows of another result."""
    rows: list[Row] = json.loads((ROOT / f"benchmarks/results/{name}.json").read_text())["rows"]
    return rows


TABLES: dict[str, Callable[[Report], list[str]]] = {
    "floor": floor,
    "motion": motion,
    "motion kinds": motion_kinds,
    "cuts": cuts,
    "shares": shares,
    "lift": of_methods("Where the relevance lies", "lift"),
    "agreement": agreement,
    "classes": classes,
    "sanity": sanity,
    "atr": atr,
    "spans": spans,
    "every network": every_network,
    "alternatives": alternatives,
    "held out": held_out,
    "one frame": one_frame,
}


if __name__ == "__main__":
    main()
