"""Choices among signals, writes at computed places, gates of gates: relevance goes to what is chosen or weighed."""

import pytest
import torch
import torch.nn.functional as F
from forwards import D, Net, clip, close, relevance, twin_relevance
from torch import nn

import lrp3d

A = clip(2, 6, 5)  # signed, with zeros and ties


@pytest.mark.parametrize(
    ("function", "sign"),
    [
        (lambda x: torch.max(x[:, :3], x[:, 3:]), 1),
        (lambda x: torch.maximum(x[:, :3], x[:, 3:]), 1),
        (lambda x: x[:, :3].maximum(x[:, 3:]), 1),
        (lambda x: torch.min(x[:, :3], x[:, 3:]), -1),
        (lambda x: torch.minimum(x[:, :3], x[:, 3:]), -1),
    ],
)
def test_the_larger_or_smaller_of_two_signals_takes_all_and_ties_share(function, sign):
    _, r, found = twin_relevance(Net(function), A)
    first, second = sign * A[:, :3], sign * A[:, 3:]
    part = torch.where(first == second, 0.5, (first > second).to(D))
    assert bool((part == 0.5).any())
    close(found, torch.cat([r * part, r * (1 - part)], 1))


@pytest.mark.parametrize("function", [torch.maximum, torch.minimum])
def test_the_larger_of_a_signal_and_a_constant_is_an_activation(function):
    for other in (torch.tensor(0.25, dtype=D), torch.full((6, 5), -0.5, dtype=D)):
        _, r, found = twin_relevance(Net(lambda x, other=other: function(x, other)), A)
        close(found, r)
        _, r, found = twin_relevance(Net(lambda x, other=other: function(other, x)), A)
        close(found, r)


def test_padding_is_never_the_larger_of_two():
    """Zeros beside negative values win, and yet relevance stays with the clip."""
    x = -A.abs() - 1
    _, r, found = twin_relevance(Net(lambda x: torch.maximum(F.pad(x, (1, 0)), F.pad(x, (0, 1)))), x)
    close(found.sum(), r.sum())


@pytest.mark.parametrize("dim", [1, -1, 2])
@pytest.mark.parametrize("largest", [True, False])
def test_the_largest_values_take_what_reaches_them_and_equal_values_share(dim, largest):
    function = lambda x: x.topk(3, dim, largest)[0]  # noqa: E731  # one expression
    output, r, found = twin_relevance(Net(function), A)
    wanted = torch.zeros_like(A).movedim(dim, -1)
    rows, values, handed = A.movedim(dim, -1), output.movedim(dim, -1), r.movedim(dim, -1)
    for i in torch.cartesian_prod(*map(torch.arange, rows.shape[:-1])).tolist():
        for value, part in zip(values[tuple(i)], handed[tuple(i)], strict=True):
            equal = rows[tuple(i)] == value
            wanted[tuple(i)][equal] += part / equal.sum()
    close(found, wanted.movedim(-1, dim))


def test_the_largest_values_over_time_are_no_frames():
    """Sorted by size, they are in no order of time."""

    class TopFrames(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.fc = nn.Conv3d(3, 4, 1), nn.Linear(4, 3)

        def forward(self, x):
            return self.fc(self.conv(x).mean((3, 4)).topk(2, 2)[0].mean(2))

    model, x = TopFrames().to(D).eval(), clip(1, 3, 4, 2, 2)
    with pytest.raises(lrp3d.NoFrameLogits, match="topk"):
        lrp3d.explain(model, x)
    assert lrp3d.explain(model, x, temporal=False, contrastive=False).conservation.max() < 1e-9


INDEX = torch.tensor([[[1], [0]], [[2], [2]]]).expand(2, 2, 5)


def test_what_is_scattered_is_written():
    _, r, found = twin_relevance(Net(lambda x: x[:, :3].scatter(1, INDEX[:, :1], x[:, 3:])), A)
    kept = torch.ones(2, 3, 5, dtype=D).scatter(1, INDEX[:, :1], 0.0)
    written = torch.zeros(2, 3, 5, dtype=D)
    written[:, :1] = r.gather(1, INDEX[:, :1])
    close(found, torch.cat([r * kept, written], 1))
    _, r, found = twin_relevance(Net(lambda x: x.clone().scatter_(1, INDEX[:, :1], 7.0)), A)
    close(found, r * torch.ones_like(A).scatter(1, INDEX[:, :1], 0.0))


def test_of_several_values_written_to_one_place_the_one_that_is_there_gets_all():
    place = torch.tensor([0, 2, 2])

    def written(x):
        out = x[:, :3].clone()
        out[:, place] = x[:, 3:]
        return out

    output, r, found = twin_relevance(Net(written), A)
    close(found.sum(), r.sum())
    there = torch.stack([(A[:, 3 + i] == output[:, place[i]]) for i in range(3)], 1)
    assert bool((found[:, 3:][~there] == 0).all())


@pytest.mark.parametrize("include_self", [True, False])
@pytest.mark.parametrize("reduce", ["sum", "mean"])
def test_merged_tokens_share_by_what_each_of_them_brought(reduce, include_self):
    """Token merging (ToMe, Bolya et al. 2023, arXiv:2210.09461)."""
    x = A.abs() + 0.25

    def merged(x):
        x = x.relu()
        return x[:, :3].scatter_reduce(1, INDEX, x[:, 3:5], reduce, include_self=include_self)

    _, r, found = twin_relevance(Net(merged), x)
    wanted = torch.zeros_like(x)
    for b in range(2):
        for place in range(3):
            sources = [3 + i for i in range(2) if INDEX[b, i, 0] == place]
            sources += [place] if include_self or not sources else []
            for source in sources:
                wanted[b, source] += x[b, source] / sum(x[b, i] for i in sources) * r[b, place]
    close(found, wanted)


def test_a_gated_linear_unit_is_its_first_half_weighed():
    for function, module in ((lambda x: F.glu(x, 1), None), (lambda self, x: self.glu(x), nn.GLU(1))):
        _, r, found = twin_relevance(Net(function, **({"glu": module} if module else {})), A)
        close(found, torch.cat([r, torch.zeros_like(r)], 1))


GATES = {
    "cumulative product": lambda x: torch.cumprod(torch.sigmoid(x.flip(1)), 1) * x,
    "product": lambda x: x.sigmoid().prod(1, keepdim=True) * x,
    "sign": lambda x: torch.sign(x) * torch.sqrt(x.abs() + 1e-9),
}


@pytest.mark.parametrize("name", GATES)
def test_products_of_gates_and_signs_weigh(name):
    _, r, found = twin_relevance(Net(GATES[name]), A)
    close(found, r)


def test_a_bias_generated_with_its_kernel_is_a_constant_as_well():
    """Dynamic convolution over several kernels (Chen et al. 2020, arXiv:1912.03458, Eq. 3)."""
    kernels, biases = clip(2, 18), clip(2, 3)

    def dynamic(x, weigh):
        share = weigh(x.mean((0, 2))[:2])
        return F.conv1d(x, (share @ kernels).view(3, 6, 1), share @ biases)

    share = A.mean((0, 2))[:2].softmax(0)
    _, r, found = twin_relevance(Net(lambda x: dynamic(x, lambda z: z.softmax(0))), A)
    close(found, relevance(lambda x: dynamic(x, lambda z: share), A, r))


def test_what_lies_outside_of_the_picture_is_a_mask():
    """Warping by a flow, as PWC-Net writes it: where the grid leaves the picture is read from a picture of ones."""

    def warped(x):
        grid = x[:, :2].movedim(1, -1) * 2
        seen = F.grid_sample(x, grid, align_corners=True)
        mask = F.grid_sample(torch.ones_like(x), grid, align_corners=True)
        mask[mask < 0.999] = 0
        mask[mask > 0] = 1
        return seen * mask

    x = clip(2, 3, 4, 4) / 2
    grid = (x[:, :2].movedim(1, -1) * 2).detach()
    mask = (F.grid_sample(torch.ones_like(x), grid, align_corners=True) >= 0.999).to(D)
    _, r, found = twin_relevance(Net(warped), x)
    close(found, relevance(lambda x: F.grid_sample(x, grid, align_corners=True), x, r))
    assert bool((mask == 0).any())


def test_an_interpolation_is_a_sum_of_two_weighed_signals():
    """A moving average over frames, with a constant weight or a gate."""
    for weight in (0.25, torch.tensor(0.75, dtype=D), None):

        def mixed(x, weight=weight):
            w = x[:, :1].sigmoid() if weight is None else weight
            return torch.lerp(x[:, :3], x[:, 3:], w)

        def written(x, weight=weight):
            w = x[:, :1].sigmoid() if weight is None else weight
            return (1 - w) * x[:, :3] + w * x[:, 3:]

        _, r, found = twin_relevance(Net(mixed), A)
        close(found, relevance(written, A, r))


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_a_power_average_pool_is_a_power_an_average_and_a_root(axes):
    x = clip(1, 2, *[4] * axes)
    pool, average = getattr(F, f"lp_pool{axes}d"), getattr(F, f"avg_pool{axes}d")
    _, r, found = twin_relevance(Net(lambda x: pool(x, 2.0, 2)), x)
    close(found, relevance(lambda x: (average(x.pow(2), 2) * 2**axes).pow(0.5), x, r))
