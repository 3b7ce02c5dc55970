"""The paper's findings, on the networks of the bench: reproduced, not reproduced, or not tested here.

python benchmarks/truth.py       # first: its tables are read
python benchmarks/findings.py    # into benchmarks/results/findings.md and findings.json
python benchmarks/findings.py --quick
"""

from __future__ import annotations

import argparse
import json
from datetime import date
from pathlib import Path

import torch
from lrp3d.models.files import replacing

import lrp3d
from lrp3d import sampling
from lrp3d.planted import Task, normalise

WINDOWS = (1, 2, 4, 6, 8, 10, 12, 16)
ENOUGH = 0.05  # of accuracy: less than that is noise with 48 clips
SEED = 930_000  # of clips that nothing was trained or explained on
NOT_HERE = {
    "Table 3, Fig. 8, 9, 15: ATR over classes, temporal against static classes": "two classes have no order",
    "Table 4, Fig. 11: SlowFast": "no narrow SlowFast was trained",
    "Fig. 4: backbones and depth": "one backbone and one depth were trained",
    "Fig. 10: fewer ensembled output frames": "no network was trained to answer from some of its frames",
    "Table 7, Fig. 13: dense against uniform sampling": "planted clips are made frame by frame, not sampled",
}

Finding = dict[str, object]


def main() -> None:
    """Read the options, collect and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=Path("benchmarks/results"), metavar="DIR", help="of truth.py")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"), metavar="DIR")
    parser.add_argument("--quick", action="store_true", help="few clips: does it run")
    options = parser.parse_args()
    torch.set_num_threads(1)
    path = options.results / "truth.json"
    if not path.exists():
        parser.error(f"no {path}: run benchmarks/truth.py first")
    tables = json.loads(path.read_text())["tables"]
    found = [*from_tables(tables), *partial_sampling(4 if options.quick else 48)]
    found += [{"finding": name, "result": "not tested here", "numbers": why} for name, why in NOT_HERE.items()]
    write(found, options.out)


def from_tables(tables: dict) -> list[Finding]:
    """What the validity table already tells."""
    found = []
    for name, table in tables.items():
        atr, controls = table["ATR against the true span"], table["ATR where one frame is enough"]
        gaps = [column for column in atr["CLRP"] if column.startswith("ATR 97.5% d=")]
        if not gaps:
            continue
        if "ATR static" in controls.get("CLRP", {}):
            static, deviation = controls["CLRP"]["ATR static"]
            pairs = {gap.split()[-1]: atr["CLRP"][gap][0] for gap in gaps}
            found.append(
                verdict(
                    f"Table 1: data with temporal structure has a greater avg-ATR ({name})",
                    min(pairs.values()) - static > deviation,
                    f"static {static:.2f} ± {deviation:.2f}; pairs "
                    + ", ".join(f"{gap} {value:.2f}" for gap, value in pairs.items()),
                )
            )
        found.append(
            verdict(
                f"Table 6: LRP gives a greater avg-ATR than CLRP ({name})",
                all(atr["LRP"][gap][0] > atr["CLRP"][gap][0] for gap in gaps),
                "; ".join(
                    f"{gap.split()[-1]} LRP {atr['LRP'][gap][0]:.2f}, CLRP {atr['CLRP'][gap][0]:.2f}" for gap in gaps
                ),
            )
        )
    found += between(tables, "I3D-R18", "TAM5-R18", "Fig. 3: I3D has a greater avg-ATR than TAM")
    found += between(tables, "TAM7-R18", "TAM5-R18", "Table 2: larger temporal kernels have a greater avg-ATR")
    return found


def between(tables: dict, larger: str, smaller: str, claim: str) -> list[Finding]:
    """One architecture against another on the same tasks."""
    names = [f"{architecture}, 16 frames" for architecture in (larger, smaller)]
    if not all(name in tables for name in names):
        return [{"finding": claim, "result": "not tested here", "numbers": f"{larger} or {smaller} was not trained"}]
    one, other = (tables[name]["ATR against the true span"]["CLRP"] for name in names)
    gaps = [column for column in one if column.startswith("ATR 97.5% d=") and column in other]
    text = "; ".join(f"{gap.split()[-1]} {larger} {one[gap][0]:.2f}, {smaller} {other[gap][0]:.2f}" for gap in gaps)
    return [verdict(claim, all(one[gap][0] > other[gap][0] for gap in gaps), text)]


def partial_sampling(clips: int) -> list[Finding]:
    """Fig. 6 and 14: accuracy when every frame's prediction sees a window of the clip."""
    found, accuracies, ranges = [], [], []
    for name in lrp3d.models.pretrained_names():
        facts = lrp3d.models.pretrained_facts(name)
        task = Task(**facts["task"])
        if task.family != "match":
            continue
        model, planted = lrp3d.models.load_pretrained(name), task.clips(clips, seed=SEED)
        x, labels = normalise(planted.clips, model), planted.labels

        def accuracy(window, fill: str = "edge", model=model, x=x, labels=labels) -> float:
            found = sampling.partial_uniform_logits(model, x, window, fill=fill)
            return (found.logits.argmax(1) == labels).double().mean().item()

        explanation = lrp3d.explain(model, x, labels)
        assert explanation.atr is not None
        assert explanation.avg_atr is not None
        fixed = {window: accuracy(window) for window in WINDOWS}
        blank = {window: accuracy(window, "blank") for window in WINDOWS}
        dynamic = accuracy(explanation.atr.nan_to_num(nan=1.0))
        enough = next(window for window in WINDOWS if fixed[window] >= fixed[WINDOWS[-1]] - ENOUGH)
        accuracies.append(fixed[WINDOWS[-1]])
        ranges.append(explanation.avg_atr.nanmean().item())
        text = ", ".join(f"{window}: {value:.2f}" for window, value in fixed.items())
        found += [
            verdict(
                f"Fig. 6: a frame's ATR window is all that it needs ({name})",
                dynamic >= fixed[WINDOWS[-1]] - ENOUGH,
                f"accuracy by window {text}; ATR windows (mean {ranges[-1]:.1f} frames) {dynamic:.2f}; the smallest "
                f"fixed window that is enough {enough}, the true span {task.gap + 1}",
            ),
            verdict(
                f"Fig. 14: empty frames outside the window are worse than frozen ones ({name})",
                sum(blank.values()) < sum(fixed.values()),
                "empty " + ", ".join(f"{window}: {value:.2f}" for window, value in blank.items()),
            ),
        ]
    lowest = f"the least accurate of {len(accuracies)} networks has {min(accuracies):.2f}: nothing to correlate with"
    found.append({"finding": "Fig. 7: accuracy against avg-ATR", "result": "not testable here", "numbers": lowest})
    return found


def verdict(claim: str, holds: bool, numbers: str) -> Finding:
    """A finding and whether it holds."""
    return {"finding": claim, "result": "reproduced" if holds else "not reproduced", "numbers": numbers}


def write(found: list[Finding], out: Path) -> None:
    """JSON for programs, Markdown for readers."""
    out.mkdir(parents=True, exist_ok=True)
    facts = {"date": date.today().isoformat(), "torch": torch.__version__, "lrp3d": lrp3d.__version__}
    lines = [
        "# The paper's findings, on planted clips",
        "",
        f"`python benchmarks/findings.py`, {facts['date']}, one thread, torch {facts['torch']}, "
        f"lrp3d {facts['lrp3d']}.",
        "Small networks on 16 x 16 pixels and two classes: a finding that does not hold here may hold on real videos.",
        "",
        "| finding | result | numbers |",
        "|---|---|---|",
        *(f"| {one['finding']} | {one['result']} | {one['numbers']} |" for one in found),
        "",
    ]
    body = json.dumps({**facts, "findings": found}, indent=1) + "\n"
    for name, text in (("findings.json", body), ("findings.md", "\n".join(lines))):
        with replacing(out / name) as temporary:
            temporary.write_text(text)
        print(f"wrote {out / name}")


if __name__ == "__main__":
    main()
