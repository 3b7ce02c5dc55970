"""What waits to be multiplied changes nothing: sums of waiting relevance are sums of relevance, and so are totals."""

import gc
import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import lrp3d
from lrp3d.compute import totals
from lrp3d.compute.bands import Band
from lrp3d.compute.maps import Broadcast
from lrp3d.compute.terms import Signed
from lrp3d.rules import SameSign, ZPlus
from lrp3d.steps.factor import Factor
from lrp3d.steps.lazy_relevance import LazyRelevance
from lrp3d.steps.linear import LinearStep
from lrp3d.steps.operands import PreparedOperand
from lrp3d.steps.step import Site, Step, Token

D = torch.float64
SHAPE = torch.Size((2, 3, 4, 2, 1))
BANDS = [None, Band(2, 0, 2), Band(2, 1, 3)]
generators = st.integers(0, 1000).map(lambda seed: torch.Generator().manual_seed(seed))


def signed(generator, *shape):
    return torch.randn(*shape, generator=generator, dtype=D)


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(totals, "LONG", 1)
    monkeypatch.setattr(totals, "BLOCK", 5)


@pytest.mark.parametrize("layout", ["contiguous", "a part of a larger tensor", "broadcast"])
@pytest.mark.parametrize("factors", [0, 1, 2, 3])
def test_a_sum_of_products_is_the_sum_of_the_products(small_blocks, factors, layout):
    generator = torch.Generator().manual_seed(factors)
    value = signed(generator, 3, *SHAPE)
    made = [signed(generator, *SHAPE) for _ in range(factors)]
    if layout == "a part of a larger tensor":
        made = [torch.cat([x, x], 2)[:, :, 1:5] for x in made]
    if layout == "broadcast":
        made = [x[:, :, :1] for x in made]
    expected = value.clone()
    for factor in made:
        expected = expected * factor
    found = totals.sums_of_products(value, made)
    torch.testing.assert_close(found, expected.flatten(1).sum(1))


@pytest.mark.parametrize("bands", list(itertools.product(BANDS, repeat=3)), ids=str)
def test_relevance_that_waits_adds_up_to_the_sum_of_what_it_stands_for(bands):
    """Whether it comes from branches of one activation, from others, or without a factor, and in whatever bands."""
    generator = torch.Generator().manual_seed(0)
    x, other, one, two = (signed(generator, *SHAPE).abs() for _ in range(4))
    factors = [
        None,
        Factor(x),
        Factor(x.view_as(x), one),
        Factor(x, two),
        Factor(signed(generator, *SHAPE), one, positive=True),
        Factor(other),
    ]
    values = [signed(generator, 3, *(SHAPE if band is None else band.shape(SHAPE))) for band in bands]
    for chosen in itertools.product(factors, repeat=3):
        parts = [LazyRelevance(v.clone(), f, band=b) for v, f, b in zip(values, chosen, bands, strict=True)]
        dense = sum(part.tensor(SHAPE) for part in parts)
        whole = parts[0].plus(parts[1], SHAPE).plus(parts[2], SHAPE)
        torch.testing.assert_close(whole.tensor(SHAPE), dense)
        torch.testing.assert_close(whole.total(), dense.flatten(1).sum(1))
        for part, value in zip(parts, values, strict=True):
            assert torch.equal(part.value, value)  # others may use the same value


@given(st.permutations([None, 1.0, 2.0]), st.sampled_from(BANDS), st.sampled_from(BANDS))
def test_branches_of_one_activation_meet_without_being_multiplied_by_it(scales, one_band, other_band):
    """What waits then is one and the same object, so that the step below prepares its shares once for all seeds."""
    x = torch.rand(SHAPE, dtype=D)
    plain = Factor(x)
    factors = [plain if scale is None else Factor(x, torch.full(SHAPE, scale, dtype=D)) for scale in scales[:2]]

    def meet():
        parts = [
            LazyRelevance(torch.ones(1, *(SHAPE if band is None else band.shape(SHAPE)), dtype=D), factor, band=band)
            for factor, band in zip(factors, (one_band, other_band), strict=True)
        ]
        return parts[0].plus(parts[1], SHAPE).factor

    assert meet().activation is x
    assert meet().scale is None
    assert meet() is meet()
    assert plain not in factors or meet() is plain


def sum_of(x, branch, rule):
    """The step of x + branch, where x is known to be positive or zero."""
    operands = [
        PreparedOperand(x, Signed(x, nonnegative=True), Broadcast(x.shape), Signed(1.0)),
        PreparedOperand(branch, Signed(branch), Broadcast(x.shape), Signed(1.0)),
    ]
    step = LinearStep(operands)
    step.site = Site("sum", "add", x.shape, x.dtype, Token(0))
    step.assign_rule(rule)
    return step


@given(generators, st.sampled_from([ZPlus(), SameSign()]), st.sampled_from(BANDS), st.booleans())
def test_a_shortcut_hands_on_its_activation_and_a_scale(generator, rule, band, by_blocks):
    """Equal to shares computed of the whole relevance; and both totals, of which only one is added up."""
    x, branch = signed(generator, *SHAPE).relu(), signed(generator, *SHAPE)
    value = signed(generator, 2, *(SHAPE if band is None else band.shape(SHAPE)))
    arriving = LazyRelevance(value, Factor((x + branch).relu()), band=band)
    with pytest.MonkeyPatch.context() as patch:
        if by_blocks:
            patch.setattr("lrp3d.steps.summands.BLOCK", 5)
        step = sum_of(x, branch, rule)
        found = step.propagate(arriving)
    expected = sum_of(x, branch, rule).relevance(arriving.tensor(SHAPE))
    assert found[0].factor.activation is x
    assert found[0].factor.scale is not None
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one.tensor(SHAPE), other)
        torch.testing.assert_close(one.total(), other.flatten(1).sum(1))
    torch.testing.assert_close(found[0].total() + found[1].total(), arriving.total())


class Damped(ZPlus):
    """Shares by positive parts, with an epsilon in the denominator."""

    epsilon = 0.1
    absorbs = True


@pytest.mark.parametrize(
    ("rule", "summands", "expected"),
    [
        (SameSign(), (1.0, -4.0), (0.0, 6.0)),
        (SameSign(), (0.0, 0.0), (3.0, 3.0)),
        (ZPlus(), (0.0, -4.0), (3.0, 3.0)),
        (Damped(), (1.0, 1.0), (6 / 2.1, 6 / 2.1)),
    ],
)
def test_relevance_that_is_not_shared_by_positive_parts_takes_the_general_way(rule, summands, expected):
    """Relevance at a negative sum is that of its negative summands, and one at zero is shared equally."""
    x, branch = (torch.tensor([[beside, value]], dtype=D) for beside, value in zip((2.0, 3.0), summands, strict=True))
    arriving = LazyRelevance(torch.ones(1, 1, 2, dtype=D), Factor(torch.tensor([[5.0, 6.0]], dtype=D)))
    found = sum_of(x, branch, rule).propagate(arriving)
    assert all(part.factor.scale is None for part in found)
    torch.testing.assert_close(tuple(float(part.tensor(x.shape)[0, 0, 1]) for part in found), expected)


class Residual(nn.Module):
    """Two residual blocks and a head."""

    def __init__(self):
        super().__init__()
        self.stem, self.fc = nn.Conv3d(3, 4, 1), nn.Linear(4, 5)
        self.blocks = nn.ModuleList(nn.Conv3d(4, 4, 3, padding=1) for _ in range(2))

    def forward(self, clip):
        x = self.stem(clip).relu()
        for block in self.blocks:
            x = (x + block(x)).relu()
        return self.fc(x.mean((3, 4)).transpose(1, 2)).mean(1)


def test_what_an_explanation_used_is_free_at_once():
    """No circle of references keeps activations until Python looks for circles, while the next clip needs memory."""
    twin = lrp3d.convert(Residual().eval())
    gc.collect()
    gc.disable()
    try:
        lrp3d.explain(twin, torch.rand(1, 3, 4, 6, 6))
        assert not [x for x in gc.get_objects() if issubclass(type(x), Step)]
    finally:
        gc.enable()


def test_shortcuts_are_prepared_once_for_all_seeds(monkeypatch):
    prepared = []
    original = LinearStep._prepare

    def counted(self, lazy):
        prepared.append(self.name)
        original(self, lazy)

    monkeypatch.setattr(LinearStep, "_prepare", counted)
    lrp3d.explain(Residual().eval(), torch.rand(1, 3, 9, 6, 6), chunk_size=1)
    names = [name for name in prepared if name.startswith(("blocks", "add", "stem"))]
    assert len(names) == len(set(names)) == 5
