"""Public networks, unchanged: which of them lrp3d explains, which it refuses and why, and whether any is wrong.

    python -m benchmarks.zoo                       # every network of the libraries that are installed
    python -m benchmarks.zoo --only 'timm.conv*'   # some of them
    python -m benchmarks.zoo --one timm.resnet18   # one, in this process

timm, torchvision, pytorchvideo, mmaction2 and transformers are optional; so are captum and zennit, which are shown
beside lrp3d. Each network runs in a process of its own with a limit of time and memory. Networks that are in the table
already are left out unless `--again` is given or an error ended them, so that a run can be stopped and started at any
time. A network that needs a package that is not installed is named and not in the table.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import datetime
import fnmatch
import importlib.metadata
import json
import multiprocessing
import platform
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.public import repositories
from benchmarks.public.importing import imported
from benchmarks.public.sources import names

COLUMNS = ("network", "clip", "verdict", "matrix", "because", "conservation", "seconds", "captum", "zennit", "date")
RESULTS = Path(__file__).parent / "results"
LIBRARIES = ("torch", "timm", "torchvision", "pytorchvideo", "mmaction2", "transformers", "captum", "zennit")
LEFT_OUT = "left out"
IMPORTED = "lrp3d timm torchvision pytorchvideo.models transformers captum.attr zennit.composites".split()


def main() -> None:
    """Run what is asked for, and write the table after each network."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="*", help="names or patterns of networks, separated by commas")
    parser.add_argument("--one", help="judge one network in this process and print its row")
    parser.add_argument("--again", action="store_true", help="also those that are in the table")
    parser.add_argument("--seconds", type=int, default=300, help="limit for one network")
    parser.add_argument("--gigabytes", type=int, default=16, help="limit of address space for one network")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of zoo.csv and zoo.md")
    parser.add_argument("--repositories", type=Path, help="folder of clones, for networks that are in no package")
    options = parser.parse_args()
    repositories.FOLDER = options.repositories
    for library in IMPORTED:
        with contextlib.suppress(ImportError):
            imported(library)
    if options.one:
        print(json.dumps(_judged(options.one, options.gigabytes)))
        return
    rows = _read(options.out / "zoo.csv")
    for name in names():
        chosen = any(fnmatch.fnmatchcase(name, pattern) for pattern in options.only.split(","))
        judged = name in rows and rows[name]["verdict"] != "error"
        if not chosen or (judged and not options.again):
            continue
        row = _in_a_process(name, options.seconds, options.gigabytes)
        print(name, row["verdict"], row["because"], flush=True)
        if row["verdict"] == LEFT_OUT:
            rows.pop(name, None)
        else:
            rows[name] = row
        _write(rows, options.out)


def _judged(name: str, gigabytes: int, answer: Any = None) -> dict[str, str]:
    """One network in this process, within its memory."""
    import resource

    import torch

    from benchmarks.public.judging import judge

    resource.setrlimit(resource.RLIMIT_AS, (gigabytes * 2**30,) * 2)
    torch.set_num_threads(1)
    if answer is None:
        return judge(name)
    try:
        row = judge(name)
    except ModuleNotFoundError as error:
        row = {"verdict": LEFT_OUT, "because": f"{error.name} is not installed"}
    except BaseException as error:
        row = {"verdict": "error", "because": " ".join(f"{type(error).__name__}: {error}".split())[:200]}
    answer.send(row)
    return row


def _in_a_process(name: str, seconds: int, gigabytes: int) -> dict[str, str]:
    """One network in a copy of this process, which has imported all libraries already."""
    row = dict.fromkeys(COLUMNS, "") | {"network": name, "date": datetime.date.today().isoformat()}
    ours, theirs = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("fork").Process(target=_judged, args=(name, gigabytes, theirs))
    process.start()
    theirs.close()
    try:
        if not ours.poll(seconds):
            return row | {"verdict": "error", "because": f"more than {seconds} s"}
        answer: dict[str, str] = ours.recv()
        return row | answer
    except EOFError:
        process.join()
        return row | {"verdict": "error", "because": f"ended with exit code {process.exitcode}"}
    finally:
        process.kill()
        process.join()


def _read(path: Path) -> dict[str, dict[str, str]]:
    if not path.exists():
        return {}
    with path.open(newline="") as file:
        return {row["network"]: row for row in csv.DictReader(file)}


def _write(rows: dict[str, dict[str, str]], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "zoo.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows.values())
    known = len({*names(), *rows})
    counts = Counter(row["verdict"] for row in rows.values())
    versions = ", ".join(f"{name} {version}" for name in LIBRARIES if (version := _version(name)))
    lines = [
        "# Public networks",
        "",
        f"Written by `python -m benchmarks.zoo`, with {versions}; {platform.machine()}, Python "
        f"{platform.python_version()}, {datetime.date.today()}. Random weights, small clips, float32. Images are seen "
        "frame by frame and averaged. captum and zennit: relative error of the sum of relevance, or why they stop.",
        "",
        ", ".join(f"{count} {verdict}" for verdict, count in sorted(counts.items(), key=lambda item: -item[1]))
        + f", of {len(rows)} that were run{f', of {known} that the command knows' if known > len(rows) else ''}.",
        "",
        "| " + " | ".join(COLUMNS[:-1]) + " |",
        "|" + "---|" * (len(COLUMNS) - 1),
    ]
    lines += [
        "| " + " | ".join(row[column].replace("|", "/") for column in COLUMNS[:-1]) + " |" for row in rows.values()
    ]
    (folder / "zoo.md").write_text("\n".join(lines) + "\n")


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


if __name__ == "__main__":
    main()
