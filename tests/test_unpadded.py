"""Networks that do not pad time have fewer rows than frames, each at the middle of the frames that it sees."""

import pytest
import torch
from torch import nn

import lrp3d


def clips(t, b=1):
    return torch.randn(b, 3, t, 6, 6, dtype=torch.double, generator=torch.Generator().manual_seed(0))


class Unpadded(nn.Module):
    """Temporal convolutions without padding; their kernels are symmetric in time."""

    def __init__(self, kernels=(3,), strides=(1,), padding=0, pool=None):
        super().__init__()
        torch.manual_seed(0)
        layers, channels = [], 3
        for kernel, stride in zip(kernels, strides, strict=True):
            conv = nn.Conv3d(channels, 6, (kernel, 3, 3), (stride, 1, 1), (padding, 1, 1))
            conv.weight.data = (conv.weight.data + conv.weight.data.flip(2)) / 2
            layers += [conv, nn.BatchNorm3d(6), nn.ReLU()]
            channels = 6
        self.layers, self.fc = nn.Sequential(*layers), nn.Linear(6, 5)
        self.pool = pool or (lambda x: x.mean((2, 3, 4)))
        self.double().eval()

    def forward(self, x):
        return self.fc(self.pool(self.layers(x)))


POOLS = [None, lambda x: x.mean((3, 4)).mean(2), lambda x: nn.functional.adaptive_avg_pool3d(x, 1).flatten(1)]


@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize(("kernels", "first"), [((3,), 1), ((3, 3), 2), ((5, 3), 3), ((3, 1), 1)])
def test_rows_stand_at_the_middle_of_what_they_see(kernels, first, pool):
    model, t = Unpadded(kernels, [1] * len(kernels), pool=pool), 10
    found = lrp3d.explain(model, clips(t), 0, contrastive=False)
    assert found.positions == list(range(first, t - first))
    assert found.matrix.shape == (1, t - 2 * first, t)
    for row, position in zip(found.matrix[0], found.positions, strict=True):
        seen = (row != 0).nonzero().flatten()
        assert seen.min() >= position - first
        assert seen.max() <= position + first
    assert lrp3d.intervention_matrix(model, clips(t), 0).shape == found.matrix.shape


def test_time_reversed_the_matrix_is_reversed():
    found, turned = (lrp3d.explain(Unpadded(), x, 0, contrastive=False) for x in (clips(7), clips(7).flip(2)))
    torch.testing.assert_close(found.matrix, turned.matrix.flip(1, 2))
    torch.testing.assert_close(found.atr, turned.atr.flip(1))


@pytest.mark.parametrize("options", [{"motion": True, "contrastive": False}, {"floor": True}, {"against": 1}])
def test_other_matrices_have_the_same_columns(options):
    found = lrp3d.explain(Unpadded((3, 3), (1, 1)), clips(9, b=2), 0, **options)
    others = [found.static_matrix, found.floor]
    assert all(other is None or other.shape == found.matrix.shape == (2, 5, 9) for other in others)
    first, last = found.segments
    assert (first >= 0).all()
    assert (last < 9).all()


@pytest.mark.parametrize(
    "model", [Unpadded((3,), (2,)), Unpadded((3, 3), (1, 2)), Unpadded((3,), padding=1), Unpadded((2,)), Unpadded((4,))]
)
def test_networks_that_stride_or_pad_keep_their_columns(model):
    """A row of an even kernel stands between two frames, and one of a stride for several."""
    found = lrp3d.explain(model, clips(8), 0)
    assert found.positions is None
    assert found.matrix.shape[1] == found.matrix.shape[2]


def test_ways_with_other_middles_have_columns_of_their_own():
    class Cropped(Unpadded):
        def forward(self, x):
            return self.fc((x.repeat(1, 2, 1, 1, 1)[:, :, 2:] + self.layers(x)).mean((2, 3, 4)))

    assert lrp3d.explain(Cropped(), clips(8), 0).positions is None


def test_a_temporal_head_that_does_not_pad_is_one_as_well():
    class Head(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.head, self.fc = nn.Conv3d(3, 4, (1, 3, 3)), nn.Conv1d(4, 6, 3), nn.Linear(6, 5)

        def forward(self, x):
            return self.fc(self.head(self.conv(x).relu().mean((3, 4))).relu().mean(2))

    found = lrp3d.explain(Head().double().eval(), clips(8), 0, contrastive=False)
    assert found.positions == [1, 2, 3, 4, 5, 6]
    seen = (found.matrix[0] != 0).nonzero()
    assert ((seen[:, 1] - seen[:, 0] >= 0) & (seen[:, 1] - seen[:, 0] <= 2)).all()


def averages_over_time():
    """A convolution that does what `AvgPool3d((3, 1, 1), 1)` does."""
    conv = nn.Conv3d(6, 6, (3, 1, 1), groups=6, bias=False)
    nn.init.constant_(conv.weight, 1 / 3)
    return conv


class Pooled(Unpadded):
    """The same with something between two convolutions."""

    def __init__(self, between):
        super().__init__((3, 3), (1, 1))
        self.layers.insert(3, between.double())


@pytest.mark.parametrize(
    ("between", "first"),
    [
        (nn.MaxPool3d(3, 1, 1), 2),
        (nn.AvgPool3d(3, 1, 1), 2),
        (nn.MaxPool3d((1, 3, 3), (1, 2, 2)), 2),
        (nn.MaxPool3d((3, 1, 1), 1), 3),
        (nn.AvgPool3d((3, 1, 1), 1), 3),
        (nn.MaxPool3d((3, 1, 1), 1, dilation=(2, 1, 1)), 4),
        (averages_over_time(), 3),
    ],
    ids=lambda x: f"{type(x).__name__} {x.kernel_size}" if isinstance(x, nn.Module) else str(x),
)
def test_pools_over_time_move_the_middle_as_convolutions_do(between, first):
    found = lrp3d.explain(Pooled(between), clips(12), 0)
    assert found.positions == list(range(first, 12 - first))
    assert found.matrix.shape == (1, 12 - 2 * first, 12)


def test_an_average_over_time_has_the_rows_of_the_convolution_that_it_is():
    pooled, convolved = (
        lrp3d.explain(Pooled(between), clips(12), 0) for between in (nn.AvgPool3d((3, 1, 1), 1), averages_over_time())
    )
    torch.testing.assert_close(pooled.matrix, convolved.matrix)
    assert torch.equal(pooled.atr, convolved.atr)


def test_a_pool_that_strides_over_time_keeps_its_columns():
    assert lrp3d.explain(Pooled(nn.MaxPool3d((2, 1, 1))), clips(12), 0).positions is None
