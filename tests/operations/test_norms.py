"""Norms hand relevance on unchanged, however they are written: their statistics are constants."""

import pytest
import torch
import torch.nn.functional as F
from forwards import D, Net, clip, close, twin_relevance
from torch import nn

import lrp3d

X = clip(2, 4, 2, 4, 4) + 0.25
WEIGHT, BIAS = torch.tensor([1.0, -2, 0.5, 3], dtype=D), torch.tensor([0.5, -1, 0, 2], dtype=D)


def shaped(x):
    return x.reshape(-1, 1, 1, 1)


def by_hand(x):
    """ConvNeXt's first code."""
    mean = x.mean(1, keepdim=True)
    variance = (x - mean).pow(2).mean(1, keepdim=True)
    return shaped(WEIGHT) * ((x - mean) / torch.sqrt(variance + 1e-6)) + shaped(BIAS)


def by_moments(x):
    """timm's layer norm in two dimensions, unfused."""
    variance, mean = torch.var_mean(x, dim=1, unbiased=False, keepdim=True)
    return (x - mean) * torch.rsqrt(variance + 1e-6) * shaped(WEIGHT) + shaped(BIAS)


def in_groups(x):
    groups = x.reshape(2, 2, -1)
    return ((groups - groups.mean(-1)[:, :, None]) / groups.std(-1, keepdim=True)).view_as(x)


NORMS = {
    "layer norm": lambda x: F.layer_norm(x, x.shape[2:]),
    "layer norm, affine": lambda x: F.layer_norm(x, (4,), WEIGHT, BIAS),
    "torch.layer_norm": lambda x: torch.layer_norm(x, (4, 4)),
    "over channels": lambda x: F.layer_norm(x.movedim(1, -1), (4,), WEIGHT, BIAS).movedim(-1, 1),
    "group norm": lambda x: F.group_norm(x, 2, WEIGHT, BIAS),
    "instance norm": lambda x: F.instance_norm(x, weight=WEIGHT, bias=BIAS),
    "instance norm, running": lambda x: F.instance_norm(x, BIAS, BIAS.abs() + 1, use_input_stats=False),
    "RMS norm": lambda x: F.rms_norm(x, (4,), WEIGHT),
    "batch statistics": lambda x: F.batch_norm(x, None, None, WEIGHT, BIAS, True),
    "local response": lambda x: F.local_response_norm(x, 3),
    "nn.LayerNorm": nn.LayerNorm((2, 4, 4), dtype=D),
    "nn.GroupNorm": nn.GroupNorm(2, 4, dtype=D),
    "nn.InstanceNorm3d": nn.InstanceNorm3d(4, affine=True, dtype=D),
    "nn.InstanceNorm3d, running": nn.InstanceNorm3d(4, track_running_stats=True, dtype=D),
    "nn.RMSNorm": nn.RMSNorm(4, dtype=D),
    "nn.BatchNorm3d, of the batch": nn.BatchNorm3d(4, track_running_stats=False, dtype=D),
    "by hand": by_hand,
    "by moments": by_moments,
    "by moments, standard deviation": lambda x: (x - x.mean((2, 3, 4), True)) / (x.std((2, 3, 4), keepdim=True) + 1e-5),
    "std_mean": lambda x: (lambda s, m: (x - m) / s)(*torch.std_mean(x, (1, 2), keepdim=True)),
    "in groups": in_groups,
    "slices of all values": lambda x: x - x.mean(3).narrow(0, 0, len(x))[:, -4:].unsqueeze(3),
    "RMS by hand": lambda x: x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * WEIGHT,
    "RMS by norm": lambda x: x / (x.norm(2, dim=1, keepdim=True) * 0.5 + 1e-6),
    "rsqrt spread out": lambda x: x * (x * x).mean(1, True).add(1e-6).rsqrt().expand_as(x),
    "power -0.5": lambda x: x * (x * x).mean(1, True).add(1e-6).pow(-0.5),
    "normalize": F.normalize,
    "normalize to 1": lambda x: F.normalize(x, p=1, dim=2),
    "L2 by linalg": lambda x: x / torch.linalg.vector_norm(x, dim=1, keepdim=True).clamp(min=1e-6),
    "centred": lambda x: x - x.mean((2, 3, 4), keepdim=True),
    "centred over everything": lambda x: x - x.mean(),
}


@pytest.mark.parametrize("name", NORMS)
def test_a_norm_hands_relevance_on_unchanged(name):
    _, r, found = twin_relevance(Net(lambda x: NORMS[name](x)), X, None, "paper")
    close(found, r)


def test_a_norm_after_a_layer_is_the_layer():
    for norm in (by_hand, NORMS["layer norm"], NORMS["group norm"]):
        stem = nn.Conv3d(4, 4, 1, dtype=D)
        _, r, wanted = twin_relevance(Net(lambda self, x: self.stem(x), stem=stem), X)
        close(twin_relevance(Net(lambda self, x, norm=norm: norm(self.stem(x)), stem=stem), X, r)[2], wanted)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("part", [1.0, 0.9])
def test_in_half_precision_what_is_near_the_mean_is_not_taken_for_it(part, dtype):
    """A thousand roundings, which two ways to compute a mean may differ by, are as large as the values there."""
    model = nn.Sequential(Net(lambda x: x - part * x.mean(1, keepdim=True)), nn.Flatten(), nn.Linear(16, 3))
    rows = lrp3d.inspect(model.to(dtype).eval(), torch.rand(1, 4, 2, 2).to(dtype), contrastive=False)
    assert any("the mean is constant" in str(row.rule) for row in rows) == (part == 1.0)


def test_minus_the_mean_of_another_signal_is_a_sum():
    """Only a signal's own mean centres it."""
    _, r, found = twin_relevance(Net(lambda x: x[:, :2] - x[:, 2:].mean(2, keepdim=True)), X)
    assert found[:, 2:].abs().max() > 0
    close(found.sum(), r.sum())


OTHER_PLACES = {
    "roll": lambda m: m.roll(1, 2),
    "flip": lambda m: m.flip(2),
    "index": lambda m: m[:, :, [1, 2, 3, 0]],
    "first": lambda m: m[:, :, :1],
    "selected": lambda m: m[:, :, 0].unsqueeze(2),
}
SAME_PLACES = {
    "itself": lambda m: m,
    "reshaped": lambda m: m.flatten(2)[..., None, None],
    "selected": lambda m: m[..., 0, -1][..., None, None],
    "repeated": lambda m: m.repeat(1, 1, 1, X.shape[3], 1),
    "spread out": lambda m: m.expand_as(X).contiguous(),
}


@pytest.mark.parametrize("how", OTHER_PLACES)
def test_minus_the_mean_of_another_place_is_a_sum(how):
    """The mean of another frame is a summand, however it got there."""
    of_mean = OTHER_PLACES[how]
    clip = X.transpose(2, 3)  # of four frames

    def net(x):
        return x - of_mean(x.mean((3, 4), keepdim=True))

    def by_parts(x):
        m = x.mean((3, 4), keepdim=True)
        moved = {
            "roll": [-1, 0, 1, 2],
            "flip": [3, 2, 1, 0],
            "index": [1, 2, 3, 0],
            "first": [0, 0, 0, 0],
            "selected": [0, 0, 0, 0],
        }[how]
        return x - torch.cat([m[:, :, i].unsqueeze(2) for i in moved], 2)

    _, r, found = twin_relevance(Net(net), clip)
    close(found, twin_relevance(Net(by_parts), clip, r)[2])


@pytest.mark.parametrize("how", SAME_PLACES)
def test_minus_its_own_mean_a_signal_is_centred_however_the_mean_is_shaped(how):
    _, r, found = twin_relevance(Net(lambda x: x - SAME_PLACES[how](x.mean((3, 4), keepdim=True))), X, None, "paper")
    close(found, r)


MEANS = {
    "of a reshaped copy": lambda x: x - x.flatten(3).mean(3)[..., None, None],
    "moved": lambda x: x - x.permute(0, 3, 4, 1, 2).mean((1, 2))[..., None, None],
    "pooled": lambda x: (
        x - F.adaptive_avg_pool3d(x.transpose(1, 2).flatten(0, 1), 1).unflatten(0, (2, 2)).transpose(1, 2)
    ),
    "by a sum": lambda x: x - x.sum((3, 4), keepdim=True) / 16,
    "one axis after the other": lambda x: x - x.mean(4).mean(3)[..., None, None],
    "negated and first": lambda x: -x.mean((3, 4), keepdim=True) + x,
    "negated and added": lambda x: x + (-x.mean((3, 4), keepdim=True)),
    "turned round": lambda x: -(x.mean((3, 4), keepdim=True) - x),
    "negated, and the mean added": lambda x: -(x.mean((3, 4), keepdim=True) + (-x)),
    "negated first": lambda x: -(-x + x.mean((3, 4), keepdim=True)),
    "subtracted by alpha": lambda x: -torch.add(x.mean((3, 4), keepdim=True), x, alpha=-1),
    "both doubled": lambda x: (2 * x - 2 * x.mean((3, 4), keepdim=True)) / 2,
    "turned round by rsub": lambda x: torch.rsub(x, x.mean((3, 4), keepdim=True)) * -1,
    "by alpha": lambda x: torch.add(x, x.mean((3, 4), keepdim=True), alpha=-1),
    "spread like AdaIN's": lambda x: x - x.reshape(2, 4, 2, -1).mean(3).view(2, 4, 2, 1, 1).expand(x.size()),
}


@pytest.mark.parametrize("how", MEANS)
def test_minus_its_own_mean_a_signal_is_centred_however_the_mean_is_computed(how):
    _, r, found = twin_relevance(Net(MEANS[how]), X, None, "paper")
    close(found, r)


def test_minus_a_mean_that_lies_along_another_axis_is_a_sum():
    """Rows and columns are as many, but the mean over rows does not centre columns."""
    _, r, found = twin_relevance(Net(lambda x: x.transpose(3, 4) - x.mean(3, keepdim=True)), X, None, "paper")
    assert (found - r.transpose(3, 4)).abs().max() > 0.1


STATISTICS = {
    "norm": (lambda x: x.norm(dim=1), lambda x: x**2, 1),
    "norm 1": (lambda x: torch.norm(x, p=1, dim=2), lambda x: x.abs(), 2),
    "root of the sum of squares": (lambda x: x.pow(2).sum(1).sqrt(), lambda x: x**2, 1),
    "largest": (
        lambda x: torch.linalg.vector_norm(x, float("inf"), -1),
        lambda x: (x.abs() == x.abs().amax(-1, True)).to(D),
        -1,
    ),
    "variance": (lambda x: x.var(3), lambda x: (x - x.mean(3, keepdim=True)) ** 2, 3),
    "deviation": (lambda x: torch.std(x, dim=1, keepdim=True), lambda x: (x - x.mean(1, keepdim=True)) ** 2, 1),
    "logsumexp": (lambda x: x.logsumexp(1), torch.exp, 1),
    "logsumexp by hand": (lambda x: x.exp().sum(1).log(), torch.exp, 1),
    "logsumexp by hand, the axis kept": (lambda x: torch.log(torch.exp(x).sum(-2, keepdim=True)), torch.exp, -2),
    "logarithm of a mean of exponentials": (lambda x: x.exp().mean(2).log(), torch.exp, 2),
}


@pytest.mark.parametrize("name", STATISTICS)
def test_a_statistic_that_is_a_feature_is_shared_by_what_each_value_adds(name):
    function, contributions, axis = STATISTICS[name]
    _, r, found = twin_relevance(Net(function), X)
    r = r if r.dim() == X.dim() else r.unsqueeze(axis)
    parts = contributions(X)
    close(found, r * (parts / parts.sum(axis, keepdim=True)).nan_to_num(1 / X.shape[axis]))


LOGSUMEXP = {
    "over several axes": (lambda x: x.exp().sum((2, 3)).log(), lambda x: x.logsumexp((2, 3))),
    "over everything": (lambda x: x.exp().sum().log(), lambda x: x.flatten().logsumexp(0)),
    "sharpened": (lambda x: (4 * x).exp().mean(2).log() / 4, lambda x: (x * 4).logsumexp(2) / 4),
    "time first": (lambda x: x.permute(2, 0, 1, 3, 4).exp().sum(0).log(), lambda x: x.logsumexp(2)),
    "padded": (lambda x: F.pad(x, (1, 1)).exp().sum(4).log(), lambda x: F.pad(x, (1, 1)).logsumexp(4)),
}


@pytest.mark.parametrize("name", LOGSUMEXP)
def test_log_sum_exp_by_hand_is_logsumexp(name):
    by_hand, called = LOGSUMEXP[name]
    _, r, found = twin_relevance(Net(by_hand), X)
    close(found, twin_relevance(Net(called), X, r)[2])
    close(found.sum(), r.sum())


@pytest.mark.parametrize(
    "function",
    [
        lambda x: (x.abs() + 1).log(),
        lambda x: (x.exp().sum(1) + 1).log(),
        lambda x: x.exp().log(),
        lambda x: (x.exp() * x.sigmoid()).sum(1).log(),
        lambda x: x.exp().flip(1).sum(1).log(),
    ],
)
def test_the_logarithm_of_anything_else_says_what_to_use(function):
    with pytest.raises(lrp3d.UnsupportedOperation, match=r"torch\.logsumexp\(x, dim\) .* torch\.log1p"):
        twin_relevance(Net(function), X)


def test_cosine_similarity_is_a_product_of_two_unit_vectors():
    _, r, found = twin_relevance(Net(lambda x: F.cosine_similarity(x[:, :2], x[:, 2:])), X)
    close(found.sum(), r.sum())
    close(found[:, :2].sum(), found[:, 2:].sum())


def test_only_identity_is_a_rule_of_a_norm():
    with pytest.raises(ValueError, match="cannot be the rule of"):
        lrp3d.inspect(
            Net(NORMS["layer norm"]), X, composite=lrp3d.Composite(layers={nn.LayerNorm: lrp3d.rules.ZPlus()})
        )


def test_what_is_left_of_windows_is_no_centred_signal_even_if_it_stands_still():
    """A running mean over a clip that stands still has the values of a mean over time, which it is not."""
    still = X[:, :, :1].expand(2, 4, 6, 4, 4).contiguous()
    moving = clip(2, 4, 6, 4, 4)

    def high_pass(x):
        return x - F.avg_pool3d(x, (3, 1, 1), 1, (1, 0, 0), count_include_pad=False)

    _, r, alone = twin_relevance(Net(high_pass), still, None, "paper")
    _, _, together = twin_relevance(Net(high_pass), torch.cat([still, moving]), torch.cat([r, r]), "paper")
    close(together[:2], alone)
