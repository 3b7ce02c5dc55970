"""How much of the clip did my network really use? Layer-wise relevance propagation for video CNNs."""

import importlib

from lrp3d import composites, figures, former_names, models, operations, planted, rules, sampling, study, video
from lrp3d.composites import Composite
from lrp3d.errors import UnsupportedOperation
from lrp3d.explain import explain
from lrp3d.explanation.explanation import Explanation
from lrp3d.inspection import inspect
from lrp3d.interventions import frame_logits, intervention_matrix
from lrp3d.metrics import atr
from lrp3d.metrics.excess_span import ExcessSpan, excess_span
from lrp3d.propagation.frame_logits import NoFrameLogits
from lrp3d.registry import register_layer, register_operation
from lrp3d.twin.twin import convert

former_names.install()

__version__ = "0.1.0"

__all__ = [
    "Composite",
    "ExcessSpan",
    "Explanation",
    "NoFrameLogits",
    "UnsupportedOperation",
    "atr",
    "composites",
    "convert",
    "excess_span",
    "explain",
    "figures",
    "frame_logits",
    "inspect",
    "intervention_matrix",
    "models",
    "operations",
    "planted",
    "register_layer",
    "register_operation",
    "rules",
    "sampling",
    "study",
    "video",
]


def __getattr__(name: str) -> object:
    """Modules under their former names, as attributes of the package."""
    if f"{__name__}.{name}" in former_names.FORMER_NAMES:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
