"""Windows along an axis are views, and nothing warns where several seeds go through them."""

import warnings

import pytest
import torch
from forwards import D, Net, X, close, twin_relevance
from torch import nn

import lrp3d

WINDOWS = {
    "overlapping": lambda x: x.unfold(2, 3, 1),
    "side by side": lambda x: x.unfold(3, 2, 2),
    "counted from the end": lambda x: x.transpose(1, 2).unfold(-1, 2, 1),
    "by name": lambda x: x.unfold(dimension=1, size=2, step=2),
}


@pytest.mark.parametrize("name", WINDOWS)
def test_a_window_hands_relevance_to_where_its_values_came_from(name):
    function = WINDOWS[name]
    _, r, found = twin_relevance(Net(function), X)
    x = X.clone().requires_grad_()
    close(found, torch.autograd.grad(function(x), x, r)[0])


@pytest.mark.parametrize("temporal", [True, False])
def test_a_temporal_matrix_through_windows_warns_of_nothing(temporal):
    def forward(net, x):
        return net.fc(net.conv(x).relu().unfold(2, 3, 1).mean((-1, 3, 4)).mean(2))

    torch.manual_seed(0)
    net = Net(forward, conv=nn.Conv3d(4, 6, 3, padding=1), fc=nn.Linear(6, 3)).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = lrp3d.explain(net, X + 0.25 * torch.ones((), dtype=D), 0, contrastive=False, temporal=temporal)
    assert found.conservation.max() < 1e-9
