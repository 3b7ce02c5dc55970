"""Reads at computed places: outputs are torch's, relevance is z+ over the dense matrix of the read, nothing leaks."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from forwards import D, Net, close, relevance, twin_relevance
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import lrp3d
from lrp3d.registry import OPERATIONS
from lrp3d.rules import ZPlus


def numbers(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=D)


def dense_z_plus(function, x, r):
    """z+ written out: the matrix of a linear function, entry by entry, and every output's relevance shared by it."""
    matrix = torch.autograd.functional.jacobian(function, x).reshape(r.numel(), x.numel())
    contributions = (matrix * x.flatten()).clamp(min=0)
    handed = torch.zeros(x.numel(), dtype=D)
    for row, weights, of_output in zip(contributions, matrix, r.flatten(), strict=True):
        if row.sum() > 0:
            handed += row / row.sum() * of_output
        elif weights.abs().sum() > 0:
            handed += weights.abs() / weights.abs().sum() * of_output
    return handed.view_as(x)


@settings(deadline=None, max_examples=40)
@given(
    st.sampled_from(["bilinear", "nearest", "bicubic", "volume"]),
    st.sampled_from(["zeros", "border", "reflection"]),
    st.booleans(),
    st.integers(2, 5),
    st.integers(2, 5),
    st.integers(0, 1000),
)
def test_grids_are_linear_in_what_they_sample(mode, padding, corners, height, width, seed):
    volume = mode == "volume"
    sizes = (2, height, width) if volume else (height, width)
    x, wide = numbers(2, 2, *sizes, seed=seed), 2.5
    grid = wide * numbers(2, *[2] * len(sizes), len(sizes), seed=seed + 1).tanh()
    kind = "bilinear" if volume else mode

    def sampled(x):
        return F.grid_sample(x, grid, kind, padding, corners)

    _, r, found = twin_relevance(Net(sampled), x)
    reads = torch.autograd.functional.jacobian(sampled, x).abs().flatten(x.dim()).sum(-1) != 0
    close(found.sum(), (r * reads).sum())
    twice = mode == "bicubic" and padding != "zeros"  # a pixel may be read twice, once added and once subtracted
    if not twice and not (dense_sum(sampled, x)[reads.flatten()] == 0).any():
        close(found, dense_z_plus(sampled, x, r))


def dense_sum(function, x):
    matrix = torch.autograd.functional.jacobian(function, x).reshape(-1, x.numel())
    return (matrix * x.flatten()).clamp(min=0).sum(1)


def test_places_from_the_clip_are_constant_and_said_to_be():
    """A spatial transformer: no relevance into what says where to look, all of it into what is seen there."""

    class Transformer(nn.Module):
        def __init__(self):
            super().__init__()
            self.where, self.fc = nn.Linear(3, 6), nn.Linear(3, 2)

        def forward(self, x):
            x = x.transpose(1, 2).flatten(0, 1)
            grid = F.affine_grid(self.where(x.mean((2, 3))).view(-1, 2, 3).tanh(), x.shape, align_corners=False)
            x = F.grid_sample(x, grid, padding_mode="border", align_corners=False)
            return self.fc(x.relu().mean((2, 3))).unflatten(0, (-1, 3)).mean(1)

    torch.manual_seed(0)
    model, clip = Transformer().to(D).eval(), numbers(2, 3, 3, 4, 4)
    rows = lrp3d.inspect(model, clip)
    assert not rows.problems
    assert any("places are constant" in row.rule for row in rows)
    explanation = lrp3d.explain(model, clip, 0, contrastive=False)
    assert explanation.conservation.max() < 1e-9
    torch.testing.assert_close(explanation.frame_logits.mean(1), explanation.logits[:, 0])


def test_places_alone_have_no_relevance():
    picture = numbers(1, 2, 3, 3)

    def forward(self, x):
        grid = F.affine_grid(self.where(x.mean((2, 3, 4))).view(-1, 2, 3), (1, 2, 3, 3), align_corners=False)
        return F.grid_sample(picture, grid, align_corners=False).mean((2, 3))

    model = Net(forward, where=nn.Linear(3, 6)).eval()
    with pytest.raises(lrp3d.UnsupportedOperation, match="places have no relevance"):
        lrp3d.explain(model, numbers(1, 3, 2, 2, 2), 0, temporal=False)


@settings(deadline=None, max_examples=20)
@given(
    st.integers(2, 6),
    st.integers(2, 6),
    st.sampled_from([{"size": (5, 3)}, {"size": (2, 7)}, {"scale_factor": 1.7}, {"scale_factor": (2.0, 0.6)}]),
    st.sampled_from([{}, {"align_corners": True}, {"antialias": True}, {"recompute_scale_factor": True}]),
    st.integers(0, 1000),
)
def test_cubic_interpolation_has_weights_of_both_signs(height, width, size, options, seed):
    if "size" in size and "recompute_scale_factor" in options:
        options = {}
    x = numbers(1, 2, height, width, seed=seed)

    def function(x):
        return F.interpolate(x, mode="bicubic", **size, **options)

    _, r, found = twin_relevance(Net(function), x)
    close(found.sum(), r.sum(), 1e-9)
    if not (dense_sum(function, x) == 0).any():
        close(found, dense_z_plus(function, x, r), 1e-8)


def slow_deformable(x, offset, weight, bias, stride, padding, dilation, mask):
    """Deformable convolution, loop by loop."""
    b, c, h, w = x.shape
    outputs, of_group, p, q = weight.shape
    several = offset.shape[1] // (2 * p * q)
    out = bias.view(1, -1, 1, 1).repeat(b, 1, *offset.shape[-2:])

    def at(n, channel, y, x_):
        total = 0.0
        for row in (int(y // 1), int(y // 1) + 1):
            for column in (int(x_ // 1), int(x_ // 1) + 1):
                if 0 <= row < h and 0 <= column < w:
                    total = total + (1 - abs(y - row)) * (1 - abs(x_ - column)) * x[n, channel, row, column]
        return total

    for n, k, i, j in itertools.product(*map(range, out.shape)):
        for channel, tap in itertools.product(range(of_group), range(p * q)):
            source = channel + k // (outputs // (c // of_group)) * of_group
            group = source // (c // several)
            place = 2 * (group * p * q + tap)
            y = i * stride[0] - padding[0] + tap // q * dilation[0] + offset[n, place, i, j]
            x_ = j * stride[1] - padding[1] + tap % q * dilation[1] + offset[n, place + 1, i, j]
            value = at(n, source, float(y), float(x_)) * weight[k, channel, tap // q, tap % q]
            if mask is not None:
                value = value * mask[n, group * p * q + tap, i, j]
            out[n, k, i, j] = out[n, k, i, j] + value
    return out


@pytest.mark.parametrize(
    ("groups", "several", "stride", "padding", "dilation", "masked"),
    [
        (1, 1, (1, 1), (1, 1), (1, 1), False),
        (2, 2, (2, 1), (1, 0), (1, 1), True),
        (1, 2, (1, 2), (2, 1), (2, 1), True),
        (4, 1, (1, 1), (0, 1), (1, 2), False),
    ],
)
def test_deformable_convolution_is_a_read_a_mask_and_a_convolution(groups, several, stride, padding, dilation, masked):
    x, weight, bias = numbers(2, 4, 5, 4), numbers(4, 4 // groups, 3, 2, seed=1), numbers(4, seed=2)
    sizes = [
        (n + 2 * p - d * (k - 1) - 1) // s + 1
        for n, p, d, k, s in zip((5, 4), padding, dilation, (3, 2), stride, strict=True)
    ]
    offset = numbers(2, 2 * several * 6, *sizes, seed=3)
    mask = numbers(2, several * 6, *sizes, seed=4).sigmoid() if masked else None
    plain = slow_deformable(x, offset, weight, bias, stride, padding, dilation, mask)

    class Deformable(nn.Module):
        def forward(self, x):
            return slow_deformable(x, offset, weight, bias, stride, padding, dilation, mask)

    handler = OPERATIONS["torchvision::deform_conv2d"]

    @lrp3d.register_layer(Deformable)
    def layer(module, x):
        steps = (*stride, *padding, *dilation, groups, several, masked)
        return handler(x, weight, offset, numbers(0) if mask is None else mask, bias, *steps)

    output, r, found = twin_relevance(nn.Sequential(Deformable()), x)
    close(output, plain)
    seen = slow_deformable(x.abs() + 1, offset, weight.abs() + 1, bias * 0, stride, padding, dilation, mask) != 0
    close(found.sum(), (r * seen).sum())


@settings(deadline=None, max_examples=25)
@given(st.integers(2, 5), st.integers(1, 4), st.integers(1, 3), st.booleans(), st.integers(0, 1000))
def test_indices_from_the_clip_move_values(frames, wanted, channels, negative, seed):
    """Temporal interlacing: frames shifted by an offset that is computed, floored, clamped and used as an index."""
    x = numbers(2, channels, frames, 2, 2, seed=seed)

    def shifted(x):
        offset = (x.mean((1, 2, 3, 4)) * 3).tanh() * (-2 if negative else 2)
        low = offset.floor()
        steps = torch.arange(frames)[None] + low.long()[:, None]
        first, second = (
            x.gather(2, s.clamp(0, frames - 1)[:, None, :, None, None].expand(x.shape)) for s in (steps, steps + 1)
        )
        part = (offset - low.detach())[:, None, None, None, None]
        return (1 - part) * first + part * second

    found = relevance(shifted, x, torch.ones_like(x))
    close(found.sum(), x.new_tensor(float(x.numel())), 1e-9)
    chosen = torch.randint(frames, (wanted,), generator=torch.Generator().manual_seed(seed))
    r = numbers(2, channels, wanted, 2, 2, seed=seed + 1)
    handed = torch.zeros_like(x)
    for i, frame in enumerate(chosen.tolist()):
        handed[:, :, frame] += r[:, :, i]
    for read in (
        lambda x: x[:, :, chosen],
        lambda x: x.index_select(2, chosen),
        lambda x: x.take_along_dim(chosen[None, None, :, None, None], 2),
        lambda x: x.gather(2, chosen[None, None, :, None, None].expand(r.shape)),
    ):
        close(relevance(read, x, r), handed)


def test_writes_by_an_index_that_is_computed():
    x, r = numbers(2, 4, 3), numbers(2, 4, 3, seed=1)

    def written(x):
        out = torch.zeros_like(x)
        out[torch.arange(2), x.mean(2).argmax(1)] = x[:, 0]
        return out

    place = x.mean(2).argmax(1)
    wanted = torch.zeros_like(x)
    wanted[:, 0] = r[torch.arange(2), place]
    close(relevance(written, x, r), wanted)


def test_sums_of_what_is_written_to_one_place():
    """Two frames added to one: each gets its part by what it brought."""
    x, index = numbers(2, 3, 4).abs() + 0.1, torch.tensor([0, 1, 1, 0])
    r = numbers(2, 3, 2, seed=1)
    total = torch.stack([x[..., 0] + x[..., 3], x[..., 1] + x[..., 2]], -1)
    wanted = x / total[..., index] * r[..., index]
    zero = torch.zeros(2, 3, 2, dtype=D)
    adding = lrp3d.Composite(operations=dict.fromkeys((torch.index_add, torch.scatter_add), ZPlus()))
    for function in (
        lambda x: zero.index_add(2, index, x),
        lambda x: zero.scatter_add(2, index.expand(2, 3, 4), x),
        lambda x: zero.index_add(2, index, x, alpha=2.0),
    ):
        close(relevance(function, x, r, adding), wanted)


@pytest.mark.parametrize("alpha", [2.0, -1, 0.5])
def test_what_is_scaled_while_it_is_added_has_the_rule_of_what_was_scaled_before(alpha):
    x, index, r = numbers(2, 3, 4), torch.tensor([0, 1, 1, 0]), numbers(2, 3, 2, seed=1)
    onto = numbers(2, 3, 2, seed=2)
    found = relevance(lambda x: onto.index_add(2, index, x, alpha=alpha), x, r)
    close(found, relevance(lambda x: onto.index_add(2, index, alpha * x), x, r))


def test_only_what_has_a_place_in_the_index_is_added():
    x, index, r = numbers(2, 3, 4), torch.tensor([1, 0]).expand(2, 3, 2), numbers(2, 3, 2, seed=1)
    zero = torch.zeros(2, 3, 2, dtype=D)
    found = relevance(lambda x: zero.scatter_add(2, index, x), x, r)
    close(found, relevance(lambda x: zero.scatter_add(2, index, x[..., :2]), x, r))
    close(found, torch.cat([r.flip(-1), zero], -1))


@pytest.mark.parametrize("p", [1.0, 2.0])
def test_persistence_of_appearance_is_a_norm_of_a_difference(p):
    """PAN: the distance of two frames' features; each value by |difference|^p, then by what each frame brought."""
    x = numbers(2, 3, 2, 5)
    r = numbers(2, 3, seed=1)

    def distance(x):
        return nn.PairwiseDistance(p)(x[:, :, 0], x[:, :, 1])

    def by_hand(x):
        return torch.norm(x[:, :, 0] - x[:, :, 1] + 1e-6, p, -1)

    found = relevance(distance, x, r)
    close(found, relevance(by_hand, x, r))
    close(found.sum(), r.sum())
