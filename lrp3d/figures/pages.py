"""Pages: templates that are filled, all in the colours of `page_colours.css`."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from importlib import resources


def filled(package: str, template: str, parts: Mapping[str, str]) -> str:
    """A page: the template with every `{{name}}` replaced by the part of that name, which is HTML already.

    What a part holds is never read as a name. `{{colours}}` are those of all pages, and `{{scripts}}` what the page's
    policy must say so that the template's own scripts run, and no other: their hashes.

    Args:
        package: where the template lies.
        template: its file.
        parts: what the names stand for.

    Raises:
        KeyError: if the template has a name without a part.

    Source: https://www.w3.org/TR/CSP3/, Sec. 6.7.3.3 (hashes of inline scripts).

    >>> page = filled("lrp3d.study.reporting", "page.html", {"title": "Mine", "body": "<p>{{title}}</p>"})
    >>> "<h1>Mine</h1>" in page, "<p>{{title}}</p>" in page
    (True, True)
    """
    text = _read(package, template)
    colours = _read("lrp3d.figures", "page_colours.css").rstrip()
    parts = {**parts, "colours": colours, "scripts": _hashes(text)}
    head, *pieces = text.split("{{")
    return head + "".join(parts[name] + rest for name, _, rest in (piece.partition("}}") for piece in pieces))


def _hashes(template: str) -> str:
    """Those of a template's scripts, read before anything is filled in: a script in a part never has its own."""
    scripts = re.findall(r"<script>(.*?)</script>", template, flags=re.DOTALL)
    digests = (base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts)
    return " ".join(f"'sha256-{digest}'" for digest in digests) or "'none'"


def _read(package: str, file: str) -> str:
    return resources.files(package).joinpath(file).read_text(encoding="utf-8")
