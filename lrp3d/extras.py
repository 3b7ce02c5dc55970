"""Packages that only some tasks need: what to say where one is not installed."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys

REQUIREMENTS = {"av": "av>=12", "matplotlib": "matplotlib>=3.7", "tqdm": "tqdm>=4.60", "shtab": "shtab>=1.6"}
"""The same as in `extras_require` of setup.cfg: the packages themselves, which any index has."""
NAMES = {"av": "PyAV"}
ON_THE_INDEX = {"mmaction": "mmaction2 mmengine mmcv-lite"}
"""What else may be asked for, where an index calls it otherwise or it needs more."""


def is_installed(package: str) -> bool:
    """Whether the package could be imported; it is not.

    >>> is_installed("math")
    True
    """
    if package in sys.modules:
        return sys.modules[package] is not None
    return importlib.util.find_spec(package) is not None


def install_command(*packages: str) -> str:
    """The command that installs these packages for the Python that runs, with what it has at hand."""
    stated = {package: f'"{version}"' for package, version in REQUIREMENTS.items()} | ON_THE_INDEX
    wanted = " ".join(stated.get(package, package) for package in packages)
    folder, _ = os.path.split(shutil.which("python") or "")
    here = folder and folder == os.path.dirname(sys.executable)
    python = "python" if here else f'"{sys.executable}"' if " " in sys.executable else sys.executable
    if not is_installed("pip") and shutil.which("uv"):
        return f"uv pip install --python {python} {wanted}"
    return f"{python} -m pip install {wanted}"


def missing(package: str, purpose: str) -> ImportError:
    """The error that says what needs the package, and how to get it."""
    return ImportError(f"{purpose} needs {NAMES.get(package, package)}: {install_command(package)}", name=package)
