"""Pages as the site shows them: links with titles instead of file names, formulas as MathML. See mkdocs.yml."""

import html
import posixpath
import re

from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import Files
from mkdocs.structure.pages import Page

NAMED = re.compile(r"\[([\w./-]+\.(?:md|ipynb))\]\(([^)#\s]+)(#[^)\s]*)?\)")  # a link whose text is the file's name
FORMULA = re.compile(r'<(div|span) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.DOTALL)


def on_page_markdown(markdown: str, *, page: Page, files: Files, **_: object) -> str:
    """The page with the titles of others where it names their files."""

    def titled(link: re.Match[str]) -> str:
        path = posixpath.normpath(posixpath.join(posixpath.dirname(page.file.src_uri), link[2]))
        target = files.get_file_from_path(path)
        title = target.page.title if target is not None and target.page is not None else None
        return f"[{title or link[1]}]({link[2]}{link[3] or ''})"

    return NAMED.sub(titled, markdown)


def on_page_content(content: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """The page with formulas that a browser sets by itself: nothing is loaded for them from anywhere."""
    return FORMULA.sub(lambda found: mathml(html.unescape(found[2]), block=found[1] == "div"), content)


def mathml(formula: str, block: bool) -> str:
    """A formula of TeX as MathML."""
    return convert(formula, display="block" if block else "inline")
