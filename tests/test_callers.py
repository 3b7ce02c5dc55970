"""A warning points at the user's own line, through however many functions of lrp3d it comes."""

import contextlib

import pytest
import torch
from torch import nn

import lrp3d

FRAMES_FIRST = torch.rand(2, 8, 3, 6, 6, generator=torch.Generator().manual_seed(0))
"""Clips (b, t, c, h, w), which the layout bcthw takes for three frames of eight channels."""


class Net(nn.Module):
    def __init__(self, axis=2):
        super().__init__()
        self.axis = axis
        self.conv = nn.Conv3d(8, 4, 1) if axis == 2 else nn.Conv3d(3, 4, 1)
        self.fc = nn.Linear(4, 3)

    def forward(self, x):
        x = x if self.axis == 2 else x.transpose(1, 2)
        return self.fc(torch.relu(self.conv(x)).mean((2, 3, 4)))


class Own(Net):
    """Has a parameter that nothing draws anew."""

    def __init__(self):
        super().__init__(axis=1)
        self.scale = nn.Parameter(torch.ones(3))

    def forward(self, x):
        return super().forward(x) * self.scale


@contextlib.contextmanager
def a_block():
    yield


def explain():
    lrp3d.explain(Net().eval(), FRAMES_FIRST, temporal=False)


def prototypes():
    lrp3d.prototypes(Net().eval(), FRAMES_FIRST, "conv", 0)


def check():
    lrp3d.check(Net(axis=1).eval(), FRAMES_FIRST.transpose(1, 2), layout="btchw", shapley_values=False)


def check_without_random_networks():
    lrp3d.check(Own().eval(), FRAMES_FIRST.transpose(1, 2), layout="btchw", methods="LRP", shapley_values=False)


@a_block()
def explain_inside_a_decorated_function():
    with a_block(), torch.no_grad():
        explain()


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (explain, "what may be no frames"),
        (prototypes, "what may be no frames"),
        (check, "gradient x input is left out"),
        (check_without_random_networks, "'random parameters' is left out"),
        (explain_inside_a_decorated_function, "what may be no frames"),
    ],
)
def test_a_warning_points_at_the_users_own_line(call, sentence):
    with pytest.warns(UserWarning, match=sentence) as caught:
        call()
    assert {warning.filename for warning in caught if sentence in str(warning.message)} == {__file__}


def test_decorators_of_our_own_functions_are_no_callers(tmp_path):
    """`read_list` puts its errors on one line by a decorator, whose frame lies between it and its caller."""
    from lrp3d import callers

    space = {"__name__": "lrp3d.anything", "warn": callers.warn, "decorated": a_block()}
    exec("@decorated\ndef ours():\n    warn('a sentence')", space)  # a function as if it were one of the package
    with pytest.warns(UserWarning, match="a sentence") as caught:
        space["ours"]()
    assert caught[0].filename == __file__
