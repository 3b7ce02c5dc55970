"""Sums share by the positive parts of their summands; constants get nothing."""

import einops
import pytest
import reference
import torch
import torch.nn.functional as F
from forwards import D, Net, X, clip, close, everywhere, relevance, twin_relevance
from torch import nn

import lrp3d
from lrp3d.propagation.propagate import Start, propagate
from lrp3d.steps.graph import edge_of
from lrp3d.rules import Epsilon, SameSign, ZPlus

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
@pytest.mark.parametrize("rule", [ZPlus(), SameSign()])
def test_a_sum_is_shared_by_parts_of_one_sign(name, rule):
    """The positive parts, which is the default, or those that have the sign of the sum."""
    function = SUMS[name]
    both = torch.cat([A, C], 1)
    r = torch.rand(2, 3, 4, dtype=D)
    wanted = torch.cat(reference.sum_relevance([A, C], r, by_sign=rule.by_sign), 1)
    composites = [everywhere(rule)] + ([] if rule.by_sign else [lrp3d.composites.paper])
    for composite in composites:
        close(relevance(lambda x: function(*F.leaky_relu(x, 1.0).chunk(2, 1)), both, r, composite), wanted)


def test_a_sum_takes_the_epsilon_rule_where_asked_for():
    both, r = torch.cat([A, C], 1), torch.rand(2, 3, 4, dtype=D)
    found = relevance(lambda x: x[:, :3] + x[:, 3:], both, r, everywhere(Epsilon(1e-9)))
    z = A + C
    stable = torch.where(z == 0, 1.0, z + 1e-9 * (1 - 2 * (z < 0).to(z)))
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


def test_a_sum_that_let_go_of_its_summands_shares_as_before():
    """First asked with bare relevance, then with what a convolution left to be multiplied, then bare again."""

    class Residual(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two, self.last = (nn.Conv3d(2, 2, 3, padding=1, dtype=D) for _ in range(3))

        def forward(self, x):
            return self.last(torch.relu(self.one(x) + self.two(x)))

    twin = lrp3d.convert(Residual().eval())
    x, seeds = torch.randn(1, 2, 3, 4, 4, dtype=D), torch.randn(2, 1, 2, 3, 4, 4, dtype=D)

    def sum_of(record):
        (activation, _), *_ = edge_of(record.output)[0].next_functions
        return activation.next_functions[0]

    def asked(record, edge):
        return propagate([Start(edge, seeds)], [edge_of(record.entries[0])]).relevance[0]

    fresh = [twin.record((x,)) for _ in range(2)]
    wanted = asked(fresh[0], edge_of(fresh[0].output)), asked(fresh[1], sum_of(fresh[1]))
    record = twin.record((x,))
    close(asked(record, sum_of(record)), wanted[1])
    close(asked(record, edge_of(record.output)), wanted[0])
    close(asked(record, sum_of(record)), wanted[1])


def test_folded_patches_share_where_they_overlap():
    x, r = clip(2, 3 * 4, 9) + 0.25, torch.rand(2, 3, 4, 4, dtype=D)
    found = relevance(lambda x: F.fold(F.leaky_relu(x, 1.0), 4, 2), x, r, everywhere(ZPlus()))
    over = F.fold(x.clamp(min=0), 4, 2)
    wanted = F.unfold(r / over.where(over > 0, 1.0), 2) * x.clamp(min=0)
    equally = F.unfold(torch.where(over > 0, 0.0, r) / F.fold(torch.ones_like(x), 4, 2), 2)
    close(found, wanted + equally)


def test_constants_get_nothing_in_large_sums_either(monkeypatch):
    """A sum computed block by block is the sum computed at once, also where a model wrote constants into a summand."""

    def function(x):
        x = F.leaky_relu(x, 1.0)
        return torch.cat([torch.ones(2, 1, 4, dtype=D), x[:, 1:]], 1) + x.flip(1)

    r = torch.rand(2, 3, 4, dtype=D)
    at_once = relevance(function, A, r)
    monkeypatch.setattr("lrp3d.steps.summands.BLOCK", 5)
    close(relevance(function, A, r), at_once)
    close(at_once.sum(), r.sum())


CLIP = torch.randn(1, 3, 4, 6, 6, dtype=D, generator=torch.Generator().manual_seed(0))

FUNCTIONS_THAT_SUM = {
    "lerp": lambda x: torch.lerp(x, x.roll(1, 2), 0.3),
    "addcmul": lambda x: torch.addcmul(x, x.roll(1, 2), torch.tensor(0.3, dtype=x.dtype)),
    "cumsum": lambda x: x.cumsum(2),
    "index_add": lambda x: x.index_add(1, torch.tensor([0, 1]), x[:, 2:4]),
    "scatter_add": lambda x: x.scatter_add(1, (torch.arange(6) // 2).view(1, 6, 1, 1, 1).expand_as(x), x),
    "diff": lambda x: x.diff(dim=2),
    "nansum": lambda x: x.nansum(2, keepdim=True),
    "nanmean": lambda x: x.nanmean(2, keepdim=True),
}


@pytest.mark.parametrize("name", FUNCTIONS_THAT_SUM)
def test_the_preset_epsilon_is_input_times_gradient_at_every_sum(name):
    class Biasless(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.conv, self.fc = nn.Conv3d(3, 6, 3, padding=1, bias=False), nn.Linear(6, 5, bias=False)

        def forward(self, x):
            return self.fc(FUNCTIONS_THAT_SUM[name](F.leaky_relu(self.conv(x), 0.2)).mean((2, 3, 4)))

    net = Biasless().double().eval()
    x = CLIP.clone().requires_grad_()
    wanted = torch.autograd.grad(net(x)[0, 0], x)[0] * CLIP
    found = lrp3d.explain(net, CLIP, 0, composite="epsilon", contrastive=False, temporal=False).relevance
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-6)


HOLES = torch.rand(1, 3, 4, 6, 6, generator=torch.Generator().manual_seed(5)) < 0.3
HOLES[:, 0] = HOLES[:, :, 0] = False  # some numbers in every sum


def _with_holes(x):
    return torch.where(HOLES, torch.nan, F.leaky_relu(x, 1.0))


WITHOUT_HOLES = {
    "nansum": (lambda x: x.nansum(2), lambda x: x.nan_to_num().sum(2)),
    "nansum of everything": (lambda x: torch.nansum(x).view(1), lambda x: x.nan_to_num().sum().view(1)),
    "nanmean": (lambda x: x.nanmean((2, 3)), lambda x: x.nan_to_num().sum((2, 3)) / (~x.isnan()).sum((2, 3))),
    "nanmean keepdim": (
        lambda x: torch.nanmean(x, 1, keepdim=True),
        lambda x: x.nan_to_num().sum(1, True) / (~x.isnan()).sum(1, True),
    ),
}


@pytest.mark.parametrize("holes", [True, False])
@pytest.mark.parametrize("name", WITHOUT_HOLES)
def test_what_is_no_number_gets_nothing_of_a_sum_of_the_others(name, holes):
    called, by_hand = WITHOUT_HOLES[name]
    maps = []
    for function in (called, by_hand):
        model = Net(lambda x, function=function: function(_with_holes(x) if holes else F.leaky_relu(x, 1.0)))
        _, r, found = twin_relevance(model, CLIP, maps[0][0] if maps else None)
        maps.append((r, found))
    close(maps[0][1], maps[1][1])
    close(maps[0][1].sum(), maps[0][0].sum())
    if holes:
        assert not maps[0][1][HOLES].any()


def test_a_mean_of_numbers_over_time_has_the_frame_logits_of_a_mean():
    def explained(pool):
        torch.manual_seed(0)
        layers = {"conv": nn.Conv3d(3, 6, 3, padding=1), "fc": nn.Linear(6, 5)}
        net = Net(lambda self, x: self.fc(pool(self.conv(x).relu().mean((3, 4)))), **layers).eval()
        return lrp3d.explain(net, CLIP, 0)

    found, wanted = explained(lambda x: x.nanmean(2)), explained(lambda x: x.mean(2))
    close(found.matrix, wanted.matrix)
    close(found.relevance, wanted.relevance)


ALIKE = {
    "mean over time": (lambda x, full: torch.einsum("bct,t->bc", x, full(4)), lambda x: x.mean(2)),
    "the constant first": (lambda x, full: torch.einsum("t,bct->bc", full(4), x), lambda x: x.mean(2)),
    "an ellipsis": (lambda x, full: torch.einsum("...t,t", x, full(4)), lambda x: x.mean(2)),
    "two axes": (lambda x, full: torch.einsum("bct,ct->b", x, full(3, 4)), lambda x: x.mean((1, 2))),
    "another axis too": (lambda x, full: torch.einsum("bct,t->b", x, full(4)), lambda x: x.sum((1, 2)) / 4),
    "tensordot": (lambda x, full: torch.tensordot(x, full(4), 1), lambda x: x.mean(2)),
    "in another order": (lambda x, full: torch.einsum("bct,t->cb", x, full(4)), lambda x: x.mean(2).mT),
}


@pytest.mark.parametrize("name", ALIKE)
def test_an_einstein_sum_that_weighs_all_alike_is_a_mean(name):
    by_einsum, called = ALIKE[name]

    def full(*shape):
        return torch.full(shape, 1 / torch.Size(shape).numel(), dtype=D)

    _, r, found = twin_relevance(Net(lambda x: by_einsum(F.leaky_relu(x, 1.0), full)), A)
    close(found, twin_relevance(Net(lambda x: called(F.leaky_relu(x, 1.0))), A, r)[2])


@pytest.mark.parametrize(
    "pool", [lambda x, w: torch.einsum("bct,t->bc", x, w), lambda x, w: torch.einsum("t,bct->bc", w, x)]
)
def test_an_einstein_sum_that_averages_over_time_has_frame_logits(pool):
    def explained(pool):
        torch.manual_seed(0)
        layers = {"conv": nn.Conv3d(3, 6, 3, padding=1), "fc": nn.Linear(6, 5)}
        net = Net(lambda self, x: self.fc(pool(self.conv(x).relu().mean((3, 4)))), **layers).eval()
        return lrp3d.explain(net, CLIP, 0)

    found = explained(lambda x: pool(x, x.new_full((x.shape[2],), 1 / x.shape[2])))
    close(found.matrix, explained(lambda x: x.mean(2)).matrix)


@pytest.mark.parametrize(
    "weights",
    [nn.Parameter(torch.full((4,), 0.25, dtype=D)), torch.tensor([0.25, 0.25, 0.25, -0.25], dtype=D)],
    ids=["parameter", "weights that differ"],
)
def test_an_einstein_sum_with_any_other_weights_is_a_layer(weights):
    rows = lrp3d.inspect(Net(lambda x: torch.einsum("bct,t->bc", F.leaky_relu(x, 1.0), weights)).eval(), A)
    assert [row.name for row in rows] == ["leaky_relu", "einsum"]


def test_an_einstein_sum_spreads_an_axis_of_one_before_it_weighs():
    weights, x = torch.full((4,), 0.25, dtype=D), A[:, :, :1]
    _, r, found = twin_relevance(Net(lambda x: torch.einsum("bct,t->bc", x, weights)), x)
    close(found, r[..., None])
