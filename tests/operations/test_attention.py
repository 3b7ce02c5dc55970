"""Attention: values take what they contributed under the probabilities, whatever masks, groups or drops them."""

import math

import pytest
import reference
import torch
import torch.nn.functional as F
from forwards import D, Net, clip, close, everywhere, twin_relevance
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import lrp3d
from lrp3d.rules import Epsilon, SameSign, ZPlus


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
        (True, True, r"vlad\.share \(softmax\): .*: constants=\['vlad\.share'\] holds [a-z ]*; composite='attnlrp'"),
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
