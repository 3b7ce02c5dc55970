"""A forward that fails is the model's failure, whatever it raises: the error says so, on which shape and how."""

import pytest
import torch
from plain_nets import CLIP, Net

import lrp3d


def unpacks(x):
    one, _ = [x]
    return one


def asserts(x):
    raise AssertionError


def raises(error, said):
    # Made anew each time: an error that is kept would keep its traceback, and with it the steps of its run.
    def change(x):
        raise error(said)

    return change


FAILURES = {
    r"ValueError: not enough values to unpack \(expected 2, got 1\)": unpacks,
    r"AssertionError: at test_failing_forwards\.py, line \d+": asserts,
    "KeyError: 'rgb'": raises(KeyError, "rgb"),
    "AttributeError: no such thing": raises(AttributeError, "no such thing"),
    "ZeroDivisionError: by zero": raises(ZeroDivisionError, "by zero"),
    "FileNotFoundError: w.pt": raises(FileNotFoundError, "w.pt"),
    "shapes do not fit": raises(RuntimeError, "shapes do not fit"),
}


@pytest.mark.parametrize("said", FAILURES)
@pytest.mark.parametrize("call", [lrp3d.explain, lambda model, clip, _: lrp3d.convert(model).run(clip)])
def test_what_a_forward_raises_is_told_as_the_models_failure(said, call):
    model = Net().eval()
    model.change = FAILURES[said]
    with pytest.raises(lrp3d.ModelError, match=rf"^the model could not run on an input of shape \([\d, ]+\): {said}"):
        call(model, CLIP, 1)


def test_what_lrp3d_itself_says_of_a_forward_stays_as_it_is():
    model = Net().eval()
    model.change = lambda x: x.logcumsumexp(1)
    with pytest.raises(lrp3d.UnsupportedOperation):
        lrp3d.explain(model, CLIP, 1)
    built = lrp3d.models.build("TAM2D-R18-f8", num_classes=2, width=4).eval()
    with pytest.raises(ValueError, match=r"^TAM2D-R18-f8 was built for 8 frames, got a clip of 4"):
        lrp3d.explain(built, torch.rand(1, 3, 4, 32, 32), 1)
