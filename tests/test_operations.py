"""Functions in a user's forward mean what the layers mean; constants get nothing, and nothing is silent."""

import einops
import pytest
import reference
import torch
import torch.nn.functional as F
from torch import nn

import lrp3d
from lrp3d.rules import Epsilon, Flat, ZPlus

D = torch.float64
TYPES = (*lrp3d.composites.CONVOLUTIONS, *lrp3d.composites.AVERAGES, nn.Linear)
SHARING = lrp3d.Composite(layers=dict.fromkeys(TYPES, ZPlus()))


class Net(nn.Module):
    """A forward written as a function."""

    def __init__(self, function, **modules):
        super().__init__()
        self.function = function
        for name, module in modules.items():
            setattr(self, name, module.to(D))

    def forward(self, x):
        return self.function(self, x) if self._modules else self.function(x)


def twin_relevance(model, x, r=None, composite=SHARING):
    """The twin's output, the relevance that came in (drawn, if none is given), and the relevance of x."""
    wanted = model.eval()(x.clone()).detach()
    clip = x.clone().requires_grad_()
    output = lrp3d.convert(model, composite)(clip)
    torch.testing.assert_close(output.detach(), wanted, rtol=1e-12, atol=1e-12)
    if r is None:
        r = torch.randn(output.shape, generator=torch.Generator().manual_seed(3), dtype=output.dtype)
    return output.detach(), r, torch.autograd.grad(output, clip, r)[0]


def relevance(function, x, r=None, composite=SHARING):
    return twin_relevance(Net(function), x, r, composite)[2]


def close(found, wanted, tolerance=1e-9):
    torch.testing.assert_close(found, wanted, rtol=tolerance, atol=tolerance)


def clip(*shape):
    """Signed, with zeros and ties."""
    return torch.randint(-3, 4, shape, generator=torch.Generator().manual_seed(1)).to(D) / 2


X = clip(2, 4, 4, 4, 4)

# ----------------------------------------------------------------------- functions and their layers

W3, W3T, B = clip(3, 4, 2, 2, 2) / 3, clip(4, 3, 2, 2, 2) / 3, torch.tensor([0.1, -0.2, 0.3], dtype=D)


def with_weights(layer, weight, bias):
    layer.weight.data, layer.bias.data = weight, bias
    return layer


CONV = with_weights(nn.Conv3d(4, 3, 2, 2, 1, dtype=D), W3, B)
SAME = with_weights(nn.Conv3d(4, 3, 2, padding="same", dtype=D), W3, B)
TRANSPOSED = with_weights(nn.ConvTranspose3d(4, 3, 2, 2, dtype=D), W3T, B)
LINEAR = with_weights(nn.Linear(4, 3, dtype=D), W3[:, :, 0, 0, 0], B)
NORM = nn.BatchNorm3d(4, dtype=D).eval()
NORM.running_mean.data, NORM.running_var.data = torch.arange(4.0, dtype=D), torch.arange(1.0, 5.0, dtype=D)
NORM.weight.data = torch.tensor([1.0, -2.0, 0.5, 3.0], dtype=D)
STATE = (NORM.running_mean, NORM.running_var, NORM.weight, NORM.bias)

TWINS = {
    "conv3d": (CONV, lambda x: F.conv3d(x, W3, B, 2, 1)),
    "conv3d by name": (
        CONV,
        lambda x: F.conv3d(input=x, weight=W3, bias=B, stride=(2, 2, 2), padding=(1, 1, 1)),
    ),
    "convolution": (
        CONV,
        lambda x: torch.convolution(x, W3, B, [2] * 3, [1] * 3, [1] * 3, False, [0] * 3, 1),
    ),
    "same padding": (SAME, lambda x: F.conv3d(x, W3, B, padding="same")),
    "conv_transpose3d": (TRANSPOSED, lambda x: F.conv_transpose3d(x, W3T, B, 2)),
    "linear": (LINEAR, lambda x: F.linear(x, W3[:, :, 0, 0, 0], B)),
    "linear as matmul": (LINEAR, lambda x: x @ W3[:, :, 0, 0, 0].T + B),
    "linear as einsum": (LINEAR, lambda x: torch.einsum("bcthw,kw->bcthk", x, W3[:, :, 0, 0, 0]) + B),
    "batch_norm": (NORM, lambda x: F.batch_norm(x, *STATE)),
    "torch.batch_norm": (
        NORM,
        lambda x: torch.batch_norm(x, STATE[2], STATE[3], *STATE[:2], False, 0.1, 1e-5, True),
    ),
    "max_pool3d": (nn.MaxPool3d(3, 2, 1), lambda x: F.max_pool3d(x, 3, 2, 1)),
    "torch.max_pool3d": (nn.MaxPool3d(3, 2, 1), lambda x: torch.max_pool3d(x, 3, 2, 1)),
    "max_pool3d with indices": (nn.MaxPool3d(2), lambda x: F.max_pool3d(x, 2, return_indices=True)[0]),
    "avg_pool3d": (nn.AvgPool3d(2, 1, 1), lambda x: F.avg_pool3d(x, 2, 1, 1)),
    "adaptive_avg_pool3d": (nn.AdaptiveAvgPool3d(3), lambda x: F.adaptive_avg_pool3d(x, 3)),
    "adaptive_max_pool3d": (nn.AdaptiveMaxPool3d(3), lambda x: F.adaptive_max_pool3d(x, 3)),
    "interpolate": (nn.Upsample(scale_factor=2), lambda x: F.interpolate(x, scale_factor=2)),
    "trilinear": (
        nn.Upsample(size=(5, 6, 7), mode="trilinear"),
        lambda x: F.interpolate(x, (5, 6, 7), mode="trilinear"),
    ),
    "relu": (nn.ReLU(), F.relu),
    "torch.relu": (nn.ReLU(), torch.relu),
    "x.relu()": (nn.ReLU(), lambda x: x.relu()),
    "clamp": (nn.ReLU(), lambda x: x.clamp(min=0)),
    "clamp_min": (nn.ReLU(), lambda x: x.clamp_min(0)),
    "relu6": (nn.ReLU6(), F.relu6),
    "hardtanh": (nn.Hardtanh(), F.hardtanh),
    "leaky_relu": (nn.LeakyReLU(0.2), lambda x: F.leaky_relu(x, 0.2)),
    "silu": (nn.SiLU(), F.silu),
    "gelu": (nn.GELU(), F.gelu),
    "hardswish": (nn.Hardswish(), F.hardswish),
    "sigmoid": (nn.Sigmoid(), torch.sigmoid),
    "x.sigmoid()": (nn.Sigmoid(), lambda x: x.sigmoid()),
    "tanh": (nn.Tanh(), torch.tanh),
    "softplus": (nn.Softplus(), F.softplus),
    "elu": (nn.ELU(), F.elu),
    "mish": (nn.Mish(), F.mish),
    "dropout": (nn.Dropout(0.3), lambda x: F.dropout(x, 0.3, training=False)),
    "flatten": (nn.Flatten(), lambda x: x.flatten(1)),
    "torch.flatten": (nn.Flatten(2), lambda x: torch.flatten(x, 2)),
    "view": (nn.Flatten(), lambda x: x.view(x.size(0), -1)),
    "reshape": (nn.Flatten(), lambda x: torch.reshape(x, (len(x), -1))),
    "rearrange": (nn.Flatten(), lambda x: einops.rearrange(x, "b c t h w -> b (c t h w)")),
}


@pytest.mark.parametrize("name", TWINS)
def test_a_function_means_what_its_layer_means(name):
    layer, function = TWINS[name]
    output, r, wanted = twin_relevance(layer, X)
    again, _, found = twin_relevance(Net(function), X, r)
    close(again, output, 1e-12)
    close(found, wanted)


@pytest.mark.parametrize("name", ["conv3d", "linear", "avg_pool3d", "interpolate"])
def test_a_rule_for_a_layer_type_meets_its_function_too(name):
    layer, function = TWINS[name]
    composite = lrp3d.Composite(layers={type(layer): Flat()})
    _, r, wanted = twin_relevance(layer, X, None, composite)
    close(relevance(function, X, r, composite), wanted)


# ------------------------------------------------------------------------------------------- sums

A, C = clip(2, 3, 4), clip(2, 3, 4).flip(0)
SUMS = {
    "+": lambda a, b: a + b,
    "torch.add": torch.add,
    "add": lambda a, b: a.add(b),
    "add_": lambda a, b: a.clone().add_(b),
    "operator +=": lambda a, b: _plus_equals(a.clone(), b),
    "out=": lambda a, b: torch.add(a, b, out=torch.empty_like(a)),
    "stack and sum": lambda a, b: torch.stack([a, b]).sum(0),
    "- and negated": lambda a, b: a - (-b),
    "rsub": lambda a, b: torch.rsub(-a, b),
    "alpha": lambda a, b: torch.add(a, 0.5 * b, alpha=2),
}


def _plus_equals(a, b):
    a += b
    return a


@pytest.mark.parametrize("name", SUMS)
def test_a_sum_is_shared_by_the_positive_parts_of_its_summands(name):
    function = SUMS[name]
    both = torch.cat([A, C], 1)
    r = torch.rand(2, 3, 4, dtype=D)
    wanted = torch.cat(reference.sum_relevance([A, C], r), 1)
    close(
        relevance(lambda x: function(*x.chunk(2, 1)), both, r, everywhere(ZPlus())),
        wanted,
    )


SUMMING = (torch.add, torch.sub, torch.rsub, torch.sum, torch.mean)


def everywhere(rule):
    return lrp3d.Composite(layers={nn.Module: rule}, operations=dict.fromkeys(SUMMING, rule))


def test_a_sum_takes_the_epsilon_rule_where_asked_for():
    both, r = torch.cat([A, C], 1), torch.rand(2, 3, 4, dtype=D)
    found = relevance(lambda x: x[:, :3] + x[:, 3:], both, r, everywhere(Epsilon(1e-9)))
    z = A + C
    stable = torch.where(z == 0, 1.0, z + torch.where(z < 0, -1e-9, 1e-9))
    parts = [torch.where(z == 0, 0.5, part / stable) * r for part in (A, C)]
    close(found, torch.cat(parts, 1))


def test_a_broadcast_summand_gets_the_sum_of_its_shares():
    x, r = clip(2, 4, 5), torch.rand(2, 4, 5, dtype=D)
    summands = [x, x.mean(2, keepdim=True)]
    found = relevance(lambda x: x + x.mean(2, keepdim=True), x, r, everywhere(ZPlus()))
    direct, pooled = reference.sum_relevance(summands, r)
    close(found, direct + reference.average_relevance(lambda x: x.mean(2, keepdim=True), x, pooled))


@pytest.mark.parametrize("constant", [1.5, torch.tensor([[[1.0], [-1], [0]]], dtype=D), torch.ones(2, 3, 4, dtype=D)])
def test_relevance_never_lands_on_a_constant_summand(constant):
    r = torch.randn(2, 3, 4, dtype=D)
    sums = [lambda x: x + constant, lambda x: constant + x, lambda x: x - constant, lambda x: constant - x]
    for function in sums:
        close(relevance(function, A, r), r)
        close(relevance(function, A, r, "paper"), r)


REDUCTIONS = {
    "sum": lambda x: x.sum(1),
    "sum keepdim": lambda x: torch.sum(x, dim=(1, 2), keepdim=True),
    "sum everything": lambda x: x.flatten(1).sum(1, True),
    "mean": lambda x: x.mean(-1),
    "mean of axes": lambda x: x.mean((1, 3)),
    "mean keepdim": lambda x: torch.mean(x, [2, 3], keepdim=True),
    "reduce": lambda x: einops.reduce(x, "b c t h -> b t", "mean"),
    "adaptive": lambda x: F.adaptive_avg_pool2d(x, 1),
}


@pytest.mark.parametrize("name", REDUCTIONS)
def test_sums_and_means_share_by_positive_parts(name):
    function, x = REDUCTIONS[name], clip(2, 3, 4, 2)
    x[0, 0] = 0
    _, r, found = twin_relevance(Net(function), x, None, everywhere(ZPlus()))
    close(found, reference.average_relevance(function, x, r))


def test_a_sum_over_everything():
    x = clip(2, 3, 4).abs()
    found = relevance(lambda x: x.sum(), x, torch.tensor(6.0, dtype=D), everywhere(ZPlus()))
    close(found, 6 * x / x.sum())


LIKE = {
    "type_as": lambda x: torch.ones(4).type_as(x),
    "to": lambda x: torch.ones(4).to(x),
    "expand_as": lambda x: torch.ones((), dtype=D).expand_as(x),
    "view_as": lambda x: torch.ones(2, 16, 16, dtype=D).view_as(x),
    "parameter": lambda x: nn.Parameter(torch.ones(4)).to(x),
    "new_ones": lambda x: x.new_ones(4),
    "zeros_like": lambda x: torch.zeros_like(x) + 1,
    "full": lambda x: x.new_full(x.shape, 1.0),
    "buffer": lambda x: torch.arange(4).to(x.dtype),
}


@pytest.mark.parametrize("name", LIKE)
def test_a_constant_made_like_the_signal_is_a_constant(name):
    _, r, found = twin_relevance(Net(lambda x: x + LIKE[name](x)), X)
    close(found, r)


def test_subtraction_and_shifts_are_no_trouble_for_a_preset():
    for preset in lrp3d.composites.PRESETS:
        model = Net(lambda self, x: self.head((x[:, 1:] - x[:, :-1] + 1.0).relu().flatten(1)), head=nn.Linear(192, 2))
        found = twin_relevance(model, X, None, preset)[2]
        assert bool(found.isfinite().all())


def test_a_constant_behind_the_classifier_takes_no_relevance():
    weight = torch.rand(4, 3, dtype=D)
    for function in (lambda x: x @ weight + torch.tensor([5.0, -9, 2], dtype=D), lambda x: x @ weight - 3.0):
        _, r, found = twin_relevance(Net(function), clip(2, 4), None, "paper")
        close(found.sum(), r.sum())


def test_the_clip_may_be_a_summand():
    conv = nn.Conv3d(4, 4, 1)
    for function in (lambda self, x: x + self.conv(x), lambda self, x: self.conv(x).relu() + x):
        model = Net(
            lambda self, x, function=function: self.head(function(self, x).flatten(1)),
            conv=conv,
            head=nn.Linear(256, 2),
        )
        _, r, found = twin_relevance(model, X, None, "paper")
        close(found.sum(), r.sum())


def test_without_a_classifier_nothing_lies_behind_one():
    x = torch.tensor([[1.0, -1.0 + 1e-9, 3.0]], dtype=D)
    close(
        relevance(lambda x: x[:, :2].sum(1, True), x, torch.ones(1, 1, dtype=D), "paper"),
        x.new_tensor([[1.0, 0, 0]]),
    )


# ----------------------------------------------------------------- rearrangements, constants among them

VIEWS = {
    "chunk and swap": lambda x: torch.cat(x.chunk(2, 1)[::-1], 1),
    "split": lambda x: torch.cat([part * 2.0 for part in x.split([1, 3], 1)], 1),
    "torch.split": lambda x: torch.split(x, 2, 2)[1],
    "unbind and stack": lambda x: torch.stack(x.unbind(2), 2),
    "roll": lambda x: x.roll(1, 2),
    "torch.roll": lambda x: torch.roll(x, (1, -1), (2, 3)),
    "index_select": lambda x: x.index_select(2, torch.tensor([3, 0, 0])),
    "flip": lambda x: x.flip(2, 4),
    "strided": lambda x: x[:, :, ::2],
    "indexed": lambda x: x[:, [0, 2, 2]],
    "ellipsis and None": lambda x: x[..., None, -1],
    "narrow": lambda x: x.narrow(2, 1, 2),
    "select": lambda x: x.select(2, 1),
    "transpose": lambda x: x.transpose(1, 2).contiguous().view(x.shape[0], -1),
    "permute": lambda x: x.permute(0, 2, 3, 4, 1),
    "movedim": lambda x: x.movedim(1, -1),
    "swapaxes": lambda x: x.swapaxes(1, 2),
    "squeeze": lambda x: x.unsqueeze(1).squeeze(1).unsqueeze(-1),
    "expand": lambda x: x[:, :, :1].expand(-1, -1, 4, -1, -1),
    "repeat": lambda x: x.repeat(1, 1, 2, 1, 1),
    "repeat_interleave": lambda x: x.repeat_interleave(2, 2),
    "tile": lambda x: x.tile(2, 1, 1),
    "rearrange": lambda x: einops.rearrange(x, "b c (n t) h w -> (b n) c t h w", n=2),
    "einops repeat": lambda x: einops.repeat(x, "b c t h w -> b c (t r) h w", r=2),
    "clone": lambda x: x.clone().contiguous(),
    "unfold": lambda x: x.unfold(2, 2, 1),
    "rot90": lambda x: x.rot90(1, (3, 4)),
    "channel shuffle": lambda x: x.view(2, 2, 2, 4, 4, 4).transpose(1, 2).reshape(x.shape),
    "gather": lambda x: x.gather(2, torch.zeros(2, 4, 2, 4, 4, dtype=torch.long)),
    "take_along_dim": lambda x: torch.take_along_dim(x, torch.ones(1, 1, 2, 1, 1, dtype=torch.long), 2),
    "diagonal": lambda x: x.diagonal(0, 3, 4),
    "tensor_split": lambda x: x.tensor_split(3, 2)[0],
    "vsplit": lambda x: torch.hsplit(x, 2)[1],
    "atleast": lambda x: torch.atleast_3d(x),
    "reshape_as": lambda x: x.reshape_as(torch.empty(2, 16, 16)),
    "mT": lambda x: x.mT,
    "cast there and back": lambda x: x.to(torch.float32).double() * 1.0,
    "type_as": lambda x: x.type_as(torch.empty(1)).to(D),
    "where": lambda x: torch.where(torch.arange(4) < 2, x, x.flip(1)),
}  # fmt: skip


@pytest.mark.parametrize("name", VIEWS)
def test_rearrangements_hand_relevance_to_where_the_values_came_from(name):
    function = VIEWS[name]
    _, r, found = twin_relevance(Net(function), X)
    marks = torch.arange(1.0, X.numel() + 1, dtype=D).reshape(X.shape)
    came_from = function(marks).flatten().double().round().long()
    if name == "split":
        came_from = came_from // 2
    wanted = torch.zeros(X.numel() + 1, dtype=D).index_add_(0, came_from, r.flatten().double())[1:]
    close(found, wanted.reshape(X.shape), 1e-6 if name in ("cast there and back", "type_as") else 1e-12)


CONSTANT = torch.full((2, 4, 4, 4, 4), 2.0, dtype=D)
BESIDE = {
    "cat": lambda x: torch.cat([x, CONSTANT], 1),
    "cat before": lambda x: torch.cat([CONSTANT, x], 1),
    "pad": lambda x: F.pad(x, (0, 0, 0, 0, 0, 0, 0, 4), value=2.0),
    "setitem": lambda x: _write(CONSTANT.repeat(1, 2, 1, 1, 1), x),
}


def _write(into, x):
    into[:, :4] = x
    return into


@pytest.mark.parametrize("name", BESIDE)
@pytest.mark.parametrize("positive", [True, False])
def test_relevance_never_lands_on_constants_beside_the_signal(name, positive):
    """The layer above sees the constants as what they are: no inputs."""
    torch.manual_seed(0)
    beside, signal = BESIDE[name], X if positive else X * 0
    model = Net(lambda self, x: self.above(beside(x)), above=nn.Conv3d(8, 2, 3, padding=1))
    _, r, found = twin_relevance(model, signal)
    close(found.sum(), r.sum())
    columns = slice(4, 8) if name == "cat before" else slice(0, 4)
    only = nn.Conv3d(4, 2, 3, padding=1, dtype=D)
    only.weight.data = model.above.weight.data[:, columns]
    close(found, reference.layer_relevance(only, signal, r, reference.zplus))


PADDED = [(1, 0), (2, 0), (1, 1)]


@pytest.mark.parametrize(("before", "inside"), PADDED)
@pytest.mark.parametrize("zero", [False, True])
@pytest.mark.parametrize("composite", [SHARING, "paper"], ids=["zplus", "paper"])
def test_padding_before_a_convolution_is_padding_in_it(before, inside, zero, composite):
    torch.manual_seed(0)
    conv = nn.Conv3d(4, 2, 3, padding=before + inside, dtype=D)
    outside = nn.Conv3d(4, 2, 3, padding=inside, dtype=D)
    outside.load_state_dict(conv.state_dict())
    x = X.clone()
    x[:, :, :, :2] *= not zero
    _, r, wanted = twin_relevance(conv, x, None, composite)
    padded = Net(lambda self, x: self.conv(F.pad(x, [before] * 6)), conv=outside)
    close(twin_relevance(padded, x, r, composite)[2], wanted)


def test_padding_before_pools_is_no_input():
    x = -torch.rand(1, 1, 4, dtype=D) - 1
    # zeros win everywhere at the border, and yet the relevance stays with the clip
    found = relevance(lambda x: F.max_pool1d(F.pad(x, (1, 1)), 3, 1), x, torch.ones(1, 1, 4, dtype=D))
    close(found.sum(), torch.tensor(4.0, dtype=D))
    found = relevance(lambda x: F.avg_pool1d(F.pad(x, (1, 1)), 3, 3), x, torch.ones(1, 1, 2, dtype=D))
    close(found, torch.full((1, 1, 4), 0.5, dtype=D))


# ------------------------------------------------------------------------------------- in-place variants


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


# --------------------------------------------------------------------------------- gates and products

GATES = {
    "x * sigmoid(x)": lambda x: x * torch.sigmoid(x),
    "sigmoid(x) * x": lambda x: torch.sigmoid(x) * x,
    "x * x.sigmoid()": lambda x: x * x.sigmoid(),
    "x.mul(hardsigmoid)": lambda x: x.mul(F.hardsigmoid(x)),
    "hand-written hard-swish": lambda x: x * F.relu6(x + 3) / 6,
    "hard-swish, gate first": lambda x: F.relu6(x + 3.0) / 6.0 * x,
    "hard-swish by clamp": lambda x: x * (x + 3).clamp(0, 6) / 6,
    "hard-swish by hardtanh": lambda x: x * F.hardtanh(x + 3, 0.0, 6.0) / 6,
    "hard-swish in place": lambda x: x * F.relu6(x + 3, inplace=True) / 6,
    "squeezed": lambda x: x * F.relu(x.mean((2, 3, 4), keepdim=True)),
    "squeezed first": lambda x: x.mean((2, 3, 4), keepdim=True).sigmoid() * x,
    "expanded": lambda x: x * x.mean((2, 3, 4), keepdim=True).sigmoid().expand_as(x),
    "viewed": lambda x: x * x.mean((2, 3, 4)).sigmoid().view(len(x), -1, 1, 1, 1),
    "in place": lambda x: _times_equals(x.clone(), x.mean((2, 3, 4), keepdim=True).sigmoid()),
    "summed": lambda x: x * torch.sigmoid(x.sum((2, 3, 4)))[:, :, None, None, None],
    "one minus a sigmoid": lambda x: x * (1 - torch.sigmoid(x)),
    "one plus a sigmoid": lambda x: x * (1 + torch.sigmoid(x)),
    "dropped out": lambda x: x * F.dropout(torch.sigmoid(x), 0.5, False),
    "product of two gates": lambda x: x * (torch.sigmoid(x) * x.mean((2, 3, 4), keepdim=True).sigmoid()),
}


def _times_equals(x, gate):
    x *= gate
    return x


@pytest.mark.parametrize("name", GATES)
@pytest.mark.parametrize("features", [False, True])
def test_relevance_follows_the_gated_signal(name, features):
    gate = GATES[name]
    if features:
        stem = nn.Conv3d(4, 3, 1)
        _, r, wanted = twin_relevance(Net(lambda self, x: self.stem(x), stem=stem), X)
        close(twin_relevance(Net(lambda self, x: gate(self.stem(x)), stem=stem), X, r)[2], wanted)
    else:
        _, r, found = twin_relevance(Net(gate), X)
        assert torch.equal(found, r)


def test_a_residual_gate_keeps_both_paths():
    """x + x * attention, and x * attention + x, are conserved."""
    for function in (lambda x: x + x * torch.sigmoid(x), lambda x: x * torch.sigmoid(x) + x):
        _, r, found = twin_relevance(Net(function), X)
        close(found, r)


PRODUCTS = {
    "two signals": lambda x: x * x.flip(1),
    "two gates of equal kind": lambda x: torch.sigmoid(x) * torch.sigmoid(x.flip(1)),
    "square": lambda x: x**2,
    "x.pow": lambda x: x.pow(2),
    "square root": lambda x: x.abs().sqrt(),
    "division by a signal": lambda x: x / (1 + x.abs()),
    "reciprocal": lambda x: 1 / (3 + x.relu()),
    "softmax": lambda x: F.softmax(x, 1),
    "log_softmax": lambda x: torch.log_softmax(x, 1),
    "layer_norm": lambda x: F.layer_norm(x, x.shape[2:]),
    "group_norm": lambda x: F.group_norm(x, 2),
    "normalize": lambda x: F.normalize(x),
    "matmul of signals": lambda x: x @ x,
    "einsum of signals": lambda x: torch.einsum("bcthw,bcthw->bc", x, x),
    "dynamic convolution": lambda x: F.conv3d(x, x[:1, :, :1, :1, :1]),
    "larger of two": lambda x: torch.max(x, x.flip(1)),
    "torch.maximum": lambda x: torch.maximum(x, x.flip(1)),
    "topk": lambda x: x.topk(2, 1)[0],
    "sort": lambda x: x.sort(1)[0],
    "cumsum": lambda x: x.cumsum(2),
    "std": lambda x: x.std(2),
    "norm": lambda x: x.norm(dim=1),
    "logsumexp": lambda x: x.logsumexp(1),
    "exp": lambda x: x.exp(),
    "abs": lambda x: x.abs(),
    "prod": lambda x: x.prod(1),
    "detach": lambda x: x.detach() * 1.0,
    "data": lambda x: x.data * 1.0,
    "no_grad": lambda x: _without_gradient(x),
    "grid_sample": lambda x: F.grid_sample(x, torch.zeros(2, 4, 4, 4, 3, dtype=D), align_corners=False),
    "median": lambda x: x.median(1)[0],
    "fft": lambda x: torch.fft.fft(x).real,
    "to numpy": lambda x: torch.from_numpy(x.detach().numpy().copy()),
    "checkpoint": lambda x: torch.utils.checkpoint.checkpoint(torch.relu, x, use_reentrant=True),
    "active dropout": lambda x: F.dropout(x, 0.5),
}


def _without_gradient(x):
    with torch.no_grad():
        return x * 2.0


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", PRODUCTS)
def test_what_has_no_rule_is_refused_by_name(name):
    function = PRODUCTS[name]
    head = nn.Linear(1, 2, dtype=D)
    model = Net(lambda self, x: self.head(function(x).reshape(len(X), -1)[:, :1]), head=head).eval()
    with pytest.raises(lrp3d.UnsupportedOperation) as caught:
        lrp3d.explain(model, X, 0, temporal=False)
    assert caught.value.operations
    with pytest.raises(lrp3d.UnsupportedOperation):
        lrp3d.convert(model)(X.clone().requires_grad_())


def test_a_scripted_module_is_refused():
    scripted = torch.jit.script(nn.Sequential(nn.Conv3d(4, 2, 1), nn.ReLU()).to(D).eval())
    model = nn.Sequential(scripted, nn.Flatten(), nn.Linear(128, 2, dtype=D)).eval()
    with pytest.raises(lrp3d.UnsupportedOperation, match="not visible"):
        lrp3d.explain(model, X, 0, temporal=False)


# --------------------------------------------------------------------------- products with constants

M = clip(4, 3) / 2
MATMULS = {
    "x @ m": lambda x: x @ M,
    "torch.matmul": lambda x: torch.matmul(x, M),
    "m @ x": lambda x: M.T @ x,
    "einsum": lambda x: torch.einsum("bcth,hk->bctk", x, M),
    "einsum over time": lambda x: torch.einsum("tk,bcth->bckh", M, x),
    "tensor first": lambda x: torch.einsum("hk,bcth->bctk", [M, x]),
}


@pytest.mark.parametrize("name", MATMULS)
def test_products_with_constant_matrices_are_linear_layers(name):
    function, x = MATMULS[name], clip(2, 3, 4, 4)
    x[0, 0] = 0
    _, r, found = twin_relevance(Net(function), x, None, everywhere(ZPlus()))
    w = reference.jacobian(function, x.shape[1:])
    seen = torch.ones_like(M)
    ones = reference.jacobian(lambda x: function_with(function, x, seen), x.shape[1:])
    wanted = [reference.zplus(w, a.flatten(), above.flatten(), ones, None) for a, above in zip(x, r, strict=True)]
    close(found, torch.stack(wanted).reshape(x.shape))


def function_with(function, x, m):
    """The same product with another constant."""
    global M
    M, kept = m, M
    try:
        return function(x)
    finally:
        M = kept


@pytest.mark.parametrize(
    "function", [torch.mm, torch.Tensor.mm, lambda x, m: torch.addmm(torch.zeros(3, dtype=D), x, m)]
)
def test_products_of_features_with_a_constant(function):
    x = clip(2, 4)
    _, r, found = twin_relevance(Net(lambda x: function(x, M)), x, None, everywhere(ZPlus()))
    layer = nn.Linear(4, 3, bias=False, dtype=D)
    layer.weight.data = M.T
    close(found, reference.layer_relevance(layer, x, r, reference.zplus))


# ----------------------------------------------------------------------------------- maxima and choices

MAXIMA = {
    "amax": (lambda x: x.amax((3, 4)), [4, 4]),
    "amax keepdim": (lambda x: torch.amax(x, (3, 4), keepdim=True), [4, 4]),
    "max over an axis": (lambda x: x.max(4)[0].max(3)[0], None),
    "torch.max values": (lambda x: torch.max(x, dim=4).values, None),
    "max keepdim": (lambda x: torch.max(x, 4, keepdim=True)[0], None),
    "adaptive": (lambda x: F.adaptive_max_pool3d(x, (4, 1, 1)), [4, 4]),
    "reduce": (lambda x: einops.reduce(x, "b c t h w -> b c t", "max"), [4, 4]),
}


@pytest.mark.parametrize("name", MAXIMA)
def test_maxima_over_axes_share_among_ties(name):
    function, over = MAXIMA[name]
    _, r, found = twin_relevance(Net(function), X)
    if over:
        windows = [[[i] for i in range(4)], [list(range(4))], [list(range(4))]]
        close(found, reference.max_relevance(X, r.reshape(2, 4, 4, 1, 1), windows))
    else:
        close(found.sum(), r.sum())
        assert bool((found[X.amax(4, keepdim=True) > X] == 0).all())


def test_the_maximum_of_everything():
    x = torch.tensor([[1.0, 5, 5, 2]], dtype=D)
    close(relevance(lambda x: x.max(), x, torch.tensor(4.0, dtype=D)), x.new_tensor([[0.0, 2, 2, 0]]))


def test_a_choice_between_the_signal_and_a_constant_is_an_activation():
    mask = X > 0
    for function in (
        lambda x: torch.where(x > 0, x, 0.0),
        lambda x: torch.where(x > 0, x, torch.zeros_like(x)),
        lambda x: x.where(x > 0, torch.zeros((), dtype=D)),
        lambda x: x.masked_fill(x <= 0, 0.0),
        lambda x: torch.masked_fill(x, ~mask, -1.0),
        lambda x: x.clone().masked_fill_(~mask, 0.0),
    ):
        _, r, found = twin_relevance(Net(function), X)
        close(found, r)


def test_a_choice_between_two_signals_gives_each_what_it_gave():
    mask = torch.arange(4) % 2 == 0
    _, r, found = twin_relevance(Net(lambda x: torch.where(mask, x[:, :2], x[:, 2:])), X)
    close(found, torch.cat([r * mask, r * ~mask], 1))


# -------------------------------------------------------------------------- what still is the clip

MEAN, STD = (
    torch.tensor([0.4, 0.5, 0.6], dtype=D).view(3, 1, 1, 1),
    torch.tensor([0.2, 0.3, -0.4], dtype=D).view(3, 1, 1, 1),
)
NORMALISATIONS = {
    "(x - mean) / std": lambda x: (x - MEAN) / STD,
    "in place": lambda x: x.clone().sub_(MEAN).div_(STD),
    "operator in place": lambda x: _normalise_in_place(x * 1.0),
    "x * scale + shift": lambda x: x * (1 / STD) + (-MEAN / STD),
    "written as an affine map": lambda x: (-MEAN / STD) + x / STD,
    "batch norm": lambda x: F.batch_norm(x, MEAN.flatten(), STD.flatten() ** 2, STD.sign().flatten(), None, eps=0.0),
    "after a permutation": lambda x: ((x.permute(0, 2, 3, 4, 1) - MEAN.flatten()) / STD.flatten()).permute(
        0, 4, 1, 2, 3
    ),
    "dropped out, cloned": lambda x: F.dropout(((x - MEAN) / STD).contiguous(), 0.5, False).clone(),
    "per frame": lambda x: torch.stack([(frame - MEAN[:, 0]) / STD[:, 0] for frame in x.unbind(2)], 2),
}


def _normalise_in_place(x):
    x -= MEAN
    x /= STD
    return x


@pytest.mark.parametrize("name", NORMALISATIONS)
def test_normalisation_inside_the_model_keeps_the_range_of_the_clip(name):
    torch.manual_seed(0)
    normalise, conv = NORMALISATIONS[name], nn.Conv3d(3, 2, 2, dtype=D)
    x, r = torch.rand(2, 3, 3, 3, 3, dtype=D), torch.rand(2, 2, 2, 2, 2, dtype=D)
    ends = [((torch.full_like(x, end) - MEAN) / STD)[0].flatten() for end in (0.0, 1.0)]
    low, high = torch.minimum(*ends), torch.maximum(*ends)
    wanted = reference.layer_relevance(conv, (x - MEAN) / STD, r, reference.zbeta(low, high))
    model = Net(lambda self, x: self.conv(normalise(x)), conv=conv)
    model.input_range = (0.0, 1.0)
    close(twin_relevance(model, x, r, "paper")[2], wanted)


def test_after_an_activation_it_is_no_clip_any_more():
    conv, x = nn.Conv3d(4, 2, 2, dtype=D), X
    _, r, found = twin_relevance(Net(lambda self, x: self.conv(F.relu(x)), conv=conv), x, None, "paper")
    close(found, reference.layer_relevance(conv, x.relu(), r, reference.zplus))


def test_two_layers_that_see_the_clip_are_both_first():
    torch.manual_seed(0)
    a, b = nn.Conv3d(4, 2, 1, dtype=D), nn.Conv3d(4, 2, 1, dtype=D)
    model = Net(lambda self, x: torch.cat([self.a(x), self.b(x.flip(2))], 1), a=a, b=b)
    composite = lrp3d.Composite(first=Flat())
    _, r, found = twin_relevance(model, X, None, composite)
    wanted = reference.layer_relevance(a, X, r[:, :2], reference.flat)
    close(found, wanted + reference.layer_relevance(b, X.flip(2), r[:, 2:], reference.flat).flip(2))


# ---------------------------------------------------------------------------- what users add themselves


def test_a_registered_operation_and_layer_are_met():
    class Scaled(nn.Module):
        def forward(self, x):
            return torch.special.bessel_j0(x)

    with pytest.raises(lrp3d.UnsupportedOperation):
        twin_relevance(Scaled(), X)

    @lrp3d.register_operation(torch.special.bessel_j0)
    def bessel(x):
        return lrp3d.operations.passes(torch.special.bessel_j0, x)

    try:
        _, r, found = twin_relevance(Scaled(), X)
        close(found, r)
    finally:
        del lrp3d.registry.OPERATIONS[torch.special.bessel_j0]


@pytest.mark.parametrize("bad", [3, "relu", nn.Linear(1, 1)])
def test_only_types_are_registered_as_layers(bad):
    if isinstance(bad, str):
        lrp3d.register_layer("some.package.Layer", lambda layer, x: x)
        del lrp3d.registry.LAYERS["some.package.Layer"]
    else:
        with pytest.raises(TypeError):
            lrp3d.register_layer([bad], lambda layer, x: x)
