"""In a product of two signals one weighs and is constant, the other takes all relevance; or each takes half."""

import pytest
import torch
import torch.nn.functional as F
from forwards import D, Net, X, clip, close, twin_relevance

import lrp3d

SMALL = clip(2, 3, 4) + 0.25

# what weighs, what is weighed: functions of one signal, whose relevance is that of the second alone
WEIGHED = {
    "sigmoid": lambda x: (torch.sigmoid(x.flip(1)), x),
    "softmax": lambda x: (x.flip(1).softmax(-1), x),
    "exponential": lambda x: (x.flip(1).exp(), x),
    "softmax, scaled and moved": lambda x: (x.softmax(1).flip(1) * 2, x),
    "softmax by hand": lambda x: (_softmax_by_hand(x.flip(1)), x),
    "averaged gate": lambda x: (F.avg_pool1d(torch.sigmoid(x.flip(1)), 3, 1, 1), x),
    "sum of gates": lambda x: (torch.sigmoid(x.flip(1)) - 0.5 + x.softmax(1), x),
    "copied along an axis": lambda x: (x.flip(1).mean(2, keepdim=True), x),
    "copied by expand": lambda x: (x.flip(1).mean(2, keepdim=True).expand_as(x), x),
    "copied by repeat": lambda x: (x.flip(1).mean(2, keepdim=True).repeat(1, 1, x.shape[2]), x),
    "reciprocal root": lambda x: ((x.flip(1) ** 2 + 1).rsqrt(), torch.sigmoid(x)),
    "statistic over a gate": lambda x: (x.var(2, keepdim=True).expand_as(x), torch.sigmoid(x)),
}


def _softmax_by_hand(x):
    e = (x - x.amax(-1, keepdim=True)).exp()
    return e / e.sum(-1, keepdim=True)


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("name", WEIGHED)
def test_what_is_weighed_takes_all(name, first):
    def product(x):
        weighs, weighed = WEIGHED[name](x)
        return weighs * weighed if first else weighed * weighs

    _, r, found = twin_relevance(Net(product), SMALL)
    assert torch.equal(found, r)


MATRICES = {
    "softmax": lambda x: ((x @ x.mT).softmax(-1), x),
    "similarity": lambda x: (x @ x.mT / 3, x),
    "einsum of similarities": lambda x: (torch.einsum("bic,bjc->bij", x, x), x),
    "never negative": lambda x: (x[:, :, :3].relu(), x),
    "heads mixed": lambda x: (((x @ x.mT).softmax(-1)) @ clip(3, 3), x),
}


@pytest.mark.parametrize("name", MATRICES)
def test_what_weighs_values_is_constant(name):
    """The relevance of the values is that of a product with the constant matrix."""
    weighs, _ = MATRICES[name](SMALL)
    _, r, wanted = twin_relevance(Net(lambda x: weighs @ x), SMALL)
    _, _, found = twin_relevance(Net(lambda x: torch.matmul(*MATRICES[name](x))), SMALL, r)
    close(found, wanted)
    close(found.sum(), r.sum())


def test_a_product_of_two_features_is_halved():
    left, right = torch.nn.Conv1d(3, 2, 1, bias=False), torch.nn.Conv1d(3, 2, 1, bias=False)

    def of(function):
        return Net(function, left=left, right=right)

    _, r, found = twin_relevance(of(lambda self, x: self.left(x) * self.right(x)), SMALL)
    one = twin_relevance(of(lambda self, x: self.left(x)), SMALL, r / 2)[2]
    other = twin_relevance(of(lambda self, x: self.right(x)), SMALL, r / 2)[2]
    close(found, one + other)


@pytest.mark.parametrize(
    "function", [lambda x: x * x, lambda x: x**2, torch.square, lambda x: x.abs(), lambda x: x * x.abs()]
)
def test_functions_of_one_value_hand_relevance_to_it(function):
    _, r, found = twin_relevance(Net(function), X)
    close(found, r)


@pytest.mark.parametrize("factor", ["first", "second", "halves"])
def test_a_composite_says_which_factor_weighs(factor):
    model = Net(lambda x: x[:, :1] * x[:, 1:2])
    for key in ("*", "mul", torch.mul):
        _, r, found = twin_relevance(model, SMALL, None, lrp3d.Composite(products={key: factor}))
        share = {"first": (0, 1), "second": (1, 0), "halves": (0.5, 0.5)}[factor]
        close(found[:, :2], torch.cat([r * s for s in share], 1))


def test_a_statistic_is_constant_whatever_the_composite_says():
    model = Net(lambda x: x * (x**2).mean(2, keepdim=True).rsqrt())
    _, r, found = twin_relevance(model, SMALL, None, lrp3d.Composite(products="halves"))
    assert torch.equal(found, r)


def test_a_product_is_one_of_three():
    with pytest.raises(ValueError, match="halves"):
        lrp3d.Composite(products="both")
    with pytest.raises(ValueError, match="a key must be a name or an operation"):
        lrp3d.Composite(products={torch.bincount: "first"})


def test_inspection_shows_what_weighs():
    model = Net(lambda x: (x @ x.mT).softmax(-1) @ x + x * torch.sigmoid(x.flip(1)) + x * x.flip(2)).eval()
    rules = [row.rule for row in lrp3d.inspect(Net(lambda x: model(x).flatten(1)).eval(), SMALL[:, :, :, None])]
    shown = [rule for rule in rules if "factor" in rule]
    assert [("half" in rule, "gate" in rule) for rule in shown] == [
        (True, False),
        (False, True),
        (False, True),
        (True, False),
    ]


# ------------------------------------------------------------------------------------------- kernels and divisors

# the kernel that a forward makes of its clip, and what it does with it
KERNELS = {
    "conv1d": (lambda x: x.mean(2)[:1, :, None].softmax(1), F.conv1d),
    "depthwise over time": (
        lambda x: x[:, :, :3].softmax(-1).flatten(0, 1)[:, None],
        lambda x, kernel: F.conv1d(x.reshape(1, -1, x.shape[-1]), kernel, padding=1, groups=x.shape[0] * x.shape[1]),
    ),
    "transposed": (
        lambda x: x[:1, :, :2].permute(1, 0, 2),
        lambda x, kernel: F.conv_transpose1d(x, kernel, stride=2),
    ),
    "linear with a constant bias": (
        lambda x: x[0].softmax(-1),
        lambda x, kernel: F.linear(x, kernel, torch.ones(3, dtype=D)),
    ),
}


@pytest.mark.parametrize("name", KERNELS)
def test_a_generated_kernel_is_constant(name):
    kernel, convolve = KERNELS[name]
    constant = kernel(SMALL)
    _, r, found = twin_relevance(Net(lambda x: convolve(x, kernel(x))), SMALL)
    _, _, wanted = twin_relevance(Net(lambda x: convolve(x, constant)), SMALL, r)
    close(found, wanted)
    assert (found != 0).any()


# a bias that a forward makes of its clip, and the same as a sum
BIASES = {
    "of a convolution": (
        lambda x: F.conv1d(x, clip(3, 3, 1), x[0, :, 0].relu()),
        lambda x: F.conv1d(x, clip(3, 3, 1)) + x[0, :, 0].relu()[:, None],
    ),
    "beside a generated kernel": (
        lambda x: F.linear(x, x[0].softmax(-1), x[0, :, 0]),
        lambda x: x @ x[0].softmax(-1).mT + x[0, :, 0],
    ),
}


@pytest.mark.parametrize("name", BIASES)
def test_a_generated_bias_is_a_summand_that_takes_its_part(name):
    function, written_out = BIASES[name]
    _, r, found = twin_relevance(Net(function), SMALL)
    close(found, twin_relevance(Net(written_out), SMALL, r)[2])
    close(found.sum(), r.sum())


def test_a_kernel_over_a_constant_takes_all():
    """An image that is not the clip, convolved by a kernel made from it."""
    image = torch.rand(1, 3, 5, dtype=D)
    _, r, found = twin_relevance(Net(lambda x: F.conv1d(image, x[:, :, :2])), SMALL)
    close(found.sum(), r.sum())
    assert found[:, :, 2:].abs().max() == 0


@pytest.mark.parametrize(
    "function", [lambda x: x / (1 + x.flip(1).abs()), lambda x: x.div(x.norm(dim=1, keepdim=True) + 1)]
)
def test_a_divisor_is_constant(function):
    _, r, found = twin_relevance(Net(function), SMALL)
    assert torch.equal(found, r)
