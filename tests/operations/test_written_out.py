"""The same function has the same relevance however it is written: as one of torch's, or as what it is made of."""

import math

import pytest
import torch
import torch.nn.functional as F
from forwards import D, Net, clip, close, twin_relevance

import lrp3d
from lrp3d.rules import Epsilon, Share, Term

W = torch.randn(5, 4, dtype=D, generator=torch.Generator().manual_seed(5))
OTHER = torch.randn(4, dtype=D, generator=torch.Generator().manual_seed(7))
EYE = torch.eye(4, dtype=D)
TIMES = torch.tensor([0.0, 1.0, 3.0, 4.0], dtype=D)

# The function, and the same by hand, of x (3, 4).
CASES = {
    "inner with a constant": (lambda x: torch.inner(x, W), lambda x: x @ W.mT),
    "inner with a vector": (lambda x: x.inner(OTHER), lambda x: x @ OTHER),
    "inner of signals": (lambda x: torch.inner(x, x[:2] + 1), lambda x: torch.einsum("ac,bc->ab", x, x[:2] + 1)),
    "inner with a number": (lambda x: x.inner(OTHER[0]), lambda x: x * OTHER[0]),
    "outer": (lambda x: torch.outer(x[0], OTHER), lambda x: torch.einsum("i,j->ij", x[0], OTHER)),
    "outer of signals": (lambda x: x[0].outer(x[1]), lambda x: x[0][:, None] * x[1]),
    "kron": (lambda x: torch.kron(x, W), lambda x: torch.einsum("ij,kl->ikjl", x, W).reshape(15, 16)),
    "kron of a vector": (lambda x: torch.kron(x, OTHER), lambda x: (x[..., None] * OTHER).flatten(1)),
    "erfc": (lambda x: torch.erfc(x), lambda x: 1 - torch.erf(x)),
    "gelu": (lambda x: x * (-x / math.sqrt(2)).erfc() / 2, F.gelu),
    "gelu of an error function": (lambda x: 0.5 * x * (1 + torch.erf(x / math.sqrt(2))), F.gelu),
    "sigmoid of a tanh": (lambda x: x.flip(1) * ((1 + torch.tanh(x / 2)) / 2), lambda x: x.flip(1) * x.sigmoid()),
    "one less a sigmoid": (lambda x: torch.tanh(-x / 2) - 1, lambda x: x.sigmoid() * -2),
    "cdist": (lambda x: torch.cdist(x, W), lambda x: (x[:, None] - W).norm(dim=-1)),
    "cdist of signals": (
        lambda x: torch.cdist(x, x[:2] + 1, p=1.0),
        lambda x: (x[:, None] - (x[:2] + 1)).norm(p=1, dim=-1),
    ),
    "logaddexp": (
        lambda x: torch.logaddexp(x, x.flip(0)),
        lambda x: torch.logsumexp(torch.stack([x, x.flip(0)], -1), -1),
    ),
    "hypot": (lambda x: torch.hypot(x, x.flip(1)), lambda x: torch.stack([x, x.flip(1)], -1).norm(dim=-1)),
    "diag_embed": (lambda x: torch.diag_embed(x), lambda x: torch.where(EYE > 0, x[:, None].expand(3, 4, 4), 0)),
    "diag_embed above": (
        lambda x: x.diag_embed(2, 0, 2),
        lambda x: F.pad(torch.where(EYE > 0, x[:, None].expand(3, 4, 4), 0), (2, 0, 0, 2)).transpose(0, 1),
    ),
    "diag_embed below": (
        lambda x: torch.diag_embed(x, -1),
        lambda x: F.pad(torch.where(EYE > 0, x[:, None].expand(3, 4, 4), 0), (0, 1, 1, 0)),
    ),
    "diag of a vector": (lambda x: torch.diag(x[1]), lambda x: torch.where(EYE > 0, x[1].expand(4, 4), 0)),
    "diag of a matrix": (lambda x: x.diag(1), lambda x: torch.stack([x[0, 1], x[1, 2], x[2, 3]])),
    "trapezoid": (lambda x: torch.trapezoid(x, dx=2.0, dim=0), lambda x: (x[1:] + x[:-1]).div(2).mul(2.0).sum(0)),
    "trapezoid at times": (
        lambda x: torch.trapz(x, TIMES),
        lambda x: ((x[:, 1:] + x[:, :-1]) / 2 * TIMES.diff()).sum(1),
    ),
    "trapezoid at times along the first axis": (
        lambda x: torch.trapezoid(x, TIMES[:3], dim=0),
        lambda x: ((x[1:] + x[:-1]) / 2 * TIMES[:3].diff()[:, None]).sum(0),
    ),
}


@pytest.mark.parametrize("composite", ["paper", "epsilon", "attnlrp"])
@pytest.mark.parametrize("case", CASES)
def test_a_function_has_the_relevance_of_what_it_is_made_of(case, composite):
    function, by_hand = CASES[case]
    x = clip(3, 4)
    _, r, found = twin_relevance(Net(function), x, None, composite)
    close(found, twin_relevance(Net(by_hand), x, r, composite)[2])


def test_a_handler_of_ones_own_comes_before_what_a_function_is_made_of():
    class Doubled(lrp3d.rules.Rule):
        def shares(self, x, w, bias):
            return [Share(2.0, [Term(x.value, w.value)])]

    @lrp3d.register_operation(torch.kron)
    def kron(input, other):
        return lrp3d.operations.bilinear_in(torch.kron, input, other)

    x = clip(3, 4) + 2
    model = Net(lambda x: torch.kron(x, W))
    _, r, twice = twin_relevance(model, x, None, lrp3d.Composite(operations={torch.kron: Doubled()}))
    once = twin_relevance(model, x, r, lrp3d.Composite(operations={torch.kron: Epsilon(0.0)}))[2]
    close(twice, 2 * once)
