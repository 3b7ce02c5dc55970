"""Messages of the library, which name arguments of Python, as a person reads them who typed options."""

from __future__ import annotations

import ast
import re
import shlex

_PHRASES = {
    "lrp3d.inspect(model, clip)": "lrp3d inspect",
    "pass temporal=False": "use lrp3d explain",
    "lrp3d.explain with temporal=False explains": "lrp3d explain explains",
    "contrastive=False": "--plain",
    "lrp3d.models.load_model makes that one": "leave --model out to have that one",
    "make it with lrp3d.models.build and load the weights with lrp3d.models.load_checkpoint": "name it with --model",
    "make the model as it was made for the file": "make the model as it was made for the file, with --option",
}
# Only arguments that a message names as advice, or repeats: in `frames=-3` a message quotes a model or a file instead.
_OPTIONS = ("against", "channel", "floor", "layer", "layers", "layout", "motion", "rows_at", "where", "workers")
_VALUE = r"'[^']*'|\[[^\]]*\]|\{[^}]*\}|\w+"
_ARGUMENT = re.compile(rf"(?<![\w.=-])({'|'.join(_OPTIONS)})=({_VALUE})?")


def as_options(message: str) -> str:
    """The message with options of the command line in the place of arguments.

    >>> as_options("if its channels are those of frames, pass layout='b (t c) h w'")
    "if its channels are those of frames, pass --layout 'b (t c) h w'"
    >>> as_options("motion= takes clips of one pathway"), as_options("where={'conv': [7, 9]}: it has channels 0 to 3")
    ('--motion takes clips of one pathway', '--where conv=7,9: it has channels 0 to 3')
    >>> as_options("rows_at='blocks.3': its output has no time steps")
    '--rows-at blocks.3: its output has no time steps'
    """
    for phrase, command in _PHRASES.items():
        message = message.replace(phrase, command)
    return _ARGUMENT.sub(_option, message)


def _option(argument: re.Match[str]) -> str:
    option, given = f"--{argument[1].replace('_', '-')}", argument[2]
    if given is None:
        return option
    try:
        value = ast.literal_eval(given)
    except (ValueError, SyntaxError):  # a name or an ellipsis: no value that anyone has typed
        return argument[0]
    if value is True:
        return option
    if isinstance(value, dict):
        if not all(isinstance(numbers, list) for numbers in value.values()):
            return argument[0]
        return " ".join(f"{option} {name}={','.join(map(str, numbers))}" for name, numbers in value.items())
    if isinstance(value, list):
        return " ".join(f"{option} {shlex.quote(str(one))}" for one in value)
    return f"{option} {shlex.quote(str(value))}"
