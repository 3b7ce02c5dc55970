"""Products of matrices and Einstein sums: their adjoints, and what they weigh or compare takes."""

import pytest
import torch
from forwards import D, Net, clip, close, twin_relevance

from lrp3d.compute.einsum import Einsum, explicit
from lrp3d.compute.maps import MatrixProduct


EINSUMS = ["bij,bjk->bik", "bhij,bhjd->bihd", "bij,bj->bi", "bij,kj->bki"]

EINSUMS += ["...ij,...jk->...ik", "bij,bij->b", "bi,bj->bij", "bij,k->bk"]

SIZES = dict(zip("bhijkdAB", (2, 3, 2, 4, 3, 2, 2, 1), strict=True))


@pytest.mark.parametrize("equation", EINSUMS)
def test_an_einstein_sum_has_its_adjoint(equation):
    axes = [len(operand.replace("...", "")) + ("..." in operand) for operand in equation.split("->")[0].split(",")]
    written = explicit(equation, axes)
    a, b = (torch.randn([SIZES[c] for c in operand], dtype=D) for operand in written.split("->")[0].split(","))
    torch.testing.assert_close(torch.einsum(written, a, b), torch.einsum(equation, a, b))
    for first, x, w in ((True, a, b), (False, b, a)):
        map = Einsum(written, first)
        assert Einsum.can(written, [a.shape, b.shape])
        r = torch.randn(3, *map(x, w).shape, dtype=D)
        wanted = torch.stack(
            [torch.autograd.functional.vjp(lambda x, map=map, w=w: map(x, w), x, seed)[1] for seed in r]
        )
        close(map.adjoint(r, w, x.shape), wanted)


@pytest.mark.parametrize("left", [True, False])
@pytest.mark.parametrize(
    "shapes", [((2, 3, 4), (2, 4, 5)), ((3, 4), (2, 4, 5)), ((2, 1, 3, 4), (3, 4, 5)), ((3, 4), (4, 5))]
)
def test_a_product_of_matrices_has_its_adjoint(left, shapes):
    a, b = (torch.randn(shape, dtype=D) for shape in shapes)
    x, w = (a, b) if left else (b, a)
    map = MatrixProduct(left)
    r = torch.randn(3, *map(x, w).shape, dtype=D)
    wanted = torch.stack([torch.autograd.functional.vjp(lambda x: map(x, w), x, seed)[1] for seed in r])
    close(map.adjoint(r, w, x.shape), wanted)
    ones = torch.ones_like(w)
    close(map.spread(r, w, x.shape), map.adjoint(r, ones, x.shape))
    close(map.count(torch.ones_like(x), w), map(torch.ones_like(x), ones))


# what weighs, and what it is multiplied by
WEIGHED = {
    "scores by baddbmm": (
        lambda x: torch.baddbmm(torch.zeros(1, dtype=D), x, x.mT, beta=0).softmax(-1),
        lambda x, weights: weights @ x,
    ),
    "einsum of three": (
        lambda x: x.softmax(-1),
        lambda x, weights: torch.einsum("bij,bjk,k->bik", weights, x, torch.ones(4, dtype=D)),
    ),
    "einsum of a constant first": (
        lambda x: x.softmax(-1),
        lambda x, weights: torch.einsum("k,bij,bjk->bik", torch.ones(4, dtype=D), weights, x),
    ),
    "vectors": (lambda x: x[1].softmax(-1), lambda x, weights: torch.matmul(x[0, 0], weights)),
    "matrix and vector": (lambda x: x[0].softmax(-1), lambda x, weights: torch.mv(weights, x[1, 0])),
}

SIGNED = clip(2, 4, 4) + 0.25


@pytest.mark.parametrize("name", WEIGHED)
def test_what_a_softmax_weighs_takes_what_it_takes_from_a_constant(name):
    weighs, product = WEIGHED[name]
    constant = weighs(SIGNED)
    _, r, found = twin_relevance(Net(lambda x: product(x, weighs(x))), SIGNED)
    close(found, twin_relevance(Net(lambda x: product(x, constant)), SIGNED, r)[2])
    close(found.sum(), r.sum())


# functions that multiply and add, and the same written out
FUSED = {
    "baddbmm": (
        lambda x: torch.baddbmm(x, x.softmax(-1), x, alpha=0.5),
        lambda x: x + 0.5 * (x.softmax(-1) @ x),
    ),
    "addmm": (lambda x: torch.addmm(x[0], x[0].softmax(-1), x[1]), lambda x: x[0] + x[0].softmax(-1) @ x[1]),
    "einsum of one": (lambda x: torch.einsum("bij->bi", x), lambda x: x.sum(-1)),
    "einsum of a diagonal": (lambda x: torch.einsum("bii->bi", x), lambda x: x.diagonal(dim1=1, dim2=2)),
    "einsum of a trace": (lambda x: torch.einsum("bii->b", x), lambda x: x.diagonal(dim1=1, dim2=2).sum(-1)),
}


@pytest.mark.parametrize("name", FUSED)
def test_a_function_that_multiplies_and_adds_is_what_it_is_written_out(name):
    function, written_out = FUSED[name]
    _, r, found = twin_relevance(Net(function), SIGNED)
    close(found, twin_relevance(Net(written_out), SIGNED, r)[2])
    close(found.sum(), r.sum())


def test_two_features_that_are_compared_take_half_each():
    def compared(a, b):
        return torch.einsum("bij,bkj->bik", a, b)

    _, r, found = twin_relevance(Net(lambda x: compared(x, x.flip(1))), SIGNED)
    one, other = (
        twin_relevance(Net(function), SIGNED, r)[2]
        for function in (lambda x: compared(x, SIGNED.flip(1)), lambda x: compared(SIGNED, x.flip(1)))
    )
    close(found, (one + other) / 2)
