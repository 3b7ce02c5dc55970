"""Layers that relevance passes unchanged, layers that move it, and gates."""

import pytest
import reference
import torch
import torch.nn.functional as F
from torch import nn
from twins import D, close, twin_relevance

import lrp3d
from lrp3d.rules import Epsilon

PASSING = [nn.ReLU(), nn.ReLU6(), nn.LeakyReLU(0.2), nn.PReLU(), nn.PReLU(2), nn.RReLU(), nn.Threshold(0.1, 0.0)]
PASSING += [nn.ELU(), nn.SELU(), nn.CELU(), nn.GELU(), nn.GELU(approximate="tanh"), nn.SiLU(), nn.Mish()]
PASSING += [nn.Hardswish(), nn.Softplus(), nn.Softsign(), nn.Tanh(), nn.Sigmoid(), nn.Hardsigmoid()]
PASSING += [nn.Hardtanh(), nn.Hardtanh(-3, 2), nn.Hardshrink(), nn.Softshrink(), nn.Tanhshrink()]
PASSING += [nn.Identity(), nn.Dropout(), nn.Dropout3d(), nn.AlphaDropout(), nn.FeatureAlphaDropout()]
IN_PLACE = (nn.ReLU, nn.ReLU6, nn.SiLU, nn.Hardswish, nn.Dropout)
PASSING += [kind(inplace=True) for kind in IN_PLACE] + [nn.LeakyReLU(0.2, inplace=True)]


@pytest.mark.parametrize("layer", PASSING, ids=str)
def test_activations_and_dropout_pass_relevance_unchanged(layer):
    layer = layer.to(D).eval()
    x = torch.randn(2, 2, 3, 3, 3, dtype=D)
    wanted = layer(x.clone())
    output, r, found = twin_relevance(layer, x)
    assert torch.equal(output, wanted)
    assert torch.equal(found, r)


NORMS = [(nn.BatchNorm1d, (4, 3)), (nn.BatchNorm1d, (4, 3, 5)), (nn.BatchNorm2d, (2, 3, 4, 4))]
NORMS += [(nn.BatchNorm3d, (2, 3, 2, 4, 4))]


def trained(norm):
    """A batch norm with statistics, and with scales of both signs."""
    generator = torch.Generator().manual_seed(5)
    for name in ("weight", "bias", "running_mean"):
        if getattr(norm, name, None) is not None:
            getattr(norm, name).data = torch.randn(3, generator=generator, dtype=D)
    norm.running_var.data = torch.rand(3, generator=generator, dtype=D) + 0.1
    return norm.eval()


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize(("kind", "shape"), NORMS)
def test_batch_norm_with_frozen_statistics_passes_relevance_unchanged(kind, shape, affine):
    norm, x = trained(kind(3, affine=affine, dtype=D)), torch.randn(shape, dtype=D)
    before = {name: value.clone() for name, value in norm.state_dict().items()}
    output, r, found = twin_relevance(norm, x)
    assert torch.equal(output, norm(x))
    assert torch.equal(found, r)
    assert all(torch.equal(value, before[name]) for name, value in norm.state_dict().items())


def test_batch_norm_takes_the_epsilon_rule_where_asked_for():
    norm, x = trained(nn.BatchNorm2d(3, dtype=D)), torch.randn(2, 3, 4, 4, dtype=D)
    composite = lrp3d.Composite(layers={nn.BatchNorm2d: Epsilon(1e-9)})
    output, r, found = twin_relevance(norm, x, composite=composite)
    scale = (norm.weight / (norm.running_var + norm.eps).sqrt()).view(1, 3, 1, 1)
    close(found, (x * scale / (output + 1e-9 * output.sign()) * r).detach(), 1e-7)


def test_batch_norm_by_statistics_of_the_batch_hands_relevance_on():
    norm = nn.BatchNorm3d(3, track_running_stats=False)
    _, r, found = twin_relevance(norm, torch.rand(2, 3, 2, 2, 2))
    assert torch.equal(found, r)


def test_batch_norm_that_changes_its_statistics_is_refused():
    class Alive(nn.BatchNorm3d):
        def forward(self, x):
            return F.batch_norm(x, self.running_mean, self.running_var, training=True)

    with pytest.raises(lrp3d.UnsupportedOperation, match="running"):
        twin_relevance(Alive(3), torch.rand(2, 3, 2, 2, 2))


@pytest.mark.parametrize(
    ("layer", "shape"),
    [(nn.Flatten(), (2, 12)), (nn.Flatten(2), (2, 3, 4)), (nn.Unflatten(1, (3, 1)), (2, 3, 1, 2, 2))],
)
def test_rearranging_layers_rearrange_relevance(layer, shape):
    x = torch.randn(2, 3, 2, 2, dtype=D)
    output, r, found = twin_relevance(layer, x)
    assert output.shape == shape
    assert torch.equal(found, r.reshape(x.shape))


REARRANGING = [
    nn.PixelShuffle(2),
    nn.PixelUnshuffle(2),
    nn.ChannelShuffle(2),
    nn.ZeroPad2d(1),
    nn.ReflectionPad2d(1),
]
REARRANGING += [nn.ReplicationPad2d((1, 0, 2, 0)), nn.CircularPad2d(2), nn.ConstantPad2d(1, 3.0)]


@pytest.mark.parametrize("layer", REARRANGING, ids=str)
def test_shuffles_and_paddings_hand_relevance_to_where_the_values_came_from(layer):
    x = torch.randn(2, 4, 4, 4, dtype=D)
    output, r, found = twin_relevance(layer, x)
    assert torch.equal(output, layer(x))
    moves = reference.jacobian(lambda x: layer(x) - layer(torch.zeros_like(x)), x.shape[1:])
    close(found, (r.flatten(1) @ moves).reshape(x.shape))


# ------------------------------------------------------------------------------------------- gates


class Squeeze(nn.Module):
    def __init__(self, gate):
        super().__init__()
        self.down, self.up, self.gate = nn.Conv3d(3, 2, 1, dtype=D), nn.Conv3d(2, 3, 1, dtype=D), gate

    def forward(self, x):
        scale = self.gate(self.up(F.relu(self.down(F.adaptive_avg_pool3d(x, 1)))))
        return scale * x


@pytest.mark.parametrize("gate", [nn.Sigmoid(), nn.Hardsigmoid(), nn.ReLU()], ids=str)
def test_squeeze_and_excitation_is_a_gate_and_relevance_follows_the_signal(gate):
    model, x = Squeeze(gate), torch.randn(2, 3, 2, 2, 2, dtype=D)
    output, r, found = twin_relevance(model, x)
    assert torch.equal(output, model(x))
    assert torch.equal(found, r)
