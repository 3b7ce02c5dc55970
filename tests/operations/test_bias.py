"""A constant that is added directly after a product of matrices is the bias of a layer, as in nn.Linear."""

import pytest
import torch
import torch.nn.functional as F
from forwards import D, Net, X, clip, close, everywhere, twin_relevance
from torch import nn

import lrp3d
from lrp3d.rules import AlphaBeta, Epsilon, Gamma, ZPlus

WEIGHT, BIAS = clip(5, 4) / 3 + 0.1, torch.tensor([0.5, -1.0, 0.25, 0.0, 2.0], dtype=D)
TOKENS = torch.randn(2, 3, 4, dtype=D, generator=torch.Generator().manual_seed(0))


def _plus_equals(a, b):
    a += b
    return a


SPELLINGS = {
    "@": lambda x: x @ WEIGHT.T + BIAS,
    "the bias first": lambda x: BIAS + x @ WEIGHT.T,
    "parameters": lambda x: x @ nn.Parameter(WEIGHT).T + nn.Parameter(BIAS),
    "of one row": lambda x: torch.matmul(x, WEIGHT.T).add(BIAS[None, None]),
    "subtracted": lambda x: x @ WEIGHT.T - (-BIAS),
    "in place": lambda x: _plus_equals(x @ WEIGHT.T, BIAS),
    "matrix first": lambda x: (WEIGHT @ x.mT + BIAS[:, None]).mT,
    "einsum": lambda x: torch.einsum("bni,ki->bnk", x, WEIGHT) + BIAS,
    "einsum in another order": lambda x: (torch.einsum("bni,ki->bkn", x, WEIGHT) + BIAS[:, None]).mT,
    "tensordot": lambda x: torch.tensordot(x, WEIGHT.T, 1) + BIAS,
    "F.linear without bias": lambda x: F.linear(x, WEIGHT) + BIAS,
    "addmm": lambda x: torch.addmm(BIAS, x.flatten(0, 1), WEIGHT.T).view(2, 3, 5),
    "addmm, scaled": lambda x: torch.addmm(2 * BIAS, x.flatten(0, 1), WEIGHT.T, beta=0.5).view(2, 3, 5),
    "baddbmm": lambda x: torch.baddbmm(BIAS, x, WEIGHT.T.expand(2, -1, -1)),
}
RULES = {
    "epsilon": everywhere(Epsilon(1e-3)),
    "gamma": lrp3d.Composite(layers={nn.Linear: Gamma(0.25)}),
    "alpha beta": lrp3d.Composite(layers={nn.Linear: AlphaBeta(2.0, 1.0)}),
    "z+": lrp3d.Composite(layers={nn.Linear: ZPlus()}),
}


@pytest.mark.parametrize("rule", [*RULES, *lrp3d.composites.PRESETS])
@pytest.mark.parametrize("name", SPELLINGS)
def test_a_bias_by_hand_is_that_of_a_layer(name, rule):
    layer = nn.Linear(4, 5, dtype=D)
    layer.weight.data, layer.bias.data = WEIGHT, BIAS
    composite = RULES.get(rule, rule)
    _, r, wanted = twin_relevance(nn.Sequential(nn.LeakyReLU(1.0), layer), TOKENS, None, composite)
    _, _, found = twin_relevance(Net(lambda x: SPELLINGS[name](F.leaky_relu(x, 1.0))), TOKENS, r, composite)
    close(found, wanted)


@pytest.mark.parametrize("contrastive", [True, False])
@pytest.mark.parametrize("composite", lrp3d.composites.PRESETS)
def test_layers_by_hand_have_the_map_of_layers(composite, contrastive):
    torch.manual_seed(0)
    layers = {"conv": nn.Conv3d(4, 6, 3, padding=1), "first": nn.Linear(6, 6), "last": nn.Linear(6, 5)}

    def by_hand(net, x):
        x = (x @ net.first.weight.T + net.first.bias).relu()
        return torch.addmm(net.last.bias, x, net.last.weight.T)

    def explained(head):
        net = Net(lambda self, x: head(self, self.conv(x).relu().mean((2, 3, 4))), **layers).eval()
        options = {"composite": composite, "contrastive": contrastive, "temporal": False}
        return lrp3d.explain(net, X, 0, **options).relevance

    close(explained(by_hand), explained(lambda net, x: net.last(net.first(x).relu())))


SUMMANDS = {
    "positions": lambda y: y + torch.tensor([[1.0], [2.0], [-0.5]], dtype=D),
    "positions and channels": lambda y: y + torch.randn(3, 5, dtype=D, generator=torch.Generator().manual_seed(2)),
    "after a view": lambda y: (y.view(6, 5) + BIAS).view(2, 3, 5),
    "after another bias": lambda y: y + BIAS + 2 * BIAS,
    "that the clip decides": lambda y: y + y.detach().mean((0, 1)),
}


@pytest.mark.parametrize("name", SUMMANDS)
def test_any_other_constant_is_a_summand(name):
    rows = lrp3d.inspect(Net(lambda x: SUMMANDS[name](F.leaky_relu(x, 1.0) @ WEIGHT.T).flatten(1)).eval(), TOKENS)
    assert "add" in "".join(row.name for row in rows)


def test_a_bias_that_another_module_adds_is_a_summand():
    """So that a map does not depend on whether relevance is asked for at the module that makes the product."""
    layers = {"product": Net(lambda x: x @ WEIGHT.T), "fc": nn.Linear(15, 2)}
    model = Net(lambda net, x: net.fc((net.product(F.leaky_relu(x, 1.0)) + BIAS).flatten(1)), **layers).eval()
    assert "add" in [row.name for row in lrp3d.inspect(model, TOKENS)]


def test_what_else_reads_the_product_has_no_bias():
    def both(x):
        product = F.leaky_relu(x, 1.0) @ WEIGHT.T
        return torch.cat([product + BIAS, product], -1)

    composite = RULES["epsilon"]
    _, r, found = twin_relevance(Net(both), TOKENS, None, composite)
    parts = zip((lambda y: y + BIAS, lambda y: y * 1.0), r.chunk(2, -1), strict=True)
    wanted = [
        twin_relevance(Net(lambda x, f=f: f(F.leaky_relu(x, 1.0) @ WEIGHT.T)), TOKENS, part, composite)[2]
        for f, part in parts
    ]
    close(found, wanted[0] + wanted[1])


def test_a_composite_names_a_product_with_its_bias_by_the_product():
    composite = lrp3d.Composite(names={"matmul": Epsilon(1e-3)})
    spelled = Net(lambda x: F.leaky_relu(x, 1.0) @ WEIGHT.T + BIAS)
    _, r, found = twin_relevance(spelled, TOKENS, None, composite)
    close(found, twin_relevance(spelled, TOKENS, r, RULES["epsilon"])[2])
