"""Gates carry the signal, products with constants are layers, what has no rule is refused."""

import pytest
import reference
import torch
import torch.nn.functional as F
from forwards import D, Net, X, clip, close, everywhere, twin_relevance
from torch import nn

import lrp3d
from lrp3d.rules import Gamma, ZPlus

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
    "sigmoid by tanh": lambda x: x * (0.5 * (1 + torch.tanh(x / 2))),
    "sigmoid by tanh, divided": lambda x: x * ((torch.tanh(x) + 1) / 2),
    "sigmoid by tanh, halved first": lambda x: x * x.tanh().mul(0.5).add(0.5),
    "one minus a sigmoid by tanh": lambda x: x * ((1 - torch.tanh(x)) / 2),
    "normal distribution": lambda x: x * (0.5 * (1 + torch.erf(x))),
    "sigmoid by softsign": lambda x: x * (0.5 * F.softsign(x) + 0.5),
    "sigmoid by exp": lambda x: x * (1 / (1 + torch.exp(-x))),
    "sigmoid by exp, as a power": lambda x: x * (torch.exp(-x) + 1) ** -1,
    "sigmoid by exp, reciprocal": lambda x: x * (-x).exp().add(1.0).reciprocal(),
    "sigmoid_": lambda x: x * torch.sigmoid_(x.clone()),
    "two clamps": lambda x: x * x.add(0.5).clamp(min=0).clamp(max=1),
    "two clamps, the upper first": lambda x: x * (x + 3).clamp(max=6).clamp(min=0) / 6,
    "clamp_min and clamp_max": lambda x: x * torch.clamp_max(torch.clamp_min(x + 3, 0), 6) / 6,
    "relu and clamp": lambda x: x * ((x + 3).relu().clamp(max=6) / 6),
    "clip": lambda x: x * (3 + x).clip(0, 6) / 6,
    "clamp after a division": lambda x: x * ((x + 1) / 2).clamp(0, 1),
    "clamp after a product": lambda x: x * (0.5 * (x + 1)).clamp(0, 1),
    "clamp in place": lambda x: x * x.clone().add_(3).clamp_(0).clamp_(max=6).div_(6),
    "clamp by name": lambda x: x * torch.clamp(x / 6 + 0.5, min=0, max=1),
    "hardtanh in place": lambda x: x * F.hardtanh_(x + 3, 0, 6) / 6,
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


BIAS = torch.tensor([0.5, 1.0, 0.25, 0.75], dtype=D).reshape(1, 4, 1, 1, 1)
CLIPPED_FEATURES = {
    "frozen batch norm": lambda x: F.relu6(x * (1 + BIAS) + BIAS),
    "a bias": lambda x: (x + BIAS).clamp(0, 6),
    "a large bound": lambda x: F.hardtanh(x + 0.5, 0.0, 1000.0),
    "a lower bound that is not zero": lambda x: (x + 1).clamp(0.5, 2.0),
    "a lower bound that is not zero, then an upper one": lambda x: (x + 1).clamp(min=0.5).clamp(max=2.0),
    "a bias, then two bounds": lambda x: (x + BIAS).clamp(min=0).clamp(max=6),
    "two bounds without a shift": lambda x: x.relu().clamp(max=6),
    "a shift and one bound": lambda x: (x + 3).relu(),
    "something between two bounds": lambda x: ((x + 3).relu() * 2).clamp(max=6),
    "tanh": lambda x: torch.tanh(x) * 2,
    "one plus tanh": lambda x: 1 + torch.tanh(x),
    "tanh between other numbers": lambda x: 0.5 * (3 + torch.tanh(x)),
    "tanh and a bias": lambda x: 0.5 * (torch.tanh(x) + BIAS),
    "elu plus one, halved": lambda x: 0.5 * (1 + F.elu(x)),
}


@pytest.mark.parametrize("name", CLIPPED_FEATURES)
def test_a_feature_that_is_clipped_is_no_gate(name):
    """A hand-written hard sigmoid adds one number and clips at 0 and at most 6; frozen batch norm and ReLU6 do not."""
    clipped = CLIPPED_FEATURES[name]
    _, r, found = twin_relevance(Net(lambda x: clipped(x) * torch.sigmoid(x.flip(3))), X)
    close(found, twin_relevance(Net(clipped), X, r)[2])


def test_a_residual_gate_keeps_both_paths():
    """x + x * attention, and x * attention + x, are conserved."""
    for function in (lambda x: x + x * torch.sigmoid(x), lambda x: x * torch.sigmoid(x) + x):
        _, r, found = twin_relevance(Net(function), X)
        close(found, r)


PRODUCTS = {
    "reciprocal": lambda x: 1 / (3 + x.relu()),
    "softmax": lambda x: F.softmax(x, 1),
    "log_softmax": lambda x: torch.log_softmax(x, 1),
    "cumulated log-sum-exp": lambda x: x.logcumsumexp(1),
    "exp": lambda x: x.exp(),
    "cumprod": lambda x: x.cumprod(1),
    "sign": lambda x: x.sign(),
    "largest scattered": lambda x: x.scatter_reduce(1, torch.zeros(X.shape, dtype=torch.long), x, "amax"),
    "scattered and multiplied": lambda x: x.scatter(1, torch.zeros(X.shape, dtype=torch.long), 2.0, reduce="multiply"),
    "detach": lambda x: x.detach() * 1.0,
    "no_grad": lambda x: _without_gradient(x),
    "log": lambda x: (x.abs() + 1).log(),
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
    with pytest.raises(lrp3d.UnsupportedOperation, match="not visible to lrp3d, a TorchScript program"):
        lrp3d.explain(model, X, 0, temporal=False)


# products with constants

M = clip(4, 3) / 2
MATMULS = {
    "x @ m": lambda x: x @ M,
    "torch.matmul": lambda x: torch.matmul(x, M),
    "m @ x": lambda x: M.T @ x,
    "tensordot": lambda x: torch.tensordot(x, M, 1),
    "tensordot over time": lambda x: torch.tensordot(M, x, dims=([0], [-2])).permute(1, 2, 0, 3),
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


@pytest.mark.parametrize("zero", [0, 0.0, torch.zeros((), dtype=D)])
def test_what_is_multiplied_by_zero_is_a_constant_whatever_the_zero_is(zero):
    _, r, found = twin_relevance(Net(lambda x: x[:, :1] * zero + x[:, 1:2]), X, None, "paper")
    close(found[:, :1], torch.zeros_like(found[:, :1]))
    close(found.sum(), r.sum())


FACTORS = {
    "two": (lambda x: x[:, :2].prod(1), lambda x: x[:, 0] * x[:, 1]),
    "two, the axis kept": (lambda x: torch.prod(x[:, :2], 1, keepdim=True), lambda x: (x[:, 0] * x[:, 1])[:, None]),
    "four": (lambda x: x.prod(1), lambda x: (x[:, 0] * x[:, 1]) * (x[:, 2] * x[:, 3])),
    "stacked": (lambda x: torch.stack([x[:, 0], x[:, 2]], 3).prod(3), lambda x: x[:, 0] * x[:, 2]),
    "everything": (lambda x: x[0, 0, 0, 0, :2].prod(), lambda x: x[0, 0, 0, 0, 0] * x[0, 0, 0, 0, 1]),
}


@pytest.mark.parametrize("name", FACTORS)
def test_the_factors_of_a_product_over_an_axis_take_the_same_part(name):
    over_axis, by_hand = FACTORS[name]
    _, r, found = twin_relevance(Net(over_axis), X)
    close(found, twin_relevance(Net(by_hand), X, r)[2])
    close(found.sum(), r.sum())


def test_a_constant_among_the_factors_gets_nothing():
    def padded(x):
        return torch.cat([torch.full_like(x[:, :1], 2.0), x[:, :2]], 1).prod(1)

    _, r, found = twin_relevance(Net(padded), X)
    close(found[:, :2], torch.stack([r / 2, r / 2], 1))


def test_a_product_of_gates_over_an_axis_is_a_gate():
    _, r, found = twin_relevance(Net(lambda x: x * torch.sigmoid(x).prod(1, keepdim=True).expand_as(x)), X)
    assert torch.equal(found, r)


# ---------------------------------------------------------------------------------------- what is a sigmoid in truth

SIGMOIDS = {
    "1 / (1 + exp(-x))": lambda x: 1 / (1 + torch.exp(-x)),
    "exp(-x) + 1, reciprocal": lambda x: torch.exp(-x).add(1).reciprocal(),
    "to the power of -1": lambda x: (1.0 + (-x).exp()) ** -1,
}


@pytest.mark.parametrize("composite", ["paper", "attnlrp"])
@pytest.mark.parametrize("name", SIGMOIDS)
def test_a_sigmoid_by_exponentials_is_one_wherever_it_stands(name, composite):
    by_hand = SIGMOIDS[name]
    for use in (
        lambda x, sigmoid: sigmoid(x),
        lambda x, sigmoid: x.flip(2) * sigmoid(x),
        lambda x, sigmoid: torch.sigmoid(x.flip(2)) * sigmoid(x),
    ):
        _, r, wanted = twin_relevance(Net(lambda x, use=use: use(x, torch.sigmoid)), X, None, composite)
        close(twin_relevance(Net(lambda x, use=use: use(x, by_hand)), X, r, composite)[2], wanted)


def test_a_network_that_ends_in_a_sigmoid_by_exponentials_is_explained_without_it():
    torch.manual_seed(0)
    layers = {"conv": nn.Conv3d(4, 6, 3, padding=1), "fc": nn.Linear(6, 5)}

    def explained(end):
        net = Net(lambda self, x: end(self.fc(self.conv(x).relu().mean((2, 3, 4)))), **layers).eval()
        return lrp3d.explain(net, X, 0, contrastive=False, temporal=False)

    found, wanted = explained(SIGMOIDS["1 / (1 + exp(-x))"]), explained(torch.sigmoid)
    close(found.logits, wanted.logits)
    close(found.relevance, wanted.relevance)


NO_SIGMOIDS = {
    "another number": lambda x: 1 / (2 + torch.exp(-x)),
    "two": lambda x: 2 / (1 + torch.exp(-x)),
    "moved": lambda x: 1 / (1 + torch.exp(-x).flip(2)),
    "of a sum": lambda x: 1 / (1 + torch.exp(-x).sum(1, keepdim=True)),
}


@pytest.mark.parametrize("name", NO_SIGMOIDS)
def test_what_is_no_sigmoid_stays_refused_where_relevance_reaches_it(name):
    with pytest.raises(lrp3d.UnsupportedOperation, match="divides a constant by a signal"):
        twin_relevance(Net(lambda x: NO_SIGMOIDS[name](x) * 1.0), X)


@pytest.mark.parametrize("end", [lambda e: 1 / (1 + e), lambda e: e.sum(1).log()])
def test_an_exponential_that_is_held_constant_hands_nothing_on(end):
    class Exponential(nn.Module):
        def forward(self, x):
            return torch.exp(x)

    layers = {"conv": nn.Conv3d(4, 6, 3), "exp": Exponential(), "fc": nn.Linear(6, 5)}

    def forward(net, x):
        x = net.conv(x)
        return net.fc(x.mean((2, 3, 4))) + end(net.exp(x)).mean().view(1, 1)

    with pytest.raises(lrp3d.UnsupportedOperation):
        lrp3d.explain(Net(forward, **layers).eval(), X, 0, temporal=False, constants=["exp"])


def test_a_number_that_weighs_all_that_is_summed_is_no_layer():
    """Each sum is scaled as a whole: a rule for fully connected layers has no weights to look at."""
    numbers = torch.tensor([1.0, -2.0, 0.5], dtype=D)
    scaled = Net(lambda x: (x[:, None] * numbers[:, None]).sum(-1))
    weighted = Net(lambda x: (x[:, None] * M.mT).sum(-1))
    composite = lrp3d.Composite(layers={nn.Linear: Gamma(0.5)})
    of_layers = [
        [str(row.rule) for row in lrp3d.inspect(model.eval(), clip(2, 4), composite=composite, contrastive=False)]
        for model in (scaled, weighted)
    ]
    assert [str(Gamma(0.5)) in rules for rules in of_layers] == [False, True]
