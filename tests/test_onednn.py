"""Products by oneDNN are the products, and go there only where it is the faster library."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import lrp3d
from lrp3d.compute import along_axis, kernels, matmul, onednn, pointwise
from lrp3d.compute.geometry import Geometry

pytestmark = pytest.mark.skipif(
    not hasattr(torch.ops.mkldnn, "_linear_pointwise"), reason="this torch was built without oneDNN"
)


@pytest.fixture
def by_onednn(monkeypatch):
    """On any processor oneDNN multiplies small matrices as well, in pieces of a few rows."""
    monkeypatch.setattr(onednn, "outruns_mkl", lambda: True)
    monkeypatch.setattr(onednn, "LEAST", 0)
    monkeypatch.setattr(onednn, "PIECE", 16)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    calls, linear = [], onednn.linear
    monkeypatch.setattr(onednn, "linear", lambda *given: calls.append(given) or linear(*given))
    return calls


def numbers(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


def equal(found, expected):
    torch.testing.assert_close(found.double(), expected.double(), rtol=1e-5, atol=1e-5)


sizes = st.integers(1, 9)


@given(sizes, sizes, st.integers(1, 19), st.booleans(), st.booleans(), st.sampled_from([0, 2**23]))
@pytest.mark.usefixtures("by_onednn")
def test_a_product_equals_the_product(outputs, inputs, columns, transposed, turned, largest):
    a = numbers(inputs, outputs).T if transposed else numbers(outputs, inputs)
    b = numbers(columns, inputs).T if turned else numbers(inputs, columns)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(onednn, "LARGEST", largest)
        equal(matmul.product(a, b), a.double() @ b.double())


@given(sizes, sizes, sizes, st.booleans())
@pytest.mark.usefixtures("by_onednn")
def test_a_fully_connected_layer_equals_torch(batch, inputs, outputs, biased):
    x, w, bias = numbers(batch, 2, inputs), numbers(outputs, inputs), numbers(outputs) if biased else None
    equal(matmul.linear(x, w, bias), nn.functional.linear(x, w, bias))
    equal(matmul.linear(x.transpose(0, 1), w, bias), nn.functional.linear(x.transpose(0, 1), w, bias))


@pytest.mark.usefixtures("by_onednn")
def test_a_bias_may_have_any_strides():
    x, w = numbers(3, 5), numbers(8, 5)
    for bias in (numbers(8, 4)[:, 1], numbers(1).expand(8), numbers(16)[::2]):
        equal(matmul.linear(x, w, bias), nn.functional.linear(x, w, bias))


@given(sizes, sizes, st.integers(3, 19), st.data())
@pytest.mark.usefixtures("by_onednn")
def test_some_columns_are_added(outputs, inputs, columns, data):
    first = data.draw(st.integers(0, columns - 1))
    some = slice(first, data.draw(st.integers(first + 1, columns)))
    a, b = numbers(outputs, inputs), numbers(inputs, columns)
    before = numbers(outputs, columns)
    out = before.clone()
    matmul.add_columns(a, b, some, out[:, some])
    expected = before.double()
    expected[:, some] += (a.double() @ b.double())[:, some]
    equal(out, expected)


@pytest.mark.parametrize("seeds", [1, 3])
@pytest.mark.parametrize(
    ("kernel", "stride", "padding"), [((1, 1, 1), 1, 0), ((1, 1, 1), 2, 0), ((3, 1, 1), 1, 1), ((3, 1, 1), 1, 0)]
)
def test_convolutions_that_are_products_equal_torch(kernel, stride, padding, seeds, by_onednn, monkeypatch):
    monkeypatch.setattr(pointwise, "WORTHWHILE_ALONE", 0)
    monkeypatch.setattr(along_axis, "LEAST_PER_TAP", 0)
    g = Geometry(kernel, (stride,) * 3, (padding, 0, 0), (1, 1, 1), 1, False, (0, 0, 0))
    x, w = numbers(seeds, 6, 5, 4, 4), numbers(7, 6, *kernel)
    with kernels.plain():
        expected = kernels.convolve(x, w, g)
    assert not by_onednn, "the plain path is torch's own"
    equal(kernels.convolve(x, w, g), expected)
    r = numbers(*expected.shape)
    with kernels.plain():
        expected = kernels.adjoint(r, w, g, x.shape)
    equal(kernels.adjoint(r, w, g, x.shape), expected)
    assert by_onednn


@pytest.mark.parametrize("left", [True, False])
def test_batches_of_matrices_equal_torch(left, by_onednn):
    from lrp3d.compute.maps import MatrixProduct

    a, v = (numbers(2, 3, 4, 5), numbers(2, 3, 5, 6)) if left else (numbers(2, 3, 5, 6), numbers(2, 3, 4, 5))
    map = MatrixProduct(left)
    expected = a @ v if left else v @ a
    equal(map(a, v), expected)
    assert len(by_onednn) >= 6, "one for each matrix"
    r = numbers(2, *expected.shape)
    equal(map.adjoint(r, v, a.shape), r @ v.mT if left else v.mT @ r)


def test_an_explanation_equals_that_of_the_plain_path(by_onednn, monkeypatch):
    monkeypatch.setattr(pointwise, "WORTHWHILE_ALONE", 0)
    monkeypatch.setattr(matmul, "WORTHWHILE_FORWARD", 0)
    torch.manual_seed(0)
    model = lrp3d.models.build("TAM2D-R50-f4", num_classes=5, width=8).eval()
    clip = torch.rand(1, 3, 4, 32, 32, generator=torch.Generator().manual_seed(0))
    found = lrp3d.explain(model, clip, 0)
    assert by_onednn
    with kernels.plain():
        expected = lrp3d.explain(model.double(), clip.double(), 0)
    scale = expected.matrix.abs().max()
    torch.testing.assert_close(found.matrix.double(), expected.matrix, rtol=0, atol=1e-4 * float(scale))


def test_a_matrix_with_gaps_and_other_types_go_to_torch(by_onednn):
    a, wide = numbers(4, 6), numbers(6, 20)
    matmul.product(a, wide[:, :10])
    matmul.product(a.double(), wide.double())
    enabled = torch.backends.mkldnn.set_flags(_enabled=False)[0]
    try:
        matmul.product(a, wide)
    finally:
        torch.backends.mkldnn.set_flags(_enabled=enabled)
    assert not by_onednn
    matmul.product(a, wide)
    assert by_onednn


@pytest.mark.parametrize(
    ("maker", "instructions", "mkl", "faster"),
    [
        ("AuthenticAMD", "AVX512", True, True),
        ("AuthenticAMD", "AVX2", True, False),
        ("GenuineIntel", "AVX512", True, False),
        ("AuthenticAMD", "AVX512", False, False),
    ],
)
def test_only_where_mkl_does_without_the_widest_instructions(maker, instructions, mkl, faster, monkeypatch):
    monkeypatch.setattr(onednn, "_processor", lambda: f"vendor_id : {maker}")
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: instructions)
    monkeypatch.setattr(torch.backends.mkl, "is_available", lambda: mkl)
    assert onednn.outruns_mkl.__wrapped__() is faster
