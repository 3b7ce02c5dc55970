"""Figures as inline SVG in the colours of the page, so that they are dark where the page is."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from lrp3d.figures.colours import LIGHT
from lrp3d.study.reporting.charts import COLOURS, GRID

__all__ = ["inlined"]

CHART_COLOURS = ("orange", "green", "purple", "grey", "ochre")
PAGE_COLOURS = {
    "#000000": "currentColor",
    LIGHT.ink: "currentColor",
    LIGHT.quiet: "var(--quiet)",
    LIGHT.inside: "var(--window)",
    GRID: "var(--line)",
    **dict(zip(COLOURS, ("var(--accent)", *(f"var(--chart-{name})" for name in CHART_COLOURS)), strict=True)),
}
"""The names in `page_colours.css` for the colours of figures on white paper; other colours stay as they are."""
ADDRESSES = ("href", "{http://www.w3.org/1999/xlink}href")
LEFT_OUT = {"metadata", "style"}  # a style would be one of the whole page


def inlined(drawing: bytes, prefix: str) -> str:
    """Returns a drawing of matplotlib's as an <svg> element for a page.

    Ids that the drawing refers to get a prefix, because a page has many drawings. Other ids are left out, and so are
    comments, in which matplotlib repeats every text.

    Args:
        drawing: an SVG picture without a background.
        prefix: prefix of its ids, which no other drawing of the page has.

    >>> line = b'<svg xmlns="http://www.w3.org/2000/svg"><!-- a --><path id="p" style="stroke: #000000"/></svg>'
    >>> inlined(line, "one-")
    '<svg><path style="stroke: currentColor" /></svg>'
    """
    root = ElementTree.fromstring(drawing)  # the parser keeps no comments
    wanted = set(re.findall(r'(?:href="|url\()#([^")]+)', drawing.decode()))
    for element in root.iter():
        for child in [child for child in element if _bare(child.tag) in LEFT_OUT]:
            element.remove(child)
        for name, value in list(element.attrib.items()):
            del element.attrib[name]
            if name == "id" and value not in wanted:
                continue
            element.attrib[_bare(name)] = _attribute(name, value, prefix)
        element.tag = _bare(element.tag)
        if not (element.text or "").strip():
            element.text = None
        element.tail = None
    return ElementTree.tostring(root, encoding="unicode")


def _attribute(name: str, value: str, prefix: str) -> str:
    if name == "id":
        return prefix + value
    if name in ADDRESSES:
        return re.sub(r"^#", f"#{prefix}", value)
    value = value.replace("url(#", f"url(#{prefix}")
    return re.sub(r"#[0-9a-f]{6}\b", lambda colour: PAGE_COLOURS.get(colour[0], colour[0]), value)


def _bare(name: str) -> str:
    """A name of HTML has no namespace."""
    return name.rpartition("}")[2]
