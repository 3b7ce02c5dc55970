"""The command line: reads the arguments, runs a command, and says in one line what went wrong."""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from typing import Any, NoReturn

from lrp3d.commands import (
    FAILED,
    INTERRUPTED,
    WRONG_USAGE,
    UsageError,
    check,
    convert_checkpoint,
    demo,
    explain,
    inspect,
    prototypes,
    study,
    train,
)
from lrp3d.commands.streams import standard_streams
from lrp3d.commands.terminal import TRACEBACK, complain, one_line
from lrp3d.printed import say

COMMANDS = (demo, explain, check, prototypes, study, inspect, train, convert_checkpoint)


def main(arguments: list[str] | None = None) -> int:
    """Run a command; returns its exit code (0 done, 1 something failed, 2 wrong usage, 130 interrupted)."""
    with standard_streams() as stdout:
        code = _run(arguments)
        stdout.flush()
        if stdout.failure is not None:
            complain(f"not everything could be printed: {stdout.failure.strerror}")
            code = code or FAILED
        return code


def _run(arguments: list[str] | None) -> int:
    options = _parser().parse_args(arguments)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _warn
            return int(options.run(options))
    except KeyboardInterrupt:
        complain("interrupted")
        return INTERRUPTED
    except Exception as error:
        if os.environ.get(TRACEBACK):
            raise
        complain(one_line(error))
        return WRONG_USAGE if isinstance(error, UsageError) else FAILED


def _warn(message: Warning | str, *where: Any, **more: Any) -> None:
    complain(f"warning: {str(message).splitlines()[0]}")


class _Parser(argparse.ArgumentParser):
    """Says in one line what is wrong; the usage is for those who ask for it."""

    def error(self, message: str) -> NoReturn:
        say(f"{self.prog}: {message} (see {self.prog} --help)", stream=sys.stderr)
        self.exit(WRONG_USAGE)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="lrp3d",
        description="How much of the clip did my network really use? Relevance of frames for video CNNs.",
        epilog="Exit codes: 0 all done, 1 something failed, 2 wrong usage, 130 interrupted. "
        f"Set {TRACEBACK}=1 to see where an error comes from.",
    )
    parser.add_argument("--version", action="version", version=f"lrp3d {_version()}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add_to(commands)
    return parser


def _version() -> str:
    import lrp3d

    return lrp3d.__version__
