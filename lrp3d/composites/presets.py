"""The composites that come with lrp3d; each keeps its rules, so that its name means the same everywhere."""

from __future__ import annotations

import torch.nn.functional as F
from torch import nn

from lrp3d.composites.composite import Composite
from lrp3d.composites.kinds import AVERAGES, CONVOLUTIONS, SUMS
from lrp3d.rules import AlphaBeta, Epsilon, Gamma, Rule, SoftmaxTaylor, ZBeta, ZPlus


def _everywhere(rule: Rule, types: tuple[type[nn.Module], ...]) -> dict[type[nn.Module], Rule]:
    return dict.fromkeys(types, rule)


paper: Composite = Composite()
"""z-beta for layers that see the clip, z+ for other convolutions and linear layers, identity for batch norm and
activations."""

epsilon: Composite = Composite(
    _everywhere(Epsilon(), (*CONVOLUTIONS, *AVERAGES, nn.Linear)), dict.fromkeys(SUMS, Epsilon())
)
"""The epsilon rule wherever relevance is shared, also at residual sums: input x gradient for bias-free ReLU nets."""

epsilon_plus: Composite = Composite({**_everywhere(ZPlus(), CONVOLUTIONS), nn.Linear: Epsilon()})
"""z+ for convolutions, epsilon for linear layers."""

alpha_beta: Composite = Composite({**_everywhere(AlphaBeta(2.0, 1.0), CONVOLUTIONS), nn.Linear: Epsilon()})
"""alpha-2 beta-1 for convolutions, epsilon for linear layers."""

epsilon_gamma_box: Composite = Composite(
    {**_everywhere(Gamma(0.25), CONVOLUTIONS), nn.Linear: Epsilon()}, first=ZBeta()
)
"""z-beta for layers that see the clip, gamma for other convolutions, epsilon for linear layers."""

attnlrp: Composite = Composite(
    _everywhere(Epsilon(1e-6), (*CONVOLUTIONS, *AVERAGES, nn.Linear)),
    dict.fromkeys(SUMS, Epsilon(1e-6)) | {F.softmax: SoftmaxTaylor()},
    products="halves",
)
"""AttnLRP (Achtibat et al. 2024, arXiv:2402.05602): relevance flows into queries, keys and gates as well.

Softmax is expanded to first order (Eq. 13), products of two signals are halved (Prop. 3.2), norms and activations pass
relevance on, and everything linear has the epsilon rule. Biases and the expansion absorb relevance, which the ledger
books.
"""

PRESETS = {
    "paper": paper,
    "epsilon": epsilon,
    "epsilon_plus": epsilon_plus,
    "alpha_beta": alpha_beta,
    "epsilon_gamma_box": epsilon_gamma_box,
    "attnlrp": attnlrp,
}
"""The composites that come with lrp3d; these names mean the same rules everywhere."""
