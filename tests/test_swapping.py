"""A forward may do with its modules what it likes: their classes and references are those of the model."""

import dataclasses
import functools
import gc
import pickle
import tempfile
import weakref
from abc import ABC
from collections import deque
from pathlib import Path
from typing import Generic, TypeVar

import pytest
import torch
from plain_nets import CLIP, Net, Tripled, same
from torch import nn

import lrp3d

T = TypeVar("T")


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
