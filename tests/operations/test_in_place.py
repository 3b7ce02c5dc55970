"""In-place variants are their plain forms; writes into slices are followed or refused."""

import pytest
import torch
import torch.nn.functional as F
from forwards import SHARING, D, Net, X, close, twin_relevance
from torch import nn

import lrp3d


def _relu_nobody_takes(x):
    y = x * 1.0
    F.relu(y, inplace=True)
    return y


def _relu_method(x):
    y = x * 1.0
    y.relu_()
    return y


def _torch_relu_(x):
    y = x * 1.0
    torch.relu_(y)
    return y + 0.0


def _pre_activation(x):
    y = x * 1.0
    identity = y
    y = F.relu(y, inplace=True)
    return 2.0 * y + identity


def _multiplied(x):
    y = x.clone()
    y *= 3.0
    y.mul_(2).div_(6)
    return F.relu_(y)


def _clamped(x):
    y = x.clone()
    y.clamp_(min=0)
    return y


def _copied(x):
    y = torch.empty_like(x)
    y.copy_(x)
    return y.relu()


def _zeroed(x):
    y = x.clone()
    y[:, :2].zero_()
    return y


INPLACE = {
    "F.relu(inplace) nobody takes": (_relu_nobody_takes, F.relu),
    "relu_": (_relu_method, F.relu),
    "torch.relu_": (_torch_relu_, F.relu),
    "pre-activation residual": (_pre_activation, lambda x: 2.0 * F.relu(x) + F.relu(x)),
    "*=, mul_, div_": (_multiplied, F.relu),
    "clamp_": (_clamped, F.relu),
    "copy_": (_copied, F.relu),
}


@pytest.mark.parametrize("name", INPLACE)
def test_in_place_variants_are_their_plain_forms(name):
    changed, plain = INPLACE[name]
    stem = nn.Conv3d(4, 3, 1, dtype=D)
    _, r, wanted = twin_relevance(Net(lambda self, x: plain(self.stem(x)), stem=stem), X)
    _, _, found = twin_relevance(Net(lambda self, x: changed(self.stem(x)), stem=stem), X, r)
    close(found, wanted)


def test_an_in_place_layer_whose_input_is_read_again_changed_it():
    """The pre-activation residual as modules: `identity` is the activated value."""
    model = Net(lambda self, x: _residual(self, x), stem=nn.Conv3d(4, 4, 1), relu=nn.ReLU(inplace=True))
    plain = Net(lambda self, x: 2.0 * (y := F.relu(self.stem(x))) + y, stem=model.stem)
    _, r, wanted = twin_relevance(plain, X)
    close(twin_relevance(model, X, r)[2], wanted)


def _residual(self, x):
    identity = y = self.stem(x)
    return 2.0 * self.relu(y) + identity


def _shift(x):
    out = torch.zeros_like(x)
    out[:, :1, :-1] = x[:, :1, 1:]
    out[:, 1:2, 1:] = x[:, 1:2, :-1]
    out[:, 2:] = x[:, 2:]
    return out


def _shift_without_writes(x):
    pad = torch.nn.functional.pad
    left, right = pad(x[:, :1, 1:], (0, 0, 0, 0, 0, 1)), pad(x[:, 1:2, :-1], (0, 0, 0, 0, 1, 0))
    return torch.cat([left, right, x[:, 2:]], 1)


def test_the_temporal_shift_written_into_slices():
    conv = nn.Conv3d(4, 3, 3, padding=1, dtype=D)
    output, r, wanted = twin_relevance(Net(lambda self, x: self.conv(_shift_without_writes(x)), conv=conv), X)
    again, _, found = twin_relevance(Net(lambda self, x: self.conv(_shift(x)), conv=conv), X, r)
    close(again, output)
    close(found, wanted)
    close(found.sum(), r.sum())


WRITES = {
    "slice of itself": (
        lambda x: _written(x, (slice(None), 0), x[:, 1]),
        lambda x: torch.cat([x[:, 1:2], x[:, 1:]], 1),
    ),
    "constant": (
        lambda x: _written(x, (slice(None), 0), 0.0),
        lambda x: torch.cat([x[:, :1] * 0.0, x[:, 1:]], 1),
    ),
    "index tensor": (
        lambda x: _written(x, (slice(None), torch.tensor([0, 2])), x[:, [1, 3]]),
        lambda x: x[:, [1, 1, 3, 3]],
    ),
    "mask": (lambda x: _written(x, torch.ones(2, dtype=torch.bool), x.flip(1)), lambda x: x.flip(1)),
    "broadcast": (lambda x: _written(x, (slice(None), slice(0, 3)), x[:, 3:]), lambda x: x[:, [3, 3, 3, 3]]),
    "ellipsis": (lambda x: _written(x, ..., x.roll(1, 2)), lambda x: x.roll(1, 2)),
}


def _written(x, index, value):
    y = x.clone()
    y[index] = value
    return y


@pytest.mark.parametrize("name", [name for name in WRITES if name != "constant"])
def test_writes_into_slices_hand_relevance_to_what_was_written(name):
    written, plain = WRITES[name]
    _, r, wanted = twin_relevance(Net(plain), X)
    close(twin_relevance(Net(written), X, r)[2], wanted)


def test_a_zero_written_over_the_signal_is_no_input():
    conv = nn.Conv3d(4, 2, 3, padding=1, dtype=D)
    zeroed = Net(lambda self, x: self.conv(WRITES["constant"][0](x)), conv=conv)
    _, r, found = twin_relevance(zeroed, X)
    assert float(found[:, 0].abs().max()) == 0
    close(found.sum(), r.sum())


@pytest.mark.parametrize("write", [lambda y: y[:, :2].zero_(), lambda y: y[:, 0].mul_(2), lambda y: y.view(-1).relu_()])
def test_a_write_through_a_view_is_followed_or_refused(write):
    def forward(self, x):
        y = self.stem(x)
        write(y)
        return y.relu()

    model = Net(forward, stem=nn.Conv3d(4, 4, 1)).eval()
    x = X.clone().requires_grad_()
    wanted = model(X.clone())
    record = lrp3d.convert(model, SHARING).record((x,))
    if record.problems:
        assert "in-place" in record.problems[0]
    else:
        close(record.output, wanted)


def test_no_constant_of_the_model_is_overwritten():
    class Buffered(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("buffer", torch.zeros(2, 4, 4, 4, 4, dtype=D))
            self.scale = nn.Parameter(torch.ones((), dtype=D))

        def forward(self, x):
            buffer = self.buffer
            buffer += 1
            buffer[:, :1] = x[:, :1]
            return buffer * self.scale

    model = Buffered().eval()
    x = X.clone().requires_grad_()
    output = lrp3d.convert(model, SHARING)(x)
    assert torch.equal(model.buffer, torch.zeros_like(model.buffer))
    close(output[:, :1], X[:, :1])
    close(output[:, 1:], torch.ones(2, 3, 4, 4, 4, dtype=D))
    with pytest.raises(RuntimeError):
        torch.autograd.grad(model.scale, x)
