"""Training mode is refused where it changes the output, and is no obstacle where it does not."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from small_models import CLIP, Parts, small

import lrp3d


def test_training_mode_is_refused_by_name():
    model = small()
    model[1].train()
    with pytest.raises(ValueError, match=r"training mode \(1\).*eval\(\)"):
        lrp3d.explain(model, CLIP)
    assert model[1].training


class Wrapper(nn.Module):
    """Without parameters, and in training mode."""

    def __init__(self, model, change=lambda self, x: x):
        super().__init__()
        self.model, self.change = model, change

    def forward(self, x):
        return self.change(self, self.model(x))


def _in_a_list():
    model = Parts()
    model.pools = [nn.MaxPool3d((1, 2, 2))]  # `eval()` does not reach it
    model.function = lambda x: model.pools[0](torch.relu(x))
    return model.eval()


def _pool_left_in_training():
    model = small()
    model[3].train()
    return model


def _still_dropout():
    model = small()
    model[6] = nn.Dropout(0.0)
    return model


HARMLESS = {
    "a pool in a list": _in_a_list,
    "a pool": _pool_left_in_training,
    "dropout that drops nothing": _still_dropout,
    "a wrapper": lambda: Wrapper(small()),
    "a container": lambda: nn.Sequential(small()),
    "a wrapper that asks, and does the same": lambda: Wrapper(small(), lambda self, x: x if self.training else x * 1),
}


@pytest.mark.parametrize("name", HARMLESS)
def test_training_mode_that_changes_nothing_is_no_obstacle(name):
    model = HARMLESS[name]()
    before, random = [module.training for module in model.modules()], torch.get_rng_state()
    found = lrp3d.explain(model, CLIP)
    assert [module.training for module in model.modules()] == before
    assert torch.equal(torch.get_rng_state(), random)
    assert torch.equal(found.relevance, lrp3d.explain(model.eval(), CLIP).relevance)
    assert lrp3d.intervention_matrix(model, CLIP).shape[0] == 2


def _dropout_drops():
    model = small()
    model[6].train()
    return model


GUILTY = {
    "dropout": (_dropout_drops, r"\(6\)"),
    "a head that asks": (
        lambda: Wrapper(small(), lambda self, x: x if self.training else x.softmax(1)),
        "model itself",
    ),
    "a wrapper that drops": (
        lambda: Wrapper(small(), lambda self, x: F.dropout(x, 0.5, self.training)),
        "model itself",
    ),
}


@pytest.mark.parametrize("name", GUILTY)
@pytest.mark.parametrize("use", [lrp3d.explain, lrp3d.inspect, lrp3d.intervention_matrix])
def test_training_mode_that_changes_the_output_is_refused(name, use):
    make, named = GUILTY[name]
    with pytest.raises(ValueError, match=rf"training mode.*{named}.*eval\(\)"):
        use(make(), CLIP)


def test_layers_in_training_mode_that_are_never_run_are_no_obstacle():
    model = small()
    model[0].unused = nn.BatchNorm3d(4).train()
    assert torch.equal(lrp3d.explain(model, CLIP).relevance, lrp3d.explain(small(), CLIP).relevance)
    assert model[0].unused.training
