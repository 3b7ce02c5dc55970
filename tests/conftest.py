"""One fixed hypothesis profile, so that every run draws the same examples; and no test sees another's registrations."""

import os
from pathlib import Path
from unittest import mock

# Before torch is imported: small tensors gain nothing from threads, and sums in another order have other last digits.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from hypothesis import HealthCheck, settings

import lrp3d.layers
import lrp3d.operations  # noqa: F401  what the library registers itself comes before what a test does
from lrp3d.registry import LAYERS, OPERATIONS
from lrp3d.steps.factor import Released

# The command line in a process of its own is that of these files, too, whatever is installed.
ROOT = str(Path(__file__).parent.parent)
os.environ["PYTHONPATH"] = os.pathsep.join([ROOT, *filter(None, [os.environ.get("PYTHONPATH")])])

settings.register_profile(
    "ci",
    derandomize=True,
    deadline=None,
    database=None,
    max_examples=25,
    suppress_health_check=[
        HealthCheck.too_slow,
        HealthCheck.data_too_large,
        HealthCheck.filter_too_much,
        HealthCheck.function_scoped_fixture,
    ],
)
settings.load_profile("ci")


@pytest.fixture(autouse=True)
def nothing_is_explained_twice():
    """Every explanation of the tests releases only what no seed reads."""

    def refuse(self, *args):
        pytest.fail(f"a seed read what was released: {args[0]}")

    with mock.patch.object(Released, "__init__", refuse):
        yield


@pytest.fixture(autouse=True)
def registered():
    """What a test registers is gone after it."""
    with mock.patch.dict(LAYERS), mock.patch.dict(OPERATIONS):
        yield
