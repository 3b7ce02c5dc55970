"""Small networks whose relevance was worked out by hand, or published with other implementations."""

import pytest
import torch
from torch import nn

import lrp3d
from lrp3d.rules import Epsilon, Gamma, Identity, ZBeta, ZPlus

D = torch.float64


def tensor(values):
    return torch.tensor(values, dtype=D)


def linear(rows):
    layer = nn.Linear(len(rows[0]), len(rows), bias=False, dtype=D)
    layer.weight.data = tensor(rows)
    return layer


def seeded(model, x, composite, target=0, seed=None):
    """Relevance of x, starting from the target's logit (or from `seed`), by plain autograd."""
    x = x.clone().requires_grad_()
    output = lrp3d.convert(model.eval(), composite)(x)
    if seed is None:
        seed = torch.zeros_like(output)
        seed[:, target] = output.detach()[:, target]
    return torch.autograd.grad(output, x, seed)[0]


def explained(model, x, composite, target=0, **options):
    plain = {"composite": composite, "temporal": False, "contrastive": False}
    return lrp3d.explain(model.eval(), x, target, **plain, **options).relevance


def close(found, wanted, tolerance=1e-6):
    wanted = wanted if isinstance(wanted, torch.Tensor) else tensor(wanted)
    torch.testing.assert_close(found.reshape(wanted.shape), wanted, rtol=0, atol=tolerance)


def both_ways(model, x, composite, wanted, target=0, tolerance=1e-6):
    close(seeded(model, x, composite, target), wanted, tolerance)
    close(explained(model, x, composite, target), wanted, tolerance)


def two_layers(w00=2.0):
    return nn.Sequential(linear([[w00, 2, 2], [2, 2, 2], [2, 2, 2]]), nn.ReLU(), linear([[3, 3, 3]]))


def everywhere(rule):
    return lrp3d.Composite(layers={nn.Module: rule})


X = tensor([[1, 2, 3]])


@pytest.mark.parametrize("scale", [1, 3])
def test_c1_epsilon_of_two_linear_layers(scale):
    both_ways(two_layers(), scale * X, "epsilon", [[scale * 18, scale * 36, scale * 54]])


def test_c2_gamma():
    model = two_layers(-2.0)
    composite = lrp3d.Composite(names={"0": Gamma(1.0), "2": Gamma(0.25)})
    both_ways(model, X, composite, [[28 / 3, 104 / 3, 52]])
    hidden = model[:2](X).detach()
    close(seeded(model[2], hidden, everywhere(Gamma(0.25))), [[24, 36, 36]])


def test_c3_zplus():
    both_ways(two_layers(-2.0), X, "paper", [[12, 33.6, 50.4]])
    both_ways(two_layers(-2.0), X, everywhere(ZPlus()), [[12, 33.6, 50.4]])


def test_c4_identity_below_an_epsilon_head():
    composite = lrp3d.Composite(layers={nn.Linear: Epsilon()}, names={"0": Identity()})
    both_ways(two_layers(-2.0), X, composite, [[24, 36, 36]])


class Convolved(nn.Module):
    def __init__(self, volume):
        super().__init__()
        self.conv = nn.Conv3d(1, 2, (1, 3, 3), dtype=D) if volume else nn.Conv2d(1, 2, 3, dtype=D)
        nn.init.ones_(self.conv.weight)
        self.conv.bias.data = tensor([-50.0, -75])
        self.head = linear([[1.0] * 5 + [-1.0] * 3] * 4)

    def forward(self, x):
        return self.head(self.conv(x).relu().flatten(1))


@pytest.mark.parametrize("volume", [False, True])
def test_c5_convolution_with_bias(volume):
    model = Convolved(volume)
    x = torch.arange(16, dtype=D).reshape((1, 1, 1, 4, 4) if volume else (1, 1, 4, 4))
    both_ways(model, x, "epsilon", [[0, 1, 2, 3], [0, 5, 6, 7], [0, 9, 10, 11], [0, 0, 0, 0]])
    hidden = model.conv(x).relu().flatten(1).detach()
    close(seeded(model.head, hidden, "epsilon"), [0, 4, 31, 40, 0, 0, -6, -15])


def test_c6_tanh_passes_relevance_unchanged():
    model = nn.Sequential(linear([[0.1] * 3] * 3), nn.Tanh(), linear([[0.1] * 3]))
    both_ways(model, X, "epsilon", [[0.0268525, 0.053705, 0.0805575]])


class Skip(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = linear([[5, 5], [5, 5]])

    def forward(self, x):
        return self.linear(x) + x


def test_c7_epsilon_in_a_residual_sum():
    both_ways(Skip(), tensor([[2, 3]]), "epsilon", [[10, 18]], target=1)


@pytest.mark.parametrize("composite", ["paper", "epsilon"])
def test_c8_the_winner_of_a_max_pool_takes_all(composite):
    x = tensor([[[[[1, 2], [5, 6]], [[3, 4], [7, 8]]]]])
    found = seeded(nn.MaxPool3d(2), x, composite, seed=torch.full((1, 1, 1, 1, 1), 8, dtype=D))
    close(found, [0, 0, 0, 0, 0, 0, 0, 8])
    both_ways(nn.Sequential(nn.MaxPool3d(2), nn.Flatten()), x, composite, [0, 0, 0, 0, 0, 0, 0, 8])


def test_c8b_a_linear_layer_under_a_max_pool():
    model = nn.Sequential(linear([[2, 2], [2, 2]]), nn.MaxPool1d(2), nn.Flatten())
    both_ways(model, tensor([[[1, 2], [5, 6]]]), "epsilon", [[0, 0], [10, 12]], target=1)


def test_c9_depthwise_temporal_convolution():
    conv = nn.Conv3d(2, 2, (3, 1, 1), groups=2, padding=(1, 0, 0), bias=False, dtype=D)
    conv.weight.data = tensor([[1, -1, 2], [0.5, 0.5, -1]]).view(2, 1, 3, 1, 1)
    x = tensor([[1, 2, 3], [4, 0, 2]]).view(1, 2, 3, 1, 1)
    close(seeded(conv, x, everywhere(ZPlus()), seed=torch.ones_like(x)), [1 / 7, 2, 6 / 7, 2, 0, 1])


@pytest.mark.parametrize("bias", [None, 0.7, -3.0])
def test_c10_zbeta(bias):
    conv = nn.Conv3d(1, 1, (1, 1, 2), bias=bias is not None, dtype=D).requires_grad_(False)
    conv.weight.copy_(tensor([2, -1]).view(1, 1, 1, 1, 2))
    if bias is not None:
        conv.bias.fill_(bias)
    x, seed = tensor([0.5, 0.25]).view(1, 1, 1, 1, 2), torch.full((1, 1, 1, 1, 1), 1.75, dtype=D)
    close(seeded(conv, x, everywhere(ZBeta(0.0, 1.0)), seed=seed), [1, 0.75])
    conv.input_range = (0.0, 1.0)
    close(seeded(conv, x, "paper", seed=seed), [1, 0.75])
    if bias is None:
        model = nn.Sequential(conv, nn.Flatten())
        logit = float(model(x))
        close(explained(model, x, "paper", input_range=(0, 1)), tensor([1, 0.75]) * logit / 1.75)


def test_c11_zplus_of_signed_inputs_needs_both_halves():
    both_ways(linear([[1, -2]]), tensor([[3, -1]]), "paper", [3, 2])


def test_c12_zplus_drops_the_bias():
    layer = nn.Linear(2, 1, dtype=D)
    layer.weight.data, layer.bias.data = tensor([[1, -1]]), tensor([3])
    both_ways(layer, tensor([[1, 2]]), "paper", [2, 0])


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear, self.head = linear([[1, 2], [3, 1]]), linear([[1, 1]])

    def forward(self, x):
        return self.head(self.linear(self.linear(x)))


def test_c13_a_module_applied_twice():
    both_ways(Twice(), tensor([[1, 1]]), "epsilon", [13, 11])


def test_c14_contrast_of_a_head():
    head, against, h = linear([[3, -1]]), linear([[-3, 1]]), tensor([[1, 2]])
    close(seeded(head, h, "paper", seed=tensor([[1]])), [1, 0])
    close(seeded(against, h, "paper", seed=tensor([[1]])), [0, 1])
    close(lrp3d.explain(head, h, 0, temporal=False).relevance, [1, 0])


@pytest.mark.parametrize("depthwise", [False, True])
@pytest.mark.parametrize("target", [0, 1])
def test_c15_small_epsilon_is_input_times_gradient(depthwise, target):
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv3d(2, 3, 3, bias=False, dtype=D),
        nn.ReLU(),
        nn.Conv3d(3, 3, (3, 1, 1), padding=(1, 0, 0), groups=3 if depthwise else 1, bias=False, dtype=D),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(24, 2, bias=False, dtype=D),
    )
    x = torch.randn(1, 2, 4, 4, 4, dtype=D, requires_grad=True)
    gradient = torch.autograd.grad(model(x)[0, target], x)[0]
    both_ways(model, x.detach(), everywhere(Epsilon(1e-14)), (x * gradient).detach(), target, tolerance=1e-8)
