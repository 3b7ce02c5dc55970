"""The command line: reads the arguments, runs a command, and says in one line what went wrong."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import re
import shlex
import sys
import warnings
from collections.abc import Iterator
from typing import Any, NoReturn

from lrp3d.commands import (
    DONE,
    FAILED,
    INTERRUPTED,
    WRONG_USAGE,
    UsageError,
    check,
    convert_checkpoint,
    demo,
    explain,
    inspect,
    open,
    prototypes,
    study,
    train,
)
from lrp3d.commands.interrupts import Interrupts, between_imports
from lrp3d.commands.results import add_json
from lrp3d.commands.spelling import as_options
from lrp3d.commands.streams import standard_streams
from lrp3d.commands.terminal import TRACEBACK, complain, one_line
from lrp3d.extras import missing
from lrp3d.printed import opening, say
from lrp3d.progress import told_of_long_runs
from lrp3d.suggestions import did_you_mean

COMMANDS = (demo, explain, check, prototypes, study, inspect, train, convert_checkpoint, open)


def main(arguments: list[str] | None = None) -> int:
    """Run a command; returns its exit code (0 done, 1 something failed, 2 wrong usage, 130 interrupted)."""
    with standard_streams() as stdout:
        end = None
        try:
            code = _run(arguments)
        except SystemExit as ended:  # argparse exits after --help, --version and wrong usage
            code, end = int(ended.code or DONE), ended
        stdout.flush()
        if stdout.failure is not None:
            complain(f"not everything could be printed: {stdout.failure.strerror}")
            code = code or FAILED
        if end is not None:
            raise SystemExit(code) from end
        return code


def _run(arguments: list[str] | None) -> int:
    options = argparse.Namespace()
    try:
        with between_imports() as interrupts:
            return _command(sys.argv[1:] if arguments is None else arguments, options, interrupts)
    except KeyboardInterrupt:
        complain(getattr(options, "when_interrupted", "interrupted"))
        return INTERRUPTED


def _command(arguments: list[str], options: argparse.Namespace, interrupts: Interrupts) -> int:
    """Read the arguments into `options` and run the command; errors are one line."""
    parser = _parser()
    if not arguments:
        say(*parser.format_help().rstrip().split("\n"))
        return DONE
    parser.parse_args(arguments, options)
    options.results = sys.stdout
    options.command_line = shlex.join(["lrp3d", *arguments])
    try:
        with warnings.catch_warnings(), _quiet(options), told_of_long_runs(complain):
            warnings.showwarning = _warn
            return int(options.run(options))
    except Exception as error:
        if interrupts.raised:
            raise KeyboardInterrupt from error
        if os.environ.get(TRACEBACK) or options.verbose:
            raise
        complain(one_line(error))
        return WRONG_USAGE if isinstance(error, UsageError) else FAILED


@contextlib.contextmanager
def _quiet(options: argparse.Namespace) -> Iterator[None]:
    """Suppresses output for people if --quiet or --json asks for it; json goes to `options.results`."""
    if not (options.quiet or options.json):
        yield
        return
    with contextlib.redirect_stdout(io.StringIO()):
        yield


def _warn(message: Warning | str, *where: Any, **more: Any) -> None:
    complain(f"warning: {as_options(opening(message))}")


class _Parser(argparse.ArgumentParser):
    """Says in one line what is wrong and how to get the usage."""

    def error(self, message: str) -> NoReturn:
        message = _with_suggestion(message, self)
        say(f"{self.prog}: {message} (see {self.prog} --help)", stream=sys.stderr)
        self.exit(WRONG_USAGE)


def _with_suggestion(message: str, parser: argparse.ArgumentParser) -> str:
    """The message of argparse, with the command, choice or option that may have been meant."""
    if choice := re.search(r"invalid choice: '(.*?)' \(choose from (.*)\)", message):
        return message + did_you_mean(choice[1], re.findall(r"[\w-]+", choice[2]))
    if unknown := re.search(r"unrecognized arguments: (--[\w-]+)", message):
        return message + did_you_mean(unknown[1], _options(parser))
    return message


def _options(parser: argparse.ArgumentParser) -> set[str]:
    """The long options of a parser and of its commands."""
    options = set()
    for action in parser._actions:
        options |= {option for option in action.option_strings if option.startswith("--")}
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                options |= _options(below)
    return options


def _completion(shell: str) -> str:
    """The script that completes commands and options in a shell; raises ImportError without shtab."""
    try:
        import shtab
    except ImportError:
        raise missing("shtab", "completion") from None
    return str(shtab.complete(_parser(), shell=shell))


class _PrintCompletion(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *rest: Any) -> NoReturn:
        try:
            say(*_completion(rest[1]).split("\n"))
        except ImportError as error:
            parser.error(str(error))
        parser.exit(DONE)


def _add_loudness(parser: argparse.ArgumentParser, default: Any) -> None:
    """Adds -q and -v, which may stand before or after the name of a command."""
    loudness = parser.add_mutually_exclusive_group()
    loudness.add_argument("-q", "--quiet", action="store_true", default=default, help="print only errors and json")
    about = "show where an error comes from"
    loudness.add_argument("-v", "--verbose", action="store_true", default=default, help=about)


def _add_to_each(commands: argparse._SubParsersAction[Any]) -> None:
    for parser in commands.choices.values():
        _add_loudness(parser, argparse.SUPPRESS)
        steps = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
        for action in steps:
            _add_to_each(action)
        if not steps:
            add_json(parser)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="lrp3d",
        description="How much of the clip did my network really use? Relevance of frames for video CNNs.",
        epilog="Start with: lrp3d demo. Exit codes: 0 all done, 1 something failed, 2 wrong usage, 130 interrupted. "
        f"Set {TRACEBACK}=1 to see where an error comes from.",
    )
    parser.add_argument("--version", action="version", version=f"lrp3d {_version()}")
    about = "print a script that completes commands and options: source <(lrp3d --print-completion bash)"
    shells = ("bash", "zsh", "tcsh")
    parser.add_argument("--print-completion", action=_PrintCompletion, choices=shells, metavar="SHELL", help=about)
    _add_loudness(parser, False)
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add_to(commands)
    _add_to_each(commands)
    return parser


def _version() -> str:
    import lrp3d

    return lrp3d.__version__
