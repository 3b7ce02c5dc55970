"""Pages: templates that are filled, all in the colours of `page_colours.css`."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources


def filled(package: str, template: str, parts: Mapping[str, str]) -> str:
    """A page: the template with every `{{name}}` replaced by the part of that name, which is HTML already.

    What a part holds is never read as a name. `{{colours}}` are those of all pages.

    Args:
        package: where the template lies.
        template: its file.
        parts: what the names stand for.

    Raises:
        KeyError: if the template has a name without a part.

    >>> page = filled("lrp3d.study.reporting", "page.html", {"title": "Mine", "body": "<p>{{title}}</p>"})
    >>> "<h1>Mine</h1>" in page, "<p>{{title}}</p>" in page
    (True, True)
    """
    parts = {**parts, "colours": _read("lrp3d.figures", "page_colours.css").rstrip()}
    head, *pieces = _read(package, template).split("{{")
    return head + "".join(parts[name] + rest for name, _, rest in (piece.partition("}}") for piece in pieces))


def _read(package: str, file: str) -> str:
    return resources.files(package).joinpath(file).read_text(encoding="utf-8")
