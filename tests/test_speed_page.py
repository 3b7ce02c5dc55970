"""Seconds and ratios that the README and docs/speed.md state are those of the results that they link."""

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README, SPEED = ROOT / "README.md", ROOT / "docs/speed.md"
RESULTS = {8: "matrix-cpu", 16: "matrix-cpu-f16", 32: "matrix-cpu-f32"}


def measured(name, frames):
    """By network and contestant, the row of a results file."""
    rows = json.loads((ROOT / f"benchmarks/results/{name}.json").read_text())["rows"]
    return {(row["model"], row["contestant"]): row for row in rows if row["frames"] == frames}


def table_rows(page, heading):
    """The cells of each row below a table's first line, which begins with these words."""
    lines = page.read_text().splitlines()
    (start,) = (i for i, line in enumerate(lines) if line.startswith(heading))
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            return
        yield [cell.strip() for cell in line.strip("|").split("|")]


def stated(cell):
    """The number of a cell such as "5.0 s"; None for a dash."""
    return None if cell == "–" else float(re.match(r"[\d.]+", cell)[0])


def require_rounded(cell, value, where):
    """A number is rounded to the digits that it is written with."""
    digits = len(re.match(r"\d*\.?(\d*)", cell)[1])
    assert stated(cell) == pytest.approx(value, abs=0.5000001 * 10**-digits), where


def require_seconds(cells, frames, model):
    found = measured(RESULTS[frames], frames)
    for cell, contestant in zip(cells, ("lrp3d", "gradient, looped", "captum", "zennit"), strict=True):
        row = found.get((model, contestant))
        assert (stated(cell) is None) == (row is None), (model, frames, contestant)
        if row is not None:
            require_rounded(cell, row["seconds"], (model, frames, contestant))


def test_the_readme_has_the_seconds_of_the_results_that_it_links():
    rows = list(table_rows(README, "| I3D-R50 | lrp3d | N plain gradients"))
    assert len(rows) == len(RESULTS)
    for label, *cells in rows:
        frames = int(label.split()[0])
        assert f"{RESULTS[frames]}.md)" in label
        require_seconds(cells, frames, "I3D-R50")


def test_the_page_of_speed_has_the_seconds_of_its_results():
    rows = [row for row in table_rows(SPEED, "| | frames | lrp3d | T(grad)") if row[0] != "Swin-T"]
    assert len(rows) == 2 * len(RESULTS)
    for model, frames, *cells in rows:
        require_seconds(cells[:4], int(frames), model)
        ours = measured(RESULTS[int(frames)], int(frames))[model, "lrp3d"]
        require_rounded(cells[4], ours["over gradient"], (model, frames))


PROCESSORS = {
    "Intel Xeon, AVX-512": RESULTS,
    "AMD EPYC, AVX-512": {8: "matrix-cpu-amd-avx512", 16: "matrix-cpu-amd-avx512-f16", 32: "matrix-cpu-amd-avx512-f32"},
    "AMD EPYC, AVX2": {8: "matrix-cpu-avx2"},
}


def test_the_page_of_speed_has_the_ratios_of_every_processor():
    head = "| | frames | Intel Xeon, AVX-512 | AMD EPYC, AVX-512 | AMD EPYC, AVX2 |"
    compared = 0
    for model, frames, *cells in table_rows(SPEED, head):
        if model not in ("I3D-R50", "TAM2D-R50"):
            continue  # Swin-T, and captum beside lrp3d, have results of their own
        for cell, (processor, results) in zip(cells, PROCESSORS.items(), strict=True):
            if cell != "–":
                ours = measured(results[int(frames)], int(frames))[model, "lrp3d"]
                require_rounded(cell, ours["over gradient"], (processor, model, frames))
                compared += 1
    assert compared == 14
