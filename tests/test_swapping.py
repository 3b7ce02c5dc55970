"""A forward may do with its modules what it likes: their classes, hooks and references are those of the model."""

import dataclasses
import functools
import gc
import pickle
import tempfile
import warnings
import weakref
from abc import ABC
from collections import deque
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import lrp3d

T = TypeVar("T")
CLIP = torch.randn(2, 3, 6, 8, 8, generator=torch.Generator().manual_seed(0))


class Net(nn.Module):
    """Two convolutions and a classifier; what comes of the first one is `change`d."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Conv3d(3, 4, 3, padding=1), nn.Conv3d(4, 4, 3, padding=1)
        self.relu, self.fc = nn.ReLU(), nn.Linear(4, 5)

    def change(self, x):
        return x

    def forward(self, x):
        x = self.change(self.relu(self.first(x)))
        return self.fc(self.relu(self.second(x)).mean((2, 3, 4)))


class Tripled(Net):
    def change(self, x):
        return x * 3.0


def same(model, reference, **options):
    """Both models are explained alike, and as what the model itself returns."""
    found, expected = (lrp3d.explain(x.eval(), CLIP, 1, **options) for x in (model, reference))
    with torch.no_grad():
        torch.testing.assert_close(found.logits, model(CLIP))
    torch.testing.assert_close(found.relevance, expected.relevance)
    if expected.matrix is not None:
        torch.testing.assert_close(found.matrix, expected.matrix)


# ------------------------------------------------------------------------------------------------ classes


class AsksForItsClass(Net):
    def change(self, x):
        return x * 3.0 if type(self.relu) is nn.ReLU and self.relu.__class__ == nn.ReLU else x


class Slices(Net):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(self.first, self.relu, self.second, self.relu)

    def forward(self, x):
        return self.fc(self.body[2:](self.body[:2](x)).mean((2, 3, 4)))


class Abstract(ABC, Net):
    pass


class Typed(Generic[T], Net):
    pass


class WithSlots(Net):
    __slots__ = ("factor",)

    def __init__(self):
        super().__init__()
        self.factor = 3.0

    def change(self, x):
        return x * self.factor


class CallsTheClassAbove(Net):
    def forward(self, x):
        return super(type(self), self).forward(x)


class CallsItsBase(Net):
    def forward(self, x):
        return self.__class__.__bases__[0].forward(self, x)


class KeyedByModules(Net):
    def __init__(self):
        super().__init__()
        self.factors = {self.relu: 3.0}

    def change(self, x):
        return x * self.factors[self.relu]


class MakesAnother(Net):
    def change(self, x):
        return type(self.relu)()(x)


class ChildKnowsItsParent(Net):
    class Child(nn.Module):
        def __init__(self, parent):
            super().__init__()
            self.parent = weakref.ref(parent)

        def forward(self, x):
            self.parent().kept = x * 3.0
            return x

    def __init__(self):
        super().__init__()
        self.child = self.Child(self)

    def change(self, x):
        self.child(x)
        return self.kept


class DelegatesToACompiledOne(nn.Module):
    """Answers to any name with what the network inside of it has, as wrappers do."""

    def __init__(self):
        super().__init__()
        self.inner = torch.compile(Net().eval(), backend="eager")

    def __getattr__(self, name):
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("inner"), name)

    def change(self, x):
        return x

    def forward(self, x):
        return self.inner(x)


class WithAQueue(Net):
    """Keeps the last two numbers."""

    def __init__(self):
        super().__init__()
        self.queue = deque([1.0, 1.0], maxlen=2)

    def change(self, x):
        self.queue.extend([1.0, 2.0])
        return x * sum(self.queue)


class KeepsAHandle(Net):
    def __init__(self):
        super().__init__()
        self.handle = self.relu.register_forward_hook(lambda module, args, output: 7 * output)

    def forward(self, x):
        self.handle.remove()
        return super().forward(x * 1.0)


class Configured(dict):
    __getattr__ = dict.__getitem__


@dataclasses.dataclass(slots=True)
class Options:
    factor: float = 3.0


@dataclasses.dataclass
class MoreOptions(Options):
    other: int = 1


class Pair(tuple):
    def __new__(cls, first, second):
        return super().__new__(cls, (first, second))


class Held(Net):
    """Holds what a factor comes from in objects of all kinds."""

    def __init__(self, how):
        super().__init__()
        self.kept = []
        self.held = {
            "options that answer as attributes": lambda: Configured(factor=3.0),
            "options in slots": MoreOptions,
            "a weak reference": lambda: weakref.ref(OUTSIDE),
            "a proxy": lambda: weakref.proxy(OUTSIDE),
            "a tuple of its own kind": lambda: Pair(self.relu, 3.0),
            "a default": lambda: lambda x, layer=self.relu: layer(x) * 3.0,
            "a method of a list": lambda: self.kept.append,
        }[how]()
        passing = MoreOptions()
        self.gone = weakref.proxy(passing)
        self.how = how

    def change(self, x):
        if self.how == "a tuple of its own kind":
            return self.held[0](x) * self.held[1]
        if self.how == "a default":
            return self.held(x)
        if self.how == "a method of a list":
            self.held(x * 3.0)
            return self.kept.pop()
        return x * (self.held() if self.how == "a weak reference" else self.held).factor


OUTSIDE = MoreOptions()
HELD = [
    "options that answer as attributes",
    "options in slots",
    "a weak reference",
    "a proxy",
    "a tuple of its own kind",
    "a default",
    "a method of a list",
]


PLAIN = [DelegatesToACompiledOne, KeepsAHandle, Slices, Abstract, Typed, CallsTheClassAbove, CallsItsBase, MakesAnother]
TRIPLED = [WithAQueue, AsksForItsClass, WithSlots, KeyedByModules, ChildKnowsItsParent]
TRIPLED += [functools.partial(Held, how) for how in HELD]


@pytest.mark.parametrize(("net", "reference"), [(n, Net) for n in PLAIN] + [(n, Tripled) for n in TRIPLED])
def test_it_is_explained_as_the_same_network_written_plainly(net, reference):
    model = net()
    before = set(vars(model))
    lrp3d.explain(model.eval(), CLIP)
    assert set(vars(model)) == before
    same(model, reference())


@pytest.mark.parametrize("net", [AsksForItsClass, Slices, Typed, KeyedByModules])
def test_its_twin_travels(net):
    model = net().eval()
    again = pickle.loads(pickle.dumps(lrp3d.convert(model)))
    assert lrp3d.explain(again, CLIP, 1).matrix.equal(lrp3d.explain(model, CLIP, 1).matrix)


def test_classes_that_count_or_name_those_derived_from_them_are_not_derived_from():
    derived = []

    class Counts(Net):
        def __init_subclass__(cls, *, name, **options):
            super().__init_subclass__(**options)
            derived.append(name)

    class Mine(Counts, name="mine"):
        pass

    same(Mine(), Net())
    assert derived == ["mine"]


class Standardised(nn.Conv3d):
    def _conv_forward(self, x, weight, bias):
        return super()._conv_forward(x, weight - weight.mean((1, 2, 3, 4), keepdim=True), bias)


@pytest.mark.parametrize("how", ["class", "instance"])
def test_a_layer_that_changes_what_torchs_forward_calls_computes_what_it_says(how):
    model, reference = Net(), Net()
    weight = reference.second.weight.data
    weight -= weight.mean((1, 2, 3, 4), keepdim=True)
    if how == "class":
        changed = Standardised(4, 4, 3, padding=1)
        changed.load_state_dict(model.second.state_dict())
        model.second = changed
    else:
        own = model.second._conv_forward
        model.second._conv_forward = lambda x, w, b: own(x, w - w.mean((1, 2, 3, 4), keepdim=True), b)
    same(model, reference)


def test_modules_have_their_names_wherever_else_they_are_held():
    model = Net().eval()
    model.listed, model.factors = [model.first, model.second], {model.relu: 3.0, model.first: 1.0}
    found = lrp3d.explain(model, CLIP, 1, layers=["first", "second"])
    assert set(found.layers) == {"first", "second"}


def test_what_belongs_to_an_object_of_the_users_is_not_closed():
    model = Net().eval()
    with tempfile.NamedTemporaryFile("w") as file:
        model.log = file
        lrp3d.explain(model, CLIP, 1)
        gc.collect()
        assert not file.closed
        assert Path(file.name).exists()


# ------------------------------------------------------------------------------------------------ state


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


# -------------------------------------------------------------------------------------------------- hooks


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


# ---------------------------------------------------------------------------------- tensors with a history


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


# ----------------------------------------------------------------------------- ways around what is followed


CUTS = {
    "new_tensor": lambda x: x.new_tensor(x),
    "new_tensor of numbers": lambda x: x.new_tensor([x.mean()]) + x,
    "bits": lambda x: x.view(torch.int32).view(torch.float32),
    "data": lambda x: setattr(y := torch.empty(0), "data", x) or y,
}


@pytest.mark.filterwarnings("ignore:To copy construct")
@pytest.mark.parametrize("cut", CUTS)
def test_what_cuts_the_signal_off_is_refused(cut):
    model = Net().eval()
    model.change = CUTS[cut]
    with pytest.raises(lrp3d.UnsupportedOperation):
        lrp3d.explain(model, CLIP, 1)


def test_one_number_of_a_signal_fills_a_tensor():
    filled, plain = Net().eval(), Net().eval()
    filled.change = lambda x: torch.zeros_like(x).fill_(x.mean()) + x
    plain.change = lambda x: x.mean().expand(x.shape) + x
    found, expected = (lrp3d.explain(model, CLIP[:1], 1, temporal=False) for model in (filled, plain))
    torch.testing.assert_close(found.relevance, expected.relevance)
