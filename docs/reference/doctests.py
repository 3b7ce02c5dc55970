"""Examples in docstrings, fenced for the site, because Markdown would take `>>>` for a quotation. See mkdocs.yml."""

import re
from typing import Any

import griffe


class Fenced(griffe.Extension):
    """Fences every paragraph of a docstring that begins with `>>>`."""

    def on_object(self, *, obj: Any, **_: Any) -> None:
        """Rewrite the docstring of an object that was just read."""
        if obj.docstring is not None:
            obj.docstring.value = fenced(obj.docstring.value)


def fenced(text: str) -> str:
    """The text with a fence around each run of lines from `>>>` to the next empty one."""
    return re.sub(r"(?m)^>>> .*(?:\n(?!\s*$).*)*", lambda example: f"```pycon\n{example[0]}\n```", text)
