"""Runs the tests of a file in a process of its own, in which one module is changed; the disk is not touched."""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import os
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from types import ModuleType

from benchmarks.mutating.tested import ROOT


class Changed(importlib.abc.MetaPathFinder):
    """Finds one module in a text instead of its file."""

    def __init__(self, file: str, source: str):
        self.loader = Text(str(ROOT / file), source)
        self.module = file.removesuffix(".py").replace("/", ".")

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """The module that is changed."""
        if name != self.module:
            return None
        return importlib.machinery.ModuleSpec(name, self.loader, origin=self.loader.file)


class Text(importlib.abc.SourceLoader):
    """Loads a module from a text in the place of its file."""

    def __init__(self, file: str, source: str):
        self.file, self.source = file, source

    def get_filename(self, fullname: str) -> str:
        """Where it would have been."""
        return self.file

    def get_data(self, path: str | bytes) -> bytes:
        """Its text."""
        return self.source.encode()

    def path_stats(self, path: str) -> dict[str, float]:
        """Nothing is cached."""
        raise OSError


def survives(file: str, source: str, tests: Sequence[str], limit: float) -> bool | None:
    """Whether all tests pass with this source in the place of the file's; None if they did not end in time."""
    child = os.fork()
    if child == 0:
        os.setsid()
        os._exit(_tested(file, source, tests))
    deadline = time.monotonic() + limit
    while time.monotonic() < deadline:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status) == 0
        time.sleep(0.05)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


def _tested(file: str, source: str, tests: Sequence[str]) -> int:
    """In the child: the exit code of the tests."""
    import pytest

    sys.meta_path.insert(0, Changed(file, source))
    os.chdir(ROOT)
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        return int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", "-m", "not slow", *tests]))
