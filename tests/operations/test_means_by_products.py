"""A mean that is written as a product with a constant has the rule of that product, whatever the weights are."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import lrp3d
from lrp3d.rules import Epsilon, Gamma

D = torch.float64
X = torch.randn(2, 3, 5, 2, 2, dtype=D, generator=torch.Generator().manual_seed(0))
EQUAL = torch.full((5, 1), 0.2, dtype=D)

WRITTEN = {
    "matmul": lambda x: x @ EQUAL,
    "matmul, a row": lambda x: (EQUAL.T @ x.mT).mT,
    "mv": lambda x: (x @ EQUAL[:, 0])[..., None],
    "tensordot": lambda x: torch.tensordot(x, EQUAL, 1),
    "einsum": lambda x: torch.einsum("bct,to->bco", x, EQUAL),
    "einsum, a vector": lambda x: torch.einsum("bct,t->bc", x, EQUAL[:, 0])[..., None],
}
COMPOSITES = {name: name for name in lrp3d.composites.PRESETS} | {
    "nn.Linear": lrp3d.Composite(layers={nn.Linear: Gamma(0.5)}),
    "operations": lrp3d.Composite(
        layers={nn.Linear: Epsilon(0.5)},
        operations=dict.fromkeys((torch.matmul, torch.einsum, torch.tensordot), Epsilon(0.5)),
    ),
}


class Mean(nn.Module):
    def __init__(self, mean):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.fc, self.mean = nn.Conv3d(3, 6, 1), nn.Linear(6, 4), mean

    def forward(self, x):
        return self.fc(self.mean(self.conv(x).mean((3, 4))).squeeze(-1))


@pytest.mark.parametrize("composite", COMPOSITES)
@pytest.mark.parametrize("name", WRITTEN)
def test_it_has_the_relevance_of_a_linear_layer_with_these_weights(name, composite):
    def relevance(mean):
        model = Mean(mean).double().eval()
        options = {"contrastive": False, "temporal": False, "input_range": (-3.0, 3.0)}
        return lrp3d.explain(model, X, 1, composite=COMPOSITES[composite], **options).relevance

    torch.testing.assert_close(relevance(WRITTEN[name]), relevance(lambda x: F.linear(x, EQUAL.T)))
