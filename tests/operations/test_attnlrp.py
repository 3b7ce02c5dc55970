"""AttnLRP is its equations, written out slowly: a softmax is expanded, a product shares by halves."""

import math
from dataclasses import dataclass

import pytest
import torch
import torch.nn.functional as F
from forwards import D, Net, clip, close, twin_relevance
from torch import nn

import lrp3d
from lrp3d.rules import Epsilon, Rule, SoftmaxTaylor


def attnlrp_reference(q, k, v, r, scale, eps):
    """AttnLRP of softmax(q k^T scale) v, one number at a time (2402.05602: Eq. 13 and Eq. 14, with epsilon)."""

    def product(a, b, above):
        """Half to each factor: R(a_ji) = sum_p a_ji b_ip R_jp / (2 o_jp + eps)."""
        of_a, of_b, out = torch.zeros_like(a), torch.zeros_like(b), a @ b
        for j in range(a.shape[0]):
            for p in range(b.shape[1]):
                z = 2 * out[j, p] + (eps if out[j, p] >= 0 else -eps)
                for i in range(a.shape[1]):
                    of_a[j, i] += a[j, i] * b[i, p] / z * above[j, p]
                    of_b[i, p] += a[j, i] * b[i, p] / z * above[j, p]
        return of_a, of_b

    scores = q @ k.T * scale
    s = scores.softmax(-1)
    of_s, of_v = product(s, v, r)
    of_scores = torch.zeros_like(scores)
    for j in range(len(scores)):
        for i in range(len(scores)):
            of_scores[j, i] = scores[j, i] * (of_s[j, i] - s[j, i] * of_s[j].sum())
    of_q, of_k = product(q, k.T, of_scores)
    return torch.stack([of_q, of_k.T, of_v])


def test_attnlrp_is_its_equations():
    x = torch.randn(3, 5, 4, dtype=D, generator=torch.Generator().manual_seed(0))
    wanted_r = torch.randn(5, 4, dtype=D, generator=torch.Generator().manual_seed(1))
    wanted = attnlrp_reference(*x, wanted_r, 0.5, 1e-6)
    fused = Net(lambda x: F.scaled_dot_product_attention(x[0], x[1], x[2]))
    by_hand = Net(lambda x: F.softmax(x[0] @ x[1].mT * 0.5, -1) @ x[2])
    for model in (fused, by_hand):
        close(twin_relevance(model, x, wanted_r, "attnlrp")[2], wanted)


def test_attnlrp_expands_a_softmax_over_whichever_axis():
    x = torch.randn(3, 5, 4, dtype=D, generator=torch.Generator().manual_seed(0))
    last = Net(lambda x: (x[0] @ x[1].mT).softmax(-1) @ x[2])
    first = Net(lambda x: (x[1] @ x[0].mT).softmax(0).mT @ x[2])
    _, r, wanted = twin_relevance(last, x, None, "attnlrp")
    close(twin_relevance(first, x, r, "attnlrp")[2], wanted)


MASKS = {
    "filled": lambda scores, out: scores.masked_fill(out, -math.inf),
    "added": lambda scores, out: scores + torch.zeros(5, dtype=D).masked_fill(out, -math.inf),
}


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
def test_attnlrp_gives_nothing_to_keys_that_a_mask_leaves_out(mask):
    """What is left is the attention to the other keys."""
    x = torch.randn(3, 5, 4, dtype=D, generator=torch.Generator().manual_seed(0))
    left_out = torch.tensor([False, True, False, True, False])

    def attended(x, keys, scores):
        return scores.softmax(-1) @ x[2, keys]

    def masked(x):
        return attended(x, slice(None), mask(x[0] @ x[1].mT, left_out))

    def shorter(x):
        return attended(x, ~left_out, x[0] @ x[1, ~left_out].mT)

    _, r, wanted = twin_relevance(Net(shorter), x, None, "attnlrp")
    _, _, found = twin_relevance(Net(masked), x, r, "attnlrp")
    close(found, wanted, 1e-4)  # the sum with a mask keeps what its epsilon takes
    assert found[1:, left_out].abs().max() == 0


@pytest.mark.parametrize("composite", [*lrp3d.composites.PRESETS, "own"])
@pytest.mark.parametrize("left_out", [False, True])
def test_what_is_added_to_the_scores_takes_its_part_however_attention_is_written(composite, left_out):
    """Biases of positions are constants of a sum like any other."""
    x = torch.randn(3, 5, 4, dtype=D, generator=torch.Generator().manual_seed(0))
    bias = torch.randn(5, 5, dtype=D, generator=torch.Generator().manual_seed(1))
    if left_out:
        bias[torch.eye(5).roll(1, 0).bool()] = -math.inf
    own = lrp3d.Composite(operations={F.softmax: SoftmaxTaylor(), torch.add: Epsilon(0.5)}, products="halves")
    composite = own if composite == "own" else composite
    fused = Net(lambda x: F.scaled_dot_product_attention(x[0], x[1], x[2], attn_mask=bias))
    by_hand = Net(lambda x: F.softmax(x[0] @ x[1].mT * 0.5 + bias, -1) @ x[2])
    _, r, found = twin_relevance(fused, x, None, composite)
    close(found, twin_relevance(by_hand, x, r, composite)[2])


@dataclass(frozen=True)
class Expanded(Rule):
    """A rule of somebody's own, which says that it can be used for a softmax."""

    on_softmax = True


def test_any_rule_that_says_it_is_for_a_softmax_is_used_there():
    x = torch.randn(3, 5, 4, dtype=D, generator=torch.Generator().manual_seed(0))
    for model in (
        Net(lambda x: F.scaled_dot_product_attention(x[0], x[1], x[2])),
        Net(lambda x: F.softmax(x[0] @ x[1].mT * 0.5, -1) @ x[2]),
    ):
        theirs, ours = (
            lrp3d.Composite(operations={F.softmax: rule}, products="halves") for rule in (Expanded(), SoftmaxTaylor())
        )
        _, r, found = twin_relevance(model, x, None, theirs)
        close(found, twin_relevance(model, x, r, ours)[2])
        for part in found[:2]:  # queries and keys have relevance of their own
            assert part.any()


class OfModules(nn.Module):
    """Attention whose softmax is a module, or a subclass of one."""

    def __init__(self, softmax):
        super().__init__()
        self.softmax = softmax

    def forward(self, x):
        return self.softmax(x[0] @ x[1].mT * 0.5) @ x[2]


class Sharper(nn.Softmax):
    """A softmax of somebody's own."""


TAYLOR = SoftmaxTaylor()
ENTRIES = {
    "operation": {"operations": {torch.softmax: TAYLOR}},
    "layer": {"layers": {nn.Softmax: TAYLOR}},
    "subclass": {"layers": {Sharper: TAYLOR}},
    "name": {"names": {"softmax": TAYLOR}},
    "pattern": {"names": {"soft*": TAYLOR}},
}


@pytest.mark.parametrize("entry", ENTRIES)
def test_a_softmax_gets_its_rule_by_operation_by_type_or_by_name(entry):
    x = torch.randn(3, 5, 4, dtype=D, generator=torch.Generator().manual_seed(0))
    theirs = lrp3d.Composite(**ENTRIES[entry], products="halves")
    _, r, found = twin_relevance(OfModules(Sharper(-1)), x, None, theirs)
    ours = lrp3d.Composite(operations={F.softmax: TAYLOR}, products="halves")
    close(found, twin_relevance(Net(lambda x: F.softmax(x[0] @ x[1].mT * 0.5, -1) @ x[2]), x, r, ours)[2])
    assert found[0].any()


def largest(x, axis):
    return x.max(axis, keepdim=True).values


BY_HAND = {
    "exponentials": lambda x, axis: x.exp() / x.exp().sum(axis, keepdim=True),
    "exponentials, kept": lambda x, axis: (lambda e: e / e.sum(axis, keepdim=True))(x.exp()),
    "lowered": lambda x, axis: (lambda e: e / e.sum(dim=axis, keepdim=True))(torch.exp(x - x.amax(axis, keepdim=True))),
    "lowered by max": lambda x, axis: (lambda e: torch.div(e, torch.sum(e, axis, True)))((x - largest(x, axis)).exp()),
}


@pytest.mark.parametrize("axis", [-1, 0])
@pytest.mark.parametrize("composite", ["paper", "epsilon", "attnlrp"])
@pytest.mark.parametrize("name", BY_HAND)
def test_a_softmax_that_is_written_by_hand_is_a_softmax(name, composite, axis):
    x = torch.randn(3, 5, 5, dtype=D, generator=torch.Generator().manual_seed(0))
    by_hand, softmax = (
        Net(lambda x, function=function: function(x[0] @ x[1].mT * 0.5, axis) @ x[2])
        for function in (BY_HAND[name], F.softmax)
    )
    _, r, found = twin_relevance(by_hand, x, None, composite)
    close(found, twin_relevance(softmax, x, r, composite)[2])
    assert found[0].any() == (composite == "attnlrp")


NO_SOFTMAX = {
    "a mean": lambda x: x.exp() / x.exp().mean(-1, keepdim=True),
    "another axis": lambda x: x.exp() / x.exp().sum(-2, keepdim=True).mT,
    "both axes": lambda x: x.exp() / x.exp().sum((-2, -1), keepdim=True),
    "others": lambda x: x.exp() / (x * 2).exp().sum(-1, keepdim=True),
}


@pytest.mark.parametrize("name", NO_SOFTMAX)
def test_other_quotients_of_exponentials_are_none(name):
    x = torch.randn(3, 5, 5, dtype=D, generator=torch.Generator().manual_seed(0))
    model = Net(lambda x: NO_SOFTMAX[name](x[0] @ x[1].mT * 0.5) @ x[2])
    with pytest.raises(lrp3d.UnsupportedOperation, match="exp"):
        twin_relevance(model, x, None, "attnlrp")


@pytest.mark.parametrize("entry", [entry for entry in ENTRIES if entry != "pattern"])
def test_a_rule_that_is_for_no_softmax_is_refused_there_and_not_passed_over(entry):
    ((argument, given),) = ENTRIES[entry].items()
    x = torch.randn(3, 5, 4, dtype=D, generator=torch.Generator().manual_seed(0))
    composite = lrp3d.Composite(**{argument: dict.fromkeys(given, Epsilon())}, products="halves")
    with pytest.raises(ValueError, match=r"^Epsilon\(.*\) cannot be the rule of 'softmax' \(softmax\)"):
        twin_relevance(OfModules(Sharper(-1)), x, None, composite)


def test_a_rule_of_all_modules_leaves_a_softmax_constant():
    x = torch.randn(3, 5, 4, dtype=D, generator=torch.Generator().manual_seed(0))
    rule = Epsilon(1e-6)
    _, r, found = twin_relevance(OfModules(nn.Softmax(-1)), x, None, lrp3d.Composite(layers={nn.Module: rule}))
    close(found, twin_relevance(OfModules(nn.Softmax(-1)), x, r, lrp3d.Composite({nn.Linear: rule}))[2])
    assert not found[:2].any()


def test_fused_attention_expands_its_softmax_if_softmaxes_do():
    x = torch.randn(3, 5, 4, dtype=D, generator=torch.Generator().manual_seed(0))
    fused = Net(lambda x: F.scaled_dot_product_attention(x[0], x[1], x[2]))
    by_type = lrp3d.Composite(layers={nn.Softmax: TAYLOR}, products="halves")
    by_operation = lrp3d.Composite(operations={F.softmax: TAYLOR}, products="halves")
    _, r, found = twin_relevance(fused, x, None, by_type)
    close(found, twin_relevance(fused, x, r, by_operation)[2])
    assert found[0].any()


def test_attnlrp_halves_gates_and_keeps_norms():
    x = clip(2, 3, 4) - 0.5
    _, r, found = twin_relevance(Net(lambda x: torch.sigmoid(x[:, :1]) * x[:, 1:2]), x, None, "attnlrp")
    close(found, torch.cat([r / 2, r / 2, r * 0], 1))
    _, r, found = twin_relevance(Net(lambda x: F.layer_norm(x, (4,))), x, None, "attnlrp")
    assert torch.equal(found, r)


def test_what_attnlrp_absorbs_is_booked():
    import attention_nets

    model, x = attention_nets.build("ViT"), attention_nets.clip_for()
    explanation = lrp3d.explain(model, x, 1, composite="attnlrp", contrastive=False, temporal=False)
    assert explanation.conservation.max() > 1e-3
    absorbed = sum(entry.absorbed for entry in explanation.ledger)
    close(explanation.relevance.sum() + absorbed, explanation.logits[:, 1].sum(), 1e-8)
