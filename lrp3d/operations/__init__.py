"""What each operation of a network does with relevance: one handler per function, made of building blocks.

The files are families of functions: `activation` (also choices and dropout), `arithmetic` (sums and means),
`attention`, `convolution` (also linear layers), `einstein_sums`, `interpolation`, `maxima`, `normalisation`, `order`
(sorted values, medians, the largest so far), `padding`, `patches` (cut out and laid over each other), `pooling`,
`products` (of signals with constants and with each other: elementwise, matrices, generated kernels), `recurrence`,
`sampling` (grids, offsets, deformable convolution), `statistics` (variances, norms, products over axes), `writes` (into
slices and at indices, changed copies, selections). The building blocks are in `blocks`: `passes`, `shares`, `attach`,
`refuse`; `added_up` recognises sums that are added up one by one, `copies` means and copies along axes, however they
are written, `by_hand` sigmoids and log-sum-exp, and `layers_by_hand` fully connected layers, where `over_channels` says
that channels are summed and not frames or places; `which_weighs` decides which factor of a product is the weight, also
for `bilinear_in`, which stands with the products and takes whatever is linear in each of two signals. Importing this
package registers every function that lrp3d knows. A new one goes into the file of its family, or into your own code
through `lrp3d.register_operation`.
"""

from lrp3d.operations import (
    activation,
    arithmetic,
    attention,
    convolution,
    einstein_sums,
    interpolation,
    maxima,
    normalisation,
    order,
    padding,
    patches,
    pooling,
    products,
    recurrence,
    sampling,
    statistics,
    writes,
)
from lrp3d.operations.blocks import Operand, attach, both_nonnegative, passes, refuse, shares
from lrp3d.operations.products import bilinear_in

Summand = Operand  # the former name

__all__ = [
    "Operand",
    "Summand",
    "activation",
    "arithmetic",
    "attach",
    "attention",
    "bilinear_in",
    "both_nonnegative",
    "convolution",
    "einstein_sums",
    "interpolation",
    "maxima",
    "normalisation",
    "order",
    "padding",
    "passes",
    "patches",
    "pooling",
    "products",
    "recurrence",
    "refuse",
    "sampling",
    "shares",
    "statistics",
    "writes",
]
