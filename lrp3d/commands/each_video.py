"""Runs a command for several videos; if one fails, the others are still done."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lrp3d.commands import DONE, FAILED
from lrp3d.commands.results import write_results
from lrp3d.commands.terminal import TRACEBACK, complain, one_line
from lrp3d.printed import about, printable, say


def each_video(
    options: argparse.Namespace,
    folders: Sequence[Path | None],
    work: Callable[[str, Path | None, Callable[..., None]], dict[str, Any]],
    facts: Callable[[list[dict[str, Any]]], dict[str, Any]],
) -> int:
    """Do the work for every video, print the results for people or as json, and return the exit code.

    Args:
        options: the videos, and whether to print tracebacks of errors.
        folders: where the files of each video belong; None where none are wanted.
        work: explains one video, shows lines for people by its third argument, and returns the record.
        facts: makes what is printed as json from all records.
    """
    records: list[dict[str, Any]] = []
    for video, folder in zip(options.videos, folders, strict=True):
        try:
            records.append(work(video, folder, say))
        except Exception as error:
            complain(failure(video, error, options))
            records.append({"video": video, "error": one_line(error)})
    write_results(options, facts(records))
    return FAILED if any("error" in record for record in records) else DONE


def failure(video: str, error: Exception, options: argparse.Namespace) -> str:
    """The line that says why a video failed; raises the error again for those who ask where it comes from."""
    if os.environ.get(TRACEBACK) or options.verbose:
        raise error
    return about(printable(video), one_line(error)) if video else one_line(error)
