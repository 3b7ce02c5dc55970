"""The page of the findings: the rules, every finding with its mark, the numbers of all networks, figures."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.paper.claims import AREA, CLAIMS, CORRELATION, FRAMES, POINTS, ROOM, SPREAD, Claim
from benchmarks.paper.figures import figures
from benchmarks.paper.nets import LONGER, STEPS, TWICE, every
from benchmarks.paper.records import Bench
from benchmarks.paper.statistics import CONFIDENCE, LEAST, LEVEL, MARKS, NOT_ASKED, Question, Sample, holm
from benchmarks.paper.tables import class_table, network_table, share_table, trained, window_table
from lrp3d.files import replacing
from lrp3d.study.reporting.table_format import Cell, Table

HALF, SURE = POINTS / 2, 100 * CONFIDENCE
RULES = f"""\
These rules and all questions below were written before any ATR of these networks was looked at; noise, contrast and
steps were chosen by the accuracy of a few networks alone.

- **Unit: the training seed.** A finding is one number of each seed, made of networks of that seed, which share
  their initial draw and their clips; the clips of a network are not independent of one another and are never the
  unit.
- **Test.** Student's t over seeds, two-sided. With five seeds an exact sign-flip test cannot go below p = .0625, so
  it could decide nothing. t assumes that seeds are spread normally; no test of five numbers can show that they are.
- **No difference** is a claim, too: two one-sided tests (TOST) against a margin stated here: {FRAMES:g} frames of
  ATR (what depth adds in the paper), {POINTS:g} points of accuracy ({HALF:g} a step of the kernel), r of
  {CORRELATION:g}, AUROC of {AREA:g} to either side of chance, a variance of {SPREAD:.3f} frames² between classes
  (half of them within {FRAMES:g} frames). p is the smaller of equivalence and of a difference beyond the margin,
  doubled.
- **Correction.** Holm's, over all findings that are asked, at {LEVEL:g}. Ordered factors (kernel, frames, ensembled
  frames) are a slope of each seed.
- **Marks.** *Reproduced*: corrected p below {LEVEL:g}, with the paper's sign, or within the margin where the paper
  has no difference. *Contradicted*: corrected p below {LEVEL:g} with the other sign, or beyond the margin.
  *Undecided*: anything else; the interval says what is left possible. *Not asked*: fewer than {LEAST} seeds.
- **Room.** A number that is made of accuracies says something of accuracy only if each of its networks leaves room for
  another to be better or worse: a mean accuracy of {ROOM[0]:g} to {ROOM[1]:g} %. Where room is *no*, the finding says
  nothing about accuracy, whatever the mark; the networks that leave none are named below. "–" stands where the number
  has no accuracy in it.
- ± is the deviation over seeds; intervals are {SURE:g} % ones of the mean, not corrected; d is the mean in
  deviations over seeds. Counted are clips predicted correctly with a score above 0.5, as in the paper; *all clips*
  is the mean of the same number without that filter, which is not tested."""


AGAIN_RULES = f"""\
Some networks were below {ROOM[0]:g} % after the {STEPS} steps that all have. This was seen together with the findings
above, so what follows was not planned with them: the same questions, asked of the same networks trained {LONGER} times
as long (x{LONGER} in their names). The number of steps was fixed before any of these was trained. p is corrected
among these findings alone. A number of accuracies that has room here and none above, or the other way round, counts
where it has room; where two marks with room differ, the finding is one of how long networks are trained."""

TWICE_RULES = f"""\
Of the networks whose accuracy is held against their ATR, two are below {ROOM[0]:g} % after {STEPS} steps, and two
others above {ROOM[1]:g} % after {LONGER} times as many. So these networks were also trained {TWICE} times as long
(x{TWICE}), which was chosen before any of them was trained, and what is asked of their accuracies alone is asked once
more. p is corrected among these findings."""


@dataclass(frozen=True)
class Answer:
    """A finding, what was found, and its mark."""

    claim: Claim
    question: Question
    corrected: float
    mark: str
    everything: Sample
    """The same of all clips."""
    accuracies: dict[str, float]
    """Of the networks whose accuracy is part of the number, in percent."""

    @property
    def without_room(self) -> dict[str, float]:
        """Those of the networks that leave none."""
        return {key: value for key, value in self.accuracies.items() if not ROOM[0] <= value <= ROOM[1]}

    @property
    def room(self) -> str:
        """Whether the number says something of accuracy, if it is made of accuracies."""
        return "–" if not self.accuracies else "no" if self.without_room else "yes"


def answers(bench: Bench, claims: Sequence[Claim] = CLAIMS) -> list[Answer]:
    """Of these findings; only those that are asked are corrected for."""
    asked = {claim: claim.question(bench) for claim in claims}
    p = {claim.name: one.p for claim, one in asked.items() if one.sample.n >= LEAST}
    corrected = holm(p)
    found = []
    for claim, one in asked.items():
        own = corrected.get(claim.name, math.nan)
        everything = claim.sample(replace(bench, counted=False))
        found.append(Answer(claim, one, own, one.mark(own), everything, claim.accuracies(bench)))
    return found


def asked_again(bench: Bench, times: int = LONGER) -> list[Answer]:
    """Of the findings whose number changes with networks that were also trained so many times as long.

    Where not all of them were, only of those that are made of accuracies of such networks alone.
    """
    longer = replace(bench, longer=times)
    claims = [claim for claim in CLAIMS if claim.sample(longer) != claim.sample(bench)]
    if times != LONGER:
        claims = [
            claim for claim in claims if (keys := claim.accuracies(longer)) and all(f"-x{times}-" in k for k in keys)
        ]
    return answers(longer, claims)


def summary_table(found: Sequence[Answer], name: str = "findings", title: str = "The paper's findings") -> Table:
    """All findings at a glance."""
    headers = ["paper", "finding", "mark", "room", "mean", "95 % interval", "unit", "d", "seeds", "p", "corrected p"]
    rows: list[list[Cell]] = [
        [
            one.claim.paper,
            one.claim.finding,
            one.mark,
            one.room,
            *_numbers(one.question.sample),
            one.claim.unit,
            _d(one.question.sample),
            one.question.sample.n,
            *([_p(one.question.p), _p(one.corrected)] if one.mark != NOT_ASKED else ["–", "–"]),
        ]
        for one in found
    ]
    return Table(name, title, headers, rows)


def room(found: Sequence[Answer]) -> list[str]:
    """A line for each finding that says nothing about accuracy, with the networks that leave no room."""
    lines = []
    for one in found:
        if one.without_room:
            named = ", ".join(f"{key} ({value:.1f} %)" for key, value in sorted(one.without_room.items()))
            lines.append(f"- {one.claim.paper}, {one.claim.finding}: {named}")
    return lines


def question_table(found: Sequence[Answer]) -> Table:
    """What was asked, and what the paper has."""
    headers = ["paper", "finding", "number of each seed", "reproduced if", "the paper's", "all clips", "each seed"]
    rows = []
    for one in found:
        claim, values = one.claim, one.question.sample.values
        margin = claim.margin
        wanted = "above 0" if margin is None else f"below {margin:.3g}" if claim.upper_only else f"within ±{margin:g}"
        everything = f"{one.everything.mean:+.2f}" if one.everything.n else "–"
        seeds = ", ".join(f"{value:+.2f}" for value in values) or "–"
        rows.append(
            [claim.paper, claim.finding, f"{claim.number} ({claim.unit})", wanted, claim.theirs, everything, seeds]
        )
    return Table("questions", "What was asked", headers, rows)


def _numbers(sample: Sample) -> list[str]:
    if not sample.n:
        return ["–", "–"]
    low, high = sample.interval
    return [f"{sample.mean:+.2f}", f"[{low:+.2f}, {high:+.2f}]" if sample.n > 1 else "–"]


def _d(sample: Sample) -> str:
    return f"{sample.size:+.1f}" if sample.n > 1 else "–"


def _p(p: float) -> str:
    return f"{p:.2g}" if p >= 0.0001 else "< 0.0001"


def page(bench: Bench, about: dict[str, Any], folder: str = "findings") -> tuple[str, dict[str, bytes]]:
    """Markdown, and the files in `folder` by name."""
    found = answers(bench)
    counted = Counter(one.mark for one in found)
    total = f"{len(found)} findings: " + ", ".join(f"{counted[mark]} {mark}" for mark in MARKS) + "."
    summary, questions = summary_table(found), question_table(found)
    tables = [network_table(bench), share_table(bench), window_table(bench), class_table(bench)]
    again = {
        "longer": ("## Asked again of networks that were trained longer", AGAIN_RULES, asked_again(bench)),
        "twice": ("## Once more, of networks trained twice as long", TWICE_RULES, asked_again(bench, TWICE)),
    }
    summaries = {name: summary_table(answers, name, "Asked again") for name, (_, _, answers) in again.items()}
    written = (summary, questions, *summaries.values(), *tables)
    files = {f"{table.name}.csv": table.csv().encode() for table in written if table.rows}
    lines = ["# The paper's findings, on networks trained here", *said(bench, about), "## Rules", RULES]
    lines += ["## Findings", total, summary.markdown(), f"[csv]({folder}/findings.csv)"]
    lines += ["These say nothing about accuracy, for want of room:", "\n".join(room(found))] * bool(room(found))
    for name, (title, rules, asked) in again.items():
        if asked:
            lines += [title, rules, summaries[name].markdown()]
            lines += ["No room:", "\n".join(room(asked))] * bool(room(asked))
            lines.append(f"[csv]({folder}/{name}.csv)")
    lines += ["## What was asked", questions.markdown(), f"[csv]({folder}/questions.csv)", "## Numbers"]
    for table in tables:
        lines += [f"**{table.title}**", table.markdown(), f"{table.note} [csv]({folder}/{table.name}.csv)".strip()]
    lines.append("## Figures")
    for chart in figures(bench):
        files[f"{chart.name}.png"] = chart.png()
        lines += [
            f"**{chart.title}**",
            f"![{chart.title}]({folder}/{chart.name}.png)",
            *([chart.note] * bool(chart.note)),
        ]
    return "\n\n".join(lines) + "\n", files


def said(bench: Bench, about: dict[str, Any]) -> list[str]:
    """What the numbers depend on."""
    records = bench.records.values()
    training, explaining = (sum(record["seconds"][i] for record in records) / 60 for i in (0, 1))
    clips = len(next(iter(records))["clips"]["label"])
    seeds = Counter(Counter(key for key, _ in bench.records).values())
    per = ", ".join(f"{number} with {count} seed{'s' * (count > 1)}" for count, number in sorted(seeds.items())[::-1])
    missing = [net.key for net in every((0,)) if net.key not in {key for key, _ in bench.records}]
    more = Counter(net.longer for net in trained(bench) for key, _ in bench.records if key == net.key)
    parts = [f"{more[times]} of the networks {times} times as many" for times in (TWICE, LONGER) if more[times]]
    longer = f" ({', '.join(parts)})" * bool(parts)
    added = f"; those trained longer on {about['added']['date']}" if "added" in about else ""
    made = f"{about['machine']}; Python {about['python']}, torch {about['torch']}, lrp3d {about['lrp3d']}"
    return [
        f"`python -m benchmarks.findings_nets`, then `python -m benchmarks.findings`, {about['date']}{added}; {made}. "
        f"{len(records)} networks ({per}), {STEPS} steps of 24 clips each{longer}: {training:.0f} CPU "
        f"minutes of training, {explaining:.0f} of explaining {clips} clips of each and showing windows of 30. Records "
        "of every network and clip are in [findings/records](findings/records); `python -m benchmarks.findings "
        "--from-records` makes this page, its tables and figures of them, without training.",
        "Networks are narrow (8 channels at first; Inception has an eighth of its channels) and trained from scratch, "
        "on videos of 32 frames of 16 x 16 pixels whose ten classes are known to need time or not "
        "([actions.py](../paper/actions.py)). Contrast differs from clip to clip, so that accuracy is neither chance "
        "nor full; on static data, which any frame shows, it is nearly full. What is contradicted here need not be "
        "wrong of real videos and full networks, nor is what is reproduced thereby shown for them.",
        "Not asked at all: ResNet-101 and 152, 8 frames with other kernels and with dense sampling, 2 and 8 ensembled "
        "frames, and people's judgement of classes (here it is known which need time)."
        + (f" Networks that were planned and not trained: {', '.join(missing)}." if missing else ""),
    ]


def write(bench: Bench, about: dict[str, Any], out: Path) -> list[Path]:
    """findings.md for readers, findings.json for programs, tables and figures in findings/."""
    text, files = page(bench, about)
    found = [
        {
            "paper": one.claim.paper,
            "finding": one.claim.finding,
            "mark": one.mark,
            "number": one.claim.number,
            "unit": one.claim.unit,
            "values": [round(value, 4) for value in one.question.sample.values],
            "p": _known(one.question.p) if one.question.sample.n > 1 else None,
            "corrected p": _known(one.corrected),
        }
        for one in answers(bench)
    ]
    content = {out / "findings" / name: data for name, data in files.items()}
    content[out / "findings.json"] = (json.dumps({**about, "findings": found}, indent=1) + "\n").encode()
    content[out / "findings.md"] = text.encode()
    (out / "findings").mkdir(parents=True, exist_ok=True)
    for path, data in content.items():
        with replacing(path) as temporary:
            temporary.write_bytes(data)
    return list(content)


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value
