"""What may come of a case: what is documented, in one line, and nothing else."""

from __future__ import annotations

import time
import traceback
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

from benchmarks.fuzzing.kind import Kind
from lrp3d.printed import printable

LIBRARY = ("lrp3d", "models")
_BELOW = ("  - ", "Only the classifier differs")  # a checkpoint's complaint has a list, and perhaps advice below it


@dataclass(frozen=True)
class Outcome:
    """What came of a case."""

    kind: str
    case: int
    findings: tuple[str, ...] = ()
    """A sentence each; none where all went as documented."""
    read: bool = False
    """Whether the first of its readers read it."""
    seconds: float = 0.0
    peak: int = 0
    """Bytes: the most memory that the process ever had, where somebody measured it."""
    details: str = ""
    """Tracebacks of what is no documented error."""


def run_case(kind: Kind, seed: int, case: int, folder: Path) -> Outcome:
    """Make a case in an empty folder, read it, and judge what comes."""
    rng = Random(f"{seed} {kind.name} {case}")
    path = kind.prepare(folder, rng)
    steps = kind.steps(path, rng)
    findings: list[str] = []
    details: list[str] = []
    read = False
    start = time.perf_counter()
    for number, step in enumerate(steps):
        failed = None
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            warnings.simplefilter("ignore", DeprecationWarning)  # Python shows users none
            try:
                for sentence in step():
                    findings.append(sentence)
                read |= number == 0
            except Exception as error:
                failed = error
        if failed is not None:
            faults = list(_wrong_with(failed, kind))
            findings += faults
            details += traceback.format_exception(failed) if faults else []
        findings += _unexpected([entry.message for entry in warned if isinstance(entry.message, Warning)], kind)
    seconds = time.perf_counter() - start
    sentences = tuple(finding.replace(str(folder), "...") for finding in dict.fromkeys(findings))
    return Outcome(kind.name, case, sentences, read, seconds, details="".join(details))


def _wrong_with(error: Exception, kind: Kind) -> Iterator[str]:
    """What makes an error none of those that are documented."""
    description = f"{type(error).__name__}: {shown(error)}"
    if type(error) not in kind.errors:
        yield f"{description} ({_place(error)})"
    elif not is_one_line(str(error)):
        yield f"an error of several lines, {description}"


def is_one_line(text: str) -> bool:
    r"""Whether a text is one line and obeyed by no terminal; below it may stand a list, each item of it one line.

    >>> is_one_line("a.mp4 is empty"), is_one_line("a\nb is empty"), is_one_line(""), is_one_line("2 things:\n  - a")
    (True, False, False, True)
    """
    first, *rest = text.split("\n")
    return bool(first) and all(printable(line) == line for line in (first, *rest)) and all(map(_is_below, rest))


def _is_below(line: str) -> bool:
    return line.startswith(_BELOW)


def _unexpected(warned: list[Warning], kind: Kind) -> Iterator[str]:
    """Warnings of others, and warnings of several lines."""
    for warning in warned:
        if not isinstance(warning, kind.warnings):
            yield f"a warning of others, {type(warning).__name__}: {shown(warning)}"
        elif not is_one_line(str(warning)):
            yield f"a warning of several lines: {shown(warning)}"


def shown(text: object, most: int = 200) -> str:
    """A text as a finding repeats it: on one line, and not too long."""
    line = ascii(str(text))[1:-1]
    return line if len(line) <= most else f"{line[:most]}..."


def _place(error: Exception) -> str:
    """The last line of the library that an error came through."""
    frames = traceback.extract_tb(error.__traceback__)
    root = Path(__file__).parents[2]
    ours = [frame for frame in frames if Path(frame.filename).is_relative_to(root)] or frames
    last = next((frame for frame in reversed(ours) if _is_library(frame.filename, root)), ours[-1])
    return f"{Path(last.filename).name}, line {last.lineno}"


def _is_library(file: str, root: Path) -> bool:
    path = Path(file)
    return path.is_relative_to(root) and path.relative_to(root).parts[0] in LIBRARY
