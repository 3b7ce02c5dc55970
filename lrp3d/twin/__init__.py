"""A model that can be explained: its relevance twin.

`given` takes the module out of a compiled or wrapped model. `copying` copies its tree of modules, sharing every
tensor, so that the model itself is never modified, where `holding` says what leads to what; `swapping` exchanges what
is called in the copies, `other_outputs` changes what one of them returns, and `kept_state` and `kept_tensors` put back
what a run leaves in them. `twin` runs them under
a tracer (`entered_clips`, `calling`), which records a graph whose gradients are relevance (`trace`). `evaluation_mode`
refuses modules in training mode, unless that changes nothing. `untrained` draws the parameters anew, `probabilities`
leaves out a final softmax, `ranges` finds the range of valid inputs, `same_logits` looks whether what was recorded is
what the model itself says of each clip, `digest` gives a network a short name by its modules and weights, and
`random_state` keeps the caller's random generators as they were. `audit` checks the graph afterwards: every node must
be a step or only move values, and every step gets its rule from the composite, once `classifier` has found the
classifier, which `weighed_sums` recognises where it is written out, and which way its outputs enter the logits.

This folder may import composites, layers, tracing, steps and what is below them. Propagation and the calls of the user
import it.
"""

from lrp3d.twin.ranges import Range
from lrp3d.twin.trace import Trace
from lrp3d.twin.twin import Twin, convert

__all__ = ["Range", "Trace", "Twin", "convert"]
