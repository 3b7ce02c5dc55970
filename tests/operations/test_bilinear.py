"""Bilinear layers: fully connected layers of all products of a value of one signal and a value of the other."""

import pytest
import torch
from forwards import D, Net, X, close, twin_relevance
from torch import nn

OTHERS = {"a signal": lambda x: x.flip(2), "itself": lambda x: x, "a gate": lambda x: x.sigmoid(), "a constant": None}


@pytest.mark.parametrize("other", OTHERS)
def test_a_bilinear_layer_has_the_relevance_of_one_of_all_products(other):
    torch.manual_seed(0)
    layer, of = nn.Bilinear(4, 4, 3, dtype=D), OTHERS[other] or (lambda x: X.flip(3))

    def written_out(x):
        pairs = (x.unsqueeze(-1) * of(x).unsqueeze(-2)).flatten(-2)
        return nn.functional.linear(pairs, layer.weight.flatten(1), layer.bias)

    output, r, found = twin_relevance(Net(lambda self, x: self.layer(x, of(x)), layer=layer), X)
    close(output, layer(X, of(X)))
    close(found, twin_relevance(Net(lambda self, x: written_out(x), layer=layer), X, r)[2])
    close(found.sum(), r.sum())
