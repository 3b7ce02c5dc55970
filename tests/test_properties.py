"""What holds for every network: drawn from the supported layers and operations, with random weights."""

import copy

import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn

import lrp3d
from lrp3d.rules import Epsilon

D = torch.float64
CLASSES = 3

# ------------------------------------------------------ blocks: (b, c, t, h, w) to (b, c', t', h', w')


class Convolved(nn.Module):
    """A convolution of any kind, batch norm and activation as drawn."""

    def __init__(self, conv, norm=None, activation=None):
        super().__init__()
        self.conv, self.norm, self.activation = conv, norm or nn.Identity(), activation or F.relu

    def forward(self, x):
        return self.activation(self.norm(self.conv(x)))


class Residual(nn.Module):
    def __init__(self, inner, in_place):
        super().__init__()
        self.inner, self.in_place = inner, in_place

    def forward(self, x):
        out = self.inner(x) * 1.0  # torch's own gradient still needs what the activation made
        if self.in_place:
            out += x
        else:
            out = x + out
        return F.relu(out)


class PreActivated(nn.Module):
    """The in-place activation changes what the shortcut reads."""

    def __init__(self, inner):
        super().__init__()
        self.inner, self.relu = inner, nn.ReLU(inplace=True)

    def forward(self, x):
        y = x * 1.0
        identity = y
        return self.inner(self.relu(y)) + identity


class Dense(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return torch.cat([x, self.inner(x)], 1)


class Gated(nn.Module):
    """Squeeze and excitation."""

    def __init__(self, channels):
        super().__init__()
        self.down, self.up = nn.Linear(channels, 2), nn.Linear(2, channels)

    def forward(self, x):
        gate = torch.sigmoid(self.up(F.relu(self.down(x.mean((2, 3, 4))))))
        return x * gate[:, :, None, None, None]


class Reused(nn.Module):
    """One convolution, used twice."""

    def __init__(self, conv):
        super().__init__()
        self.conv = conv

    def forward(self, x):
        return F.relu(self.conv(F.relu(self.conv(x), inplace=True)))


class Branches(nn.Module):
    """Several ways, as in an Inception block."""

    def __init__(self, a, b):
        super().__init__()
        self.ways = [a, b]  # hidden in a plain list
        self.a, self.b = a, b

    def forward(self, x):
        return torch.cat([way(x) for way in self.ways] + [F.max_pool3d(x, 3, 1, 1)], 1)


class Shifted(nn.Module):
    """The temporal shift, written into slices."""

    def forward(self, x):
        out = torch.zeros_like(x)
        out[:, :1, :-1] = x[:, :1, 1:]
        out[:, 1:] = x[:, 1:]
        return out


class Function(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


SWISHES = [F.silu, F.hardswish, F.gelu, torch.tanh, lambda x: F.leaky_relu(x, 0.1)]
SWISHES += [lambda x: x * torch.sigmoid(x), lambda x: x * F.relu6(x + 3) / 6]
MOVES = [
    lambda x: x.roll(1, 2),
    lambda x: x.flip(4),
    lambda x: torch.stack(x.unbind(1), 1),
    lambda x: torch.cat(x.chunk(2, 1)[::-1], 1),
    lambda x: x[:, :, :, ::2],
    lambda x: x.transpose(3, 4).contiguous(),
    lambda x: F.pad(x, [1] * 6),
    lambda x: F.pad(x, [1] * 6, mode="replicate"),
    lambda x: F.dropout(x, 0.5, False),
]
POOLS = [
    lambda: nn.MaxPool3d(2, ceil_mode=True),
    lambda: nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1)),
    lambda: nn.AvgPool3d(2, ceil_mode=True),
    lambda: nn.AvgPool3d(3, 1, 1, count_include_pad=False),
    lambda: nn.AdaptiveAvgPool3d((None, 3, 2)),
    lambda: nn.AdaptiveMaxPool3d((2, 3, 3)),
]


class Drawer:
    """Draws blocks; `plain` ones are piecewise linear without bias: there epsilon is input times gradient."""

    def __init__(self, draw, plain):
        self.draw, self.plain = draw, plain

    def one_of(self, *options):
        return self.draw(st.sampled_from(options))

    def conv(self, inputs, outputs, same=False):
        groups = self.one_of(1, 1, inputs) if outputs % inputs == 0 else 1
        kernel = self.one_of((1, 1, 1), (3, 3, 3), (3, 1, 1), (1, 3, 3))
        dilation = self.one_of(1, 1, (1, 2, 2))
        dilations = (dilation,) * 3 if dilation == 1 else dilation
        padding = [d * (k // 2) for d, k in zip(dilations, kernel, strict=True)]
        stride = 1 if same else self.one_of(1, 1, (1, 2, 2), (2, 1, 1))
        mode = self.one_of("zeros", "zeros", "replicate", "circular")
        return nn.Conv3d(inputs, outputs, kernel, stride, padding, dilation, groups, self.bias(), mode)

    def bias(self):
        return False if self.plain else self.draw(st.booleans())

    def convolved(self, inputs, outputs, same=False):
        if self.plain:
            return Convolved(self.conv(inputs, outputs, same))
        norm = nn.BatchNorm3d(outputs) if self.draw(st.booleans()) else None
        return Convolved(self.conv(inputs, outputs, same), norm, self.one_of(F.relu, F.relu, *SWISHES))

    def block(self, c):
        """A block of c channels in, and how many come out."""
        kinds = ["convolved", "residual", "dense", "reused", "pool", "branches", "shifted", "move", "up"]
        kind = self.one_of(*kinds, *([] if self.plain else ["gated", "swish", "pre-activated"]))
        if kind == "convolved":
            out = self.one_of(c, 2 * c, 3)
            return self.convolved(c, out), out
        if kind == "residual":
            return Residual(self.convolved(c, c, True), self.draw(st.booleans())), c
        if kind == "pre-activated":
            return PreActivated(self.convolved(c, c, True)), c
        if kind == "dense":
            return Dense(self.convolved(c, 2, True)), c + 2
        if kind == "branches":
            return Branches(self.convolved(c, 2, True), self.convolved(c, 2, True)), c + 4
        if kind == "up":
            return Convolved(nn.ConvTranspose3d(c, 2, (1, 2, 2), (1, 2, 2), bias=self.bias())), 2
        return {
            "reused": lambda: Reused(self.conv(c, c, True)),
            "pool": lambda: self.one_of(*POOLS)(),
            "gated": lambda: Gated(c),
            "shifted": Shifted,
            "move": lambda: Function(self.one_of(*MOVES)),
            "swish": lambda: Function(self.one_of(*SWISHES)),
        }[kind](), c


class Network(nn.Module):
    """Blocks under a head: pooled and classified, or every frame classified and averaged."""

    def __init__(self, blocks, channels, head, bias):
        super().__init__()
        self.blocks, self.head = nn.Sequential(*blocks), head
        self.fc = nn.Linear(channels, CLASSES, bias=bias)

    def forward(self, x):
        x = self.blocks(x)
        if self.head == "pooled":
            return self.fc(F.adaptive_avg_pool3d(x, 1).flatten(1))
        if self.head == "maximum":
            return self.fc(x.amax((2, 3, 4)))
        return self.fc(x.mean((3, 4)).transpose(1, 2)).mean(1)


class Pathways(nn.Module):
    """A slow and a fast pathway with a lateral connection."""

    def __init__(self, drawer):
        super().__init__()
        self.slow, self.fast = (drawer.convolved(2, 4, True) for _ in range(2))
        self.lateral = nn.Conv3d(4, 2, (3, 1, 1), (2, 1, 1), (1, 0, 0), bias=drawer.bias())
        self.after = drawer.convolved(6, 4, True)
        self.fc = nn.Linear(8, CLASSES, bias=drawer.bias())

    def forward(self, pathways):
        slow, fast = pathways
        slow, fast = self.slow(slow), self.fast(fast)
        slow = self.after(torch.cat([slow, self.lateral(fast)], 1))
        return self.fc(torch.cat([x.mean((2, 3, 4)) for x in (slow, fast)], 1))


def weights(model, seed):
    """Random weights, and statistics that batch norms could have seen."""
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm3d):
            module.running_mean = torch.randn(module.running_mean.shape, generator=generator) * 0.3
            module.running_var = torch.rand(module.running_var.shape, generator=generator) + 0.3
    for parameter in model.parameters():
        size = parameter[0].numel() if parameter.dim() > 1 else 4
        parameter.data = torch.randn(parameter.shape, generator=generator) * (2 / size) ** 0.5
    return model.to(D).eval()


def clip(seed, batch=2, frames=4):
    return torch.randn(batch, 2, frames, 6, 6, generator=torch.Generator().manual_seed(seed), dtype=D)


seeds = st.integers(0, 2**20)


@st.composite
def networks(draw, heads=("pooled", "maximum", "frames"), plain=False, bias=None):
    drawer = Drawer(draw, plain)
    stem = drawer.convolved(2, 4)
    blocks, channels = [stem], 4
    for _ in range(draw(st.integers(1, 4))):
        block, channels = drawer.block(channels)
        blocks.append(block)
    network = Network(blocks, channels, draw(st.sampled_from(heads)), drawer.bias() if bias is None else bias)
    seed = draw(seeds)
    model, x = weights(network, seed), clip(seed)
    try:
        model(x)
    except (RuntimeError, IndexError):  # a pool larger than what strides left
        assume(False)
    return model, x


@st.composite
def pathways(draw):
    seed = draw(seeds)
    return weights(Pathways(Drawer(draw, False)), seed), [clip(seed, frames=2), clip(seed, frames=4)]


def explain(model, x, **options):
    return lrp3d.explain(model, x, temporal=False, **options)


def total(relevance):
    return sum(relevance.flatten().tolist()) if isinstance(relevance, torch.Tensor) else sum(map(total, relevance))


def close(found, wanted, tolerance=1e-9):
    """Relative to the largest value."""
    scale = max(float(wanted.abs().max()), 1e-3) if wanted.numel() else 1.0
    assert found.shape == wanted.shape
    assert float((found - wanted).abs().max()) <= tolerance * scale


# -------------------------------------------------------------------------------------- the statements


@settings(max_examples=150)
@given(st.one_of(networks(), networks(), pathways()), st.booleans())
def test_relevance_is_conserved(drawn, contrastive):
    model, x = drawn
    explanation = explain(model, x, contrastive=contrastive)
    assert bool((explanation.conservation < 1e-9).all())
    if not contrastive:
        logit = explanation.logits.gather(1, explanation.target[:, None]).sum()
        assert total(explanation.relevance) == pytest.approx(float(logit), rel=1e-9)


@settings(max_examples=60)
@given(st.one_of(networks(), pathways()), st.booleans())
def test_relevance_is_conserved_in_single_precision(drawn, contrastive):
    model, x = drawn
    x = [pathway.float() for pathway in x] if isinstance(x, list) else x.float()
    explanation = explain(model.float(), x, contrastive=contrastive)
    assert bool((explanation.conservation < 1e-4).all())


@settings(max_examples=60)
@given(st.one_of(networks(), pathways()), st.sampled_from(sorted(lrp3d.composites.PRESETS)))
def test_whatever_the_composite_the_map_and_its_ledger_sum_to_the_logit(drawn, composite):
    model, x = drawn
    explanation = explain(model, x, contrastive=False, composite=composite)
    logit = float(explanation.logits.gather(1, explanation.target[:, None]).sum())
    maps = [explanation.relevance] if isinstance(x, torch.Tensor) else explanation.relevance
    scale = max(float(m.abs().sum()) for m in maps) + abs(logit)
    moved = max([abs(entry.relevance_in) + abs(entry.relevance_out) for entry in explanation.ledger])
    assert abs(total(maps) + explanation.ledger.absorbed - logit) <= 1e-9 * max(scale, moved)


@settings(max_examples=100)
@given(st.one_of(networks(), networks(), pathways()))
def test_a_twin_computes_what_its_model_computes_and_leaves_it_alone(drawn):
    model, x = drawn
    before = {name: value.clone() for name, value in model.state_dict().items()}
    wanted = model(x).detach()
    tracked = [p.clone().requires_grad_() for p in x] if isinstance(x, list) else x.clone().requires_grad_()
    close(lrp3d.convert(model)(tracked).detach(), wanted, 1e-12)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(model(x), wanted)


@settings(max_examples=100)
@given(networks(plain=True))
def test_small_epsilon_is_input_times_gradient_without_biases(drawn):
    model, x = drawn
    summing = (torch.add, torch.sum, torch.mean)
    rule = Epsilon(1e-15)
    composite = lrp3d.Composite(layers={nn.Module: rule}, operations=dict.fromkeys(summing, rule))
    x.requires_grad_()
    seed = torch.zeros(len(x), CLASSES, dtype=D)
    seed[:, 1] = model(x).detach()[:, 1]
    gradient = torch.autograd.grad(model(x)[:, 1].sum(), x)[0]
    found = torch.autograd.grad(lrp3d.convert(model, composite)(x), x, seed)[0]
    close(found, (x * gradient).detach(), 1e-7)


@settings(max_examples=100)
@given(networks(heads=("pooled", "maximum")), seeds)
def test_positive_relevance_stays_positive(drawn, seed):
    model, x = drawn
    x.requires_grad_()
    output = lrp3d.convert(model)(x)
    r = torch.rand(output.shape, generator=torch.Generator().manual_seed(seed), dtype=D)
    found = torch.autograd.grad(output, x, r)[0]
    assert bool((found >= 0).all())
    close(found.sum((1, 2, 3, 4)), r.sum(1))


@settings(max_examples=30)
@given(networks(), st.booleans())
def test_a_clip_is_explained_alike_in_any_batch_and_order(drawn, contrastive):
    model, x = drawn
    x = torch.cat([x, 2 * x.flip(2)[:1]])
    whole = explain(model, x, contrastive=contrastive)
    turned = explain(model, x.flip(0), contrastive=contrastive)
    close(turned.relevance, whole.relevance.flip(0))
    for i in range(len(x)):
        close(explain(model, x[i : i + 1], contrastive=contrastive).relevance, whole.relevance[i : i + 1])


@settings(max_examples=60)
@given(st.one_of(networks(bias=False), networks(heads=("pooled", "maximum"))))
def test_contrast_in_one_pass_is_the_difference_of_two(drawn):
    """Eq. 2: R under W_k, minus Rbar under -W_k in a copied model, from the same logit; its positive part."""
    model, x = drawn
    against = copy.deepcopy(model)
    against.fc.weight.data.neg_()
    explanation = explain(model, x)
    logits = explanation.logits
    seed = torch.zeros_like(logits)
    chosen = explanation.target[:, None]
    seed.scatter_(1, chosen, logits.gather(1, chosen).abs())
    maps = []
    for one in (model, against):
        tracked = x.clone().requires_grad_()
        maps.append(torch.autograd.grad(lrp3d.convert(one)(tracked), tracked, seed)[0])
    close(explanation.relevance, (maps[0] - maps[1]).clamp(min=0))


@settings(max_examples=40)
@given(networks(), seeds)
def test_relevance_is_linear_in_its_seed(drawn, seed):
    model, x = drawn
    x.requires_grad_()
    generator = torch.Generator().manual_seed(seed)
    output = lrp3d.convert(model)(x)
    a, b = (torch.randn(output.shape, generator=generator, dtype=D) for _ in range(2))
    of = [torch.autograd.grad(output, x, r, retain_graph=True)[0] for r in (a, b, 2 * a - 3 * b)]
    close(of[2], 2 * of[0] - 3 * of[1])


LAYOUTS = {
    "channels last": lambda x: x.contiguous(memory_format=torch.channels_last_3d),
    "every second value": lambda x: x.new_zeros(*x.shape[:-1], 2 * x.shape[-1])[..., ::2].copy_(x),
    "with a gradient": lambda x: x.clone().requires_grad_(),
}


@settings(max_examples=40)
@given(networks(), st.sampled_from(sorted(LAYOUTS)), st.booleans())
def test_neither_memory_layout_nor_gradients_of_the_clip_nor_frozen_parameters_matter(drawn, layout, frozen):
    model, x = drawn
    wanted = explain(model, x).relevance
    model.requires_grad_(not frozen)
    again = LAYOUTS[layout](x)
    found = explain(model, again).relevance
    close(found, wanted)
    assert not found.requires_grad
    assert again.grad is None


@settings(max_examples=40)
@given(networks(), st.sampled_from([0.5, 3.0]))
def test_a_rescaled_classifier_rescales_relevance(drawn, factor):
    """Without biases in the head, relevance is proportional to the logit it explains."""
    model, x = drawn
    model.fc.bias = None
    target = model(x).argmax(1)
    wanted = explain(model, x, target=target).relevance
    model.fc.weight.data.mul_(factor)
    close(explain(model, x, target=target).relevance, factor * wanted)
