"""Which factor weighs: in products that sum nothing, in linear attention, and where a gate takes no gradient."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import lrp3d

CLIP = torch.randn(1, 3, 4, 6, 6, dtype=torch.double, generator=torch.Generator().manual_seed(0))


class Gated(nn.Module):
    """Features times a gate for each channel."""

    def __init__(self, product):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.gate, self.fc = nn.Conv3d(3, 6, 3, padding=1), nn.Linear(6, 6), nn.Linear(6, 5)
        self.product = product
        self.double().eval()

    def forward(self, x):
        x = self.conv(x).relu()
        return self.fc(self.product(x, 1 + torch.tanh(self.gate(x.mean((2, 3, 4))))).mean((3, 4)).mean(2))


@pytest.mark.parametrize(
    "product",
    [
        lambda x, g: torch.einsum("bcthw,bc->bcthw", x, g),
        lambda x, g: torch.einsum("bc,bcthw->bcthw", g, x),
        lambda x, g: torch.einsum("btchw,bc->bcthw", x.transpose(1, 2), g),
        lambda x, g: torch.einsum("bcthw,bc,c->bcthw", x, g, torch.ones(6, dtype=torch.double)),
    ],
)
def test_an_einstein_sum_of_nothing_is_the_product_of_its_factors(product):
    found = lrp3d.explain(Gated(product), CLIP, 0, contrastive=False)
    wanted = lrp3d.explain(Gated(lambda x, g: x * g[:, :, None, None, None]), CLIP, 0, contrastive=False)
    torch.testing.assert_close(found.relevance, wanted.relevance, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(found.matrix, wanted.matrix, rtol=1e-9, atol=1e-12)


SQUEEZED = {
    "product": lambda x, g: (x * g[:, :, None, None, None]).sum((2, 3, 4)),
    "Einstein sum": lambda x, g: torch.einsum("bcthw,bc->bc", x, g),
    "gate first": lambda x, g: torch.einsum("bc,bcthw->bc", g, x),
    "another order": lambda x, g: torch.einsum("btchw,bc->bc", x.transpose(1, 2), g),
}


@pytest.mark.parametrize("how", SQUEEZED)
def test_a_gate_that_is_the_same_along_all_summed_axes_is_none_of_matrices(how):
    def explained(product):
        model = Gated(lambda x, g: product(x, g)[:, :, None, None, None] / 10)
        return lrp3d.explain(model, CLIP, 0, contrastive=False, temporal=False).relevance

    torch.testing.assert_close(explained(SQUEEZED[how]), explained(SQUEEZED["product"]), rtol=1e-9, atol=1e-12)


class OuterProduct(nn.Module):
    def forward(self, x):
        means = x.mean((3, 4))
        return torch.einsum("bct,bdt->bcdt", means[:, :2], means).flatten(1, 2).mean(2)


def test_factors_that_are_both_copied_take_half_each():
    (row,) = [row for row in lrp3d.inspect(OuterProduct().eval(), CLIP.float()) if row.operation == "einsum"]
    assert "half to each factor" in str(row.rule)


class LinearAttention(nn.Module):
    """Katharopoulos et al. 2020: the kernel of queries and keys is elu + 1, which is never negative."""

    def __init__(self, kernel):
        super().__init__()
        torch.manual_seed(0)
        self.embed, self.qkv, self.fc = nn.Conv3d(3, 8, (1, 3, 3), (1, 3, 3)), nn.Linear(8, 24), nn.Linear(8, 5)
        self.kernel = kernel
        self.double().eval()

    def forward(self, x):
        q, k, v = self.qkv(self.embed(x).flatten(2).transpose(1, 2)).chunk(3, -1)
        q, k = self.kernel(q), self.kernel(k)
        x = q @ (k.transpose(1, 2) @ v) / (q @ k.sum(1)[..., None])
        return self.fc(x.mean(1))


@pytest.mark.parametrize(
    "kernel", [lambda x: F.elu(x) + 1, lambda x: 1 + F.elu(x), lambda x: 1 + torch.tanh(x), F.relu]
)
def test_values_take_all_in_linear_attention(kernel):
    rules = [str(row.rule) for row in lrp3d.inspect(LinearAttention(kernel), CLIP) if row.operation == "matmul"]
    assert [("weighs" in rule, "never negative" in rule) for rule in rules[:2]] == [(True, True)] * 2


class CausalAttention(LinearAttention):
    """The same where each token sees those up to itself: by sums of outer products, or by a triangle of a matrix."""

    def __init__(self, sums):
        super().__init__(lambda x: F.elu(x) + 1)
        self.sums = sums

    def forward(self, x):
        q, k, v = self.qkv(self.embed(x).flatten(2).transpose(1, 2)).chunk(3, -1)
        q, k = self.kernel(q), self.kernel(k)
        if self.sums:
            contexts = torch.einsum("bnk,bnv->bnkv", k, v).cumsum(1)
            x = torch.einsum("bnkv,bnk->bnv", contexts, q)
        else:
            x = torch.tril(q @ k.mT) @ v
        return self.fc((x / (q * k.cumsum(1)).sum(-1, keepdim=True)).mean(1))


def test_values_take_all_in_causal_linear_attention_too():
    found, wanted = (
        lrp3d.explain(CausalAttention(sums), CLIP, 0, composite="epsilon", contrastive=False, temporal=False)
        for sums in (True, False)
    )
    torch.testing.assert_close(found.relevance, wanted.relevance, rtol=1e-6, atol=1e-9)


STATES = {
    "Einstein sum": lambda step, b, x: torch.einsum("bd,bn,bd->bdn", step, b, x),
    "products": lambda step, b, x: step[..., None] * b[:, None] * x[..., None],
}


class StateSpace(nn.Module):
    """What a state-space model (Mamba) writes into it: x, by a step size and a direction, each of its own frame."""

    def __init__(self, product):
        super().__init__()
        torch.manual_seed(0)
        self.x, self.b, self.step, self.fc = nn.Linear(3, 4), nn.Linear(3, 6), nn.Linear(3, 4), nn.Linear(24, 5)
        self.product = product
        self.double().eval()

    def forward(self, clip):
        first, second, third, _ = clip.mean((3, 4)).unbind(2)
        state = self.product(F.softplus(self.step(third)), self.b(second), F.silu(self.x(first)))
        return self.fc(state.flatten(1))


@pytest.mark.parametrize("how", STATES)
def test_what_is_written_into_a_state_is_no_weight_of_its_direction(how):
    found = lrp3d.explain(StateSpace(STATES[how]), CLIP, 0, contrastive=False, temporal=False)
    half = found.logits[:, 0] / 2
    torch.testing.assert_close(found.frame_relevance[0], torch.stack([half, half, 0 * half, 0 * half], 1)[0])


def test_a_gate_weighs_what_is_copied_along_its_axes():
    """Of rules that say different things, the one on gates comes first."""

    class Spread(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.gate, self.conv, self.fc = nn.Conv3d(3, 6, 1), nn.Conv3d(3, 6, 1), nn.Linear(6, 5)
            self.double().eval()

        def forward(self, clip):
            first, second = clip[:, :, :2], clip[:, :, 2:]
            pooled = self.conv(first).relu().mean((2, 3, 4), keepdim=True)
            return self.fc((self.gate(second).sigmoid() * pooled).mean((2, 3, 4)))

    found = lrp3d.explain(Spread(), CLIP, 0, contrastive=False, temporal=False)
    assert found.frame_relevance[0, :2].all()
    assert not found.frame_relevance[0, 2:].any()


READ = {
    "product and sum": lambda state, c: (state * c[:, None]).sum(-1),
    "Einstein sum": lambda state, c: torch.einsum("bdn,bn->bd", state, c),
    "Einstein sum, the other way round": lambda state, c: torch.einsum("bn,bdn->bd", c, state),
    "matrix and column": lambda state, c: (state @ c[..., None])[..., 0],
    "row and matrix": lambda state, c: (c[:, None] @ state.mT)[:, 0],
    "copied by expand": lambda state, c: torch.einsum("bdn,bdn->bd", state, c[:, None].expand_as(state)),
    "of one clip": lambda state, c: (state[0] @ c[0])[None],
}


class ReadOut(nn.Module):
    """What a state-space model (Mamba) reads out of a state of the second frame, along a direction of the first one."""

    def __init__(self, read):
        super().__init__()
        torch.manual_seed(0)
        self.c, self.state, self.fc = nn.Linear(3, 6), nn.Linear(3, 24), nn.Linear(4, 5)
        self.read = read
        self.double().eval()

    def forward(self, clip):
        first, second, *_ = clip.mean((3, 4)).unbind(2)
        return self.fc(self.read(self.state(second).unflatten(-1, (4, 6)), self.c(first)))


@pytest.mark.parametrize("composite", ["paper", "epsilon"])
@pytest.mark.parametrize("how", READ)
def test_a_direction_along_which_a_state_is_read_weighs_however_it_is_written(how, composite):
    found, wanted = (
        lrp3d.explain(ReadOut(READ[name]), CLIP, 0, composite=composite, contrastive=False, temporal=False)
        for name in (how, "product and sum")
    )
    torch.testing.assert_close(found.relevance, wanted.relevance, rtol=1e-9, atol=1e-12)
    assert not found.frame_relevance[0, [0, 2, 3]].any()


def test_of_two_matrices_neither_is_copied():
    """Each has an axis that the other lacks."""

    def products(state, c):
        return (state @ state.mT).flatten(1)[:, :4] * c[:, :1].exp()

    model = ReadOut(products)
    (step,) = [step for step in lrp3d.inspect(model, CLIP) if step.name.startswith("matmul")]
    assert "half to each factor" in step.rule


class Weighed(nn.Module):
    """Features that a function weighs."""

    def __init__(self, function):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.more, self.fc = nn.Conv3d(3, 6, 3, padding=1), nn.Conv3d(6, 6, 1), nn.Linear(6, 5)
        self.function = function
        self.double().eval()

    def forward(self, x):
        return self.fc(self.more(self.function(self.conv(x).relu())).relu().mean((2, 3, 4)))


@pytest.mark.parametrize("gate", [lambda x: x.sigmoid().detach(), lambda x: (x + 1).detach()])
def test_a_gate_from_which_no_gradient_is_taken_weighs_as_a_constant(gate):
    found = lrp3d.explain(Weighed(lambda x: x * gate(x)), CLIP, 0, contrastive=False, temporal=False)
    assert found.conservation.max() < 1e-9
    with torch.no_grad():
        values = gate(Weighed(lambda x: x).conv(CLIP).relu())
    wanted = lrp3d.explain(Weighed(lambda x: x * values), CLIP, 0, contrastive=False, temporal=False)
    torch.testing.assert_close(found.relevance, wanted.relevance, rtol=1e-9, atol=1e-12)


def test_a_gate_without_gradient_weighs_as_well():
    def weighed(x):
        with torch.no_grad():
            gate = x.sigmoid()
        return x * gate

    assert lrp3d.explain(Weighed(weighed), CLIP, 0, temporal=False).conservation.max() < 1e-9

    def added(x):
        with torch.no_grad():
            more = x * 2
        return x + more

    with pytest.raises(lrp3d.UnsupportedOperation, match="no_grad"):
        lrp3d.explain(Weighed(added), CLIP, 0, temporal=False)
