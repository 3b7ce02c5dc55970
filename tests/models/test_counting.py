"""Sizes of models: the paper's labels and IBM's published numbers."""

import golden_data
import pytest
import torch
from lrp3d.models import count_multiply_adds, count_parameters, count_temporal_convolutions
from lrp3d.models.inception import MIXED
from torch import nn

from lrp3d import models

# Multiply-adds of one 7x7 frame in inception5a and inception5b of I3D.
LAST_STAGE_OF_I3D = 49 * sum(
    inputs * (one + mid[0] + small[0] + pooled) + 27 * (mid[0] * mid[1] + small[0] * small[1])
    for inputs, (one, mid, small, pooled) in (MIXED["5a"], MIXED["5b"])
)
ROWS = golden_data.golden("mini_kinetics_benchmark")["rows"]


def build(arch, temporal_stride, frames):
    """Our model for a row of IBM's table."""
    classes = 200
    backbone = arch.removeprefix("TAM-b3-sum-").removeprefix("i3d-").removeprefix("s3d-")
    if arch in ("i3d", "s3d"):
        return {"i3d": models.i3d_inception, "s3d": models.s3d}[arch](classes, temporal_stride)
    if backbone == "inception-v1":
        if arch.startswith("TAM"):
            return models.tam_inception(classes, frames, temporal_stride=temporal_stride)
        return models.tsn_inception(classes, temporal_stride)
    depth = int(backbone.removeprefix("resnet-"))
    if arch.startswith("TAM"):
        return models.tam_resnet(depth, classes, frames, temporal_stride=temporal_stride)
    make = {"i": models.i3d_resnet, "s": models.s3d_resnet, "r": models.tsn_resnet}[arch[0]]
    return make(depth, classes, temporal_stride)


# A network of more frames is the same one: those of 8 frames are enough every time.
SIZES = [
    pytest.param(
        row,
        id=f"{row['arch']}-{row['frames']}-{row['temporal_pooling']}",
        marks=[pytest.mark.slow] if row["frames"] > 8 else [],
    )
    for row in ROWS
]


@pytest.mark.parametrize("row", SIZES)
def test_size_is_the_published_one(row):
    with torch.device("meta"):  # sizes need no weights
        model = build(row["arch"], row["temporal_pooling"], row["frames"])
    assert count_parameters(model) == row["params"]
    found = count_multiply_adds(model, (3, row["frames"], 224, 224))
    if row["arch"] == "i3d" and not row["temporal_pooling"] and row["frames"] <= 16:
        found -= LAST_STAGE_OF_I3D  # these two rows were measured with one frame less in the last stage
    assert found == row["flops"]


@pytest.mark.parametrize(
    ("make", "count"),
    [
        (lambda: models.i3d_resnet(18, 5), 16),
        (lambda: models.i3d_resnet(50, 5, width=8), 16),
        (lambda: models.i3d_resnet(101, 5, width=8), 33),
        (lambda: models.tam_resnet(18, 5, 8), 8),
        (lambda: models.tam_resnet(50, 5, 8, width=8), 16),
        (lambda: models.tam_resnet(50, 5, 8, 7, width=8), 16),
        (lambda: models.tsm_resnet(50, 5, 8, width=8), 16),
        (lambda: models.tsn_resnet(50, 5, width=8), 0),
        (lambda: models.tsn_inception(5), 0),
        (lambda: models.tam_inception(5, 8), 12),
        (lambda: models.i3d_inception(5), 19),
        (lambda: models.s3d(5), 19),
        (lambda: models.s3d_resnet(18, 5, width=8), 16),
        # slow: 6 + 3 blocks; fast: 16 blocks; lateral: 4
        (lambda: models.slowfast_resnet50(5, width=8), 29),
    ],
)
def test_temporal_convolutions_as_the_paper_counts_them(make, count):
    assert count_temporal_convolutions(make()) == count


def test_the_stem_counts_if_asked_for():
    assert count_temporal_convolutions(models.i3d_resnet(18, 5, width=8), include_stem=True) == 17
    assert count_temporal_convolutions(models.slowfast_resnet50(5, width=8), include_stem=True) == 30
    assert count_temporal_convolutions(models.tam_resnet(18, 5, 8, width=8), include_stem=True) == 8


def test_multiply_adds_are_the_naive_count():
    conv = nn.Conv3d(6, 4, (3, 2, 1), stride=(1, 2, 1), padding=(1, 0, 0), groups=2)
    assert count_multiply_adds(conv, (6, 5, 4, 3)) == (5 * 2 * 3) * 4 * (3 * 2 * 1) * 3
    assert count_multiply_adds(conv, (2, 6, 5, 4, 3)) == 2 * count_multiply_adds(conv, (6, 5, 4, 3))


def test_counting_leaves_the_model_as_it_was():
    model = models.tam_resnet(18, 5, 8, width=8).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    count_multiply_adds(model, (3, 8, 32, 32))
    assert model.training
    assert all(not module._forward_hooks for module in model.modules())
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    with pytest.raises(ValueError, match=r"built for 8 frames"):
        count_multiply_adds(model, (3, 4, 32, 32))
    assert all(not module._forward_hooks for module in model.modules())
