"""All that `lrp3d.` offers. `lrp3d/__init__.py` imports it when the first of these names is used."""
# ruff: noqa: F401  imported for others, who read the names in lrp3d.__all__

from lrp3d import composites, figures, models, operations, planted, rules, sampling, study, video
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
