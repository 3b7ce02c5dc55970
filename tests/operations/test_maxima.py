"""Maxima and choices hand relevance to what won."""

import einops
import pytest
import reference
import torch
import torch.nn.functional as F
from forwards import D, Net, X, close, relevance, twin_relevance

MAXIMA = {
    "amax": (lambda x: x.amax((3, 4)), [4, 4]),
    "amax keepdim": (lambda x: torch.amax(x, (3, 4), keepdim=True), [4, 4]),
    "max over an axis": (lambda x: x.max(4)[0].max(3)[0], None),
    "torch.max values": (lambda x: torch.max(x, dim=4).values, None),
    "max keepdim": (lambda x: torch.max(x, 4, keepdim=True)[0], None),
    "adaptive": (lambda x: F.adaptive_max_pool3d(x, (4, 1, 1)), [4, 4]),
    "reduce": (lambda x: einops.reduce(x, "b c t h w -> b c t", "max"), [4, 4]),
}


@pytest.mark.parametrize("name", MAXIMA)
def test_maxima_over_axes_share_among_ties(name):
    function, over = MAXIMA[name]
    _, r, found = twin_relevance(Net(function), X)
    if over:
        windows = [[[i] for i in range(4)], [list(range(4))], [list(range(4))]]
        close(found, reference.max_relevance(X, r.reshape(2, 4, 4, 1, 1), windows))
    else:
        close(found.sum(), r.sum())
        assert bool((found[X.amax(4, keepdim=True) > X] == 0).all())


def test_the_maximum_of_everything():
    x = torch.tensor([[1.0, 5, 5, 2]], dtype=D)
    close(relevance(lambda x: x.max(), x, torch.tensor(4.0, dtype=D)), x.new_tensor([[0.0, 2, 2, 0]]))


def test_a_choice_between_the_signal_and_a_constant_is_an_activation():
    mask = X > 0
    for function in (
        lambda x: torch.where(x > 0, x, 0.0),
        lambda x: torch.where(x > 0, x, torch.zeros_like(x)),
        lambda x: x.where(x > 0, torch.zeros((), dtype=D)),
        lambda x: x.masked_fill(x <= 0, 0.0),
        lambda x: torch.masked_fill(x, ~mask, -1.0),
        lambda x: x.clone().masked_fill_(~mask, 0.0),
    ):
        _, r, found = twin_relevance(Net(function), X)
        close(found, r)


def test_a_choice_between_two_signals_gives_each_what_it_gave():
    mask = torch.arange(4) % 2 == 0
    _, r, found = twin_relevance(Net(lambda x: torch.where(mask, x[:, :2], x[:, 2:])), X)
    close(found, torch.cat([r * mask, r * ~mask], 1))
