"""Packages that only some tasks need, and the message if one is not installed."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys

REQUIREMENTS = {"av": "av>=12", "matplotlib": "matplotlib>=3.7", "tqdm": "tqdm>=4.60", "shtab": "shtab>=1.6"}
"""What to install for each extra in setup.cfg: the packages themselves, as an index may lack lrp3d."""
NAMES = {"av": "PyAV"}
ON_THE_INDEX = {"mmaction": "mmaction2 mmengine mmcv-lite"}
"""Further packages whose name on a package index differs from the name to import, or that need others."""


def is_installed(package: str) -> bool:
    """Whether a package can be imported, found out without importing it.

    >>> is_installed("math")
    True
    """
    if package in sys.modules:
        return sys.modules[package] is not None
    return importlib.util.find_spec(package) is not None


def install_command(*packages: str) -> str:
    """The command that installs these packages for the running Python, by pip or else by uv."""
    stated = {package: f'"{version}"' for package, version in REQUIREMENTS.items()} | ON_THE_INDEX
    wanted = " ".join(stated.get(package, package) for package in packages)
    folder, _ = os.path.split(shutil.which("python") or "")
    is_default = folder and folder == os.path.dirname(sys.executable)
    python = "python" if is_default else f'"{sys.executable}"' if " " in sys.executable else sys.executable
    if not is_installed("pip") and shutil.which("uv"):
        return f"uv pip install --python {python} {wanted}"
    return f"{python} -m pip install {wanted}"


def missing(package: str, purpose: str) -> ImportError:
    """The error that says what needs the package, and how to install it."""
    return ImportError(f"{purpose} needs {NAMES.get(package, package)}: {install_command(package)}", name=package)
