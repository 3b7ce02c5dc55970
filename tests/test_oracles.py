"""Nets whose temporal relevance is known exactly, without training: the matrix must be what it has to be."""

import copy

import pytest
import torch
from temporal_reference import AdaptivePool, Folded, LinearPerFrame, clips, make
from torch import nn

import lrp3d
from lrp3d.metrics.atr import frame_atr
from lrp3d.sampling import partial_uniform_logits

KIND = pytest.mark.parametrize("contrastive", [True, False], ids=["CLRP", "LRP"])
HEAD = pytest.mark.parametrize("pooled", [False, True], ids=["classified", "pooled"])
RANGE = (-4.0, 4.0)  # the same for every clip, so that clips can be compared


class Stack(nn.Module):
    """3D convolutions with ReLU between them; classifies frames and averages, or pools and classifies."""

    def __init__(self, *convolutions, classes=3, pooled=False):
        super().__init__()
        self.convolutions = nn.ModuleList(convolutions)
        self.fc = nn.Linear(convolutions[-1].out_channels, classes)
        self.pooled = pooled

    def features(self, clip):
        for convolution in self.convolutions:
            clip = torch.relu(convolution(clip))
        return clip

    def frame_logits(self, clip):
        return self.fc(self.features(clip).mean((3, 4)).transpose(1, 2))

    def forward(self, clip):
        return self.fc(self.features(clip).mean((2, 3, 4))) if self.pooled else self.frame_logits(clip).mean(1)


def convolution(inputs, outputs, kernel, mode="zeros", bias=True):
    """(kernel, 3, 3), the clip's length kept."""
    padding = (kernel // 2, 1, 1)
    return nn.Conv3d(inputs, outputs, (kernel, 3, 3), padding=padding, padding_mode=mode, bias=bias)


def stack(*kernels, width=6, pooled=False, seed=0, **options):
    torch.manual_seed(seed)
    sizes = [3] + [width] * len(kernels)
    layers = (convolution(i, o, k, **options) for i, o, k in zip(sizes, sizes[1:], kernels, strict=False))
    return Stack(*layers, pooled=pooled).double().eval()


def taps(model, keep):
    """Keeps only some taps of every temporal kernel."""
    with torch.no_grad():
        for layer in model.convolutions:
            if layer.kernel_size[0] > 1:
                layer.weight.copy_(layer.weight * torch.tensor(keep)[:, None, None])
    return model


def matrix(model, clip, target=0, contrastive=True, **options):
    return lrp3d.explain(model, clip, target, contrastive=contrastive, input_range=RANGE, **options).matrix


def distance(n):
    """(n, n): j - i."""
    return torch.arange(n) - torch.arange(n)[:, None]


def same(found, expected):
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


# --------------------------------------------------------------------------------- where relevance can come from


@KIND
@HEAD
def test_without_temporal_kernels_every_frame_explains_itself(contrastive, pooled):
    model, clip = stack(1, 1, 1, pooled=pooled), clips()
    found = lrp3d.explain(model, clip, 0, contrastive=contrastive)
    assert torch.equal(found.matrix, torch.diag_embed(found.matrix.diagonal(dim1=1, dim2=2)))
    same(found.matrix.diagonal(dim1=1, dim2=2), found.frame_logits)
    assert torch.equal(found.atr, torch.ones(2, 8, dtype=torch.float64))
    measured = lrp3d.intervention_matrix(model, clip, 0)
    assert measured[:, distance(8) != 0].abs().max() < 1e-12
    assert measured[:, distance(8) == 0].abs().min() > 0


@KIND
@HEAD
@pytest.mark.parametrize(("keep", "lag"), [((1.0, 0.0, 0.0), -1), ((0.0, 0.0, 1.0), 1)])
def test_a_kernel_that_shifts_the_clip_shifts_the_matrix(contrastive, pooled, keep, lag):
    model, clip = taps(stack(1, 3, 3, mode="circular", pooled=pooled), keep), clips()
    found = lrp3d.explain(model, clip, 0, contrastive=contrastive)
    shift = torch.eye(8, dtype=torch.float64).roll(2 * lag, 1)  # two layers
    same(found.matrix, shift * found.frame_logits.unsqueeze(2))


@KIND
@HEAD
@pytest.mark.parametrize("kernels", [(3, 1), (1, 3), (3, 3), (5, 3)])
def test_relevance_stays_inside_the_receptive_field(contrastive, pooled, kernels):
    model, clip = stack(*kernels, pooled=pooled), clips(t=10)
    radius = sum(kernel // 2 for kernel in kernels)
    outside = distance(10).abs() > radius
    found = matrix(model, clip, contrastive=contrastive)
    assert torch.all(found[:, outside] == 0)
    assert torch.all(found[:, distance(10) == radius] != 0)  # and reaches its ends
    measured = lrp3d.intervention_matrix(model, clip, 0, occluder="blank")
    assert measured[:, outside].abs().max() < 1e-12
    assert torch.all(measured[:, distance(10) == radius] != 0)


@KIND
@HEAD
@pytest.mark.parametrize("d", [1, 2, 4])
def test_planted_taps_are_all_that_relevance_finds(contrastive, pooled, d):
    """The only temporal taps are 0 and -d: frame i rests on itself and on frame i - d.

    Without bias: a neuron fired by its bias alone has no contributions to share by, and hands its relevance to its
    whole window, taps of weight zero included.
    """
    keep = [1.0] + [0.0] * (d - 1) + [1.0] + [0.0] * d
    model, clip = taps(stack(1, 2 * d + 1, 1, pooled=pooled, bias=False), keep), clips(t=12)
    found = lrp3d.explain(model, clip, 0, contrastive=contrastive)
    planted = (distance(12) == 0) | (distance(12) == -d)
    assert torch.all(found.matrix[:, ~planted] == 0)
    assert (found.matrix[:, planted] != 0).float().mean() > 0.8
    assert found.max_atr.max() <= d + 1
    assert torch.all(found.atr[:, :d] == 1)  # nothing lies before them
    if not contrastive:
        assert (found.atr[:, d:] == d + 1).float().mean() > 0.5
    assert torch.all(frame_atr(lrp3d.intervention_matrix(model, clip, 0).where(planted, 0.0)) <= d + 1)


# ------------------------------------------------------------------------------------------- how much of it


def test_a_non_negative_mixer_over_time_is_its_own_matrix():
    """Without bias and negative weights, row i is the kernel around i times each frame's worth to the classifier."""
    kernel = torch.tensor([0.5, 2.0, 1.0, 0.25, 3.0], dtype=torch.float64)
    torch.manual_seed(0)
    mixer = nn.Conv3d(4, 4, (5, 1, 1), padding=(2, 0, 0), groups=4, bias=False)
    model = Stack(nn.Conv3d(3, 4, 1, bias=False), mixer).double().eval()
    clip = clips().abs()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.abs_()
        model.fc.bias.zero_()
        mixer.weight.copy_(kernel.view(1, 1, 5, 1, 1).expand_as(mixer.weight))
        worth = model.fc(torch.relu(model.convolutions[0](clip)).mean((3, 4)).transpose(1, 2))[..., 0]  # (b, t)
    mix = torch.zeros(8, 8, dtype=torch.float64)
    for i in range(8):
        for j in range(max(0, i - 2), min(8, i + 3)):
            mix[i, j] = kernel[j - i + 2]
    expected = mix * worth.unsqueeze(1)
    found = lrp3d.explain(model, clip, 0, contrastive=False, input_range=(0.0, 4.0)).matrix
    same(found, expected)
    # such a net is linear where it is: taking a frame away measures the same
    same(lrp3d.intervention_matrix(model, clip, 0, occluder="blank"), expected)


# ------------------------------------------------------------------------------------------------- symmetries


@KIND
@pytest.mark.parametrize("net", [AdaptivePool, Folded, LinearPerFrame])
def test_time_reversal_flips_the_matrix_on_both_axes(contrastive, net):
    model, clip = make(net), clips(t=7)
    reversed_model = copy.deepcopy(model)
    with torch.no_grad():
        for module in reversed_model.modules():
            if isinstance(module, (nn.Conv3d, nn.Conv1d)):
                module.weight.copy_(module.weight.flip(2))
    expected = matrix(model, clip, contrastive=contrastive).flip(1, 2)
    same(matrix(reversed_model, clip.flip(2), contrastive=contrastive), expected)
    assert not torch.allclose(matrix(model, clip.flip(2), contrastive=contrastive), expected)
    measured = lrp3d.intervention_matrix(model, clip, 0).flip(1, 2)
    same(lrp3d.intervention_matrix(reversed_model, clip.flip(2), 0), measured)


@KIND
@HEAD
def test_a_still_clip_on_a_circular_clock_has_no_preferred_frame(contrastive, pooled):
    model = stack(3, 5, mode="circular", pooled=pooled)
    found = matrix(model, clips(t=1).expand(-1, -1, 8, -1, -1), contrastive=contrastive)
    for i in range(8):
        same(found[:, i], found[:, 0].roll(i, 1))
    same(found.sum(1), found.sum(2))


@KIND
@HEAD
def test_in_a_still_clip_only_the_padding_at_its_ends_makes_a_difference(contrastive, pooled):
    """Radius 3: rows 6 to 9 of 16 see no border, neither on their way up nor on their way down."""
    model = stack(3, 5, pooled=pooled)
    found = matrix(model, clips(t=1).expand(-1, -1, 16, -1, -1), contrastive=contrastive)
    for i in range(6, 10):
        same(found[:, i], found[:, 6].roll(i - 6, 1))
    assert not torch.allclose(found[:, 0, :4], found[:, 6, 6:10])


def test_max_pool_ties_of_a_still_clip_go_to_no_frame_in_particular():
    torch.manual_seed(0)
    features = (nn.Conv3d(3, 6, 1), nn.ReLU(), nn.MaxPool3d((3, 1, 1), 1, (1, 0, 0)))
    model = nn.Sequential(*features, nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(6, 3)).double().eval()
    found = matrix(model, clips(t=1).expand(-1, -1, 8, -1, -1), contrastive=False)
    same(found[:, 3, 2:5], found[:, 3, 3:4].expand(-1, 3))


# ------------------------------------------------------------------------------------- partial uniform sampling


@HEAD
def test_a_window_as_large_as_the_receptive_field_changes_no_frame_logit(pooled):
    model, clip = stack(3, 1, 5, pooled=pooled), clips(t=12)  # radius 3
    with torch.no_grad():
        expected = model.frame_logits(clip)
    inside = slice(3, 9)  # nearer to the ends the window is shifted, not cut, and padding begins later
    whole = partial_uniform_logits(model, clip, 7).frame_logits
    same(whole[:, inside], expected[:, inside])
    narrow = partial_uniform_logits(model, clip, 5).frame_logits
    assert torch.all((narrow - expected)[:, inside].abs().amax(2) > 1e-6)


def test_the_frames_outside_a_window_of_the_rows_support_are_not_missed():
    """Planted taps {0, -2}: a window from the one frame to the other is enough."""
    model, clip = taps(stack(1, 5, pooled=True), [1.0, 0.0, 1.0, 0.0, 0.0]), clips(t=10)
    with torch.no_grad():
        expected = model.frame_logits(clip)
    windows = (torch.tensor([max(0, i - 2) for i in range(10)]), torch.arange(10))
    found = partial_uniform_logits(model, clip, windows).frame_logits
    same(found[:, 2:], expected[:, 2:])
    assert torch.all(frame_atr(matrix(model, clip, contrastive=False)) <= 3)


# ------------------------------------------------------------------------------------------------------ smoke tests


@KIND
def test_other_weights_and_other_classes_give_other_matrices(contrastive):
    clip = clips()
    first, other = (matrix(stack(3, 3, seed=seed), clip, contrastive=contrastive) for seed in (0, 1))
    shares = [m / m.abs().sum(2, keepdim=True) for m in (first, other, matrix(stack(3, 3), clip, 1, contrastive))]
    assert (shares[0] - shares[1]).abs().max() > 0.01
    assert (shares[0] - shares[2]).abs().max() > 0.01
