"""Every snippet in the README, in docs/ and in the docstrings runs."""

import doctest
import importlib
import importlib.util
import inspect
import json
import pkgutil
import re
from pathlib import Path

import pytest
import torch

import lrp3d
from snippets import PAGES, snippets_of

ROOT = Path(__file__).parent.parent
LINKED = [*PAGES, *(ROOT / name for name in ("CONTRIBUTING.md", "CHANGELOG.md", "benchmarks/README.md"))]
ADDITIONS = (
    "a layer, an operation, a rule, a composite, a model, a checkpoint, a metric, a figure, a study table, a command"
)
MODULES = sorted(
    module.name for module in pkgutil.walk_packages(lrp3d.__path__, "lrp3d.") if not module.name.endswith("__main__")
)

LONG = {"meaning.md", "models.md", "lrp3d.faithfulness.checking"}


def quick_or_slow(value, name):
    return pytest.param(value, id=name, marks=[pytest.mark.slow] if name in LONG else [])


@pytest.mark.parametrize("page", [quick_or_slow(page, page.name) for page in PAGES])
def test_the_snippets_of_a_page_run_one_after_the_other(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # what they write is gone afterwards
    torch.manual_seed(0)
    names: dict = {"__name__": "snippet"}
    for snippet in snippets_of(page):
        exec(compile(snippet, str(page), "exec"), names)


def test_the_cells_of_the_tutorial_run_one_after_the_other_and_are_kept_without_results(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    threads = torch.get_num_threads()
    names: dict = {"__name__": "tutorial"}
    for cell in json.loads((ROOT / "docs/tutorial.ipynb").read_text())["cells"]:
        if cell["cell_type"] == "code":
            assert (cell["outputs"], cell["execution_count"]) == ([], None)
            lines = [line for line in cell["source"] if not line.startswith("%")]  # what only a notebook understands
            exec(compile("".join(lines), cell["id"], "exec"), names)
    torch.set_num_threads(threads)


def test_every_page_has_its_place_in_the_site():
    listed = set(
        re.findall(r": ((?:docs|benchmarks)/\S+|[A-Z]+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)
    )
    assert [page for page in sorted(listed) if not (ROOT / page).exists()] == []
    pages = {f"docs/{page.relative_to(ROOT / 'docs')}" for page in (ROOT / "docs").rglob("*.md")}
    assert pages - listed == {"docs/package.md"}  # which is the page of the package index


def test_the_reference_shows_what_there_is_and_all_that_is_public():
    text = "\n".join(page.read_text() for page in sorted((ROOT / "docs/reference").glob("*.md")))
    for path in re.findall(r"^::: (\S+)$", text, re.MULTILINE):
        module, _, name = path.replace("models.", "lrp3d.models.", 1 if path.startswith("models.") else 0).rpartition(
            "."
        )
        found = importlib.import_module(module)
        assert hasattr(found, name) or importlib.util.find_spec(f"{module}.{name}") is not None, path
    shown = set(re.findall(r"lrp3d\.(\w+)", text))
    assert set(lrp3d.__all__) - shown == set()


@pytest.mark.parametrize("name", [quick_or_slow(name, name) for name in MODULES])
def test_the_examples_of_a_module_run_and_show_what_they_say(name):
    torch.manual_seed(0)
    module = importlib.import_module(name)
    flags = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    result = doctest.testmod(module, optionflags=flags)
    assert result.failed == 0


def public_names(package):
    """Classes and functions in the `__all__` of a package and of the packages that it lists, by name."""
    for name in package.__all__:
        found = getattr(package, name)
        if inspect.ismodule(found) and hasattr(found, "__all__"):
            yield from public_names(found)
        elif inspect.isclass(found) or inspect.isfunction(found):
            yield f"{package.__name__}.{name}", found


def test_every_public_class_and_function_shows_how_it_is_used():
    names = dict(public_names(lrp3d))
    assert "lrp3d.study.read_list" in names
    assert [name for name, found in names.items() if ">>> " not in inspect.getdoc(found)] == []


def test_links_between_the_pages_lead_somewhere():
    for page in LINKED:
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            if not target.startswith("http"):
                assert (page.parent / target).exists(), f"{page.name} -> {target}"


@pytest.mark.parametrize("page", LINKED, ids=lambda page: page.name)
def test_files_that_a_page_names_exist(page):
    named = re.findall(r"`((?:lrp3d|models|tests|benchmarks|docs)/[\w/.]+)`", page.read_text())
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_files_that_the_architecture_names_by_their_last_name_exist():
    names = {path.name for folder in ("lrp3d", "models") for path in (ROOT / folder).rglob("*.*")}
    names |= {path.name for path in ROOT.glob("*.py")}
    named = re.findall(r"`(\w+\.(?:py|html))`", (ROOT / "docs/architecture.md").read_text())
    assert named
    assert sorted(set(named) - names) == []


@pytest.mark.parametrize("addition", ADDITIONS.split(", "))
def test_every_kind_of_addition_has_an_example(addition):
    sections = re.split(r"^## ", (ROOT / "docs/extending.md").read_text(), flags=re.MULTILINE)
    (section,) = (
        section
        for section in sections
        if section.lower().startswith(f"{addition} ".lower()) or section.lower().startswith(f"{addition}\n")
    )
    assert "```python" in section


def test_the_version_stands_in_one_place():
    pages = [ROOT / "CITATION.cff", ROOT / "setup.cfg", ROOT / "pyproject.toml", *PAGES]
    assert [page.name for page in pages if page.exists() and lrp3d.__version__ in page.read_text()] == []


def test_the_changelog_has_its_dates_newest_first():
    heads = re.findall(r"^## \[(.+?)\](?: - (\d{4}-\d{2}-\d{2}))?$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert heads[0] == ("Unreleased", "")
    assert lrp3d.__version__ in {version for version, _ in heads}
    dates = [date for _, date in heads[1:]]
    assert all(dates)
    assert dates == sorted(dates, reverse=True)
