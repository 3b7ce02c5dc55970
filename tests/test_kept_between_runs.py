"""What a model keeps from before is a constant, and what a run leaves in a twin is put back."""

import functools
import warnings

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from plain_nets import CLIP, Net, same
from torch import nn

import lrp3d


class Counts(Net):
    def __init__(self):
        super().__init__()
        self.runs, self.cache, self.seen = 0, None, np.zeros(())
        self.bytes, self.objects = bytearray(1), np.array([self.relu, CLIP], dtype=object)
        self.register_buffer("total", torch.zeros(()))

    def change(self, x):
        self.runs += 1
        self.total += 1
        self.seen += 1
        self.bytes.append(1)
        self.objects[1] = x
        if self.cache is None:
            self.cache = x.mean((2, 3, 4), keepdim=True)
        return (x - self.cache) * self.runs * self.total * self.seen.item() * len(self.bytes)


def test_every_clip_of_a_twin_is_explained_as_its_first():
    model = Counts().eval()
    twin = lrp3d.convert(model)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        first, second, third = (lrp3d.explain(twin, CLIP, 1, contrastive=False) for _ in range(3))
        twin(CLIP)
        fourth = lrp3d.explain(twin, CLIP, 1, contrastive=False)
    for other in (second, third, fourth):
        assert other.logits.equal(first.logits)
        assert other.relevance.equal(first.relevance)
    assert (model.runs, model.cache, model.seen.item(), float(model.total)) == (0, None, 0.0, 0.0)


class Merged(Net):
    """Keeps a weight that was computed with gradients, as merged adapters are."""

    def __init__(self, keep=lambda w: w):
        super().__init__()
        self.merged = keep(self.second.weight + 0.0)

    def forward(self, x):
        x = self.relu(self.first(x))
        return self.fc(self.relu(x - F.conv3d(x, self.merged, padding=1)).mean((2, 3, 4)))


class MergedOnce(Merged):
    """The same, computed when it is first asked for."""

    def __init__(self):
        super().__init__()
        del self.merged

    @functools.cached_property
    def merged(self):
        return self.second.weight + 0.0


@pytest.mark.parametrize("net", [Merged, MergedOnce])
def test_weights_that_were_computed_before_are_constants(net):
    model = net().eval()
    model(CLIP)
    same(model, Merged(torch.detach))
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_cache_outside_of_the_model_holds_constants_too():
    model = Net()
    nn.utils.parametrizations.weight_norm(model.second)
    expected = lrp3d.explain(model.eval(), CLIP, 1)
    with nn.utils.parametrize.cached():
        model(CLIP)
        torch.testing.assert_close(lrp3d.explain(model, CLIP, 1).relevance, expected.relevance)
    assert all(parameter.grad is None for parameter in model.parameters())


class Positioned(Net):
    """Adds a view of a parameter, made when the model was."""

    def __init__(self):
        super().__init__()
        self.position = nn.Parameter(torch.randn(1, 4, 6, 1, 1))
        self.view = self.position.flatten(3).unsqueeze(-1)

    def change(self, x):
        return x + self.view


def test_relevance_never_gets_into_the_gradients_of_a_model():
    model = Positioned().eval()
    found = lrp3d.explain(model, CLIP, 1, contrastive=False)
    assert model.position.grad is None
    assert found.conservation.abs().max() < 1e-5
    model.view = model.view.detach()
    torch.testing.assert_close(lrp3d.explain(model, CLIP, 1, contrastive=False).relevance, found.relevance)
