"""Attention: values take what they contributed under the probabilities; AttnLRP's equations, written out slowly."""

import math
from dataclasses import dataclass

import pytest
import reference
import torch
import torch.nn.functional as F
from forwards import D, Net, clip, close, everywhere, twin_relevance
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import lrp3d
from lrp3d.compute.einsum import Einsum, explicit
from lrp3d.compute.maps import MatrixProduct
from lrp3d.rules import Epsilon, Rule, SameSign, SoftmaxTaylor, ZPlus


def values_relevance(a, v, r, rule):
    """Dense: every output of `a v` over the values, one batch and one column at a time."""
    found = torch.zeros_like(v)
    for at in torch.cartesian_prod(*map(torch.arange, v.shape[:-2])).reshape(-1, v.dim() - 2).tolist():
        for column in range(v.shape[-1]):
            w, x, above = a[tuple(at)], v[(*at, slice(None), column)], r[(*at, slice(None), column)]
            found[(*at, slice(None), column)] = rule(w, x, above, torch.ones_like(w), torch.zeros(len(w), dtype=D))
    return found


RULES = {
    "default": ("paper", reference.same_sign),
    "same sign": (everywhere(SameSign()), reference.same_sign),
    "z+": (everywhere(ZPlus()), reference.zplus),
    "epsilon": (everywhere(Epsilon(1e-3)), reference.epsilon(1e-3)),
}


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from(sorted(RULES)),
    st.tuples(*[st.integers(1, 3)] * 4),
    st.sampled_from(["none", "bool", "float", "causal"]),
    st.booleans(),
    st.integers(0, 2**20),
)
def test_scaled_dot_product_attention(rule, sizes, mask, scaled, seed):
    (batch, heads, n, d), generator = sizes, torch.Generator().manual_seed(seed)
    x = torch.randint(-3, 4, (3, batch, heads, n, d), generator=generator).to(D) / 2
    options = {"scale": 0.7} if scaled else {}
    options |= {"is_causal": True} if mask == "causal" else {}
    if mask == "bool":
        options["attn_mask"] = torch.rand(n, n, generator=generator).round().bool() | torch.eye(n, dtype=torch.bool)
    if mask == "float":
        options["attn_mask"] = torch.randn(n, n, generator=generator, dtype=D)
    composite, plain = RULES[rule]
    model = Net(lambda x: F.scaled_dot_product_attention(*F.leaky_relu(x, 1.0), **options))
    _, r, found = twin_relevance(model, x, None, composite)
    q, k, v = x
    scores = q @ k.mT * (0.7 if scaled else 1 / math.sqrt(d))
    if mask == "causal":
        scores = scores.masked_fill(~torch.ones(n, n, dtype=torch.bool).tril(), -math.inf)
    if mask == "bool":
        scores = scores.masked_fill(~options["attn_mask"], -math.inf)
    if mask == "float":
        scores = scores + options["attn_mask"]
    assert found[:2].abs().max() == 0
    close(found[2], values_relevance(scores.softmax(-1), v, r, plain))


@pytest.mark.parametrize("kind", ["bool", "float"])
@pytest.mark.parametrize("rule", ["default", "expanded"])
def test_a_query_whose_mask_leaves_out_all_keys_attends_to_none(kind, rule):
    mask = torch.tensor([[True, False, True], [False, False, False], [True, True, True]])
    if kind == "float":
        mask = torch.zeros(3, 3, dtype=D).masked_fill(~mask, -math.inf)
    x = torch.randn(3, 1, 3, 2, dtype=D, generator=torch.Generator().manual_seed(0))
    model = Net(lambda x: F.scaled_dot_product_attention(*F.leaky_relu(x, 1.0), attn_mask=mask))
    output, _, found = twin_relevance(model, x, None, "paper" if rule == "default" else "attnlrp")
    close(output, F.scaled_dot_product_attention(*x, attn_mask=mask))
    assert output[0, 1].eq(0).all()
    assert found.isfinite().all()


def test_queries_in_groups_share_keys_and_values():
    q, x = clip(2, 4, 3, 2), clip(2, 2, 3, 2)
    model = Net(lambda x: F.scaled_dot_product_attention(q, x, x, enable_gqa=True))
    _, r, found = twin_relevance(model, x)
    close(found.sum(), r.sum())


def test_active_dropout_is_refused():
    model = Net(lambda x: F.scaled_dot_product_attention(x, x, x, dropout_p=0.5))
    with pytest.raises(lrp3d.UnsupportedOperation, match="eval"):
        lrp3d.convert(model)(clip(2, 3, 4).requires_grad_())


@pytest.mark.parametrize("few_keys", [False, True])
def test_dropout_is_a_factor_of_the_probabilities_if_a_seed_is_given(few_keys):
    class Attends(nn.Module):
        def __init__(self, attention):
            super().__init__()
            self.fc, self.attention = nn.Linear(3, 5), attention

        def forward(self, x):
            x = x.mean((3, 4)).transpose(1, 2).unsqueeze(1).relu()  # (b, 1, t, c)
            query, key = x.expand(-1, 4, -1, -1), x.expand(-1, 2 if few_keys else 4, -1, -1)
            return self.fc(self.attention(query, key).mean((1, 2)))

    def whole(query, key):
        options = {"enable_gqa": True} if few_keys else {}
        return F.scaled_dot_product_attention(query, key, key, dropout_p=0.4, scale=0.3, **options)

    def by_hand(query, key):
        key = key.repeat_interleave(query.shape[1] // key.shape[1], 1)
        return F.dropout((query @ key.mT * 0.3).softmax(-1), 0.4) @ key

    torch.manual_seed(0)
    model, video = Attends(whole).double().eval(), torch.rand(1, 3, 6, 4, 4, dtype=D)
    found = lrp3d.explain(model, video, 0, seed=1, temporal=False)
    model.attention = by_hand
    torch.testing.assert_close(found.relevance, lrp3d.explain(model, video, 0, seed=1, temporal=False).relevance)
    model.attention = whole
    with pytest.raises(lrp3d.UnsupportedOperation, match="pass seed="):
        lrp3d.explain(model, video, 0, temporal=False)


def test_a_dropout_that_no_seed_helps_does_not_ask_for_one():
    model = Net(lambda x: F.feature_alpha_dropout(x, 0.5, True))
    with pytest.raises(lrp3d.UnsupportedOperation, match="only plain dropout can be explained as it is drawn"):
        lrp3d.convert(model)(clip(2, 3, 4).requires_grad_())


# ------------------------------------------------------------------------------------------------------- maps

EINSUMS = ["bij,bjk->bik", "bhij,bhjd->bihd", "bij,bj->bi", "bij,kj->bki"]
EINSUMS += ["...ij,...jk->...ik", "bij,bij->b", "bi,bj->bij", "bij,k->bk"]
SIZES = dict(zip("bhijkdAB", (2, 3, 2, 4, 3, 2, 2, 1), strict=True))


@pytest.mark.parametrize("equation", EINSUMS)
def test_an_einstein_sum_has_its_adjoint(equation):
    axes = [len(operand.replace("...", "")) + ("..." in operand) for operand in equation.split("->")[0].split(",")]
    written = explicit(equation, axes)
    a, b = (torch.randn([SIZES[c] for c in operand], dtype=D) for operand in written.split("->")[0].split(","))
    torch.testing.assert_close(torch.einsum(written, a, b), torch.einsum(equation, a, b))
    for first, x, w in ((True, a, b), (False, b, a)):
        map = Einsum(written, first)
        assert Einsum.can(written, [a.shape, b.shape])
        r = torch.randn(3, *map(x, w).shape, dtype=D)
        wanted = torch.stack(
            [torch.autograd.functional.vjp(lambda x, map=map, w=w: map(x, w), x, seed)[1] for seed in r]
        )
        close(map.adjoint(r, w, x.shape), wanted)


@pytest.mark.parametrize("left", [True, False])
@pytest.mark.parametrize(
    "shapes", [((2, 3, 4), (2, 4, 5)), ((3, 4), (2, 4, 5)), ((2, 1, 3, 4), (3, 4, 5)), ((3, 4), (4, 5))]
)
def test_a_product_of_matrices_has_its_adjoint(left, shapes):
    a, b = (torch.randn(shape, dtype=D) for shape in shapes)
    x, w = (a, b) if left else (b, a)
    map = MatrixProduct(left)
    r = torch.randn(3, *map(x, w).shape, dtype=D)
    wanted = torch.stack([torch.autograd.functional.vjp(lambda x: map(x, w), x, seed)[1] for seed in r])
    close(map.adjoint(r, w, x.shape), wanted)
    ones = torch.ones_like(w)
    close(map.spread(r, w, x.shape), map.adjoint(r, ones, x.shape))
    close(map.count(torch.ones_like(x), w), map(torch.ones_like(x), ones))


# what weighs, and what it is multiplied by
WEIGHED = {
    "scores by baddbmm": (
        lambda x: torch.baddbmm(torch.zeros(1, dtype=D), x, x.mT, beta=0).softmax(-1),
        lambda x, weights: weights @ x,
    ),
    "einsum of three": (
        lambda x: x.softmax(-1),
        lambda x, weights: torch.einsum("bij,bjk,k->bik", weights, x, torch.ones(4, dtype=D)),
    ),
    "einsum of a constant first": (
        lambda x: x.softmax(-1),
        lambda x, weights: torch.einsum("k,bij,bjk->bik", torch.ones(4, dtype=D), weights, x),
    ),
    "vectors": (lambda x: x[1].softmax(-1), lambda x, weights: torch.matmul(x[0, 0], weights)),
    "matrix and vector": (lambda x: x[0].softmax(-1), lambda x, weights: torch.mv(weights, x[1, 0])),
}
SIGNED = clip(2, 4, 4) + 0.25


@pytest.mark.parametrize("name", WEIGHED)
def test_what_a_softmax_weighs_takes_what_it_takes_from_a_constant(name):
    weighs, product = WEIGHED[name]
    constant = weighs(SIGNED)
    _, r, found = twin_relevance(Net(lambda x: product(x, weighs(x))), SIGNED)
    close(found, twin_relevance(Net(lambda x: product(x, constant)), SIGNED, r)[2])
    close(found.sum(), r.sum())


# functions that multiply and add, and the same written out
FUSED = {
    "baddbmm": (
        lambda x: torch.baddbmm(x, x.softmax(-1), x, alpha=0.5),
        lambda x: x + 0.5 * (x.softmax(-1) @ x),
    ),
    "addmm": (lambda x: torch.addmm(x[0], x[0].softmax(-1), x[1]), lambda x: x[0] + x[0].softmax(-1) @ x[1]),
    "einsum of one": (lambda x: torch.einsum("bij->bi", x), lambda x: x.sum(-1)),
}


@pytest.mark.parametrize("name", FUSED)
def test_a_function_that_multiplies_and_adds_is_what_it_is_written_out(name):
    function, written_out = FUSED[name]
    _, r, found = twin_relevance(Net(function), SIGNED)
    close(found, twin_relevance(Net(written_out), SIGNED, r)[2])
    close(found.sum(), r.sum())


def test_two_features_that_are_compared_take_half_each():
    def compared(a, b):
        return torch.einsum("bij,bkj->bik", a, b)

    _, r, found = twin_relevance(Net(lambda x: compared(x, x.flip(1))), SIGNED)
    one, other = (
        twin_relevance(Net(function), SIGNED, r)[2]
        for function in (lambda x: compared(x, SIGNED.flip(1)), lambda x: compared(SIGNED, x.flip(1)))
    )
    close(found, (one + other) / 2)


# ---------------------------------------------------------------------------------------------------- AttnLRP


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


def _square(x):
    return x.unflatten(2, (2, 2))


def _divided_last(scores, values):
    weights = scores.exp()
    return (weights * values / weights.sum(2, keepdim=True)).sum(2)


SPELLINGS = {
    "attention pooling": (
        lambda a, b: a.softmax(2) @ b.mT,
        lambda a, b: (a.softmax(2)[:, :, None] * b[:, None]).sum(3),
    ),
    "similarities": (lambda a, b: (a @ b.mT) @ b, lambda a, b: (a[:, :, None] * b[:, None]).sum(-1) @ b),
    "attention": (
        lambda a, b: (a @ b.mT).softmax(-1) @ b,
        lambda a, b: ((a @ b.mT).softmax(-1)[..., None] * b[:, None]).sum(2),
    ),
    "attention pooling, copied": (
        lambda a, b: a.softmax(2) @ b.mT,
        lambda a, b: (a.softmax(2)[:, :, None] * b[:, None]).clone().sum(3),
    ),
    "attention pooling, transposed": (
        lambda a, b: a.softmax(2) @ b.mT,
        lambda a, b: (a.softmax(2)[:, :, None] * b[:, None]).permute(3, 0, 2, 1).contiguous().sum(0).transpose(1, 2),
    ),
    "attention pooling, flattened": (
        lambda a, b: (b @ a.mean(1, keepdim=True).softmax(2).mT).squeeze(2),
        lambda a, b: (_square(b) * _square(a.mean(1, keepdim=True).softmax(2))).view(len(b), 3, -1).sum(2),
    ),
    "attention, divided last": (
        lambda a, b: (a @ b.mT).softmax(-1) @ b,
        lambda a, b: _divided_last((a @ b.mT)[..., None], b[:, None]),
    ),
    "similarities, scaled": (
        lambda a, b: ((a @ b.mT) / 2.0) @ b,
        lambda a, b: (a[:, :, None] * b[:, None] / 2.0).sum(-1) @ b,
    ),
    "similarities as features": (
        lambda a, b: (a @ b.mT).mean(2),
        lambda a, b: (a[:, :, None] * b[:, None]).sum(-1).mean(2),
    ),
}


@pytest.mark.parametrize("name", SPELLINGS)
def test_a_product_that_is_summed_is_a_product_of_matrices(name):
    matrices, product = SPELLINGS[name]
    signed = clip(2, 3, 4) - 0.5
    _, r, wanted = twin_relevance(Net(lambda x: matrices(x.tanh(), x.tanh().flip(1))), signed, None, "paper")
    close(twin_relevance(Net(lambda x: product(x.tanh(), x.tanh().flip(1))), signed, r, "paper")[2], wanted)


GAMMA = lrp3d.Composite(layers={nn.Linear: lrp3d.rules.Gamma(0.5)})


@pytest.mark.parametrize("composite", ["paper", "epsilon", "epsilon_plus", "alpha_beta", GAMMA], ids=str)
def test_a_product_that_is_summed_has_the_rule_of_a_product_of_matrices(composite):
    matrices, product = SPELLINGS["attention pooling"]
    signed = clip(2, 3, 4) - 0.5
    _, r, wanted = twin_relevance(Net(lambda x: matrices(x.tanh(), x.tanh().flip(1))), signed, None, composite)
    close(twin_relevance(Net(lambda x: product(x.tanh(), x.tanh().flip(1))), signed, r, composite)[2], wanted)


CHANGES = {
    "device": lambda y: y.to(y.device),
    "device and type": lambda y: y.to("cpu", torch.float64),
    "another tensor": lambda y: y.to(y),
    "type of another": lambda y: y.type_as(y),
    "copy by name": lambda y: torch.clone(input=y),
    "axes by name": lambda y: torch.permute(input=torch.permute(input=y, dims=(0, 2, 1, 3)), dims=(0, 2, 1, 3)),
}


@pytest.mark.parametrize("how", CHANGES)
def test_a_product_goes_on_however_it_is_copied(how):
    signed = clip(2, 3, 4) - 0.5

    def weighed(x, change=lambda y: y):
        return change(x.softmax(2)[:, :, None] * x.flip(1)[:, None]).sum(3)

    _, r, wanted = twin_relevance(Net(lambda x: weighed(x.tanh())), signed, None, "paper")
    close(twin_relevance(Net(lambda x: weighed(x.tanh(), CHANGES[how])), signed, r, "paper")[2], wanted)


@pytest.mark.parametrize("gate", [torch.sigmoid, lambda g: g.softmax(1)], ids=["gate", "attention"])
def test_what_is_summed_over_the_first_axis_is_what_is_summed_over_the_second(gate):
    """Time first and clips second: what a product is must not depend on the number of clips."""
    signed = clip(2, 3, 4) - 0.5

    def weighed(x, keepdim):
        return gate(x.mean(1, keepdim=True)) * x if keepdim else gate(x) * x

    for keepdim in (True, False):
        net = Net(lambda x, keepdim=keepdim: weighed(x.tanh(), keepdim).sum(1))
        _, r, wanted = twin_relevance(net, signed, None, "paper")
        first = Net(lambda x, keepdim=keepdim: weighed(x.tanh(), keepdim).transpose(0, 1).sum(0))
        close(twin_relevance(first, signed, r, "paper")[2], wanted)
        close(twin_relevance(first, signed[:1], r[:1], "paper")[2], wanted[:1])


def test_a_gate_that_is_the_same_along_the_summed_axis_scales_an_average():
    def gated(x):
        return (x * torch.sigmoid(x.mean(2, keepdim=True))).mean(2)

    def scaled(x):
        return x.mean(2) * torch.sigmoid(x.mean(2))

    signed = clip(2, 3, 4) - 0.5
    _, r, wanted = twin_relevance(Net(lambda x: scaled(x.tanh())), signed, None, "paper")
    close(twin_relevance(Net(lambda x: gated(x.tanh())), signed, r, "paper")[2], wanted)


class VLAD(nn.Module):
    """Residuals of features to learned centres, summed by assignment (Arandjelovic et al. 2016, arXiv:1511.07247)."""

    def __init__(self, named):
        super().__init__()
        torch.manual_seed(0)
        self.assign, self.centres, self.named = nn.Linear(8, 4), nn.Parameter(torch.randn(4, 8)), named
        if named:
            self.share = nn.Softmax(-1)

    def forward(self, x):
        scores = self.assign(x)
        a = self.share(scores) if self.named else scores.softmax(-1)
        return a.mT @ x - a.sum(1)[..., None] * self.centres


class Aggregated(nn.Module):
    def __init__(self, named, inside):
        super().__init__()
        self.conv, self.fc = nn.Conv3d(3, 8, 3, padding=1), nn.Linear(32, 5)
        vlad = VLAD(named)
        self.vlad = vlad if inside else vlad.forward
        if not inside:  # the forward of the model itself, as torch sees it
            self.assign, self.centres = vlad.assign, vlad.centres

    def forward(self, x):
        return self.fc(self.vlad(self.conv(x).relu().flatten(2).mT).flatten(1))


@pytest.mark.parametrize(
    ("named", "inside", "said"),
    [
        (True, True, r"vlad\.share\.softmax .*: constants=\['vlad\.share'\] holds .*; composite='attnlrp'"),
        (
            False,
            True,
            r"vlad\.softmax .*: constants=\['vlad'\] holds .* more than a softmax, .* \(nn\.Softmax\)",
        ),
        (False, False, r"softmax \(softmax\): .*: as a module of its own \(nn\.Softmax\) it has a name for constants="),
    ],
)
def test_a_softmax_that_relevance_reaches_is_refused_with_what_can_be_held_constant(named, inside, said):
    x = torch.rand(1, 3, 4, 6, 6, generator=torch.Generator().manual_seed(0))
    with pytest.raises(lrp3d.UnsupportedOperation, match=said):
        lrp3d.explain(Aggregated(named, inside).eval(), x, 0, temporal=False)
    for module in ("vlad.share",) if named else ():
        found = lrp3d.explain(Aggregated(named, inside).eval(), x, 0, temporal=False, constants=[module])
        assert found.relevance.abs().sum() > 0


@pytest.mark.parametrize(
    "gated", [lambda x: x * x.sigmoid(), lambda x: x * torch.sigmoid(x), lambda x: x * (1 - (-x).sigmoid())]
)
def test_the_average_of_a_gated_unit_is_that_of_the_activation(gated):
    """`x * sigmoid(x)` is an activation in other words, and no attention, although both factors differ everywhere."""
    signed = clip(2, 3, 4) - 0.5
    _, r, wanted = twin_relevance(Net(lambda x: F.silu(x.tanh()).mean(2)), signed, None, "paper")
    close(twin_relevance(Net(lambda x: gated(x.tanh()).mean(2)), signed, r, "paper")[2], wanted)
