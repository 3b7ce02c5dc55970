"""The measured counterpart of temporal relevance: what logits lose when frames are replaced.

`matrix` has what a user calls. It replaces frames and asks for the logits of changed clips, which are read in one of
three ways: `exact_logits` finds those of frames in the recorded graph, as `explain` does; `forward_logits` takes what a
model of which torch sees too little returns; `layer_logits` lets a changed clip reach the logit through single time
steps of a module. `measurement` is what all of them share: the model, and the form of its input and its output.

This folder may import explain, propagation and what is below them.
"""

from lrp3d.interventions.matrix import frame_logits, intervention_matrix

__all__ = ["frame_logits", "intervention_matrix"]
