"""Fills the templates of pages, which all have the colours of `page_colours.css`."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from importlib import resources


def fill_template(package: str, template: str, parts: Mapping[str, str]) -> str:
    """A page: the template with every `{{name}}` replaced by the part of that name, which is HTML already.

    Names inside a part are not replaced. `{{colours}}` stands for the colours of all pages, and `{{scripts}}` for the
    hashes of the template's own scripts, with which the page's policy allows these and no other scripts to run.

    Args:
        package: the package that has the template.
        template: the name of its file.
        parts: the HTML for each name.

    Raises:
        KeyError: if the template has a name without a part.

    Source: https://www.w3.org/TR/CSP3/, Sec. 6.7.3.3 (hashes of inline scripts).

    >>> page = fill_template("lrp3d.study.reporting", "page.html", {"title": "Mine", "body": "<p>{{title}}</p>"})
    >>> "<h1>Mine</h1>" in page, "<p>{{title}}</p>" in page
    (True, True)
    """
    text = _read(package, template)
    colours = _read("lrp3d.figures", "page_colours.css").rstrip()
    parts = {**parts, "colours": colours, "scripts": _hashes(text)}
    head, *pieces = text.split("{{")
    return head + "".join(parts[name] + rest for name, _, rest in (piece.partition("}}") for piece in pieces))


def _hashes(template: str) -> str:
    """The hashes of a template's scripts, taken before it is filled, so that a script in a part is never among them."""
    scripts = re.findall(r"<script>(.*?)</script>", template, flags=re.DOTALL)
    digests = (base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts)
    return " ".join(f"'sha256-{digest}'" for digest in digests) or "'none'"


def _read(package: str, file: str) -> str:
    return resources.files(package).joinpath(file).read_text(encoding="utf-8")
