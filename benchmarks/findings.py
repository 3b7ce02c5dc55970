"""The paper's findings, on small networks trained here: reproduced, contradicted or undecided, by tests over seeds.

    python -m benchmarks.findings_nets            # first: trains the networks, and goes on where it stopped
    python -m benchmarks.findings                 # collects their records, then writes page, tables and figures
    python -m benchmarks.findings --add           # adds networks that have no record yet
    python -m benchmarks.findings --from-records  # page, tables and figures of the records that are in the repository

findings.md, findings.json and the folder findings/ are in benchmarks/results; records are in findings/records.
"""

from __future__ import annotations

import argparse
import json
import platform
from datetime import date

import torch

import lrp3d
from benchmarks.paper import page, records
from benchmarks.timing.common import add_folder


def main() -> None:
    """Read the options, collect what is new, write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_folder(parser, "--nets", "build/planted")
    add_folder(parser, "--out", "benchmarks/results")
    parser.add_argument("--from-records", action="store_true", help="compute from the records in DIR/findings/records")
    parser.add_argument("--add", action="store_true", help="keep all records there are, add those of other networks")
    options = parser.parse_args()
    kept = options.out / "findings" / "records"
    if not options.from_records:
        found = records.collect(options.nets)
        if not found:
            parser.error(f"no trained network in {options.nets}: run benchmarks.findings_nets first")
        about = facts()
        if options.add and (kept / "about.json").exists():
            before = records.read(kept).records
            new = {(one["net"], one["seed"]): one for one in found}
            found = [*(before | {key: one for key, one in new.items() if key not in before}).values()]
            about = json.loads((kept / "about.json").read_text()) | {"added": about}
        records.write(found, kept)
        (kept / "about.json").write_text(json.dumps(about, indent=1) + "\n")
    elif not (kept / "about.json").exists():
        parser.error(f"no records in {kept}")
    about = json.loads((kept / "about.json").read_text())
    for path in page.write(records.read(kept), about, options.out):
        print(f"wrote {path}")


def facts() -> dict[str, str]:
    """When and where the records were made."""
    return {
        "date": date.today().isoformat(),
        "command": "python -m benchmarks.findings",
        "machine": f"{platform.machine()}, 1 thread, no GPU",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "lrp3d": lrp3d.__version__,
    }


if __name__ == "__main__":
    main()
