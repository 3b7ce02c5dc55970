"""The norm of a twin is the norm of its model: of vectors, and of matrices where it is Frobenius'."""

import pytest
import torch
from forwards import D, Net, X, close, twin_relevance

import lrp3d

INF = float("inf")
FORMS = {
    **{f"linalg.norm, dim={dim}": lambda x, dim=dim: torch.linalg.norm(x, dim=dim) for dim in (2, -1, (-2, -1), (1,))},
    "linalg.norm": torch.linalg.norm,
    "linalg.norm, of a matrix": lambda x: torch.linalg.norm(x.flatten(1)),
    **{
        f"linalg.norm, ord={p}, dim={dim}": lambda x, p=p, dim=dim: torch.linalg.norm(x, p, dim)
        for p in (None, 1, 2, 3.0, INF, -INF, 0.5)
        for dim in (1, -1, (3,))
    },
    "linalg.norm, fro, dim=(3, 4)": lambda x: torch.linalg.norm(x, "fro", (3, 4)),
    "linalg.norm, fro, of a matrix": lambda x: torch.linalg.norm(x.flatten(1), "fro", keepdim=True),
    "linalg.norm, ord=1, of a vector": lambda x: torch.linalg.norm(x.flatten(), 1),
    "linalg.norm, keepdim": lambda x: torch.linalg.norm(x, dim=(1, 3), keepdim=True),
    **{
        f"linalg.vector_norm, ord={p}, dim={dim}": lambda x, p=p, dim=dim: torch.linalg.vector_norm(x, p, dim)
        for p in (1, 2, 3, INF, -INF)
        for dim in (None, 2, (3, 4), (1, 2, 3))
    },
    "linalg.matrix_norm": torch.linalg.matrix_norm,
    "linalg.matrix_norm, fro": lambda x: torch.linalg.matrix_norm(x, "fro", (1, 2), True),
    "linalg.matrix_norm, by name": lambda x: torch.linalg.matrix_norm(x, ord="fro", dim=(-1, 2)),
    **{
        f"{name}, p={p}, dim={dim}": lambda x, f=f, p=p, dim=dim: f(x, p, dim)
        for name, f in {"torch.norm": torch.norm, "x.norm": torch.Tensor.norm}.items()
        for p in ("fro", None, 1, 2, 3.0, INF, -INF)
        for dim in (None, 2, (3, 4))
    },
    "torch.norm, p=2, of three axes": lambda x: torch.norm(x, 2, (2, 3, 4)),
    "torch.norm, in double": lambda x: torch.norm(x, 2, 1, dtype=D),
}


@pytest.mark.parametrize("name", FORMS)
def test_the_norm_of_a_twin_is_that_of_its_model_and_shares_all_of_the_relevance(name):
    output, r, found = twin_relevance(Net(FORMS[name]), X)
    assert output.shape == FORMS[name](X).shape
    close(found.sum(), r.sum())


@pytest.mark.parametrize("p", [0, 0.5, 1, 2, 3.0, INF, -INF])
def test_a_norm_is_shared_by_what_each_value_adds_to_it(p):
    x = torch.tensor([[2.0, 0.0, -1.0, 0.5]], dtype=D)
    adds = {0: [1.0, 0, 1, 1], INF: [1.0, 0, 0, 0], -INF: [0.0, 1, 0, 0]}.get(p) or [abs(v) ** p for v in x[0].tolist()]
    _, r, found = twin_relevance(Net(lambda x: torch.linalg.vector_norm(x, p, 1)), x)
    close(found, r[:, None] * torch.tensor([adds], dtype=D) / sum(adds))


def test_a_norm_of_a_negative_order_is_refused_as_one_zero_decides_it():
    with pytest.raises(lrp3d.UnsupportedOperation, match="has a rule for orders from 0 on and -inf"):
        twin_relevance(Net(lambda x: torch.linalg.vector_norm(x, -1, 2)), X)


OTHERS = {
    **{f"linalg.norm, ord={p}": lambda x, p=p: torch.linalg.norm(x, p, (3, 4)) for p in (1, -1, 2, -2, INF, -INF)},
    "linalg.norm, nuc": lambda x: torch.linalg.norm(x, "nuc", dim=(3, 4)),
    "linalg.norm, ord=1, of a matrix": lambda x: torch.linalg.norm(x.flatten(1), 1),
    "linalg.norm, by name": lambda x: torch.linalg.norm(x, ord=2, dim=(-2, -1)),
    **{f"linalg.matrix_norm, ord={p}": lambda x, p=p: torch.linalg.matrix_norm(x, p) for p in (1, 2, -INF, "nuc")},
    "torch.norm, nuc": lambda x: torch.norm(x, "nuc", (3, 4)),
    "x.norm, nuc": lambda x: x.norm("nuc", dim=(3, 4)),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_norms_of_matrices_are_refused_by_name(name):
    with pytest.raises(lrp3d.UnsupportedOperation, match=r"norm\): is a norm of matrices other than Frobenius'"):
        twin_relevance(Net(OTHERS[name]), X)
