"""What one operation of a forward pass does with relevance, for many seeds at once.

A *step* belongs to a node of autograd's graph and turns the relevance of its output (s, *output) into that of its
inputs (s, *input), where `s` counts seeds. `linear` has the operations over which a rule shares relevance, of
`operands`, and `shares` what is the same there for all seeds: `coefficients` divides by denominators,
`zero_denominators` remembers where these are zero, `summands` is about sums position by position. `maxima` and
`window_maxima` have the operations in which a maximum gets all relevance, `softmax` and `proportional` have softmax and
statistics, `writes` has writes into parts of a tensor. `step` has the base class of all, `elementwise` and `over_axes`
those of many, and `ends` the clip, and where relevance stays; a `weigher` is the factor of a product that no relevance
reaches. `lazy_relevance` is relevance between two steps: a product with a `factor`, multiplied only when it must be.
`graph` says how steps lie in autograd's graph and walks it, `torch_nodes` lists the nodes of torch's own that lie
between them, and `spread_down` hands something down from step to step, to find where values come from.

A step knows its rule and its tensors. It does not know the model's code, the clip, or how many seeds there are. This
folder may import rules and compute.
"""
