"""Operations and layers that users register are met."""

import pytest
import torch
from forwards import X, close, twin_relevance
from torch import nn

import lrp3d


def test_a_registered_operation_and_layer_are_met():
    class Scaled(nn.Module):
        def forward(self, x):
            return torch.special.bessel_j0(x)

    with pytest.raises(lrp3d.UnsupportedOperation):
        twin_relevance(Scaled(), X)

    @lrp3d.register_operation(torch.special.bessel_j0)
    def bessel(x):
        return lrp3d.operations.passes(torch.special.bessel_j0, x)

    try:
        _, r, found = twin_relevance(Scaled(), X)
        close(found, r)
    finally:
        del lrp3d.registry.OPERATIONS[torch.special.bessel_j0]


@pytest.mark.parametrize("bad", [3, nn.Linear(1, 1), torch.relu])
def test_a_refused_layer_leaves_all_others_as_they_were(bad):
    before = dict(lrp3d.registry.LAYERS)
    with pytest.raises(TypeError):
        lrp3d.register_layer([nn.ReLU, bad], lambda layer, x: x)
    assert before == lrp3d.registry.LAYERS


@pytest.mark.parametrize("bad", [3, "relu"])
def test_a_refused_operation_leaves_all_others_as_they_were(bad):
    before = dict(lrp3d.registry.OPERATIONS)
    with pytest.raises(TypeError):
        lrp3d.register_operation([torch.relu, bad], lambda x: x)
    assert before == lrp3d.registry.OPERATIONS
