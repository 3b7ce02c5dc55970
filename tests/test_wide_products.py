"""Products in blocks of columns are the products, whatever the blocks are."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lrp3d.compute import kernels, pointwise, wide_products
from lrp3d.compute.geometry import Geometry
from lrp3d.compute.maps import Convolution


@pytest.fixture
def small_blocks(monkeypatch):
    """Blocks of four columns on one core, worth it from eight columns on and for every kernel."""
    monkeypatch.setattr(wide_products, "COLUMNS", 4)
    monkeypatch.setattr(wide_products, "LEAST_COLUMNS", 8)
    monkeypatch.setattr(wide_products, "LEAST_WEIGHTS", 0)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    monkeypatch.setattr(pointwise, "WORTHWHILE_ALONE", 0)


@given(st.integers(1, 5), st.integers(1, 5), st.integers(1, 19), st.booleans())
@pytest.mark.usefixtures("small_blocks")
def test_a_product_in_blocks_of_columns_equals_the_product(outputs, inputs, columns, scaled):
    generator = torch.Generator().manual_seed(columns)
    w = torch.randn(outputs, inputs, dtype=torch.float64, generator=generator)
    x, scale = torch.randn(2, inputs, columns, dtype=torch.float64, generator=generator)
    out = torch.full((outputs, columns), torch.nan, dtype=torch.float64)
    wide_products.multiply(w, x, out, scale if scaled else None)
    torch.testing.assert_close(out, w @ (x * scale if scaled else x), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("seeds", [1, 3])
@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.usefixtures("small_blocks")
def test_relevance_of_a_convolution_of_one_position_is_scaled_block_by_block(seeds, batch):
    geometry = Geometry.dense((1, 1, 1), (0, 0, 0))
    generator = torch.Generator().manual_seed(0)
    w = torch.randn(5, 4, 1, 1, 1, dtype=torch.float64, generator=generator)
    r = torch.randn(seeds, batch, 5, 3, 2, 3, dtype=torch.float64, generator=generator)
    scale = torch.randn(batch, 5, 3, 2, 3, dtype=torch.float64, generator=generator)
    shape = torch.Size([batch, 4, 3, 2, 3])
    found = Convolution(geometry).scaled_adjoint(r, scale, w, shape)
    with kernels.plain():
        expected = Convolution(geometry).adjoint(r * scale, w, shape)
    assert found is not None
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.usefixtures("small_blocks")
def test_a_part_of_the_frames_is_multiplied_first():
    geometry = Geometry.dense((1, 1, 1), (0, 0, 0))
    r, w = torch.randn(1, 1, 2, 3, 2, 2), torch.randn(2, 2, 1, 1, 1)
    some_frames = torch.randn(1, 2, 5, 2, 2)[:, :, 1:4]
    assert Convolution(geometry).scaled_adjoint(r, some_frames, w, torch.Size([1, 2, 3, 2, 2])) is None
