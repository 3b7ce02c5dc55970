"""What became of mutants: outcomes add up from run to run, while the sources that they change stay the same."""

from __future__ import annotations

import hashlib
import json
from collections import Counter

from benchmarks.timing import common

OUTCOMES = ("caught", "no end", "survived")
COUNTS = ("file", "tried", *OUTCOMES, "explained")
SURVIVORS = ("file", "line", "source", "change", "why nobody could notice")


def digest(text: str) -> str:
    """A short name of a source."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class Outcomes(common.Results):
    """Results of which the table has one line for each file, and below it one for each survivor.

    Every row has the digest of the file and of the mutant, so that it counts only while the file is the same.
    """

    def take_up(self, current: dict[str, str]) -> None:
        """Keep the rows of an earlier run whose file is still the same; `current` has the digest of every file."""
        if self.path.exists():
            rows = json.loads(self.path.read_text())["rows"]
            self.rows = [row for row in rows if row.get("of") == current.get(row["file"], "")]

    def decided(self, mutant: str, why: str) -> bool:
        """Whether a mutant need not be tried again: it was noticed, or it survived and that is explained.

        One that survived unexplained is tried again, as a test may be new; one that did not end, as the machine may
        have been busy.
        """
        for row in self.rows:
            if row["mutant"] == mutant and row["outcome"] == "survived":
                row["why"] = why
            if row["mutant"] == mutant:
                return row["outcome"] == "caught" or bool(why)
        return False

    def replace(self, row: common.Row) -> None:
        """Keep a row in the place of an earlier one of the same mutant."""
        self.rows = [other for other in self.rows if other["mutant"] != row["mutant"]]
        self.add(row)

    def unexplained(self) -> list[common.Row]:
        """The survivors that nothing is said of."""
        return [row for row in self.rows if row["outcome"] == "survived" and not row["why"]]

    def summed(self) -> str:
        """The counts of all files."""
        counts = Counter(row["outcome"] for row in self.rows)
        explained = counts["survived"] - len(self.unexplained())
        said = ", ".join(f"{counts[outcome]} {outcome}" for outcome in OUTCOMES)
        return f"{said}, {explained} of those explained"

    def write(self) -> Outcomes:
        """Both files; rows in the order of files and lines."""
        self.rows.sort(key=lambda row: (row["file"], row["line"], row["change"]))
        self.notes = self.header["notes"] = [self.summed()]
        super().write()
        return self

    def _page(self) -> str:
        files = sorted({row["file"] for row in self.rows})
        survivors = [
            {**row, "source": f"`{row['source']}`", "change": f"`{row['change']}`", SURVIVORS[-1]: row["why"]}
            for row in self.rows
            if row["outcome"] == "survived"
        ]
        head = super()._page().partition("\n| ")[0]
        lines = [head, *common.table(COUNTS, map(self._counted, files)), ""]
        if survivors:
            survivors = [{name: str(row[name]).replace("|", "\\|") for name in SURVIVORS} for row in survivors]
            lines += ["## What survived", "", *common.table(SURVIVORS, survivors), ""]
        return "\n".join(lines)

    def _counted(self, file: str) -> common.Row:
        rows = [row for row in self.rows if row["file"] == file]
        counts = Counter(row["outcome"] for row in rows)
        explained = sum(bool(row["why"]) for row in rows)
        tried = {"file": file, "tried": len(rows), "explained": explained}
        return tried | {outcome: counts[outcome] for outcome in OUTCOMES}
