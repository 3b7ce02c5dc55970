"""Environments made from nothing: the oldest and the newest of every dependency, on every Python that is found here.

    make matrix                  all of them (torch for CUDA, where the index has no other, is several GB)
    nox -s "tests-3.11(oldest)"  one of them
    nox -s packaging             wheel and source distribution, checked, installed and run elsewhere

`--torch VERSION` after `--` takes that torch instead, say one that is at hand.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import nox

PYTHONS = ["3.10", "3.11", "3.12", "3.13", "3.14"]
# What has no wheel for a Python is not built from source: the oldest version is the oldest that has one.
WITH_WHEELS = ["torch", "numpy", "safetensors", "av", "matplotlib", "contourpy", "kiwisolver", "pillow", "fonttools"]
QUICK = "not slow"

nox.options.sessions = ["tests", "packaging"]
nox.options.error_on_missing_interpreters = False  # a Python that is not found is said to be skipped
nox.needs_version = ">=2024.4.15"


@nox.session(python=PYTHONS, venv_backend="uv", download_python="never")
@nox.parametrize("dependencies", ["oldest", "newest"], ids=["oldest", "newest"])
def tests(session: nox.Session, dependencies: str) -> None:
    """The test suite, in a plain installation outside of the checkout's environment."""
    resolution = "lowest-direct" if dependencies == "oldest" else "highest"
    wheels = [argument for package in WITH_WHEELS for argument in ("--only-binary", package)]
    torch, rest = torch_of(session.posargs)
    session.install(".[all,test]", *torch, f"--resolution={resolution}", *wheels, *find_links())
    session.run("uv", "pip", "list", external=True, env={"VIRTUAL_ENV": session.virtualenv.location})
    processes = ("--numprocesses", "auto", "--dist", "worksteal")
    session.run("python", "-m", "pytest", "-m", QUICK, *processes, *rest, env={"OMP_NUM_THREADS": "1"})


@nox.session(python=False)
def packaging(session: nox.Session) -> None:
    """Wheel and source distribution: built, checked, installed into empty environments, and run elsewhere."""
    tools = [find_program("uv"), "tool", "run"]
    dist = Path(session.create_tmp()) / "dist"
    shutil.rmtree(dist, ignore_errors=True)
    session.run(find_program("uv"), "build", "--out-dir", str(dist), external=True)
    files = sorted(str(file) for file in dist.iterdir() if file.suffix in (".whl", ".gz"))
    session.run(*tools, "twine", "check", "--strict", *files, external=True)
    torch, _ = torch_of(session.posargs)
    for number, file in enumerate(files):
        place = (Path(session.create_tmp()) / f"empty{number}").resolve()
        shutil.rmtree(place, ignore_errors=True)
        session.run(find_program("uv"), "venv", "--quiet", "--python", sys.executable, str(place), external=True)
        python = place / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
        install = ("pip", "install", "--quiet", "--python", str(python))
        session.run(find_program("uv"), *install, *torch, *find_links(), file, external=True)
        with session.chdir(place):  # where no checkout is in the way
            session.run(str(python), "-m", "lrp3d", "demo", "--out", "demo", external=True)


def torch_of(arguments: list[str]) -> tuple[list[str], list[str]]:
    """The torch to install, if one was asked for, and what is left of the arguments."""
    if "--torch" not in arguments:
        return [], arguments
    at = arguments.index("--torch")
    return [f"torch=={arguments[at + 1]}"], arguments[:at] + arguments[at + 2 :]


def find_links() -> list[str]:
    """Places with wheels that pip is told of, for uv, which does not ask there."""
    said = os.environ.get("PIP_FIND_LINKS", "")
    if not said:
        asked = [sys.executable, "-m", "pip", "config", "get", "global.find-links"]
        said = subprocess.run(asked, capture_output=True, text=True, check=False).stdout
    return [argument for place in said.split() for argument in ("--find-links", place)]


def find_program(name: str) -> str:
    """A program beside the Python that runs nox, or on the path."""
    return shutil.which(name, path=os.path.dirname(sys.executable)) or name
