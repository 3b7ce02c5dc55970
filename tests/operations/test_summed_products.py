"""A product that is summed is a product of matrices, however a forward writes it."""

import pytest
import torch
import torch.nn.functional as F
from forwards import Net, clip, close, twin_relevance
from torch import nn

import lrp3d


def _square(x):
    return x.unflatten(2, (2, 2))


def _divided_last(scores, values):
    weights = scores.exp()
    return (weights * values / weights.sum(2, keepdim=True)).sum(2)


SPELLINGS = {
    "attention pooling": (
        lambda a, b: a.softmax(2) @ b.mT,
        lambda a, b: (a.softmax(2)[:, :, None] * b[:, None]).sum(3),
    ),
    "similarities": (lambda a, b: (a @ b.mT) @ b, lambda a, b: (a[:, :, None] * b[:, None]).sum(-1) @ b),
    "attention": (
        lambda a, b: (a @ b.mT).softmax(-1) @ b,
        lambda a, b: ((a @ b.mT).softmax(-1)[..., None] * b[:, None]).sum(2),
    ),
    "attention pooling, copied": (
        lambda a, b: a.softmax(2) @ b.mT,
        lambda a, b: (a.softmax(2)[:, :, None] * b[:, None]).clone().sum(3),
    ),
    "attention pooling, transposed": (
        lambda a, b: a.softmax(2) @ b.mT,
        lambda a, b: (a.softmax(2)[:, :, None] * b[:, None]).permute(3, 0, 2, 1).contiguous().sum(0).transpose(1, 2),
    ),
    "attention pooling, flattened": (
        lambda a, b: (b @ a.mean(1, keepdim=True).softmax(2).mT).squeeze(2),
        lambda a, b: (_square(b) * _square(a.mean(1, keepdim=True).softmax(2))).view(len(b), 3, -1).sum(2),
    ),
    "attention, divided last": (
        lambda a, b: (a @ b.mT).softmax(-1) @ b,
        lambda a, b: _divided_last((a @ b.mT)[..., None], b[:, None]),
    ),
    "similarities, scaled": (
        lambda a, b: ((a @ b.mT) / 2.0) @ b,
        lambda a, b: (a[:, :, None] * b[:, None] / 2.0).sum(-1) @ b,
    ),
    "similarities as features": (
        lambda a, b: (a @ b.mT).mean(2),
        lambda a, b: (a[:, :, None] * b[:, None]).sum(-1).mean(2),
    ),
}


@pytest.mark.parametrize("name", SPELLINGS)
def test_a_product_that_is_summed_is_a_product_of_matrices(name):
    matrices, product = SPELLINGS[name]
    signed = clip(2, 3, 4) - 0.5
    _, r, wanted = twin_relevance(Net(lambda x: matrices(x.tanh(), x.tanh().flip(1))), signed, None, "paper")
    close(twin_relevance(Net(lambda x: product(x.tanh(), x.tanh().flip(1))), signed, r, "paper")[2], wanted)


GAMMA = lrp3d.Composite(layers={nn.Linear: lrp3d.rules.Gamma(0.5)})


@pytest.mark.parametrize("composite", ["paper", "epsilon", "epsilon_plus", "alpha_beta", GAMMA], ids=str)
def test_a_product_that_is_summed_has_the_rule_of_a_product_of_matrices(composite):
    matrices, product = SPELLINGS["attention pooling"]
    signed = clip(2, 3, 4) - 0.5
    _, r, wanted = twin_relevance(Net(lambda x: matrices(x.tanh(), x.tanh().flip(1))), signed, None, composite)
    close(twin_relevance(Net(lambda x: product(x.tanh(), x.tanh().flip(1))), signed, r, composite)[2], wanted)


CHANGES = {
    "device": lambda y: y.to(y.device),
    "device and type": lambda y: y.to("cpu", torch.float64),
    "another tensor": lambda y: y.to(y),
    "type of another": lambda y: y.type_as(y),
    "copy by name": lambda y: torch.clone(input=y),
    "axes by name": lambda y: torch.permute(input=torch.permute(input=y, dims=(0, 2, 1, 3)), dims=(0, 2, 1, 3)),
}


@pytest.mark.parametrize("how", CHANGES)
def test_a_product_goes_on_however_it_is_copied(how):
    signed = clip(2, 3, 4) - 0.5

    def weighed(x, change=lambda y: y):
        return change(x.softmax(2)[:, :, None] * x.flip(1)[:, None]).sum(3)

    _, r, wanted = twin_relevance(Net(lambda x: weighed(x.tanh())), signed, None, "paper")
    close(twin_relevance(Net(lambda x: weighed(x.tanh(), CHANGES[how])), signed, r, "paper")[2], wanted)


@pytest.mark.parametrize("gate", [torch.sigmoid, lambda g: g.softmax(1)], ids=["gate", "attention"])
def test_what_is_summed_over_the_first_axis_is_what_is_summed_over_the_second(gate):
    """Time first and clips second: what a product is must not depend on the number of clips."""
    signed = clip(2, 3, 4) - 0.5

    def weighed(x, keepdim):
        return gate(x.mean(1, keepdim=True)) * x if keepdim else gate(x) * x

    for keepdim in (True, False):
        net = Net(lambda x, keepdim=keepdim: weighed(x.tanh(), keepdim).sum(1))
        _, r, wanted = twin_relevance(net, signed, None, "paper")
        first = Net(lambda x, keepdim=keepdim: weighed(x.tanh(), keepdim).transpose(0, 1).sum(0))
        close(twin_relevance(first, signed, r, "paper")[2], wanted)
        close(twin_relevance(first, signed[:1], r[:1], "paper")[2], wanted[:1])


def test_a_gate_that_is_the_same_along_the_summed_axis_scales_an_average():
    def gated(x):
        return (x * torch.sigmoid(x.mean(2, keepdim=True))).mean(2)

    def scaled(x):
        return x.mean(2) * torch.sigmoid(x.mean(2))

    signed = clip(2, 3, 4) - 0.5
    _, r, wanted = twin_relevance(Net(lambda x: scaled(x.tanh())), signed, None, "paper")
    close(twin_relevance(Net(lambda x: gated(x.tanh())), signed, r, "paper")[2], wanted)


@pytest.mark.parametrize(
    "gated", [lambda x: x * x.sigmoid(), lambda x: x * torch.sigmoid(x), lambda x: x * (1 - (-x).sigmoid())]
)
def test_the_average_of_a_gated_unit_is_that_of_the_activation(gated):
    """`x * sigmoid(x)` is an activation in other words, and no attention, although both factors differ everywhere."""
    signed = clip(2, 3, 4) - 0.5
    _, r, wanted = twin_relevance(Net(lambda x: F.silu(x.tanh()).mean(2)), signed, None, "paper")
    close(twin_relevance(Net(lambda x: gated(x.tanh()).mean(2)), signed, r, "paper")[2], wanted)
