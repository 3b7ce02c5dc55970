"""The same function has the same relevance, however a forward writes it."""

import math

import einops
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import lrp3d

D = torch.double
CLIP = torch.randn(1, 3, 4, 4, 4, dtype=D, generator=torch.Generator().manual_seed(0))
CHANNELS = 6


def drawn(*shape, seed=0):
    return nn.Parameter(torch.randn(*shape, dtype=D, generator=torch.Generator().manual_seed(seed)))


def each(x):
    """A vector with a number for each channel, beside clips (b, c, t, h, w)."""
    return x.view(CHANNELS, 1, 1, 1)


def of_tokens(function):
    """A function of tokens (b, n, c) as one of clips."""
    return lambda x: function(x.flatten(2).mT).mT.reshape(x.shape)


def cells(x):
    """Values of cells of two frames, rows and columns along a last axis."""
    return einops.rearrange(x, "b c (t i) (h j) (w k) -> b c t h w (i j k)", i=2, j=2, k=2)


def numbered(x):
    x = x.clone()
    x[x < 0] = 0.0
    return x


RELU = {
    "relu": F.relu,
    "clamp": lambda x: x.clamp(min=0),
    "maximum": lambda x: torch.maximum(x, torch.zeros_like(x)),
    "fmax": lambda x: torch.fmax(x, x.new_zeros(())),
    "mask": lambda x: x * (x > 0),
    "where": lambda x: torch.where(x > 0, x, 0.0),
    "masked_fill": lambda x: x.masked_fill(x < 0, 0.0),
    "written at a mask": numbered,
    "threshold": lambda x: F.threshold(x, 0, 0),
    "of slope zero": lambda x: F.prelu(x, x.new_zeros(1)),
    "half of x and its size": lambda x: (x + x.abs()) / 2,
}
LEAKY = {
    "leaky_relu": lambda x: F.leaky_relu(x, 0.1),
    "where": lambda x: torch.where(x > 0, x, 0.1 * x),
    "maximum": lambda x: torch.maximum(x, 0.1 * x),
    "two parts": lambda x: x.clamp(min=0) + 0.1 * x.clamp(max=0),
}
SILU = {
    "silu": F.silu,
    "product": lambda x: x * x.sigmoid(),
    "quotient": lambda x: x / (1 + (-x).exp()),
    "product with a quotient": lambda x: x * (1 / (1 + torch.exp(-x))),
    "tanh": lambda x: x * (1 + (x / 2).tanh()) / 2,
}
SOFTPLUS = {
    "softplus": F.softplus,
    "log": lambda x: torch.log(1 + torch.exp(x)),
    "log1p": lambda x: torch.log1p(x.exp()),
    "of the size": lambda x: x.clamp(min=0) + torch.log1p(torch.exp(-x.abs())),
}


def by_its_maximum(x):
    greatest = x.amax(2, keepdim=True)
    return greatest + torch.log(torch.exp(x - greatest).sum(2, keepdim=True))


def without_the_axis(x):
    greatest = x.amax(2, keepdim=True)
    return ((x - greatest).exp().sum(2).log() + greatest.squeeze(2)).unsqueeze(2)


LOG_SUM_EXP = {
    "logsumexp": lambda x: x + x.logsumexp(2, keepdim=True),
    "by hand": lambda x: x + x.exp().sum(2, keepdim=True).log(),
    "by its maximum": lambda x: x + by_its_maximum(x),
    "without the axis": lambda x: x + without_the_axis(x),
}
MISH = {
    "mish": F.mish,
    "softplus": lambda x: x * F.softplus(x).tanh(),
    "log1p": lambda x: x * torch.tanh(torch.log1p(x.exp())),
    "log": lambda x: x * torch.tanh(torch.log(1 + torch.exp(x))),
}
ELU = {
    "elu": F.elu,
    "where": lambda x: torch.where(x > 0, x, x.exp() - 1),
    "where, expm1": lambda x: torch.where(x > 0, x, torch.expm1(x)),
    "two parts": lambda x: x.clamp(min=0) + (x.clamp(max=0).exp() - 1),
    "maximum": lambda x: torch.maximum(x, torch.exp(x.clamp(max=0)) - 1),
}
SLOPE = math.sqrt(2 / math.pi)
TANH_GELU = {
    "gelu": lambda x: F.gelu(x, approximate="tanh"),
    "cube": lambda x: 0.5 * x * (1 + torch.tanh(SLOPE * (x + 0.044715 * torch.pow(x, 3)))),
    "product": lambda x: 0.5 * x * (1.0 + torch.tanh(x * SLOPE * (1.0 + 0.044715 * x * x))),
    "square": lambda x: x * (0.5 * (1 + torch.tanh(SLOPE * x * (1 + 0.044715 * x**2)))),
}
GELU = {
    "gelu": F.gelu,
    "erf": lambda x: x * 0.5 * (1 + torch.erf(x / math.sqrt(2))),
    "erfc": lambda x: x * torch.erfc(-x / math.sqrt(2)) / 2,
    "ndtr": lambda x: x * torch.special.ndtr(x),
}
HARD_SWISH = {
    "hardswish": F.hardswish,
    "hardsigmoid": lambda x: x * F.hardsigmoid(x),
    "relu6": lambda x: x * F.relu6(x + 3) / 6,
    "clamp": lambda x: x * ((x + 3).clamp(0, 6) / 6),
    "product first": lambda x: x * (x + 3).clamp(0, 6) / 6,
}
RESIDUAL = {
    "+": lambda x: x + x.roll(1, 1),
    "stack": lambda x: torch.stack([x, x.roll(1, 1)]).sum(0),
    "sum": lambda x: sum([x, x.roll(1, 1)]),
    "in place": lambda x: x.roll(1, 1).add_(x),
    "minus a negative": lambda x: x - (-x.roll(1, 1)),
    "alpha": lambda x: torch.add(x, x.roll(1, 1) / 2, alpha=2),
    "einsum": lambda x: torch.einsum("kbcthw->bcthw", torch.stack([x, x.roll(1, 1)])),
}
W, B = drawn(CHANNELS, CHANNELS), drawn(CHANNELS, seed=1)
LINEAR = {
    "linear": of_tokens(lambda t: F.linear(t, W, B)),
    "matmul": of_tokens(lambda t: t @ W.T + B),
    "einsum": of_tokens(lambda t: torch.einsum("bni,oi->bno", t, W) + B),
    "einsum of clips": lambda x: torch.einsum("bcthw,oc->bothw", x, W) + each(B),
    "addmm": of_tokens(lambda t: torch.addmm(B, t[0], W.T)[None]),
    "tensordot": of_tokens(lambda t: torch.tensordot(t, W, ([2], [1])) + B),
    "products that are added up": of_tokens(lambda t: (t[:, :, None] * W).sum(-1) + B),
    "matrix on the left": lambda x: (W @ x.flatten(2) + B[:, None]).reshape(x.shape),
}
SHIFT = {
    "padded slices": lambda x: torch.cat(
        [F.pad(x[:, :2, 1:], (0, 0, 0, 0, 0, 1)), F.pad(x[:, 2:4, :-1], (0, 0, 0, 0, 1, 0)), x[:, 4:]], 1
    ),
    "written slices": lambda x: shifted(x, torch.zeros_like(x)),
    "zeros beside": lambda x: torch.cat(
        [
            torch.cat([x[:, :2, 1:], torch.zeros_like(x[:, :2, :1])], 2),
            torch.cat([torch.zeros_like(x[:, 2:4, :1]), x[:, 2:4, :-1]], 2),
            x[:, 4:],
        ],
        1,
    ),
    "chosen frames": lambda x: torch.cat(
        [
            F.pad(x[:, :2], (0, 0, 0, 0, 0, 1))[:, :, [1, 2, 3, 4]],
            F.pad(x[:, 2:4], (0, 0, 0, 0, 1, 0))[:, :, [0, 1, 2, 3]],
            x[:, 4:],
        ],
        1,
    ),
}


def shifted(x, out):
    out[:, :2, :-1] = x[:, :2, 1:]
    out[:, 2:4, 1:] = x[:, 2:4, :-1]
    out[:, 4:] = x[:, 4:]
    return out


MAXIMUM = {
    "max_pool3d": lambda x: F.max_pool3d(x, 2),
    "amax": lambda x: cells(x).amax(-1),
    "max": lambda x: cells(x).max(-1).values,
    "einops": lambda x: einops.reduce(x, "b c (t i) (h j) (w k) -> b c t h w", "max", i=2, j=2, k=2),
    "topk": lambda x: cells(x).topk(1, -1).values[..., 0],
    "sort": lambda x: cells(x).sort(-1).values[..., -1],
    "one after the other": lambda x: F.max_pool3d(F.max_pool3d(x, (2, 1, 1)), (1, 2, 2)),
    "adaptive": lambda x: F.adaptive_max_pool3d(x, 2),
}
AVERAGE = {
    "avg_pool3d": lambda x: F.avg_pool3d(x, 2),
    "mean": lambda x: cells(x).mean(-1),
    "einops": lambda x: einops.reduce(x, "b c (t i) (h j) (w k) -> b c t h w", "mean", i=2, j=2, k=2),
    "adaptive": lambda x: F.adaptive_avg_pool3d(x, 2),
    "interpolate": lambda x: F.interpolate(x, scale_factor=0.5, mode="trilinear"),
    "slices": lambda x: sum(x[:, :, i::2, j::2, k::2] for i in (0, 1) for j in (0, 1) for k in (0, 1)) / 8,
}
REPEATED = {
    "repeat_interleave": lambda x: x.repeat_interleave(2, 3),
    "interpolate": lambda x: F.interpolate(x, scale_factor=(1, 2, 1)),
    "expand": lambda x: x[..., None, :].expand(-1, -1, -1, -1, 2, -1).flatten(3, 4),
    "chosen": lambda x: x[:, :, :, torch.arange(2 * x.shape[3]) // 2],
    "stack": lambda x: torch.stack([x, x], 4).flatten(3, 4),
    "einops": lambda x: einops.repeat(x, "b c t h w -> b c t (h r) w", r=2),
}
DIFFERENCE = {
    "slices": lambda x: x[:, :, 1:] - x[:, :, :-1],
    "diff": lambda x: x.diff(dim=2),
    "roll": lambda x: (x - x.roll(1, 2))[:, :, 1:],
    "frame by frame": lambda x: torch.stack([x[:, :, i + 1] - x[:, :, i] for i in range(3)], 2),
    "chosen frames": lambda x: x[:, :, [1, 2, 3]] - x[:, :, [0, 1, 2]],
    "diff, with a frame before it": lambda x: x[:, :, 1:].diff(dim=2, prepend=x[:, :, :1]),
    "plus a negative": lambda x: x[:, :, 1:] + (-x[:, :, :-1]),
    "rsub": lambda x: torch.rsub(x[:, :, :-1], x[:, :, 1:]),
}
SCALE, OFFSET = drawn(CHANNELS, seed=2), drawn(CHANNELS, seed=3)


def by_square_root(t):
    mean = t.mean(-1, keepdim=True)
    return (t - mean) / torch.sqrt(((t - mean) ** 2).mean(-1, keepdim=True) + 1e-5) * SCALE + OFFSET


def by_var_mean(t):
    var, mean = torch.var_mean(t, -1, unbiased=False, keepdim=True)
    return SCALE * ((t - mean) * torch.rsqrt(var + 1e-5)) + OFFSET


def channels_first(x):
    """As in ConvNeXt."""
    mean = x.mean(1, keepdim=True)
    x = (x - mean) / torch.sqrt((x - mean).pow(2).mean(1, keepdim=True) + 1e-5)
    return each(SCALE) * x + each(OFFSET)


LAYER_NORM = {
    "layer_norm": of_tokens(lambda t: F.layer_norm(t, (CHANNELS,), SCALE, OFFSET)),
    "square root": of_tokens(by_square_root),
    "var_mean": of_tokens(by_var_mean),
    "scale and offset apart": of_tokens(lambda t: torch.addcmul(OFFSET, F.layer_norm(t, (CHANNELS,)), SCALE)),
    "channels first": channels_first,
}
RMS_NORM = {
    "rms_norm": of_tokens(lambda t: F.rms_norm(t, (CHANNELS,), SCALE, 1e-6)),
    "rsqrt": of_tokens(lambda t: t * torch.rsqrt(t.pow(2).mean(-1, keepdim=True) + 1e-6) * SCALE),
    "square root": of_tokens(lambda t: SCALE * t / torch.sqrt((t * t).mean(-1, keepdim=True) + 1e-6)),
    "power": of_tokens(lambda t: SCALE * (t * (t.square().mean(-1, keepdim=True) + 1e-6) ** -0.5)),
}
QKV = drawn(3 * CHANNELS, CHANNELS, seed=4)
ROOT = 3**-0.5  # heads have three channels


def attention(function):
    """Attention of tokens with two heads."""

    def attended(t):
        q, k, v = (x.unflatten(-1, (2, 3)).transpose(1, 2) for x in F.linear(t, QKV).chunk(3, -1))
        return function(q, k, v).transpose(1, 2).flatten(2)

    return of_tokens(attended)


def by_exponentials(q, k, v):
    scores = q @ k.mT * ROOT
    shares = (scores - scores.amax(-1, keepdim=True)).exp()
    return shares / shares.sum(-1, keepdim=True) @ v


ATTENTION = {
    "scaled_dot_product_attention": attention(F.scaled_dot_product_attention),
    "matmul": attention(lambda q, k, v: (q @ k.mT * ROOT).softmax(-1) @ v),
    "einsum": attention(
        lambda q, k, v: torch.einsum("bhqk,bhkd->bhqd", (torch.einsum("bhqd,bhkd->bhqk", q, k) * ROOT).softmax(-1), v)
    ),
    "head by head": attention(
        lambda q, k, v: torch.stack([(q[:, i] @ k[:, i].mT * ROOT).softmax(-1) @ v[:, i] for i in range(2)], 1)
    ),
    "exponentials": attention(by_exponentials),
    "values on the left": attention(lambda q, k, v: (v.mT @ (q @ k.mT * ROOT).softmax(-1).mT).mT),
    "products that are added up": attention(
        lambda q, k, v: ((q @ k.mT * ROOT).softmax(-1)[..., None] * v[:, :, None]).sum(-2)
    ),
}


def gate(x):
    return (x.mean((2, 3, 4)) @ W).sigmoid()


GATE = {
    "product": lambda x: x * gate(x)[..., None, None, None],
    "expand": lambda x: x * gate(x)[..., None, None, None].expand_as(x),
    "einsum": lambda x: torch.einsum("bcthw,bc->bcthw", x, gate(x)),
    "grouped convolution": lambda x: F.conv3d(x, gate(x).view(-1, 1, 1, 1, 1), groups=CHANNELS),
    "diagonal matrix": lambda x: torch.bmm(torch.diag_embed(gate(x)), x.flatten(2)).reshape(x.shape),
    "channel by channel": lambda x: torch.stack([x[:, i] * gate(x)[:, i, None, None, None] for i in range(6)], 1),
}
BIAS = {
    "+": lambda x: x + each(B),
    "the other way round": lambda x: each(B) + x,
    "expand": lambda x: x + each(B).expand_as(x),
    "minus a negative": lambda x: x - (-each(B)),
}
STATE, DIRECTION = drawn(CHANNELS * 4, CHANNELS, seed=5), drawn(4, CHANNELS, seed=6)


def read(function):
    """What is read out of states (b, n, c, 4) along directions (b, n, 4), both made of tokens."""
    return of_tokens(lambda t: function(F.linear(t, STATE).unflatten(-1, (CHANNELS, 4)), F.linear(t, DIRECTION)))


OF_THE_GATE = drawn(CHANNELS, CHANNELS, 1, 1, 1, seed=7)


def gate_of(x):
    return F.conv3d(x, OF_THE_GATE)


SIGMOID_GATE = {
    "sigmoid": lambda x: x * gate_of(x).sigmoid(),
    "reciprocal": lambda x: x * (1 / (1 + torch.exp(-gate_of(x)))),
    "quotient": lambda x: x / (1 + torch.exp(-gate_of(x))),
    "tanh": lambda x: x * ((1 + torch.tanh(gate_of(x) / 2)) / 2),
    "tanh, halved last": lambda x: x * (1 + torch.tanh(gate_of(x) / 2)) / 2,
    "halved first": lambda x: 0.5 * x * (1 + torch.tanh(0.5 * gate_of(x))),
}
READ = {
    "products that are added up": read(lambda state, along: (state * along[:, :, None]).sum(-1)),
    "einsum": read(lambda state, along: torch.einsum("bncd,bnd->bnc", state, along)),
    "matmul": read(lambda state, along: (state @ along[..., None])[..., 0]),
}
PLACES = torch.tensor([3, 1])


def beside(added):
    """A residual sum with two frames that are added into zeros, at other places."""
    return lambda x: x + added(torch.zeros_like(x), x[:, :, :2], PLACES.view(2, 1, 1).expand_as(x[:, :, :2]))


def written(zeros, frames, at):
    zeros[:, :, PLACES] = frames
    return zeros


def put(zeros, frames, at):
    zeros, frames = zeros.movedim(2, 0).contiguous(), frames.movedim(2, 0)
    return zeros.index_put((PLACES,), frames, accumulate=True).movedim(0, 2)


ADDED_INTO_ZEROS = {
    "written": beside(written),
    "concatenated": beside(
        lambda zeros, x, at: torch.cat([zeros[:, :, :1], x[:, :, 1:], zeros[:, :, :1], x[:, :, :1]], 2)
    ),
    "index_copy": beside(lambda zeros, x, at: zeros.index_copy(2, PLACES, x)),
    "index_add": beside(lambda zeros, x, at: zeros.index_add(2, PLACES, x)),
    "index_add, in place": beside(lambda zeros, x, at: zeros.index_add_(2, PLACES, x)),
    "index_put": beside(put),
    "scatter": beside(lambda zeros, x, at: zeros.scatter(2, at, x)),
    "scatter_add": beside(lambda zeros, x, at: zeros.scatter_add(2, at, x)),
    "scatter_add, in place": beside(lambda zeros, x, at: zeros.scatter_add_(2, at, x)),
    "scatter_reduce": beside(lambda zeros, x, at: zeros.scatter_reduce(2, at, x, "sum")),
    "scatter_reduce of means": beside(lambda zeros, x, at: zeros.scatter_reduce(2, at, x, "mean", include_self=False)),
}
KERNEL = drawn(CHANNELS, CHANNELS, 1, 1, 1, seed=5)


def spaced(x):
    y = torch.zeros_like(x)
    y[:, :, ::2] = F.conv3d(x[:, :, :2], KERNEL)
    return x + y


UPSAMPLED_BY_ZEROS = {
    "written": spaced,
    "stacked": lambda x: x + torch.stack([y := F.conv3d(x[:, :, :2], KERNEL), torch.zeros_like(y)], 3).flatten(2, 3),
    "transposed convolution": lambda x: (
        x + F.conv_transpose3d(x[:, :, :2], KERNEL.transpose(0, 1), stride=(2, 1, 1), output_padding=(1, 0, 0))
    ),
}
PADDED_BEHIND = {
    "pad": lambda x: x[:, :, :3] + F.pad(F.conv3d(x[:, :, :1], KERNEL), (0, 0, 0, 0, 1, 1)),
    "padding of the convolution": lambda x: x[:, :, :3] + F.conv3d(x[:, :, :1], KERNEL, padding=(1, 0, 0)),
}
FUNCTIONS = {
    "ReLU": RELU,
    "leaky ReLU": LEAKY,
    "SiLU": SILU,
    "GELU": GELU,
    "GELU by tanh": TANH_GELU,
    "softplus": SOFTPLUS,
    "mish": MISH,
    "log-sum-exp": LOG_SUM_EXP,
    "ELU": ELU,
    "hard swish": HARD_SWISH,
    "sigmoid gate": SIGMOID_GATE,
    "residual sum": RESIDUAL,
    "linear layer": LINEAR,
    "temporal shift": SHIFT,
    "maximum": MAXIMUM,
    "average": AVERAGE,
    "repetition": REPEATED,
    "difference of frames": DIFFERENCE,
    "layer norm": LAYER_NORM,
    "RMS norm": RMS_NORM,
    "attention": ATTENTION,
    "gate": GATE,
    "bias": BIAS,
    "read-out of a state": READ,
    "frames added into zeros": ADDED_INTO_ZEROS,
    "frames with zeros between them": UPSAMPLED_BY_ZEROS,
    "zeros that a convolution pads": PADDED_BEHIND,
}


class Net(nn.Module):
    """A convolution, the function, and a classifier of frames."""

    def __init__(self, function):
        super().__init__()
        torch.manual_seed(0)
        self.embed, self.conv, self.fc = nn.Conv3d(3, CHANNELS, 1), nn.Conv3d(CHANNELS, 5, 1), nn.Linear(5, 4)
        self.function = function
        self.double().eval()

    def forward(self, clip):
        x = F.relu(self.conv(self.function(self.embed(clip))))
        return self.fc(x.mean((3, 4)).mT).mean(1)


COMPOSITES = {"paper": 1e-9, "epsilon": 1e-5, "attnlrp": 1e-2}
"""How far two spellings may be apart: each of their steps has an epsilon of its own, beside small denominators."""


CASES = [(name, composite) for name in FUNCTIONS for composite in COMPOSITES]


@pytest.mark.parametrize(("name", "composite"), CASES)
def test_the_same_function_has_the_same_relevance_however_it_is_written(name, composite):
    wanted, first = None, ""
    for spelling, function in FUNCTIONS[name].items():
        found = lrp3d.explain(Net(function), CLIP, 1, composite=composite, contrastive=composite == "paper")
        if wanted is None:
            wanted, first = found, spelling
        for what in ("frame_logits", "relevance", "matrix"):
            ours, theirs = getattr(found, what), getattr(wanted, what)
            apart = float((ours - theirs).abs().max() / theirs.abs().max())
            assert apart <= COMPOSITES[composite], f"{what} of {spelling} and {first}"
