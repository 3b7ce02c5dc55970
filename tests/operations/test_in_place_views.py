"""In-place operations through views: every view of a memory sees what was written through another."""

import pytest
import torch
from forwards import D, Net, X, close, everywhere, twin_relevance
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from torch import nn

import lrp3d
from lrp3d.rules import Epsilon

# What a forward does to a signal (2, 4, 4, 4, 4), and what it would do without in-place operations.
PAIRS = {
    "a slice += another signal": (
        lambda y, z: y.__setitem__((slice(None), slice(1, None)), y[:, 1:].__iadd__(z[:, 1:])) or y,
        lambda y, z: torch.cat([y[:, :1], y[:, 1:] + z[:, 1:]], 1),
    ),
    "a slice added to": (
        lambda y, z: (y[:, 1:].add_(z[:, 1:]), y)[1],
        lambda y, z: torch.cat([y[:, :1], y[:, 1:] + z[:, 1:]], 1),
    ),
    "every second": (
        lambda y, z: (y[:, :, ::2].mul_(z[:, :, 1::2].sigmoid()), y)[1],
        lambda y, z: torch.stack([y[:, :, ::2] * z[:, :, 1::2].sigmoid(), y[:, :, 1::2]], 3).flatten(2, 3),
    ),
    "transposed": (
        lambda y, z: (y.transpose(1, 2)[:, 1].relu_(), y)[1],
        lambda y, z: torch.cat([y[:, :, :1], y[:, :, 1:2].relu(), y[:, :, 2:]], 2),
    ),
    "flattened": (lambda y, z: (y.view(-1).relu_(), y)[1], lambda y, z: y.relu()),
    "a view of a view": (
        lambda y, z: (y[:, 1:][:, :, 2].zero_(), y)[1],
        lambda y, z: torch.cat(
            [y[:, :1], torch.cat([y[:, 1:, :2], torch.zeros_like(y[:, 1:, 2:3]), y[:, 1:, 3:]], 2)], 1
        ),
    ),
    "seen through an older view": (lambda y, z: (y[:, 1], y.relu_())[0], lambda y, z: y[:, 1].relu()),
    "seen through a younger view": (
        lambda y, z: (y.relu_(), y[:, 1], y.add_(z))[1],
        lambda y, z: (y.relu() + z)[:, 1],
    ),
    "written through a younger view, seen through an older one": (
        lambda y, z: (y[:, 1:3], y.relu_(), y[:, 2].add_(z[:, 0]))[0],
        lambda y, z: torch.stack([y[:, 1].relu(), y[:, 2].relu() + z[:, 0]], 1),
    ),
    "an in-place result is what it was made of": (
        lambda y, z: (w := y.relu_(), w[:, 0].add_(z[:, 1]), y)[2],
        lambda y, z: torch.cat([y[:, :1].relu() + z[:, 1:2], y[:, 1:].relu()], 1),
    ),
    "overlapping slices": (
        lambda y, z: (v := y[:, :3], y[:, 1:].add_(z[:, 1:]), v.add_(z[:, :3]), y)[3],
        lambda y, z: torch.cat([y[:, :1] + z[:, :1], y[:, 1:3] + z[:, 1:3] + z[:, 1:3], y[:, 3:] + z[:, 3:]], 1),
    ),
    "a part of a constant": (
        lambda y, z: (out := torch.zeros_like(y), out[:, 1].copy_(y[:, 2]), out)[2],
        lambda y, z: torch.cat([torch.zeros_like(y[:, :1]), y[:, 2:3], torch.zeros_like(y[:, 2:])], 1),
    ),
    "a part of a constant, after it was read": (
        lambda y, z: (out := torch.zeros_like(y), v := out[:, 1:], v[:, 0].copy_(y[:, 2]), out)[3] + out,
        lambda y, z: 2 * torch.cat([torch.zeros_like(y[:, :1]), y[:, 2:3], torch.zeros_like(y[:, 2:])], 1),
    ),
    "chunks": (
        lambda y, z: (parts := y.chunk(2, 1), parts[1].relu_(), y)[2],
        lambda y, z: torch.cat([y[:, :2], y[:, 2:].relu()], 1),
    ),
    "into out=": (
        lambda y, z: (torch.add(y[:, 1:], z[:, 1:], out=(w := torch.empty_like(y))[:, 1:]), w[:, 1:])[1],
        lambda y, z: y[:, 1:] + z[:, 1:],
    ),
}


@pytest.mark.parametrize("name", PAIRS)
def test_what_is_written_through_a_view_is_seen_through_all_others(name):
    changed, plain = PAIRS[name]
    layers = {name: nn.Conv3d(4, 4, 1).requires_grad_(False) for name in ("one", "two")}
    of = {
        kind: Net(lambda self, x, function=function: function(self.one(x), self.two(x)).flatten(1), **layers)
        for kind, function in (("plain", plain), ("changed", changed))
    }
    output, r, wanted = twin_relevance(of["plain"], X)
    again, _, found = twin_relevance(of["changed"], X, r)
    close(again, output)
    close(found, wanted)


@pytest.mark.parametrize("view", [lambda y: y.unfold(2, 2, 1), lambda y: y[:, :1].expand_as(y)])
def test_views_that_show_an_element_twice_are_refused_once_it_is_changed(view):
    stem = nn.Conv3d(4, 4, 1).requires_grad_(False)
    twin_relevance(Net(lambda self, x: (y := self.stem(x), view(y))[1], stem=stem), X)
    changed = Net(lambda self, x: (view(y := self.stem(x)), y.mul_(2.0))[0], stem=stem).eval()
    with pytest.raises(lrp3d.UnsupportedOperation, match="in-place"):
        lrp3d.convert(changed)(X.clone().requires_grad_())


VIEWS = {
    "rows": lambda x: x[1:],
    "row": lambda x: x[-1],
    "steps": lambda x: x[::2],
    "columns": lambda x: x[..., 1:],
    "column": lambda x: x[..., 0],
    "transposed": lambda x: x.transpose(0, -1),
    "flat": lambda x: x.flatten(),
    "unfolded": lambda x: x.unfold(0, 2, 2),
    "diagonal": lambda x: x.diagonal() if x.dim() > 1 else x,
    "widened": lambda x: x.unsqueeze(0),
    "a copy": lambda x: x * 1.0,
}
CHANGES = {
    "scaled": lambda x, y: x.mul_(-0.5),
    "added to": lambda x, y: x.add_(y.sum()),
    "added to itself": lambda x, y: x.add_(x),
    "written": lambda x, y: x.copy_(y.mean()),
    "zeroed": lambda x, y: x.zero_(),
    "set": lambda x, y: x.__setitem__(0, y.sum()),
    "sliced": lambda x, y: x.__setitem__(slice(1, None), x[1:].__iadd__(y.mean())),
}
PROGRAM = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(list(VIEWS)), st.integers(0, 9)),
        st.tuples(st.sampled_from(list(CHANGES)), st.integers(0, 9), st.integers(0, 9)),
    ),
    min_size=2,
    max_size=9,
)


def run(program, x):
    """All views that a program makes of 2 x and of zeros, after all that it did to them."""
    hold_constant = [x * 2.0, torch.zeros_like(x)]
    for name, *numbers in program:
        chosen = [hold_constant[number % len(hold_constant)] for number in numbers]
        if name in CHANGES:
            CHANGES[name](*chosen)
        elif chosen[0].dim() and all(size > 1 for size in chosen[0].shape):
            hold_constant.append(VIEWS[name](chosen[0]))
    return torch.cat([x.flatten() for x in [x, *hold_constant]])


@given(PROGRAM)
@example([("rows", 0), ("row", 0), ("row", 3), ("added to", 4, 0)])
@settings(max_examples=150, deadline=None)
def test_programs_of_views_and_in_place_operations_are_what_torch_makes_of_them(program):
    """All of it is linear, where relevance by LRP-0 is gradient times input: of torch's own in-place operations."""
    x = torch.randn(3, 4, generator=torch.Generator().manual_seed(7), dtype=D).requires_grad_()
    try:
        wanted = run(program, x)
    except RuntimeError as error:  # torch has no gradient where a view is older than the signal in its memory
        assume("a leaf Variable that requires grad" not in str(error))
        raise
    s = torch.randn(wanted.shape, generator=torch.Generator().manual_seed(8), dtype=D)
    (gradient,) = torch.autograd.grad(wanted, x, s, allow_unused=True)
    output = lrp3d.convert(Net(lambda x: run(program, x)), everywhere(Epsilon(0)))(x)
    close(output, wanted)
    close(torch.autograd.grad(output, x, wanted.detach() * s)[0], x * gradient)


CLIP = torch.randn(1, 3, 4, 6, 6, dtype=torch.double, generator=torch.Generator().manual_seed(0))

WRITES = {
    "mul_": lambda y: y[:, :2].mul_(0.5),
    "zero_": lambda y: y.diagonal(0, 3, 4).zero_(),
    "copy_": lambda y: y[:, 0].copy_(y[:, 1]),
    "relu_": lambda y: y.view(-1).relu_(),
    "add_": lambda y: y.transpose(1, 2)[:, 1:].add_(y.transpose(1, 2)[:, :-1] * 0.5),
}


@pytest.mark.parametrize("composite", ["paper", "epsilon", "alpha_beta", "attnlrp"])
@pytest.mark.parametrize("write", WRITES)
def test_a_write_through_a_view_belongs_to_no_layer_that_reads_it(write, composite):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two, self.fc = nn.Conv3d(3, 6, 3, padding=1), nn.Conv3d(6, 6, 3, padding=1), nn.Linear(6, 5)

        def forward(self, x):
            y = self.one(x).relu()
            WRITES[write](y)
            return self.fc(self.two(y).relu().mean((3, 4)).mean(2))

    net = Net().double().eval()
    (row,) = [row for row in lrp3d.inspect(net, CLIP, composite=composite) if row.operation == "overwrite"]
    assert row.name == "overwrite"
    assert lrp3d.explain(net, CLIP, 0, composite=composite, contrastive=False).matrix.isfinite().all()
