"""Imports run one way: a newcomer may read the folders from the lowest up, and never meets a name from above."""

import ast
import graphlib
import re
from pathlib import Path

import pytest

import lrp3d

PACKAGE = Path(lrp3d.__file__).parent

# Lowest first: each may import those before it. What stands on one line does not know its neighbours.
ORDER = """
errors callers compiling defaults forks former_names out_of_memory printed extras transfer values
files filenames progress starting suggestions layout sampling
pathways
occlusion
metrics
compute
rules
steps
registry
tracing
operations
layers composites
outputs
checks targets twin
motion
propagation
figures
explanation
planted video
again floor
results
explain inspection
interventions prototypes
faithfulness
study
whole_video
integrations
models
commands
public
"""
# models/ lies at the top level of the repository, and knows nothing but files, processes and callers. These know it.
KNOW_MODELS = {"commands", "public"}
RANK = {name: rank for rank, line in enumerate(ORDER.strip().splitlines()) for name in line.split()}
ENTRANCES = {"__init__", "__main__"}  # they import what they open


# Folders whose files are parts of one thing, which their `__init__` explains to a newcomer. In the other folders every
# file is one of many of a kind: a command, a figure, a measure, a library.
EXPLAINED = """
compute composites steps tracing operations twin motion propagation explanation video faithfulness whole_video
study/listing study/running study/reporting
"""


@pytest.mark.parametrize("folder", EXPLAINED.split())
def test_the_docstring_of_a_folder_names_every_file_in_it(folder):
    docstring = ast.get_docstring(ast.parse((PACKAGE / folder / "__init__.py").read_text(encoding="utf-8")))
    names = {path.stem for path in (PACKAGE / folder).glob("*.py")} - ENTRANCES
    assert sorted(names - set(re.findall(r"`(\w+)`", docstring))) == []


def unit(module):
    """The folder or top-level file of a module `lrp3d.unit...`."""
    return module.split(".")[1]


def for_types_only(tree):
    """The statements that type checkers alone see."""
    return {
        id(inside)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        for inside in ast.walk(node)
    }


def file_of(module):
    """Where the file of a module lies, if it is a file and not a folder."""
    return PACKAGE.parent.joinpath(*module.split(".")).with_suffix(".py")


def imported(path):
    """The modules of lrp3d that a file imports when it runs, inside functions too."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    unseen = for_types_only(tree)
    for node in ast.walk(tree):
        if id(node) in unseen:
            continue
        if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module == "lrp3d":
            yield from (f"lrp3d.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and (node.module or "").startswith("lrp3d."):
            modules = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (module if file_of(module).exists() else node.module for module in modules)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("lrp3d."))


def files():
    for path in sorted(PACKAGE.rglob("*.py")):
        place = path.relative_to(PACKAGE).with_suffix("").parts
        if place[0] not in ENTRANCES and place[0] != "models":
            yield pytest.param(path, place[0], id="/".join(place))


@pytest.mark.parametrize(("path", "own"), list(files()))
def test_no_file_imports_upward(path, own):
    for module in imported(path):
        other = unit(module)
        if other == own or other.startswith("__"):
            continue
        assert other in RANK, f"{other} has no place in the order"
        assert RANK[other] < RANK[own], f"{own} imports {module} from above"


def test_no_files_import_each_other_in_a_circle():
    paths = [case.values[0] for case in files()]
    imports = {path: {file_of(module) for module in imported(path)} for path in paths}
    order = list(graphlib.TopologicalSorter(imports).static_order())  # a circle is an error that names its files
    assert set(order) >= set(paths)


def test_one_file_alone_reads_the_edges_of_autograds_graph():
    reading = [path for path in PACKAGE.rglob("*.py") if "next_functions" in path.read_text(encoding="utf-8")]
    assert reading == [PACKAGE / "steps" / "graph.py"]


def test_every_part_has_its_place_in_the_order():
    parts = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert parts - ENTRANCES == set(RANK)


@pytest.mark.parametrize(("path", "own"), list(files()))
def test_only_commands_know_the_models(path, own):
    if own not in KNOW_MODELS:
        assert not [module for module in imported(path) if unit(module) == "models"]


def test_models_know_files_processes_and_callers_alone():
    folder = Path(lrp3d.models.__file__).parent
    for path in sorted(folder.glob("*.py")):
        assert {unit(module) for module in imported(path)} <= {"callers", "files", "starting", "models"}, path.name
