"""Every command in a help text or in the docs is one that can be given, and names modules that its model has."""

import re
import shlex
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
import torch

import lrp3d
from lrp3d.commands.command_line import _parser

ROOT = Path(__file__).parent.parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def parsers(parser):
    """The parser of every command, and of every step of a command."""
    below = [action for action in parser._actions if isinstance(action.choices, dict)]
    return [parser, *(found for action in below for child in action.choices.values() for found in parsers(child))]


HELP = [
    parser.epilog.removeprefix("Example: ") for parser in parsers(_parser()) if "Example: " in (parser.epilog or "")
]
TOLD = [
    line.strip()
    for page in PAGES
    for line in re.sub(r"\\\n\s+", "", page.read_text()).splitlines()
    if re.match(r" {4}(torchrun .* -m )?lrp3d \w", line) and "..." not in line
]


def words_of(command):
    """What a shell gives to lrp3d."""
    words = shlex.split(command, comments=True)
    return words[words.index("lrp3d") + 1 :]


@pytest.mark.parametrize("command", [*HELP, *TOLD])
def test_a_command_can_be_given_as_it_is_told(command, folder):
    options = _parser().parse_args(words_of(command))
    layer = getattr(options, "layer", None)
    named = [*getattr(options, "layers", ()), *dict(getattr(options, "where", ())), *([layer] if layer else [])]
    if not named:
        return
    with torch.device("meta"):
        modules = dict(lrp3d.models.build(options.model, num_classes=3).named_modules())
    assert [name for name in named if not any(fnmatchcase(module, name) for module in modules)] == []


def test_what_is_read_are_the_examples():
    assert len(HELP) > 8
    assert len(TOLD) > 15


def test_the_module_that_options_have_as_an_example_is_one_of_the_papers_models():
    """Their help is of no one model; those of the paper come first."""
    with torch.device("meta"):
        modules = dict(lrp3d.models.build("TAM2D-R50-f16", num_classes=3).named_modules())
    texts = [action.help or "" for parser in parsers(_parser()) for action in parser._actions]
    named = [name for text in texts for name in re.findall(r"[\w.]*layer\d[\w.]*", text)]
    assert named
    assert set(named) <= set(modules)
