"""What each operation of a network does with relevance: one handler per function, made of the building blocks.

Importing this package registers every function lrp3d knows. A new one goes into the file of its family, or into a
user's own code through `lrp3d.register_operation`.
"""

from lrp3d.operations import activation, arithmetic, convolution, normalisation, padding, pooling
from lrp3d.operations.blocks import Summand, attach, both_nonnegative, passes, refuse, shares

__all__ = [
    "Summand",
    "activation",
    "arithmetic",
    "attach",
    "both_nonnegative",
    "convolution",
    "normalisation",
    "padding",
    "passes",
    "pooling",
    "refuse",
    "shares",
]
