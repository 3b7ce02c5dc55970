"""Inner and outer products under every name that torch has for them, and the complement of the error function."""

import pytest
import torch
from forwards import Net, X, clip, close, twin_relevance

W = clip(4, 4)
SPELLINGS = {
    "inner with a constant": (lambda x: torch.inner(x, W), lambda x: x @ W.T),
    "inner of a constant": (lambda x: torch.inner(W, x).movedim(0, -1), lambda x: x @ W.T),
    "inner of two signals": (lambda x: torch.inner(x[0], x[1]), lambda x: torch.tensordot(x[0], x[1], ([3], [3]))),
    "dot": (lambda x: torch.dot(x.flatten()[:4], W[0]), lambda x: x.flatten()[:4] @ W[0]),
    "vecdot with a constant": (lambda x: torch.linalg.vecdot(x, W[0]), lambda x: (x * W[0]).sum(-1)),
    "vecdot of two signals": (
        lambda x: torch.linalg.vecdot(x, x.flip(2), dim=1),
        lambda x: (x * x.flip(2)).sum(1),
    ),
    "outer": (
        lambda x: torch.outer(x[0, 0, 0, 0], x[1, 0, 0, 0]),
        lambda x: x[0, 0, 0, 0][:, None] * x[1, 0, 0, 0],
    ),
}


@pytest.mark.parametrize("name", SPELLINGS)
def test_a_product_has_the_relevance_of_the_same_sum_written_out(name):
    function, written_out = SPELLINGS[name]
    output, r, found = twin_relevance(Net(function), X)
    close(output, written_out(X))
    close(found, twin_relevance(Net(written_out), X, r)[2])


def test_erfc_passes_relevance_and_half_of_it_is_a_gate():
    _, r, found = twin_relevance(Net(torch.erfc), X)
    close(found, r)
    for gate in (lambda x: 0.5 * torch.erfc(-x), lambda x: torch.special.erfc(-x) / 2):
        _, r, found = twin_relevance(Net(lambda x, gate=gate: x.flip(2) * gate(x)), X)
        close(found, r.flip(2))
