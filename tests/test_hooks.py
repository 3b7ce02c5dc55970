"""Hooks are bound to the copies of what they hold of the model; what lies outside of it is the user's."""

import functools

import numpy as np
import pytest
import torch
from plain_nets import CLIP, Net, Tripled

import lrp3d


class Manager:
    """Holds its hooks, which hold it, and perhaps the model."""

    def __init__(self, model=None):
        self.runs, self.seen, self.me, self.model = 0, np.zeros(1), self, model
        self.hooks = [functools.partial(Manager.note, self)]

    def note(self, module, args, output):
        self.runs += 1
        self.seen += 1


def test_hooks_write_outside_of_the_model_whatever_refers_to_what():
    model, outside = Net().eval(), Manager()
    model.relu.register_forward_hook(outside.hooks[0])
    lrp3d.explain(model, CLIP, 1)
    assert outside.runs == outside.seen.item() > 0
    model, inside = Net().eval(), Manager()
    inside.model = model
    model.relu.register_forward_hook(inside.hooks[0])
    lrp3d.explain(model, CLIP, 1)
    assert inside.runs == 0, "it leads to the model, which keeps what it has"


class Recorder:
    def __init__(self, kept):
        self.kept = kept

    def __call__(self, module, args, output):
        self.kept["x"] = output

    def put(self, module, args, output):
        self.kept["x"] = output


def put(kept, module, args, output):
    kept["x"] = output


HOOKS = {
    "closure": lambda kept: lambda module, args, output: kept.__setitem__("x", output),
    "partial": lambda kept: functools.partial(put, kept),
    "object": Recorder,
    "method": lambda kept: Recorder(kept).put,
}


class ReadsWhatAHookKept(Net):
    def __init__(self, hook):
        super().__init__()
        self.kept = {}
        self.relu.register_forward_hook(HOOKS[hook](self.kept))

    def forward(self, x):
        self.relu(self.first(x))
        return self.fc(self.relu(self.second(self.kept["x"] * 3.0)).mean((2, 3, 4)))


@pytest.mark.parametrize("has_run", [True, False])
@pytest.mark.parametrize("hook", HOOKS)
def test_what_hooks_keep_is_of_the_clip_that_is_explained(hook, has_run):
    model = ReadsWhatAHookKept(hook).eval()
    if has_run:
        model(CLIP + 1)
    kept = model.kept.get("x")
    found = lrp3d.explain(model, CLIP, 1)
    assert model.kept.get("x") is kept, "the model keeps what it kept"
    expected = lrp3d.explain(Tripled().eval(), CLIP, 1)
    torch.testing.assert_close(found.relevance, expected.relevance)
    torch.testing.assert_close(found.matrix, expected.matrix)


def test_a_hook_that_removes_itself_stays_in_the_model():
    model = Net().eval()
    calls = []

    def once(module, args, output):
        calls.append(1)
        handle.remove()

    handle = model.relu.register_forward_hook(once)
    lrp3d.explain(model, CLIP, 1)
    assert len(model.relu._forward_hooks) == 1
    assert calls, "what lies outside of the model is the user's, as a list in which a hook notes something"
