"""Of values in their order the winner of each place takes all, and equal values share equally."""

import pytest
import torch
from forwards import D, Net, X, close, twin_relevance
from torch import nn

import lrp3d

NO_TIES = torch.randn(2, 4, 5, 3, 3, dtype=D, generator=torch.Generator().manual_seed(0))


def _largest_so_far(x, axis, largest=torch.amax):
    return torch.stack([largest(x.narrow(axis, 0, i + 1), axis) for i in range(x.shape[axis])], axis)


# what is called, and the same in functions that choose by other means
SAME = {
    "sort": (lambda x: x.sort(2)[0], lambda x: x.topk(x.shape[2], 2, largest=False)[0]),
    "descending": (
        lambda x: torch.sort(x, dim=1, descending=True).values,
        lambda x: x.topk(x.shape[1], 1)[0],
    ),
    "stable": (lambda x: torch.sort(x, stable=True, dim=2)[0], lambda x: x.topk(x.shape[2], 2, largest=False)[0]),
    "last axis": (lambda x: x.sort().values, lambda x: x.topk(x.shape[-1], largest=False)[0]),
    "msort": (lambda x: torch.msort(x), lambda x: x.topk(x.shape[0], 0, largest=False)[0]),
    "largest of the sorted": (lambda x: x.sort(2)[0][:, :, -1], lambda x: x.amax(2)),
    "kthvalue": (lambda x: x.kthvalue(2, 2)[0], lambda x: x.sort(2)[0][:, :, 1]),
    "kthvalue keepdim": (lambda x: torch.kthvalue(x, 1, 2, keepdim=True)[0], lambda x: x.amin(2, keepdim=True)),
    "median": (lambda x: x.median(3)[0], lambda x: x.kthvalue((x.shape[3] + 1) // 2, 3)[0]),
    "median keepdim": (lambda x: torch.median(x, 3, True).values, lambda x: x.nanmedian(3, keepdim=True)[0]),
    "median of everything": (lambda x: x.median(), lambda x: x.flatten().kthvalue((x.numel() + 1) // 2)[0]),
    "cummax": (lambda x: x.cummax(2)[0], lambda x: _largest_so_far(x, 2)),
    "cummax of the last axis": (lambda x: torch.cummax(x, -1).values, lambda x: _largest_so_far(x, 4)),
    "cummin": (lambda x: torch.cummin(x, dim=2)[0], lambda x: _largest_so_far(x, 2, torch.amin)),
}


@pytest.mark.parametrize("x", [X, NO_TIES], ids=["ties", "no ties"])
@pytest.mark.parametrize("name", SAME)
def test_an_order_has_the_relevance_of_what_else_would_choose_the_same(name, x):
    called, otherwise = SAME[name]
    _, r, found = twin_relevance(Net(called), x)
    close(found, twin_relevance(Net(otherwise), x, r)[2])
    close(found.sum(), r.sum())


def test_of_nothing_and_of_a_single_number_there_is_an_order_too():
    _, _, found = twin_relevance(Net(lambda x: torch.cat([x, x[:, :, :0].sort(2)[0]], 2)), X)
    assert found.shape == X.shape
    for order in (lambda x: x.topk(1)[0], lambda x: x.sort()[0]):
        _, r, found = twin_relevance(Net(lambda x, order=order: order(x.sum())), X)
        close(found.sum(), r)


def test_sorted_values_without_ties_are_only_moved():
    _, r, found = twin_relevance(Net(lambda x: x.sort(2)[0]), NO_TIES)
    close(found, twin_relevance(Net(lambda x: x.gather(2, x.argsort(2))), NO_TIES, r)[2])


def test_the_most_frequent_value_shares_among_those_that_have_it():
    x = torch.tensor([[1.0, 3, 3, 2], [4, 4, 4, 0]], dtype=D)
    _, r, found = twin_relevance(Net(lambda x: x.mode(1)[0]), x)
    close(found, r[:, None] * torch.tensor([[0, 0.5, 0.5, 0], [1 / 3, 1 / 3, 1 / 3, 0]], dtype=D))


@pytest.mark.parametrize("order", [lambda x: x.sort(1)[0], lambda x: x.cummax(1)[0], lambda x: x.topk(6, 1)[0]])
def test_a_constant_that_ties_with_an_input_gets_nothing(order):
    def padded(x):
        return order(torch.cat([torch.zeros(2, 2, dtype=D), x.relu()], 1))

    x = torch.tensor([[0.0, 1, 2, 0], [1, 1, 0, 3]], dtype=D)
    output, _, _ = twin_relevance(Net(padded), x)
    r = (output > 0).to(D)
    _, r, found = twin_relevance(Net(padded), x, r)
    close(found.sum(), r.sum())
    assert not found[x == 0].any()


def test_values_that_are_none_are_left_out_of_a_median():
    def with_none(x):
        return torch.where(torch.arange(5) < 2, torch.nan, x).nanmedian(1)[0]

    x = torch.randn(3, 5, dtype=D, generator=torch.Generator().manual_seed(0))
    _, r, found = twin_relevance(Net(with_none), x)
    close(found, twin_relevance(Net(lambda x: x[:, 2:].median(1)[0]), x, r)[2])


@pytest.mark.parametrize(
    "pool",
    [
        lambda x: x.sort(2, descending=True)[0][:, :, :2],
        lambda x: x.cummax(2)[0],
        lambda x: x.median(2, keepdim=True)[0],
    ],
    ids=["sort", "cummax", "median"],
)
def test_a_network_that_orders_its_frames_is_explained(pool):
    torch.manual_seed(0)
    layers = {"conv": nn.Conv3d(4, 6, 3, padding=1), "fc": nn.Linear(6, 3)}
    net = Net(lambda self, x: self.fc(pool(self.conv(x).relu().mean((3, 4))).mean(2)), **layers).eval()
    found = lrp3d.explain(net, NO_TIES, 0, contrastive=False, temporal=False)
    assert found.conservation.max() < 1e-9


@pytest.mark.parametrize("order", [lambda x: x.topk(1, 1)[0], lambda x: x.sort(1, descending=True)[0][:, :1]])
def test_a_constant_that_is_as_large_as_the_largest_input_gets_nothing(order):
    x = torch.tensor([[3.0, 1, 2, 3], [0, 1, 3, 2]], dtype=D)
    _, r, found = twin_relevance(Net(lambda x: order(torch.cat([x.new_full((2, 2), 3.0), x], 1))), x)
    close(found, r * torch.tensor([[0.5, 0, 0, 0.5], [0, 0, 1, 0]], dtype=D))
