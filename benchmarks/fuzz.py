"""Mutated files of every kind, read by the public readers: only documented errors may come out.

    python -m benchmarks.fuzz [--seconds 60] [--cases N] [--seed 0] [--only KIND]
    python -m benchmarks.fuzz --seed S --case N [--keep FOLDER]     # one case again, its file kept

A KIND is videos, images, tensors, checkpoints, lists or labels. Every case makes small files of its own, damages them,
and reads them in a process that may crash. A finding is an error that is not documented or has several lines, a warning
of others, a case that takes longer than ``--limit`` or more memory than a gibibyte, something read that is not finite
or of another shape, or a model that has changed though it could not be loaded. The same seed makes the same cases,
as long as torch and FFmpeg write the same files. The exit code is 1 if anything was found.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from random import Random

from benchmarks.fuzzing.child import MOST_MEMORY, Child
from benchmarks.fuzzing.judging import Outcome
from benchmarks.fuzzing.kinds import KINDS, kind_of
from lrp3d.printed import say


def main(argv: list[str] | None = None) -> int:
    """Run the cases; returns 1 if anything was found."""
    options = _parser().parse_args(argv)
    if options.keep is not None:
        _keep(options.seed, options.case or 0, options.keep)
    numbers: Iterable[int] = itertools.count() if options.case is None else [options.case]
    if options.case is None and options.only:
        numbers = (case for case in numbers if kind_of(case).name == options.only)
    if options.cases is not None:
        numbers = itertools.islice(numbers, options.cases)
    seconds = options.seconds if options.seconds is not None or options.cases is not None else 60.0
    with Child(options.seed, options.limit) as child:
        outcomes = list(_told(child, _until(numbers, seconds), options.case is not None))
        for line in summary(outcomes):
            say(line)
        grown = f"memory grew by {child.grown / 2**20:,.0f} MiB at most"
        by = f" (in case {child.greediest})" if child.greediest is not None else ""
        say(f"{grown}{by}, and {MOST_MEMORY / 2**20:,.0f} are allowed")
    found = sum(bool(outcome.findings) for outcome in outcomes)
    say(f"{len(outcomes)} cases of seed {options.seed}: {found or 'no'} finding{'' if found == 1 else 's'}")
    return 1 if found else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m benchmarks.fuzz", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, help="how long (default: 60, or as long as --cases take)")
    parser.add_argument("--cases", type=int, help="how many at most, of all kinds together")
    parser.add_argument("--seed", type=int, default=0, help="of the mutations (default: 0)")
    parser.add_argument("--only", choices=[kind.name for kind in KINDS], help="one kind of file")
    parser.add_argument("--case", type=int, help="run this case alone, and show where an error comes from")
    parser.add_argument("--limit", type=float, default=20, help="seconds that a case may take (default: 20)")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="leave the files of --case there")
    return parser


def _until(numbers: Iterable[int], seconds: float | None) -> Iterator[int]:
    end = None if seconds is None else time.monotonic() + seconds
    for number in numbers:
        if end is not None and time.monotonic() > end:
            return
        yield number


def _told(child: Child, numbers: Iterable[int], in_full: bool) -> Iterator[Outcome]:
    """What comes of the cases; what is found is printed at once."""
    for number in numbers:
        outcome = child.run(number)
        for finding in outcome.findings:
            say(f"{outcome.kind}, --seed {child.seed} --case {number}: {finding}")
        if in_full and outcome.details:
            say(*outcome.details.splitlines())
        yield outcome


def _keep(seed: int, case: int, folder: Path) -> None:
    """Write the files of a case without reading them."""
    kind = kind_of(case)
    folder.mkdir(parents=True)
    kind.prepare(folder, Random(f"{seed} {kind.name} {case}"))


def summary(outcomes: Iterable[Outcome]) -> Iterator[str]:
    """A line for each kind: how many were read all the same, and how long the slowest took."""
    by_kind: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        by_kind.setdefault(outcome.kind, []).append(outcome)
    for name, those in by_kind.items():
        read, slowest = sum(outcome.read for outcome in those), max(outcome.seconds for outcome in those)
        yield f"{name}: {len(those)} cases, {read} were read, {len(those) - read} refused; {slowest:.1f} s at most"


if __name__ == "__main__":
    raise SystemExit(main())
