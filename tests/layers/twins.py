"""What tests of layers share: the relevance that a layer's twin gives, and inputs to try it on."""

import torch
from hypothesis import strategies as st

import lrp3d
from lrp3d.rules import ZPlus

D = torch.float64
SHARING = lrp3d.Composite(layers=dict.fromkeys((*lrp3d.composites.CONVOLUTIONS, *lrp3d.composites.AVERAGES), ZPlus()))


def twin_relevance(model, x, r=None, composite=SHARING):
    """The twin's output, the relevance that came in (drawn, if none is given), and the relevance of x."""
    clip = x.clone().requires_grad_()
    output = lrp3d.convert(model.eval(), composite)(clip)
    if r is None:
        r = torch.randn(output.shape, generator=torch.Generator().manual_seed(3), dtype=output.dtype)
    return output.detach(), r, torch.autograd.grad(output, clip, r)[0]


def close(found, wanted, tolerance=1e-9):
    torch.testing.assert_close(found, wanted, rtol=tolerance, atol=tolerance)


def draw_input(generator, *shape):
    """Few different values: ties everywhere, zeros, and windows of nothing but zeros."""
    x = torch.randint(-2, 3, shape, generator=generator).to(D)
    return x * (torch.rand(shape, generator=generator) < 0.7)


generators = st.integers(0, 2**20).map(lambda seed: torch.Generator().manual_seed(seed))


@st.composite
def per_axis(draw, values, axes):
    return draw(st.lists(values, min_size=axes, max_size=axes))
