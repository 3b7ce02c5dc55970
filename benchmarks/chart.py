"""A picture of the matrix benchmark for the README: seconds per clip, ours beside others', by model and frames.

python -m benchmarks.chart [--results benchmarks/results/matrix-cpu.json ...] [--image docs/images/speed.svg]
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lrp3d.extras import missing
from lrp3d.files import replacing

from benchmarks.timing import common

PUBLISHED = [common.RESULTS / f"matrix-cpu{label}.json" for label in ("", "-f16", "-f32")]
CONTESTANTS = {
    "lrp3d": "#c0392b",
    "gradient, looped": "#95a5a6",
    "gradient, vmapped": "#cfd6d6",
    "captum": "#2c6e9b",
    "zennit": "#7fb3d5",
}


def read(paths: Sequence[Path]) -> list[dict[str, Any]]:
    """Results of `benchmarks.matrix`; those of one machine, or the bars could not be compared.

    Raises:
        SystemExit: a file is missing, is none of `benchmarks.matrix`, or comes from another machine than the first.
    """
    found: list[dict[str, Any]] = []
    for path in paths:
        if not path.is_file():
            raise SystemExit(f"no results at {path}; run python -m benchmarks.matrix first")
        results = json.loads(path.read_text())
        if results.get("benchmark") != "matrix":
            raise SystemExit(f"{path} holds no results of benchmarks.matrix")
        if found and results["machine"] != found[0]["machine"]:
            raise SystemExit(f"{path} was measured on another machine than {paths[0]}")
        found.append(results)
    return found


def draw(results: Sequence[dict[str, Any]]) -> Any:
    """A figure: one panel per model, a group of bars per number of frames, seconds on a logarithmic axis."""
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    rows = [row for result in results for row in result["rows"] if row["contestant"] in CONTESTANTS]
    models = list(dict.fromkeys(row["model"] for row in rows))
    names = [name for name in CONTESTANTS if any(row["contestant"] == name for row in rows)]
    width = 0.86 / max(1, len(names))
    figure = Figure(figsize=(4.6 * max(1, len(models)), 3.4), layout="constrained")
    panels = figure.subplots(1, max(1, len(models)), sharey=True, squeeze=False)[0]
    for panel, model in zip(panels, models, strict=True):
        of_model = [row for row in rows if row["model"] == model]
        frames = sorted({row["frames"] for row in of_model})
        for place, n in enumerate(frames):
            group = {row["contestant"]: row["seconds"] for row in of_model if row["frames"] == n}
            shown = [name for name in names if name in group]
            at = [place + (number - (len(shown) - 1) / 2) * width for number in range(len(shown))]
            seconds = [group[name] for name in shown]
            bars = panel.bar(at, seconds, width, color=[CONTESTANTS[name] for name in shown])
            panel.bar_label(bars, [f"{s:.2g}" if s < 10 else f"{s:.0f}" for s in seconds], fontsize=7)
        panel.set_yscale("log")
        panel.set_xticks(range(len(frames)), [f"{n} frames" for n in frames])
        panel.set_title(model)
        panel.spines[["top", "right"]].set_visible(False)
        panel.margins(y=0.12)
    panels[0].set_ylabel("seconds per clip")
    marks = [Patch(color=CONTESTANTS[name], label=name) for name in names]
    figure.legend(handles=marks, loc="outside upper center", ncols=len(names), frameon=False, fontsize=8)
    machine, versions = results[0]["machine"], results[0]["versions"]
    where = machine.get("gpu") or f"{machine['cpu']}, {machine['threads']} threads"
    named = ", ".join(f"{name} {versions[name]}" for name in ("torch", *common.PEERS) if name in versions)
    size = rows[0]["size"] if rows else "-"
    figure.supxlabel(f"temporal relevance matrix of one clip, {size} px; {where}; {named}", fontsize=7)
    return figure


def main(argv: list[str] | None = None) -> Path:
    """Draw and write the image."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--results", nargs="+", type=Path, default=PUBLISHED)
    parser.add_argument("--image", type=Path, default=common.ROOT / "docs" / "images" / "speed.svg")
    options = parser.parse_args(argv)
    results = read(options.results)
    try:
        from matplotlib import rc_context
    except ImportError:
        raise SystemExit(str(missing("matplotlib", "a chart"))) from None
    image: Path = options.image
    image.parent.mkdir(parents=True, exist_ok=True)
    kind = image.suffix.removeprefix(".") or "svg"
    steady: dict[str, Any] = {"metadata": {"Date": None}} if kind == "svg" else {}  # same results, same file
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "lrp3d"}), replacing(image) as temporary:
        draw(results).savefig(temporary, format=kind, dpi=120, **steady)
    print(image)
    return image


if __name__ == "__main__":
    main()
