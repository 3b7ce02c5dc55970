"""What a finding is, and the page they are written on."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lrp3d.files import replacing
from benchmarks.paper.verdicts import NOT_HERE, NOT_REPRODUCED, REPRODUCED, Comparison, mark

from lrp3d.study.reporting.report import Chart
from lrp3d.study.reporting.tables import Table


@dataclass(frozen=True)
class Finding:
    """A claim of the paper, whether it holds here, the numbers, and what that means."""

    claim: str
    result: str
    numbers: str
    meaning: str


@dataclass
class Section:
    """A table or figure of the paper: what it says there, ours, and the findings."""

    number: str
    """As the paper numbers it."""
    title: str
    paper: str
    """The claim, with the paper's numbers."""
    parts: list[Table | Chart] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    def add(self, *parts: Table | Chart | None) -> None:
        """Tables and figures, as many as there are."""
        self.parts += [part for part in parts if part is not None]

    def find(self, claim: str, compared: Mapping[str, Comparison], numbers: str, yes: str, no: str) -> None:
        """Note whether a claim holds, by the comparisons that are more than noise; without any, networks are missing.

        Args:
            claim: what the paper says.
            compared: by name, positive where they speak for the paper.
            numbers: ours.
            yes: what it means if it is so here.
            no: what it means if it is not.
        """
        if not compared:
            self.findings.append(Finding(claim, NOT_HERE, "networks for it were not trained", "–"))
            return
        result = mark(compared)
        meaning = {REPRODUCED: yes, NOT_REPRODUCED: no, NOT_HERE: "within the noise"}[result]
        if len(compared) > 1:
            counting = {name: one.mean > 0 for name, one in compared.items() if one.counts}
            names = {sign: [name for name, own in counting.items() if own == sign] for sign in (True, False)}
            numbers += f" ({len(names[True])} of {len(compared)} comparisons count for it"
            numbers += f", against it: {', '.join(names[False])})" if names[False] else ", none against)"
        self.findings.append(Finding(claim, result, numbers, meaning))


def summary_table(sections: Sequence[Section]) -> Table:
    """All findings at a glance."""
    rows = [
        [section.number, one.claim, one.result, one.numbers, one.meaning]
        for section in sections
        for one in section.findings
    ]
    return Table("findings", "The paper's findings", ["paper", "finding", "result", "numbers", "what it means"], rows)


def page(sections: Sequence[Section], facts: Sequence[str], folder: str) -> str:
    """Markdown; tables and figures are files in `folder`."""
    table = summary_table(sections)
    counted = [sum(row[2] == result for row in table.rows) for result in (REPRODUCED, NOT_REPRODUCED, NOT_HERE)]
    total = "{} findings: {} reproduced, {} not reproduced, {} not testable here.".format(len(table.rows), *counted)
    lines = ["# The paper's findings, on networks trained here", *facts, "## Summary", total, table.markdown()]
    for section in sections:
        lines += [f"## {section.number}: {section.title}", f"**The paper.** {section.paper}"]
        for part in section.parts:
            lines.append(f"**{part.title}**")
            if isinstance(part, Table):
                lines += [part.markdown(), f"{part.note} [csv]({folder}/{part.name}.csv)".strip()]
            else:
                lines += [f"![{part.title}]({folder}/{part.name}.png)", *([part.note] if part.note else [])]
        lines.append("\n".join(f"- {one.claim}: **{one.result}**. {one.numbers}." for one in section.findings))
    return "\n\n".join(lines) + "\n"


def write(sections: Sequence[Section], facts: dict[str, Any], said: Sequence[str], out: Path) -> list[Path]:
    """findings.md for readers, findings.json for programs, tables and figures in findings/."""
    folder = out / "findings"
    folder.mkdir(parents=True, exist_ok=True)
    found = [
        {
            "paper": section.number,
            "finding": one.claim,
            "result": one.result,
            "numbers": one.numbers,
            "means": one.meaning,
        }
        for section in sections
        for one in section.findings
    ]
    files: dict[Path, bytes] = {folder / "findings.csv": summary_table(sections).csv().encode()}
    for part in (part for section in sections for part in section.parts):
        if isinstance(part, Table):
            files[folder / f"{part.name}.csv"] = part.csv().encode()
        else:
            files[folder / f"{part.name}.png"] = part.png()
    files[out / "findings.json"] = (json.dumps({**facts, "findings": found}, indent=1) + "\n").encode()
    files[out / "findings.md"] = page(sections, said, "findings").encode()
    for path, content in files.items():
        with replacing(path) as temporary:
            temporary.write_bytes(content)
    return list(files)
