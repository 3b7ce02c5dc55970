"""Forwards written as functions, and the relevance that their twins give."""

import torch
from torch import nn

import lrp3d
from lrp3d.rules import ZPlus

D = torch.float64
TYPES = (*lrp3d.composites.CONVOLUTIONS, *lrp3d.composites.AVERAGES, nn.Linear)
SHARING = lrp3d.Composite(layers=dict.fromkeys(TYPES, ZPlus()))
SUMMING = (torch.add, torch.sub, torch.rsub, torch.sum, torch.mean)


class Net(nn.Module):
    """A forward written as a function."""

    def __init__(self, function, **modules):
        super().__init__()
        self.function = function
        for name, module in modules.items():
            setattr(self, name, module.to(D))

    def forward(self, x):
        return self.function(self, x) if self._modules else self.function(x)


def twin_relevance(model, x, r=None, composite=SHARING):
    """The twin's output, the relevance that came in (drawn, if none is given), and the relevance of x."""
    wanted = model.eval()(x.clone()).detach()
    clip = x.clone().requires_grad_()
    output = lrp3d.convert(model, composite)(clip)
    torch.testing.assert_close(output.detach(), wanted, rtol=1e-12, atol=1e-12)
    if r is None:
        r = torch.randn(output.shape, generator=torch.Generator().manual_seed(3), dtype=output.dtype)
    return output.detach(), r, torch.autograd.grad(output, clip, r)[0]


def relevance(function, x, r=None, composite=SHARING):
    return twin_relevance(Net(function), x, r, composite)[2]


def everywhere(rule):
    return lrp3d.Composite(layers={nn.Module: rule}, operations=dict.fromkeys(SUMMING, rule))


def close(found, wanted, tolerance=1e-9):
    torch.testing.assert_close(found, wanted, rtol=tolerance, atol=tolerance)


def clip(*shape):
    """Signed, with zeros and ties."""
    return torch.randint(-3, 4, shape, generator=torch.Generator().manual_seed(1)).to(D) / 2


X = clip(2, 4, 4, 4, 4)
