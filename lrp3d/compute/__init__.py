"""Tensor computations on which rules and steps are built.

`maps` collects the linear maps, each with its adjoint (`linear_map`); every kind has a file of its own (`convolution`,
`matrix_products`, `einsum`, `averages`, `positionwise`). `terms` splits inputs and weights by sign for rules. `kernels`
alone chooses the fastest equal implementation of a convolution, which its `geometry` describes: `pointwise` multiplies
matrices, `along_axis` sums over the taps of a kernel along one axis, `flipped` carries relevance back with the flipped
kernel, `time_tiles` computes several frames at once, `few_frames` all taps of each, `phases` carries relevance back
through a stride; `windows` does so for a part of the outputs. `matmul` alone chooses that of a product of two matrices:
`wide_products` multiplies many positions block by block, `onednn` calls the library that is faster on some processors.
`maxima_by_axis` computes max pools and finds their winners. `plain` asks for torch's own. `totals` adds up products.
`bands` finds the frames outside of which a tensor is zero, so that only these are computed; `buffers` reuses the memory
of one clip for the next; `cores` runs independent computations at the same time; `precision` says in which type
relevance is computed.

Nothing here knows a rule, a step or a model. It imports torch and the small files at the top level, such as `layout`.
"""
