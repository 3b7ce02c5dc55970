"""How much of the clip did my network really use? Layer-wise relevance propagation for video CNNs."""

from lrp3d import atr, composites, figures, models, operations, planted, rules, sampling, study, video
from lrp3d.composites import Composite
from lrp3d.errors import UnsupportedOperation
from lrp3d.excess import ExcessSpan, excess_span
from lrp3d.explain import explain
from lrp3d.explanation import Explanation
from lrp3d.frames import NoFrameLogits
from lrp3d.inspection import inspect
from lrp3d.interventions import frame_logits, intervention_matrix
from lrp3d.registry import register_layer, register_operation
from lrp3d.twin import convert

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
