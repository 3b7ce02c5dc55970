"""Tensors without relevance: what rules and steps compute with.

`maps` has the linear maps, each with its adjoint, from a file for each kind (`convolution`, `matrix_products`,
`averages`, `positionwise`); `kernels` chooses the fastest equal implementation of a convolution, and nothing else does.
`bands` finds the frames outside of which a tensor is zero, so that only these are computed; `buffers` uses the memory
of one clip again for the next; `precision` says in which type relevance is computed.

Nothing here knows a rule, a step or a model. It imports torch and the small files at the top level, such as `layout`.
"""
