"""Every rule is its dense Jacobian form: on drawn convolutions, transposed convolutions and linear layers.

Inputs, weights and biases are multiples of a quarter: sums are exact, and zero denominators really zero.
"""

import math
import copy
from dataclasses import dataclass

import pytest
import reference
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn

import lrp3d
from lrp3d import rules
from lrp3d.propagation.propagate import Start, propagate
from lrp3d.steps.graph import edge_of

D = torch.float64
RULES = {
    "zplus": (rules.ZPlus(), reference.zplus),
    "same sign": (rules.SameSign(), reference.same_sign),
    "zbeta": (rules.ZBeta(-2.0, 1.5), reference.zbeta(-2.0, 1.5)),
    "epsilon": (rules.Epsilon(), reference.epsilon(1e-9)),
    "epsilon 0.5": (rules.Epsilon(0.5), reference.epsilon(0.5)),
    "alpha 2 beta 1": (rules.AlphaBeta(), reference.alpha_beta(2.0, 1.0)),
    "alpha 1 beta 0": (rules.AlphaBeta(1.0, 0.0), reference.alpha_beta(1.0, 0.0)),
    "gamma": (rules.Gamma(), reference.gamma(0.25)),
    "wsquare": (rules.WSquare(), reference.wsquare),
    "flat": (rules.Flat(), reference.flat),
    "contrastive zplus": (rules.Contrastive(), reference.contrastive(reference.zplus)),
    "contrastive epsilon": (
        rules.Contrastive(rules.Epsilon(1e-9)),
        reference.contrastive(reference.epsilon(1e-9)),
    ),
    "contrastive gamma": (rules.Contrastive(rules.Gamma(0.5)), reference.contrastive(reference.gamma(0.5))),
    "contrastive alpha beta": (
        rules.Contrastive(rules.AlphaBeta(3.0, 2.0)),
        reference.contrastive(reference.alpha_beta(3.0, 2.0)),
    ),
}
CONSERVING = {"zplus", "same sign", "zbeta", "wsquare", "flat", "alpha 2 beta 1", "alpha 1 beta 0"}
CONSERVING |= {"contrastive zplus", "contrastive alpha beta"}
CONSERVING_WITHOUT_BIAS = {"gamma", "contrastive gamma"}
CONVOLUTIONS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
TRANSPOSED = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}


def quarters(generator, *shape, zeros=0.3):
    """Multiples of a quarter from -2 to 2, a part of them zero."""
    values = torch.randint(-8, 9, shape, generator=generator).to(D) / 4
    return values * (torch.rand(shape, generator=generator) >= zeros)


def fill(layer, generator):
    for parameter in layer.parameters():
        parameter.data = quarters(generator, *parameter.shape, zeros=0.2)
    return layer.eval()


def inputs(generator, batch, shape):
    """Signed, with zeros, and with a stretch in which whole windows are zero."""
    x = quarters(generator, batch, *shape)
    x[..., : (shape[-1] + 1) // 2] *= (torch.rand(batch, *[1] * len(shape), generator=generator) < 0.7).to(D)
    return x


@st.composite
def convolutions(draw):
    """A layer, its input, and relevance of its output."""
    axes = draw(st.integers(1, 3))
    each = lambda values: tuple(draw(st.lists(values, min_size=axes, max_size=axes)))  # noqa: E731
    groups = draw(st.integers(1, 3))
    per_group = st.integers(1, 3 if axes < 3 else 2)
    channels, outputs = groups * draw(per_group), groups * draw(per_group)
    mode = draw(st.sampled_from(["zeros", "zeros", "zeros", "circular", "replicate", "reflect"]))
    kernel, dilation = each(st.integers(1, 3)), each(st.integers(1, 2))
    if draw(st.integers(0, 3)) == 0:
        stride, padding = 1, draw(st.sampled_from(["same", "same", "valid"]))
    else:
        stride, padding = each(st.integers(1, 3)), each(st.integers(0, 2 if mode != "zeros" else 3))
    size = each(st.integers(3, 5 if axes < 3 else 4))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**20)))
    layer = CONVOLUTIONS[axes](
        channels, outputs, kernel, stride, padding, dilation, groups, draw(st.booleans()), mode, dtype=D
    )
    x = inputs(generator, draw(st.sampled_from([1, 2, 2, 0])), (channels, *size))
    return fill(layer, generator), x, generator


@st.composite
def transposed_convolutions(draw):
    axes = draw(st.integers(1, 3))
    each = lambda values: tuple(draw(st.lists(values, min_size=axes, max_size=axes)))  # noqa: E731
    groups = draw(st.integers(1, 2))
    channels, outputs = groups * draw(st.integers(1, 2)), groups * draw(st.integers(1, 2))
    stride, dilation = each(st.integers(1, 3)), each(st.integers(1, 2))
    extra = tuple(draw(st.integers(0, max(s, d) - 1)) for s, d in zip(stride, dilation, strict=True))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**20)))
    layer = TRANSPOSED[axes](
        channels,
        outputs,
        each(st.integers(1, 3)),
        stride,
        each(st.integers(0, 1)),
        extra,
        groups,
        draw(st.booleans()),
        dilation,
        dtype=D,
    )
    x = inputs(generator, draw(st.sampled_from([1, 2, 2, 0])), (channels, *each(st.integers(2, 3))))
    return fill(layer, generator), x, generator


@st.composite
def linears(draw):
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**20)))
    features = draw(st.integers(1, 6))
    layer = fill(nn.Linear(features, draw(st.integers(1, 5)), draw(st.booleans()), dtype=D), generator)
    between = draw(st.sampled_from([(), (3,), (2, 2)]))
    return layer, inputs(generator, draw(st.sampled_from([1, 2, 2, 0])), (*between, features)), generator


def forward(layer, x):
    try:
        layer(x.new_zeros(1, *x.shape[1:]))
        return layer(x).detach()
    except (
        RuntimeError,
        ValueError,
    ):  # torch cannot do it either: no output, or padding larger than the input
        return assume(False)


def of_type(layer, rule):
    return lrp3d.Composite(layers={type(layer): rule})


def same(found, wanted, scale=None, tolerance=1e-9):
    assert found.shape == wanted.shape
    if found.numel():
        scale = max(1.0, float(wanted.abs().max()) if scale is None else float(scale))
        assert float((found - wanted).abs().max()) <= tolerance * scale


def judge(layer, x, generator, names=tuple(RULES)):
    output = forward(layer, x)
    r = quarters(generator, *output.shape, zeros=0.1)
    for name in names:
        rule, oracle = RULES[name]
        clip = x.clone().requires_grad_()
        twinned = lrp3d.convert(layer, of_type(layer, rule))(clip)
        same(twinned.detach(), output, tolerance=1e-12)
        found = torch.autograd.grad(twinned, clip, r)[0]
        same(found, reference.layer_relevance(layer, x, r, oracle))
        if name in CONSERVING or (name in CONSERVING_WITHOUT_BIAS and layer.bias is None):
            wanted = 0 * r.sum() if name.startswith("contrastive") else reference.reached(layer, x, r)
            same(found.sum(), wanted, found.abs().sum().clamp(min=1))


@settings(max_examples=40)
@given(convolutions())
def test_rules_on_convolutions_are_their_dense_form(drawn):
    judge(*drawn)


@given(transposed_convolutions())
def test_rules_on_transposed_convolutions_are_their_dense_form(drawn):
    judge(*drawn)


@st.composite
def averages(draw):
    """An average pool, the convolution that does the same, and what is averaged, of both signs or of one."""
    axes = draw(st.integers(1, 3))
    kernel, stride = (tuple(draw(st.integers(1, 2)) for _ in range(axes)) for _ in range(2))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**20)))
    convolution = CONVOLUTIONS[axes](2, 2, kernel, stride, groups=2, bias=False, dtype=D)
    nn.init.constant_(convolution.weight, 1 / math.prod(kernel))
    pool = (nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d)[axes - 1](kernel, stride)
    x = inputs(generator, draw(st.sampled_from([1, 2, 2, 0])), (2, *(draw(st.integers(3, 4)) for _ in range(axes))))
    return pool, convolution, draw(st.sampled_from([x, x.abs(), -x.abs()])), generator


@pytest.mark.parametrize("name", RULES)
@given(averages())
def test_rules_on_average_pools_are_those_on_the_same_convolution(name, drawn):
    pool, convolution, x, generator = drawn
    rule, oracle = RULES[name]
    clip = x.requires_grad_()
    output = lrp3d.convert(pool, of_type(pool, rule))(clip)
    r = quarters(generator, *output.shape, zeros=0.1)
    same(torch.autograd.grad(output, clip, r)[0], reference.layer_relevance(convolution, x.detach(), r, oracle))


@given(linears())
def test_rules_on_linear_layers_are_their_dense_form(drawn):
    judge(*drawn)


# -------------------------------------------------------------------------------- zero denominators


def grad(layer, x, r, composite):
    x = x.clone().requires_grad_()
    return torch.autograd.grad(lrp3d.convert(layer.eval(), composite)(x), x, r)[0]


@pytest.mark.parametrize("name", ["zplus", "epsilon", "gamma", "alpha 2 beta 1", "zbeta"])
def test_an_empty_window_shares_equally_among_real_inputs(name):
    rule = rules.ZBeta(0.0, 0.0) if name == "zbeta" else RULES[name][0]
    conv = nn.Conv1d(1, 1, 3, padding=1, bias=False, dtype=D)
    x, r = torch.zeros(1, 1, 3, dtype=D), torch.tensor([[[6.0, 6, 6]]], dtype=D)
    # the outer windows see two real inputs and one of the padding, which is none
    same(grad(conv, x, r, of_type(conv, rule)), torch.tensor([[[5.0, 8, 5]]], dtype=D))


def test_an_even_kernel_with_same_padding_pads_no_inputs():
    conv = nn.Conv1d(1, 1, 2, padding="same", bias=False, dtype=D)
    x, r = torch.zeros(1, 1, 3, dtype=D), torch.ones(1, 1, 3, dtype=D)
    same(grad(conv, x, r, of_type(conv, rules.ZPlus())), torch.tensor([[[0.5, 1.0, 1.5]]], dtype=D))


def test_a_neuron_fired_by_its_bias_alone_keeps_its_relevance():
    layer = nn.Linear(4, 1, dtype=D)
    layer.bias.data.fill_(3)
    found = grad(layer, torch.zeros(1, 4, dtype=D), torch.full((1, 1), 8.0, dtype=D), of_type(layer, rules.ZPlus()))
    same(found, torch.full((1, 4), 2.0, dtype=D))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("size", [1e-30, 1e-7, 1.0, 1e3])
def test_tiny_denominators_neither_leak_nor_overflow(dtype, size):
    layer = nn.Linear(4, 2, bias=False).to(dtype)
    nn.init.constant_(layer.weight, 1)
    x = torch.tensor([[1.0, 2, 3, 4]]).mul(size).to(dtype)
    found = grad(layer, x, torch.ones(1, 2, dtype=dtype), of_type(layer, rules.ZPlus()))
    assert bool(found.isfinite().all())
    assert float(found.sum()) == pytest.approx(2, rel=2 * torch.finfo(dtype).eps)


# -------------------------------------------------------------------------------- several seeds


@settings(max_examples=30)
@given(st.one_of(convolutions(), transposed_convolutions(), linears()), st.sampled_from(sorted(RULES)))
def test_seeds_together_are_seeds_one_at_a_time(drawn, name):
    layer, x, generator = drawn
    output = forward(layer, x)
    seeds = quarters(generator, 3, *output.shape)
    twin = lrp3d.convert(layer, of_type(layer, RULES[name][0]))
    record = twin.record((x,))
    together = propagate([Start(edge_of(record.output), seeds)], [edge_of(record.entries[0])]).relevance[0]
    alone = torch.stack([grad(layer, x, seed, twin.composite) for seed in seeds])
    same(together, alone, tolerance=1e-12)


# -------------------------------------------------------------------------------- the ledger


@settings(max_examples=60)
@given(
    st.one_of(convolutions(), transposed_convolutions(), linears()),
    st.sampled_from(["epsilon", "epsilon 0.5", "gamma", "zplus"]),
)
def test_the_ledger_books_what_a_rule_absorbs(drawn, name):
    assume(forward(*drawn[:2]).numel() > 0)
    books_balance(*drawn, name)


@pytest.mark.parametrize("name", ["epsilon", "zplus"])
@pytest.mark.parametrize(
    "layer", [nn.Conv2d(1, 2, 1, padding=(0, 1)), nn.ConvTranspose2d(1, 2, 1, stride=2), nn.Conv2d(1, 2, 2, padding=2)]
)
def test_the_ledger_books_what_arrives_at_outputs_that_see_padding_only(layer, name):
    generator = torch.Generator().manual_seed(0)
    books_balance(fill(layer.to(D), generator), inputs(generator, 2, (1, 3, 3)), generator, name)


def books_balance(layer, x, generator, name):
    head = fill(nn.Linear(forward(layer, x)[0].numel(), 3, dtype=D), generator)
    model = nn.Sequential(layer, nn.Flatten(), head).eval()
    composite = lrp3d.Composite(names={"0": RULES[name][0], "2": rules.Epsilon()})
    found = lrp3d.explain(model, x, 1, composite=composite, temporal=False, contrastive=False)
    scale = max(1.0, float(found.relevance.abs().sum()))
    same(found.relevance.sum() + found.ledger.absorbed, found.logits[:, 1].sum(), scale)
    for entry, module in zip(found.ledger, (head, layer), strict=True):
        assert entry.layer == {head: "2", layer: "0"}[module]
    same(torch.tensor(found.ledger[-1].relevance_out, dtype=D), found.relevance.sum(), scale)


# -------------------------------------------------------------------------------- what a rule says of itself


class KeepsTheBias(rules.Rule):
    """The rule of a user: contributions, with the bias in the denominator."""

    def shares(self, x, w, bias):
        return [rules.Share(1.0, [rules.Term(x.value, w.value)], bias)]


class Shifted(nn.Module):
    def forward(self, x):
        return x + torch.tensor([0.5, -0.25, 2.0], dtype=D)


def test_a_rule_that_may_absorb_shares_with_an_added_constant():
    x, r = torch.tensor([[1.0, 1.0, -3.0]], dtype=D), torch.ones(1, 3, dtype=D)
    found = grad(Shifted(), x, r, lrp3d.Composite(operations={torch.add: KeepsTheBias()}))
    same(found, x / (x + torch.tensor([0.5, -0.25, 2.0])), tolerance=1e-12)


@pytest.mark.parametrize("name", [name for name, (rule, _) in RULES.items() if not rule.absorbs])
def test_a_rule_that_absorbs_nothing_hands_on_what_its_shares_would(name):
    rule = RULES[name][0]
    computed = copy.copy(rule)
    object.__setattr__(computed, "absorbs", True)
    x, r = torch.tensor([[1.0, 0.0, -1.0]], dtype=D), torch.tensor([[1.0, -2.0, 3.0]], dtype=D)
    assert grad(Shifted(), x, r, lrp3d.Composite({nn.Conv2d: rules.Epsilon(0)}, {torch.add: rule})).equal(r)
    same(grad(Shifted(), x, r, lrp3d.Composite(operations={torch.add: computed})), r)


def test_a_rule_of_a_user_is_winner_takes_all_on_maxima_if_it_says_so():
    @dataclass(frozen=True)
    class Winner(rules.Rule):
        on_maxima = True

    pool, x, r = nn.MaxPool1d(2), torch.tensor([[[1.0, 3.0, 2.0, 2.0]]], dtype=D), torch.tensor([[[1.0, 4.0]]], dtype=D)
    same(grad(pool, x, r, of_type(pool, Winner())), torch.tensor([[[0.0, 1.0, 2.0, 2.0]]], dtype=D), tolerance=0)
    with pytest.raises(ValueError, match="cannot be the rule"):
        grad(pool, x, r, of_type(pool, KeepsTheBias()))


def test_epsilon_on_a_maximum_is_winner_takes_all():
    pool, x, r = nn.MaxPool1d(2), torch.tensor([[[1.0, 3.0, 2.0, 2.0]]], dtype=D), torch.tensor([[[1.0, 4.0]]], dtype=D)
    same(grad(pool, x, r, of_type(pool, rules.Epsilon())), grad(pool, x, r, lrp3d.Composite()), tolerance=0)


def test_a_statistic_and_a_product_take_the_rules_that_they_have_without_being_told():
    class Of(nn.Module):
        def __init__(self, function):
            super().__init__()
            self.function = function

        def forward(self, x):
            return self.function(x)

    x, r = torch.tensor([[3.0, 4.0]], dtype=D), torch.tensor([25.0], dtype=D)
    length, product = Of(lambda x: x.norm(dim=1)), Of(lambda x: x[:, 0] * x[:, 1])
    by_hand = lrp3d.Composite(operations={torch.norm: rules.ByContribution()})
    same(grad(length, x, r, by_hand), grad(length, x, r, lrp3d.Composite()), tolerance=0)
    halves = lrp3d.Composite(operations={torch.mul: rules.InHalves()}, products="halves")
    same(grad(product, x, r, halves), grad(product, x, r, lrp3d.Composite(products="halves")), tolerance=0)
    for model, rule in ((length, rules.InHalves()), (product, rules.ByContribution())):
        names = lrp3d.Composite(operations={torch.norm: rule, torch.mul: rule}, products="halves")
        with pytest.raises(ValueError, match="cannot be the rule"):
            grad(model, x, r, names)


def test_what_is_opposed_is_explained_under_negated_weights_with_the_epsilon_of_its_rule():
    x, r = torch.tensor([[1.0, 3.0]], dtype=D), torch.tensor([[5.0]], dtype=D)
    head, turned = (nn.Linear(2, 1, bias=False, dtype=D) for _ in range(2))
    head.weight.data = torch.tensor([[1.0, -2.0]], dtype=D)
    turned.weight.data = -head.weight.data
    rule = rules.Epsilon(0.5)
    opposed = rules.Opposed(rule)
    same(grad(head, x, r, of_type(head, opposed)), grad(turned, x, r, of_type(head, rule)), tolerance=0)
    assert opposed == rules.Opposed(rule, torch.ones(2)) != rules.Opposed(rules.Epsilon(0.1))


# -------------------------------------------------------------------------------- rules that do not share


@pytest.mark.parametrize("layer", [nn.Linear(3, 3), nn.Conv1d(2, 2, 3, padding=1), nn.Conv3d(1, 1, 1)], ids=str)
def test_identity_passes_relevance_where_shapes_fit(layer):
    layer = layer.to(D)
    x = torch.randn(2, *{nn.Linear: (3,), nn.Conv1d: (2, 4), nn.Conv3d: (1, 2, 2, 2)}[type(layer)], dtype=D)
    r = torch.randn_like(x)
    same(grad(layer, x, r, of_type(layer, rules.Identity())), r, tolerance=0)


@pytest.mark.parametrize("rule", [rules.Identity(), rules.WinnerTakesAll()], ids=str)
def test_a_rule_that_makes_no_sense_for_a_layer_is_refused_by_name(rule):
    layer = nn.Linear(3, 2)
    with pytest.raises(ValueError, match="cannot be the rule"):
        grad(layer, torch.rand(1, 3), torch.ones(1, 2), of_type(layer, rule))


@pytest.mark.parametrize(("alpha", "beta"), [(2.0, 0.5), (0.5, -0.5)])
def test_alpha_beta_must_conserve(alpha, beta):
    with pytest.raises(ValueError, match="alpha - beta = 1"):
        rules.AlphaBeta(alpha, beta)
