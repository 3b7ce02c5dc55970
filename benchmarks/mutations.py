"""Whether the tests notice deliberate errors in the method: rules, ATR, sampling, the matrix, frame logits, studies.

    python -m benchmarks.mutations                       # what an audit found once, and a sample of small changes
    python -m benchmarks.mutations --only atr --each 999 # every change of one file

The tests must pass without a change first. Each mutant is run against the tests of its file in a process of its own;
the sources on the disk are not touched. What survives is an error that no test sees, or changes nothing that anybody
could see: those are listed in `mutating/harmless.py`.

Results add up, so that a long run can be made in pieces: while its file stays the same, a mutant that was caught is not
run again; one that survived or did not end is.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Iterator, Sequence

import torch
from benchmarks.mutating.harmless import why_harmless
from benchmarks.mutating.mutants import Mutant, mutants
from benchmarks.mutating.named import NAMED
from benchmarks.mutating.outcomes import Outcomes, digest
from benchmarks.mutating.tested import ROOT, TESTS
from benchmarks.mutating.trying import survives
from benchmarks.timing import common


def chosen(options: argparse.Namespace) -> Iterator[tuple[str, Mutant, tuple[str, ...]]]:
    """Files, their mutants and their tests."""
    for named in NAMED:
        source = (ROOT / named.file).read_text(encoding="utf-8")
        if named.before not in source:
            raise SystemExit(f"{named.file} no longer has {named.before!r}: put the mutation {named.name!r} right")
        if options.only in named.file:
            line = source[: source.index(named.before)].count("\n") + 1
            yield named.file, Mutant(line, named.name, source.replace(named.before, named.after, 1)), named.tests
    for file, tests in TESTS.items():
        if options.only not in file:
            continue
        found = list(mutants((ROOT / file).read_text(encoding="utf-8")))  # some seconds of a long file
        dice = random.Random(f"{file} {options.seed}")
        some = dice.sample(found, min(options.each, len(found)))
        yield from ((file, mutant, tests) for mutant in sorted(some, key=lambda one: one.line))


def main(argv: Sequence[str] | None = None) -> Outcomes:
    """Run and write the table; ends with 1 where something survived that is not listed as harmless."""
    parser = common.arguments(__doc__)
    parser.add_argument("--each", type=int, default=8, metavar="N", help="mutants of a file (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the sample (default: %(default)s)")
    parser.add_argument("--only", default="", metavar="TEXT", help="files whose path holds this")
    parser.add_argument("--limit", type=float, default=240, metavar="S", help="seconds of a mutant (default: 240)")
    parser.add_argument("--minutes", type=float, default=60, metavar="M", help="begin none after this (default: 60)")
    options = common.parse(parser, argv)
    device = common.start(options)
    torch.set_num_threads(1)  # children are forked, and a pool of threads would not be
    if options.quick:
        options.each, options.only = 0, options.only or "frame_logits"
    title = "Deliberate errors, and whether the tests notice"
    results = Outcomes("mutations", title, options, device, ("file", "line", "change", "outcome"))
    sources = {file: (ROOT / file).read_text(encoding="utf-8") for file in [*TESTS, *(one.file for one in NAMED)]}
    results.take_up({file: digest(source) for file, source in sources.items()})
    began = time.monotonic()
    sound: set[str] = set()
    for file, mutant, tests in chosen(options):
        if time.monotonic() - began > 60 * options.minutes:
            break
        line = sources[file].splitlines()[mutant.line - 1].strip()
        why = why_harmless(file, line, mutant.change)
        if results.decided(digest(mutant.source), why):
            continue
        untried = [test for test in tests if test not in sound]
        if untried and not survives(file, sources[file], untried, options.limit):
            raise SystemExit(f"without any change, {', '.join(untried)} do not pass in {options.limit:g} s")
        sound.update(untried)
        survived = survives(file, mutant.source, tests, options.limit)
        outcome = "no end" if survived is None else "survived" if survived else "caught"
        row = {"file": file, "line": mutant.line, "source": line, "change": mutant.change, "outcome": outcome}
        row |= {"why": why if survived else "", "of": digest(sources[file]), "mutant": digest(mutant.source)}
        results.replace(row)
    print(results.summed())
    return results.write()


if __name__ == "__main__":
    sys.exit(bool(main().unexplained()))
