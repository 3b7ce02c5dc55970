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
_OWN_MODEL = "let --model name a model, or a function that makes one, that"
# No option picks logits out of what a model returns, or casts a clip: the model has to do that.
_PATTERNS = (
    (
        "say with output= where they are: a key, an index, or a function of what the model returns",
        f"{_OWN_MODEL} returns these alone",
    ),
    ("pass an output= that takes the others, as in output=lambda logits: ", f"{_OWN_MODEL} returns the others, as in "),
    ("pass an output= that makes", f"{_OWN_MODEL} makes"),
    (r"(?:pass )?output=lambda logits: (?=logits)", f"{_OWN_MODEL} returns "),
    (r"pass clip\.to\(torch\.\w+\)", f"{_OWN_MODEL} is in float32, as .float() makes it"),
    (
        r" \(or of another number or size of frames: give it such ones\), lay them out so and say it with "
        r"layout=, as in (layout='[^']*')",
        r", say it with layout=, as in \1; if it takes another number or size of frames, with --frames or --size",
    ),
)
# Only arguments that a message names as advice, or repeats: in `frames=-3` a message quotes a model or a file instead.
_OPTIONS = (
    "against",
    "channel",
    "floor",
    "layer",
    "layers",
    "layout",
    "merge",
    "motion",
    "rows_at",
    "where",
    "workers",
)
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
    for pattern, command in _PATTERNS:
        message = re.sub(pattern, command, message)
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
