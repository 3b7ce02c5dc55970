"""Whether the tests notice deliberate errors in the method: rules, ATR, sampling, the matrix, frame logits, studies.

    python -m benchmarks.mutations                       # what an audit found once, and a sample of small changes
    python -m benchmarks.mutations --only atr --each 999 # every change of one file

The tests must pass without a change first. Each mutant is run against the tests of its file in a process of its own;
the sources on the disk are not touched. What survives is an error that no test sees, or changes nothing that anybody
could see: those are listed in `HARMLESS`.

Results add up, so that a long run can be made in pieces: while its file stays the same, a mutant that was caught is not
run again; one that survived or did not end is.
"""

from __future__ import annotations

import argparse
import importlib.abc
import importlib.machinery
import os
import random
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import torch
from benchmarks.mutating.mutants import Mutant, mutants
from benchmarks.mutating.outcomes import Outcomes, digest
from benchmarks.timing import common

ROOT = Path(__file__).parent.parent
NUMBERS = ("tests/test_study_numbers.py",)
REPORTS = ("tests/test_study_report.py", "tests/test_study_comparisons.py")
LISTS = ("tests/test_study_lists.py", "tests/test_lists_of_words.py", "tests/test_class_names.py")
RULES = sorted(f"lrp3d/rules/{path.name}" for path in (ROOT / "lrp3d/rules").glob("[!_]*.py"))
OF_RULES = (
    "tests/test_outputs.py",
    "tests/test_composites.py",
    "tests/operations/test_attention.py",
    "tests/test_rules.py",
    "tests/test_rule_parameters.py",
    "tests/test_rules_on_large_sums.py",
)
TESTS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(RULES, OF_RULES),
    "lrp3d/metrics/aggregation.py": ("tests/test_atr.py",),
    "lrp3d/metrics/atr.py": ("tests/test_atr.py",),
    "lrp3d/metrics/excess_span.py": ("tests/test_excess.py",),
    "lrp3d/sampling.py": ("tests/test_sampling.py", "tests/test_study_numbers.py"),
    "lrp3d/pathways.py": ("tests/test_temporal.py",),
    "lrp3d/propagation/temporal_matrix.py": ("tests/test_temporal.py", "tests/test_frames.py"),
    "lrp3d/propagation/clip_relevance.py": ("tests/test_against.py", "tests/test_temporal.py", "tests/test_explain.py"),
    "lrp3d/propagation/frame_logits.py": (
        "tests/test_frame_columns.py",
        "tests/test_frames.py",
        "tests/test_outputs.py",
        "tests/test_temporal.py",
    ),
    "lrp3d/propagation/frame_clock.py": (
        "tests/test_frame_order.py",
        "tests/test_seen_frames.py",
        "tests/test_frames.py",
    ),
    "lrp3d/propagation/axes.py": ("tests/test_channel_axes.py", "tests/test_clip_order.py"),
    "lrp3d/propagation/channel_axes.py": ("tests/test_channel_axes.py",),
    "lrp3d/propagation/clip_order.py": ("tests/test_clip_order.py",),
    "lrp3d/propagation/frame_order.py": ("tests/test_frame_order.py", "tests/test_seen_frames.py"),
    "lrp3d/propagation/seen_frames.py": ("tests/test_seen_frames.py", "tests/test_frame_order.py"),
    "lrp3d/propagation/frame_columns.py": ("tests/test_frame_columns.py", "tests/test_outputs.py"),
    "lrp3d/propagation/time_axis.py": ("tests/test_frames.py", "tests/test_temporal.py"),
    "lrp3d/propagation/time_average.py": ("tests/test_frames.py", "tests/test_temporal.py"),
    "lrp3d/propagation/entry_order.py": ("tests/test_frames.py", "tests/test_temporal.py"),
    "lrp3d/propagation/frames_of_weights.py": ("tests/test_frames_queries.py",),
    "lrp3d/twin/weighed_sums.py": ("tests/test_classifier.py",),
    "lrp3d/steps/spread_down.py": ("tests/test_frames.py", "tests/test_frame_columns.py"),
    "lrp3d/propagation/inside.py": ("tests/test_layers.py",),
    "lrp3d/propagation/channels.py": ("tests/test_layers.py",),
    "lrp3d/operations/sampling.py": ("tests/operations/test_computed_places.py",),
    "lrp3d/whole_video/explaining.py": ("tests/test_whole_video.py",),
    "lrp3d/planted/verdict.py": ("tests/test_planted.py",),
    "lrp3d/video/index.py": ("tests/test_video_index.py",),
    "lrp3d/video/folders.py": ("tests/test_video_folders.py", "tests/test_study_reader.py"),
    "lrp3d/study/running/time_variants.py": ("tests/test_study_numbers.py", "tests/test_study_batches.py"),
    "lrp3d/study/running/explainer.py": (*NUMBERS, "tests/test_study_batches.py"),
    "lrp3d/study/running/reader.py": ("tests/test_study_reader.py", "tests/test_study_numbers.py"),
    "lrp3d/study/running/records.py": ("tests/test_study_folder.py", "tests/test_study_run.py"),
    "lrp3d/study/running/run.py": ("tests/test_study_run.py", "tests/test_study_batches.py"),
    "lrp3d/study/running/shards.py": ("tests/test_study_shards.py", "tests/test_study_run.py"),
    "lrp3d/study/running/folder.py": ("tests/test_study_folder.py", "tests/test_study_run.py"),
    "lrp3d/study/running/clips.py": ("tests/test_study_clips.py",),
    "lrp3d/study/running/training_clips.py": ("tests/test_training_clips.py",),
    "lrp3d/study/listing/class_lists.py": LISTS,
    "lrp3d/study/listing/class_names.py": LISTS,
    "lrp3d/study/listing/columns.py": LISTS,
    "lrp3d/study/listing/formats.py": LISTS,
    "lrp3d/study/listing/lists.py": LISTS,
    "lrp3d/study/listing/numbering.py": LISTS,
    "lrp3d/study/listing/rows.py": LISTS,
    "lrp3d/study/listing/separated.py": LISTS,
    "lrp3d/study/listing/spaced.py": LISTS,
    "lrp3d/study/reporting/summary.py": ("tests/test_study_summary.py", *NUMBERS, *REPORTS),
    "lrp3d/study/reporting/statistics.py": ("tests/test_study_summary.py",),
    "lrp3d/study/reporting/study_view.py": (*REPORTS, "tests/test_study_gallery.py"),
    "lrp3d/study/reporting/paper_tables.py": REPORTS,
    "lrp3d/study/reporting/paper_figures.py": REPORTS,
    "lrp3d/study/reporting/paper_maps.py": REPORTS,
    "lrp3d/study/reporting/named_networks.py": REPORTS,
    "lrp3d/study/reporting/distinct_studies.py": REPORTS,
    "lrp3d/study/reporting/study_clips.py": ("tests/test_study_gallery.py", *REPORTS),
    "lrp3d/study/reporting/table_format.py": (*REPORTS, "tests/test_study_gallery.py"),
}
"""The files that are changed, and the tests that should notice."""


@dataclass(frozen=True)
class Named:
    """A change that the tests once did not notice."""

    name: str
    file: str
    before: str
    after: str
    tests: tuple[str, ...]


NAMED = (
    Named(
        "conservation is always zero",
        "lrp3d/propagation/clip_relevance.py",
        "return error / scale",
        "return 0 * error / scale",
        ("tests/test_explain.py",),
    ),
    Named(
        "windows of one mean size",
        "lrp3d/study/running/explainer.py",
        "first, last = explanation.segments",
        "return max(1, round(float(explanation.atr.nanmean())))",
        NUMBERS,
    ),
    Named(
        "windows of the whole clip",
        "lrp3d/study/running/explainer.py",
        "first, last = explanation.segments",
        "return frames",
        NUMBERS,
    ),
    Named(
        "centred windows for segments",
        "lrp3d/study/running/explainer.py",
        "if window == CENTRED:",
        "if True:",
        NUMBERS,
    ),
    Named(
        "no empty images",
        "lrp3d/study/running/explainer.py",
        '"fill": fill,',
        '"fill": "edge",',
        NUMBERS,
    ),
    Named(
        "dense sampling is uniform",
        "lrp3d/study/running/reader.py",
        "self.frames, self.sampling, ",
        'self.frames, "uniform", ',
        NUMBERS,
    ),
    Named(
        "sigma is ignored",
        "lrp3d/study/running/explainer.py",
        ".at_sigma(self.sigma)",
        "",
        NUMBERS,
    ),
    Named(
        "the mean of frame logits may differ from the logit",
        "lrp3d/propagation/frame_clock.py",
        "    if differ:\n        means, wanted",
        "    if False and differ:\n        means, wanted",
        ("tests/test_frames.py",),
    ),
    Named(
        "two uses of a pixel are two pixels",
        "lrp3d/propagation/clip_relevance.py",
        "if self.shared is not None:",
        "if False:",
        ("tests/test_temporal.py",),
    ),
    Named(
        "slow logits are scaled",
        "lrp3d/propagation/frame_logits.py",
        'scaled=merge == "average"',
        "scaled=True",
        ("tests/test_temporal.py",),
    ),
)

HARMLESS: dict[tuple[str, str, str], str] = {
    (
        "lrp3d/rules/alpha_beta.py",
        "if abs(self.alpha - self.beta - 1) > 1e-9 or self.beta < 0:",
        "abs(self.alpha - self.beta - 1) > 1e-09 -> abs(self.alpha - self.beta - 1) >= 1e-09",
    ): "a difference of exactly 1e-9 is rounding either way",
    (
        "lrp3d/rules/contrast.py",
        "own, turned = (self.sign > 0).to(self.sign), (self.sign < 0).to(self.sign)",
        "0 -> 1",
    ): "signs are 1 and -1; of the two zeros, tests/test_outputs.py notices the first",
    ("lrp3d/study/reporting/summary.py", '"columns": matrix.shape[-1],', "1 -> 2"): "matrices are square",
    **{
        (file, "absorbs = False", "False -> True"): (
            "a shortcut is not taken; test_a_rule_that_absorbs_nothing_hands_on_what_its_shares_would proves it is one"
        )
        for file in RULES
    },
    (
        "lrp3d/metrics/atr.py",
        "ends = torch.searchsorted(cumulative, targets, out_int32=True)",
        "True -> False",
    ): "the same numbers in more memory",
    (
        "lrp3d/sampling.py",
        "owner = torch.arange(len(clip), device=clip.device).repeat_interleave(left.shape[-1])",
        "torch.arange(len(clip), device=clip.device) -> torch.arange(len(clip))",
    ): "torch takes indices from the host as well",
    (
        "lrp3d/sampling.py",
        'budget = 2**26 if clip.device.type == "cpu" else 2**29',
        "clip.device.type == 'cpu' -> clip.device.type != 'cpu'",
    ): "how much runs at once, not what comes out",
    (
        "lrp3d/metrics/aggregation.py",
        "score, predicted = wide.softmax(-1).max(-1)",
        "-1 -> +1",
    ): "logits have two axes, of which the last is the second",
    (
        "lrp3d/propagation/frame_logits.py",
        "if frames is None or not isinstance(record.output, Tensor) or min(frames[1:]) < 2:",
        "1 -> 2",
    ): "one class with its frames last is refused either way, as one logit for each frame",
    (
        "lrp3d/propagation/frame_logits.py",
        "starts = [Start(end, torch.cat(column)) for end, column in zip(ends, zip(*rows, strict=True), strict=True)]",
        "True -> False",
    ): "there are as many columns as ends: strict only says so",
    (
        "lrp3d/propagation/frame_logits.py",
        "sign = torch.where((seeds.logits < 0) == (logit < 0)[:, None], 1.0, -1.0).to(seeds.logits)  # (b, n)",
        "seeds.logits < 0 -> seeds.logits <= 0",
    ): "the seed of a logit of zero is zero, whatever its sign",
    (
        "lrp3d/propagation/frame_columns.py",
        "frames = by_frame(time_steps(Entries(edge_of(output), output, -1), len(output)))",
        "-1 -> +1",
    ): "the last of two axes is the second",
    (
        "lrp3d/propagation/frame_columns.py",
        "count, each = len(frames), len(frames[0])",
        "0 -> 1",
    ): "every frame has as many entries, and there are at least two frames",
}
"""By file, line of the source and change: why nobody could notice."""


class Changed(importlib.abc.MetaPathFinder):
    """Finds one module in a text instead of its file."""

    def __init__(self, file: str, source: str):
        self.loader = Text(str(ROOT / file), source)
        self.module = file.removesuffix(".py").replace("/", ".")

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """The module that is changed."""
        if name != self.module:
            return None
        return importlib.machinery.ModuleSpec(name, self.loader, origin=self.loader.file)


class Text(importlib.abc.SourceLoader):
    """Loads a module from a text in the place of its file."""

    def __init__(self, file: str, source: str):
        self.file, self.source = file, source

    def get_filename(self, fullname: str) -> str:
        """Where it would have been."""
        return self.file

    def get_data(self, path: str | bytes) -> bytes:
        """Its text."""
        return self.source.encode()

    def path_stats(self, path: str) -> dict[str, float]:
        """Nothing is cached."""
        raise OSError


def survives(file: str, source: str, tests: Sequence[str], limit: float) -> bool | None:
    """Whether all tests pass with this source in the place of the file's; None if they did not end in time."""
    child = os.fork()
    if child == 0:
        os.setsid()
        os._exit(_tested(file, source, tests))
    deadline = time.monotonic() + limit
    while time.monotonic() < deadline:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status) == 0
        time.sleep(0.05)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


def _tested(file: str, source: str, tests: Sequence[str]) -> int:
    """In the child: the exit code of the tests."""
    import pytest

    sys.meta_path.insert(0, Changed(file, source))
    os.chdir(ROOT)
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        return int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", "-m", "not slow", *tests]))


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
    sound: set[tuple[str, ...]] = set()
    for file, mutant, tests in chosen(options):
        if time.monotonic() - began > 60 * options.minutes:
            break
        line = sources[file].splitlines()[mutant.line - 1].strip()
        why = HARMLESS.get((file, line, mutant.change), "")
        if results.decided(digest(mutant.source), why):
            continue
        if tests not in sound and not survives(file, sources[file], tests, options.limit):
            raise SystemExit(f"without any change, {', '.join(tests)} do not pass in {options.limit:g} s")
        sound.add(tests)
        survived = survives(file, mutant.source, tests, options.limit)
        outcome = "no end" if survived is None else "survived" if survived else "caught"
        row = {"file": file, "line": mutant.line, "source": line, "change": mutant.change, "outcome": outcome}
        row |= {"why": why if survived else "", "of": digest(sources[file]), "mutant": digest(mutant.source)}
        results.replace(row)
    print(results.summed())
    return results.write()


if __name__ == "__main__":
    sys.exit(bool(main().unexplained()))
