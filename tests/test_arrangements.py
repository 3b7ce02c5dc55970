"""Numbers that broadcast are moved as full arrays are, whatever views, selections and concatenations do to them."""

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch.nn import functional as F

from lrp3d.motion.moved import _arranged, _by_adjoints, moved
from lrp3d.steps.graph import edge_of

OPERATIONS = {
    "merge axes": lambda x: x.flatten(0, 1),
    "merge all": lambda x: x.reshape(-1),
    "split an axis": lambda x: x.unflatten(0, (-1, 2)),
    "regroup": lambda x: x.reshape(2, -1),
    "transpose": lambda x: x.transpose(0, -1),
    "permute": lambda x: x.permute(*range(1, x.dim()), 0),
    "cut": lambda x: x[1:],
    "every second": lambda x: x[:, ::2],
    "the last": lambda x: x.narrow(0, len(x) - 1, 1),
    "select": lambda x: x[..., 0],
    "select from the end": lambda x: x[-1],
    "turn": lambda x: x.flip(0, -1),
    "roll": lambda x: x.roll((1, -1), (0, 1)),
    "concatenate": lambda x: torch.cat([x, x.flip(1)], 1),
    "concatenate alike": lambda x: torch.cat([x, x], 0),
    "concatenate with a constant": lambda x: torch.cat([x[:1], torch.ones_like(x), x], 0),
    "stack": lambda x: torch.stack([x, x.flip(0)], 1),
    "split": lambda x: x.split(2, 0)[-1],
    "split by sizes": lambda x: x.split([1, len(x) - 1], 0)[1],
    "unbind": lambda x: x.unbind(0)[-1],
    "copy": lambda x: x.clone(),
    "new axis": lambda x: x.unsqueeze(1),
    "new last axis": lambda x: x[..., None],
    "squeeze": lambda x: x.squeeze(),
    "expand": lambda x: x[:1].expand(3, *x.shape[1:]),
    "expand in front": lambda x: x.expand(2, *x.shape),
    "repeat": lambda x: x.repeat(2, *[1] * x.dim()),
    "repeat the last": lambda x: x.repeat(*[1] * (x.dim() - 1), 2),
    "pad": lambda x: F.pad(x, (1, 0, 0, 2)),
    "pad by less than nothing": lambda x: F.pad(x, (0, 0, 0, -1)),
    "pick": lambda x: x[[-1, 0]],
    "pick by numbers": lambda x: x.index_select(1, torch.tensor([0, 0])),
    "repeat entries": lambda x: x.repeat_interleave(2, 0),
    "windows": lambda x: x.unfold(0, 2, 1),
}


@given(
    st.lists(st.integers(1, 4), min_size=2, max_size=5),
    st.lists(st.sampled_from([*OPERATIONS]), min_size=1, max_size=5),
    st.randoms(use_true_random=False),
)
def test_small_arrays_are_moved_as_full_ones(shape, names, random):
    start = torch.zeros(shape, requires_grad=True) * 1
    x = start
    for name in names:
        try:
            x = OPERATIONS[name](x)
        except (RuntimeError, IndexError, ValueError):  # of too few axes or entries
            assume(False)
    assume(0 < x.numel() < 4000)
    assume(x is not start)
    numbers = torch.tensor([random.randrange(1, 50) for _ in range(start.numel())]).view(shape)
    for axis in range(len(shape)):
        if random.random() < 0.6:
            numbers = numbers.narrow(axis, 0, 1)
    edge, of_start = edge_of(x), {start.grad_fn: numbers}
    quick = _arranged(edge, of_start)
    if quick is None:
        assert {"concatenate with a constant", "windows"} & {*names}
    found = moved(edge, of_start)
    assert found.dim() == x.dim()
    assert torch.equal(found.expand(x.shape), _by_adjoints(edge, of_start))


@pytest.mark.parametrize("name", OPERATIONS)
def test_each_operation_takes_small_arrays(name):
    start = torch.zeros(4, 3, 2, requires_grad=True) * 1
    edge, numbers = edge_of(OPERATIONS[name](start)), torch.arange(1, 5).view(4, 1, 1)
    found = moved(edge, {start.grad_fn: numbers})
    full = _by_adjoints(edge, {start.grad_fn: numbers})
    assert torch.equal(found.expand(full.shape), full)
    assert (_arranged(edge, {start.grad_fn: numbers}) is None) == (name == "windows")
