"""Composites: which layer gets which rule.

`composite` says it by name, position, operation or type, and finds the rule of a step. `kinds` are the layers and
functions that are named together. `presets` are the composites that come with lrp3d, and `named` also knows those that
users register.
"""

from lrp3d.composites.composite import FACTORS, Composite
from lrp3d.composites.kinds import AVERAGES, CONVOLUTIONS, SUMS
from lrp3d.composites.named import REGISTERED, register_composite
from lrp3d.composites.presets import (
    PRESETS,
    alpha_beta,
    attnlrp,
    epsilon,
    epsilon_gamma_box,
    epsilon_plus,
    paper,
)

__all__ = [
    "AVERAGES",
    "CONVOLUTIONS",
    "FACTORS",
    "PRESETS",
    "REGISTERED",
    "SUMS",
    "Composite",
    "alpha_beta",
    "attnlrp",
    "epsilon",
    "epsilon_gamma_box",
    "epsilon_plus",
    "paper",
    "register_composite",
]
