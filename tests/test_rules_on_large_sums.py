"""Sums of more values than fit into a cache are shared as small ones are."""

import pytest
import torch
from torch import nn

import lrp3d
from lrp3d import rules
from lrp3d.compute.terms import Share, Term

D = torch.float64


class ByChannel(rules.Rule):
    """Contributions count by the mean of their channel: of flattened pieces there is none."""

    def shares(self, x, w, bias):
        return [Share(1.0, [Term(x.value * (1 + x.value.mean((2, 3), keepdim=True)), w.value)])]


@pytest.mark.parametrize("kind", [rules.Rule, rules.ZPlus], ids=["own", "that of a subclass"])
def test_large_sums_are_shared_as_small_ones_are_by_rules_that_know_axes(kind):
    """Sums of more values than fit into a cache are shared block by block, where a rule allows it."""
    rule = type("Own", (kind,), {"shares": ByChannel.shares})()
    composite = lrp3d.Composite({nn.Conv2d: rules.Epsilon(0)}, {torch.add: rule})
    for size in (16, 256):
        x = torch.rand(1, 3, size, size, dtype=D, generator=torch.Generator().manual_seed(0))
        a, b = (v.clone().requires_grad_() for v in (x, x.flip(2)))
        r = torch.rand_like(x)
        twin = lrp3d.convert(Summed(), composite)
        found = torch.autograd.grad(twin(a, b), a, r)[0]
        parts = [v.detach() * (1 + v.detach().mean((2, 3), keepdim=True)) for v in (a, b)]
        torch.testing.assert_close(found, parts[0] / (parts[0] + parts[1]) * r)


@pytest.mark.parametrize("size", [8, 256])
def test_zbeta_with_ends_per_channel_shares_large_sums_too(size):
    low, high = (torch.tensor(ends, dtype=D)[:, None, None] for ends in ([-1.0, -2, -3], [1.0, 2, 3]))
    composite = lrp3d.Composite({nn.Conv2d: rules.Epsilon(0)}, {torch.add: rules.ZBeta(low, high)})
    a, b = (torch.rand(1, 3, size, size, dtype=D, requires_grad=True) for _ in range(2))
    found = torch.autograd.grad(lrp3d.convert(Summed(), composite)(a, b), (a, b), torch.ones_like(a))[0]
    torch.testing.assert_close(found, ((a - low) / (a - low + b - low)).detach())


class Summed(nn.Module):
    """A sum of features that are the inputs themselves, but whose range nobody knows."""

    def __init__(self):
        super().__init__()
        self.same = nn.Conv2d(3, 3, 1, bias=False, dtype=D)
        self.same.weight.data = torch.eye(3, dtype=D)[:, :, None, None]

    def forward(self, a, b):
        return torch.add(self.same(a), self.same(b))
