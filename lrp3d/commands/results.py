"""The results of a command as json, for other programs: `--json` of every command."""

from __future__ import annotations

import argparse
import json
from typing import Any

from lrp3d.printed import say


def add_json(parser: argparse.ArgumentParser) -> None:
    """Adds the option that asks for json; what is meant for people is then not printed."""
    about = "print results as json, and nothing else, on stdout"
    parser.add_argument("--json", action="store_true", help=about)


def write_results(options: argparse.Namespace, facts: dict[str, Any]) -> None:
    """Print what a command found out, if json is asked for; numbers that do not exist are null."""
    if options.json:
        from lrp3d.files import as_json

        say(*json.dumps(as_json(facts), indent=1, allow_nan=False).split("\n"), stream=options.results)
