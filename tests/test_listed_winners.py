"""Winners of windows are found block by block, in an order in which ties, padding and constants cost little."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import lrp3d


@st.composite
def pools(draw):
    axes = draw(st.integers(1, 3))
    kernel = draw(st.integers(2, 3))
    pool = {1: nn.MaxPool1d, 2: nn.MaxPool2d, 3: nn.MaxPool3d}[axes]
    sizes = draw(st.lists(st.integers(3, 7), min_size=axes, max_size=axes))
    if draw(st.booleans()):
        adaptive = {1: nn.AdaptiveMaxPool1d, 2: nn.AdaptiveMaxPool2d, 3: nn.AdaptiveMaxPool3d}[axes]
        return adaptive(draw(st.integers(2, 4))), sizes
    padding = draw(st.integers(0, kernel // 2))
    return pool(kernel, draw(st.integers(1, 3)), padding, ceil_mode=draw(st.booleans())), sizes


def relevance(pool, x, r, end=None):
    """The relevance of x, to which constants are appended on the first axis after the channels."""
    model = pool if end is None else nn.Sequential(_End(end), pool)
    twin = lrp3d.convert(model)
    given = x.clone().requires_grad_()
    return torch.autograd.grad(twin(given), given, r)[0]


class _End(nn.Module):
    """Appends a constant position to the first axis after the channels."""

    def __init__(self, end):
        super().__init__()
        self.register_buffer("end", end)

    def forward(self, x):
        return torch.cat([x, self.end], 2)


@settings(max_examples=150)
@given(
    drawn=pools(),
    seed=st.integers(0, 2**20),
    block=st.sampled_from([1, 2**17]),
    more=st.sampled_from([None, 0, 1]),
    spread=st.sampled_from([3, 12, 60]),
)
def test_winners_that_are_listed_get_what_each_window_gives_its_own(drawn, seed, block, more, spread):
    """Of few values many tie; constants that tie with an input get nothing, and neither do those that are `more`."""
    pool, sizes = drawn
    generator = torch.Generator().manual_seed(seed)
    x = torch.randint(spread, (2, 3, *sizes), generator=generator).double()
    end = None if more is None else x[:, :, -1:] + more
    output = pool(x if end is None else torch.cat([x, end], 2))
    r = torch.randn(output.shape, dtype=torch.float64, generator=generator)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lrp3d.steps.window_maxima.BLOCK", block)
        found = relevance(pool, x, r, end)
    with lrp3d.kernels.plain():
        expected = relevance(pool, x, r, end)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_a_window_without_ties_gives_all_to_its_winner_and_one_with_ties_equal_parts():
    pool, x = nn.MaxPool2d(2), torch.tensor([[[[1.0, 3.0, 2.0, 2.0], [0.0, -1.0, 2.0, 1.0]]]])
    found = relevance(pool, x, torch.tensor([[[[5.0, 6.0]]]]))
    assert found.equal(torch.tensor([[[[0.0, 5.0, 2.0, 2.0], [0.0, 0.0, 2.0, 0.0]]]]))
