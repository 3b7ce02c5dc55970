"""Maxima of windows, axis by axis, are those of torch's max pools."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import lrp3d
from lrp3d.compute.maxima_by_axis import LEAST, handed_down, maxima, stages, winners

POOLS = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}


@st.composite
def pools(draw):
    """Kernel, stride, padding and dilation of a pool, and the size of its input, along 1 to 3 axes."""
    axes = draw(st.integers(1, 3))
    kernel = [draw(st.integers(1, 4)) for _ in range(axes)]
    stride = [draw(st.integers(1, 4)) for _ in range(axes)]
    padding = [draw(st.integers(0, k // 2)) for k in kernel]
    dilation = [draw(st.integers(1, 2)) for _ in range(axes)]
    sizes = [draw(st.integers(d * (k - 1) + 1, 9)) for k, d in zip(kernel, dilation, strict=True)]
    return kernel, stride, padding, dilation, sizes


@given(pool=pools(), seed=st.integers(0, 2**20), ceil_mode=st.booleans(), lead=st.sampled_from([(2, 3), (3,)]))
def test_they_are_the_values_of_torch(pool, seed, ceil_mode, lead):
    kernel, stride, padding, dilation, sizes = pool
    x = torch.randint(-3, 4, (*lead, *sizes), generator=torch.Generator().manual_seed(seed)).double()
    wanted = POOLS[len(kernel)](x, kernel, stride, padding, dilation, ceil_mode)
    found = maxima(x, kernel, stride, padding, dilation, wanted.shape[len(lead) :])
    assert torch.equal(found, wanted)


@given(pool=pools(), seed=st.integers(0, 2**20))
def test_winners_are_counted_and_one_of_them_is_named(pool, seed):
    kernel, stride, padding, dilation, sizes = pool
    x = torch.randint(4, (3, *sizes), generator=torch.Generator().manual_seed(seed)).double()
    sides = [side for p in reversed(padding) for side in (p, p)]
    padded = F.pad(x, sides, value=-torch.inf)
    largest = POOLS[len(kernel)](x, kernel, stride, padding, dilation)
    found = winners(padded, kernel, stride, dilation, largest.shape[1:])
    assert torch.equal(found.largest, largest)
    assert torch.equal(padded.flatten(1).gather(1, found.position.flatten(1).long()), largest.flatten(1))
    windows = padded
    for axis, (k, s, d) in enumerate(zip(kernel, stride, dilation, strict=True)):
        windows = windows.unfold(1 + axis, d * (k - 1) + 1, s)[..., ::d]
    counted = (windows == largest.view(*largest.shape, *[1] * len(kernel))).flatten(len(largest.shape)).sum(-1)
    assert torch.equal(found.number.long(), counted)


@given(pool=pools(), seed=st.integers(0, 2**20))
def test_axis_by_axis_all_winners_of_a_window_get_equal_parts(pool, seed):
    kernel, stride, padding, dilation, sizes = pool
    generator = torch.Generator().manual_seed(seed)
    x = torch.randint(3, (2, *sizes), generator=generator).double()
    padded = F.pad(x, [side for p in reversed(padding) for side in (p, p)], value=-torch.inf)
    largest = POOLS[len(kernel)](x, kernel, stride, padding, dilation)
    made, found = stages(padded, kernel, stride, dilation, largest.shape[1:])
    assert torch.equal(found, largest)
    r = torch.randn(2, *largest.shape, dtype=torch.double, generator=generator)
    wanted = torch.zeros(2, *padded.shape, dtype=torch.double)
    for window in itertools.product(*map(range, largest.shape)):
        plane, *place = window
        taps = itertools.product(*map(range, kernel))
        seen = [tuple(p * s + t * d for p, s, t, d in zip(place, stride, tap, dilation, strict=True)) for tap in taps]
        winning = [position for position in seen if padded[(plane, *position)] == largest[window]]
        for position in winning:
            wanted[(slice(None), plane, *position)] += r[(slice(None), *window)] / len(winning)
    torch.testing.assert_close(handed_down(r, made), wanted, rtol=1e-12, atol=1e-12)


def test_what_is_no_number_stays_none():
    x = torch.zeros(1, 1, 1, 4, 6)
    x[..., 1, 2] = torch.nan
    found = maxima(x, (1, 3, 3), (1, 1, 1), (0, 1, 1), (1, 1, 1), (1, 4, 6))
    assert torch.equal(found.isnan(), F.max_pool3d(x, (1, 3, 3), 1, (0, 1, 1)).isnan())


@pytest.mark.parametrize("pool", [nn.MaxPool3d(3, 1, 1), nn.MaxPool3d((1, 3, 3), 2, (0, 1, 1), ceil_mode=True)])
def test_a_large_pool_of_a_model_is_explained_as_by_torch(pool):
    model = nn.Sequential(
        nn.Conv3d(3, 8, 1), nn.ReLU(), pool, nn.Conv3d(8, 4, 1), nn.AdaptiveAvgPool3d(1), nn.Flatten()
    )
    model = model.double().eval()
    clip = torch.rand(1, 3, 4, 24, 24, dtype=torch.double)
    assert 8 * clip[0, 0].numel() >= LEAST
    found = lrp3d.explain(model, clip, 0, contrastive=False)
    with lrp3d.kernels.plain():
        wanted = lrp3d.explain(model, clip, 0, contrastive=False)
    assert torch.equal(found.logits, model(clip))
    torch.testing.assert_close(found.relevance, wanted.relevance, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(found.matrix, wanted.matrix, rtol=1e-9, atol=1e-12)
