"""Pages of the documentation as its site shows them: mkdocs with the hooks of `docs/reference/pages.py`."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture
def built(tmp_path, monkeypatch):
    """Build a site of these pages, as mkdocs.yml does, and give back the folder."""
    for package in ("mkdocs", "pymdownx", "latex2mathml"):
        pytest.importorskip(package, reason="the documentation's tools are not installed: pip install '.[docs]'")
    from mkdocs.commands.build import build
    from mkdocs.config import load_config

    def make(pages):
        for name, text in pages.items():
            path = tmp_path / "docs" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        titles = [{f"Title of {Path(name).stem}": name} for name in pages]
        config = load_config(
            str(write_config(tmp_path)),
            nav=titles,
            markdown_extensions=["tables", {"pymdownx.arithmatex": {"generic": True}}],
        )
        build(config)
        return tmp_path / "site"

    return make


def write_config(folder):
    path = folder / "mkdocs.yml"
    path.write_text(f"site_name: s\nuse_directory_urls: false\nhooks: [{ROOT / 'docs/reference/pages.py'}]\n")
    return path


def test_a_formula_is_set_by_the_browser_alone(built):
    site = built(
        {"index.md": "Shares\n\n$$R_i = \\sum_j \\frac{z_{ij}}{z_j} R_j .$$\n\nof $a_i v_i$, but `$HOME` and 5 $.\n"}
    )
    page = (site / "index.html").read_text(encoding="utf-8")
    assert '<math xmlns="http://www.w3.org/1998/Math/MathML" display="block">' in page
    assert "<mfrac>" in page
    assert 'display="inline"' in page
    assert "\\frac" not in page
    assert "arithmatex" not in page
    assert "<code>$HOME</code> and 5 $." in page


def test_every_formula_of_the_docs_is_one_that_the_site_can_show(built):
    site = built({"index.md": (ROOT / "docs/method.md").read_text(encoding="utf-8")})
    page = (site / "index.html").read_text(encoding="utf-8")
    assert page.count("<math") >= 8
    assert "arithmatex" not in page
    assert "$" not in page.partition("<body")[2].partition("<script")[0]


def test_a_link_that_names_a_file_has_the_title_of_its_page(built):
    site = built(
        {
            "index.md": "see [docs/other.md](docs/other.md#part), [the other](docs/other.md) and [gone.md](gone.txt)\n",
            "docs/other.md": "# Something\n\n## Part\n\nback to [index.md](../index.md)\n",
        }
    )
    page = (site / "index.html").read_text(encoding="utf-8")
    assert '<a href="docs/other.html#part">Title of other</a>' in page
    assert '<a href="docs/other.html">the other</a>' in page
    assert ">gone.md</a>" in page
    assert '<a href="../index.html">Title of index</a>' in (site / "docs/other.html").read_text(encoding="utf-8")


def test_a_page_of_the_docs_draws_nothing_that_is_fetched_from_elsewhere():
    for page in [*(ROOT / "docs").rglob("*.md"), ROOT / "README.md"]:
        assert "```mermaid" not in page.read_text(encoding="utf-8"), page
