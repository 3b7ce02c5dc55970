"""All public names of `lrp3d`. `lrp3d/__init__.py` imports this module when the first of them is used.

`x as x` tells strict type checkers that a name is public.
"""

from lrp3d import composites as composites
from lrp3d import figures as figures
from lrp3d import integrations as integrations
from lrp3d import models as models
from lrp3d import operations as operations
from lrp3d import planted as planted
from lrp3d import rules as rules
from lrp3d import sampling as sampling
from lrp3d import study as study
from lrp3d import video as video
from lrp3d.composites import Composite as Composite
from lrp3d.composites import register_composite as register_composite
from lrp3d.errors import CannotBeReset as CannotBeReset
from lrp3d.errors import ModelError as ModelError
from lrp3d.errors import NoMotion as NoMotion
from lrp3d.errors import UnsupportedOperation as UnsupportedOperation
from lrp3d.explain import explain as explain
from lrp3d.explanation.explanation import Explanation as Explanation
from lrp3d.explanation.ledger import LedgerEntry as LedgerEntry
from lrp3d.faithfulness.checking import check as check
from lrp3d.faithfulness.scores import Faithfulness as Faithfulness
from lrp3d.inspection import Inspection as Inspection
from lrp3d.inspection import inspect as inspect
from lrp3d.interventions import frame_logits as frame_logits
from lrp3d.interventions import intervention_matrix as intervention_matrix
from lrp3d.metrics import atr as atr
from lrp3d.metrics.excess_span import ExcessSpan as ExcessSpan
from lrp3d.metrics.excess_span import excess_span as excess_span
from lrp3d.propagation.frame_seeds import NoFrameLogits as NoFrameLogits
from lrp3d.prototypes import Prototypes as Prototypes
from lrp3d.prototypes import prototypes as prototypes
from lrp3d.registry import register_layer as register_layer
from lrp3d.registry import register_operation as register_operation
from lrp3d.twin.twin import Twin as Twin
from lrp3d.twin.twin import convert as convert
from lrp3d.whole_video.explaining import explain_video as explain_video
from lrp3d.whole_video.timeline import VideoExplanation as VideoExplanation
