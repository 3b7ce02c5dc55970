"""Trainers wrap what they save: it is found, and what was decided is said."""

import pytest
import torch
from lrp3d.models import load_checkpoint
from torch import nn

from lrp3d import models


def tam():
    return models.tam_resnet(18, 3, 4, width=2)


def own():
    return nn.Sequential(nn.Conv3d(3, 2, 1), nn.Linear(2, 1))


def under(prefix, state):
    return {prefix + name: value for name, value in state.items()}


@pytest.fixture(params=[tam, own])
def pair(request):
    """A model, and the weights that it shall have."""
    return request.param(), request.param().state_dict()


def loaded(model, state, expected):
    report = load_checkpoint(model, state)
    assert all(torch.equal(expected[name], value) for name, value in model.state_dict().items())
    return report.notes


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module."])
@pytest.mark.parametrize("wrapper", [None, "state_dict", "model_state", "model"])
def test_the_usual_wrappers_are_not_worth_a_word(pair, prefix, wrapper):
    model, state = pair
    wrapped = under(prefix, state)
    assert loaded(model, {wrapper: wrapped, "epoch": 3} if wrapper else wrapped, state) == ()


@pytest.mark.parametrize("prefix", ["model.", "net.", "backbone.", "model.module."])
def test_lightnings_network_is_found_and_what_is_beside_it_is_named(pair, prefix):
    model, state = pair
    stored = {"state_dict": {**under(prefix, state), "loss.weight": torch.ones(3)}, "pytorch-lightning_version": "2"}
    notes = loaded(model, stored, state)
    assert any("1 tensor beside the model is left out: loss.weight" in note for note in notes)
    assert any(f"'state_dict' / '{prefix}'" in note for note in notes)


@pytest.mark.parametrize("average", ["model_ema", "ema", "state_dict_ema", "ema_model"])
@pytest.mark.parametrize("first", [True, False])
def test_of_weights_and_their_average_the_weights_are_taken_and_that_is_said(pair, average, first):
    model, state = pair
    other = {name: value + 1 for name, value in state.items()}
    parts = [("state_dict", state), (average, other)]
    notes = loaded(model, dict(parts if first else parts[::-1]), state)
    assert notes == (f"the checkpoint holds 2 sets of weights that fit: 'state_dict' is taken, not '{average}'",)
    flat = {**under("ema.", other), **under("model.", state)}
    assert "'model.' is taken, not 'ema.'" in loaded(model, {"state_dict": flat}, state)[0].replace(
        "'state_dict' / ", ""
    )
    assert "averaged weights" in loaded(model, {average: state}, state)[0]


def test_models_in_wrappers_take_plain_weights(pair):
    model, state = pair
    loaded(model, state, state)
    load_checkpoint(nn.DataParallel(model), {name: value + 1 for name, value in state.items()})
    assert all(torch.equal(state[name] + 1, value) for name, value in model.state_dict().items())


def test_what_was_said_stays_with_a_converted_file(tmp_path):
    state = tam().state_dict()
    torch.save({"state_dict": state, "model_ema": state}, tmp_path / "in.pth")
    model = models.convert_checkpoint(tmp_path / "in.pth", tmp_path / "out.safetensors", "TAM2D-R18-f4", width=2)
    assert "'state_dict' is taken, not 'model_ema'" in model.notes[0]
    assert models.load_model(tmp_path / "out.safetensors").notes == model.notes
