"""Found and complete wherever it is run from: a checkout, an installation, beside others' packages."""

import configparser
import contextlib
import os
import fnmatch
import re
import shutil
import subprocess
import sys
from pathlib import Path

import av
import pytest

import lrp3d
from lrp3d import composites, public
from lrp3d.defaults import COMPOSITES
from lrp3d.extras import REQUIREMENTS, install_command
from lrp3d.video.pyav import open_container

ROOT = Path(__file__).parent.parent
CHECKOUT = (ROOT / "models").is_dir() and Path(lrp3d.__file__).parent.parent == ROOT
in_a_checkout = pytest.mark.skipif(not CHECKOUT, reason="the tests run against an installation")


def python(*arguments, folder, **variables):
    """What a new Python prints, in this folder."""
    process = subprocess.run(
        [sys.executable, *arguments], cwd=folder, env={**os.environ, **variables}, capture_output=True, text=True
    )
    assert process.returncode == 0, process.stderr
    return process.stdout


# Importing


@pytest.mark.slow
@in_a_checkout
def test_a_checkout_on_the_import_path_finds_its_models(tmp_path):
    """In the checkout itself, and from elsewhere by PYTHONPATH; -S: nothing of what is installed tells the way."""
    say = "import lrp3d.models, lrp3d.models.dialects; print(lrp3d.models.__file__, lrp3d.models.dialects.__name__)"
    expected = f"{ROOT / 'models' / '__init__.py'} lrp3d.models.dialects\n"
    packages = os.pathsep.join([str(ROOT), *(entry for entry in sys.path if "site-packages" in entry)])
    assert python("-S", "-c", say, folder=tmp_path, PYTHONPATH=packages) == expected
    assert python("-c", say, folder=ROOT, PYTHONPATH="") == expected


@in_a_checkout
@pytest.mark.skipif(shutil.which("make") is None, reason="there is no make")
@pytest.mark.parametrize(("version", "code"), [((3, 10), 2), ((3, 11), 0)])
def test_lint_and_docs_say_which_python_they_need(tmp_path, version, code):
    fake = tmp_path / "python"
    program = f"import sys; sys.version_info = {version}; exec(sys.argv[-1])"
    fake.write_text(f'#!/bin/sh\n{sys.executable} -c "{program}" "$2"\n')
    fake.chmod(0o755)
    asked = ["make", "newer-python", f"PYTHON={fake}", f"VENV={tmp_path / 'none'}"]
    done = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    assert ("make lint and make docs need Python 3.11 or later" in done.stderr) == bool(code)


def test_a_models_package_of_the_users_own_is_not_taken_for_ours(tmp_path):
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "__init__.py").write_text("build = None\n")
    say = "import lrp3d, models; print(models.build, lrp3d.models.build.__module__)"
    assert python("-c", say, folder=tmp_path) == "None lrp3d.models.zoo\n"


@in_a_checkout
def test_every_module_of_the_models_has_a_stub_for_type_checkers():
    modules = {path.stem for path in (ROOT / "models").glob("*.py")} - {"__init__"}
    stubs = {path.stem: path.read_text() for path in (ROOT / "lrp3d" / "models").glob("*.pyi")}
    listed = set(re.findall(r"(\w+) as \1\b", stubs.pop("__init__")))
    functions = {name for name in modules if callable(getattr(lrp3d.models, name))}  # which hide the module they are in
    assert set(stubs) == modules
    assert listed == modules - functions
    assert all(text == f"from models.{name} import *\n" for name, text in stubs.items())


def test_every_public_name_is_there_and_type_checkers_see_the_same():
    assert all(getattr(lrp3d, name) is getattr(public, name) for name in lrp3d.__all__)
    assert set(lrp3d.__all__) == {name for name in vars(public) if not name.startswith("_")}
    assert set(lrp3d.__all__) <= set(dir(lrp3d))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = lrp3d.nothing


@pytest.mark.slow
def test_explain_is_the_function_whatever_was_imported_first():
    first = ["lrp3d.explain", "lrp3d.twin", "lrp3d.registry", "lrp3d.study.running.run", "lrp3d.models"]
    say = f"""
import importlib, sys
import torch
for first in {first}:
    for name in [name for name in sys.modules if name.partition(".")[0] == "lrp3d"]:
        del sys.modules[name]
    importlib.import_module(first)
    import lrp3d
    print(type(lrp3d.explain).__name__)
"""
    assert python("-c", say, folder=ROOT).split() == ["function"] * len(first)


def test_what_a_user_registers_before_anything_else_is_not_overwritten():
    """The library registers its own rules first, though it is loaded only when a name is used."""
    say = """
import torch, lrp3d
mine = lrp3d.register_operation(torch.tanh, handler := lambda x: x)
from lrp3d.registry import OPERATIONS
lrp3d.explain
print(OPERATIONS[torch.tanh] is handler)
"""
    assert python("-c", say, folder=ROOT) == "True\n"


# Help comes at once

COMMANDS = ["", "explain", "demo", "inspect", "convert-checkpoint", "study", "study run", "study merge", "study report"]
HELP = ["--version", *(f"{command} --help" for command in COMMANDS)]


def test_help_and_version_import_neither_torch_nor_numpy():
    say = f"""
import sys
from lrp3d.commands.command_line import main
for arguments in {HELP!r}:
    try:
        main(arguments.split())
    except SystemExit as end:
        assert end.code == 0
    assert not {{"torch", "numpy"}} & set(sys.modules), arguments
"""
    python("-c", say, folder=ROOT)


def test_the_composites_that_help_names_are_those_there_are():
    assert sorted(composites.PRESETS) == sorted(COMPOSITES)


# What it needs


@in_a_checkout
def test_the_advice_names_what_the_extras_need():
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    assert set(parser["options.extras_require"]["all"].split()) == set(REQUIREMENTS.values())
    assert re.search(r'pip install .*"av>=12" "tqdm>=4.60"$', install_command("av", "tqdm"))


@pytest.mark.parametrize("version", ["before 19", "from 19 on"])
def test_a_file_is_opened_with_whatever_arguments_pyav_offers(version, monkeypatch, tmp_path):
    asked = []
    (tmp_path / "clip.mp4").write_bytes(bytes(64))

    def opened(source, **options):
        asked.append(options)
        if version == "from 19 on" and "metadata_errors" in options:
            raise TypeError("open() got an unexpected keyword argument 'metadata_errors'")
        return contextlib.nullcontext()

    monkeypatch.setattr(av, "open", opened)
    with open_container(tmp_path / "clip.mp4"):
        pass
    assert ("metadata_errors" in asked[-1]) == (version == "before 19")
    assert asked[-1]["container_options"] == {"protocol_whitelist": "none"}


def test_another_wrong_argument_of_pyav_is_not_swallowed(monkeypatch, tmp_path):
    (tmp_path / "clip.mp4").write_bytes(bytes(64))
    monkeypatch.setattr(av, "open", lambda source, metadata_errors: source)
    with pytest.raises(TypeError, match="unexpected keyword argument"), open_container(tmp_path / "clip.mp4"):
        pass


@in_a_checkout
def test_the_description_on_an_index_links_to_nothing_that_is_not_there():
    page = (ROOT / "docs" / "package.md").read_text(encoding="utf-8")
    assert all(target.startswith("https://") for target in re.findall(r"\]\(([^)]+)\)", page))
    assert "docs/package.md" in (ROOT / "setup.cfg").read_text(encoding="utf-8")


CHECKED = """
import lrp3d
from lrp3d.models import build, zoo
from lrp3d.models.checkpoints import load_checkpoint

model = build("I3D-R18-f8", num_classes=3)
reveal_type(model)
reveal_type(lrp3d.models.build("I3D-R18-f8", num_classes=3))
reveal_type(zoo.build("I3D-R18-f8", num_classes=3))
reveal_type(load_checkpoint(model, "file.pth"))
reveal_type(lrp3d.explain(model, []))
"""


@pytest.mark.slow
@in_a_checkout
def test_a_type_checker_knows_the_models_of_a_checkout(tmp_path):
    """Elsewhere and strictly, as in a user's own project."""
    pytest.importorskip("mypy", reason="mypy is not installed")
    (tmp_path / "checked.py").write_text(CHECKED)
    said = python("-m", "mypy", "--strict", "checked.py", folder=tmp_path, MYPYPATH=str(ROOT))
    revealed = re.findall(r'Revealed type is "([\w.]+)"', said)
    names = [name.rpartition(".")[2] for name in revealed]
    assert names == ["VideoModel", "VideoModel", "VideoModel", "LoadReport", "Explanation"]


@in_a_checkout
def test_every_file_that_is_no_code_is_packaged():
    """setuptools knows packages by their whole names only: `lrp3d.*` would mean nothing."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    packaged = config["options.package_data"]
    patterns = {package: packaged[package].replace(",", " ").split() for package in packaged}
    for folder, root in ((ROOT / "lrp3d", "lrp3d"), (ROOT / "models", "lrp3d.models")):
        for path in folder.rglob("*"):
            if path.is_dir() or path.suffix in (".py", ".pyi", ".pyc", ".md") or "__pycache__" in path.parts:
                continue
            place = path.parent
            while not (place / "__init__.py").exists():
                place = place.parent
            package = ".".join([root, *place.relative_to(folder).parts])
            name = path.relative_to(place).as_posix()
            assert any(fnmatch.fnmatch(name, pattern) for pattern in patterns.get(package, [])), path
