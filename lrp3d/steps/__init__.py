"""What one operation of a forward pass does with relevance, for many seeds at once.

A *step* stands behind a node of autograd's graph and turns the relevance of its output (s, *output) into that of its
inputs (s, *input), where `s` counts seeds. `linear` has the operations over which a rule shares relevance and `shares`
what is the same there for all seeds, `maxima` has those where a maximum takes it, `softmax` and `proportional` softmax
and statistics, `step` the base and everything that passes, moves or holds it. `lazy_relevance` is
relevance between two steps, a product that is multiplied only when it must be; `graph` says how steps lie in autograd's
graph and walks it.

A step knows its rule and its tensors. It does not know the model's code, the clip, or how many seeds there are. This
folder may import rules and compute.
"""
