"""Rows are those of the clip's frames, whatever a forward does to frames between its layers.

No layer of these networks mixes frames but where a test says so: a row that holds another frame than its own is wrong.
"""

import einops
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

import lrp3d
from lrp3d.propagation.time_of_layers import TimeOfLayers

FRAMES = 6
CLIP = torch.rand(2, 3, FRAMES, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
OWN = torch.eye(FRAMES, dtype=torch.bool)
PERMUTATION = torch.tensor([3, 1, 5, 0, 4, 2])


class BehindAStem(nn.Module):
    def __init__(self, how, reach=1):
        super().__init__()
        torch.manual_seed(0)
        self.stem, self.fc = nn.Conv3d(3, 5, 1), nn.Linear(5, 4)
        self.a, self.b = nn.Conv3d(5, 5, 1), nn.Conv3d(5, 5, 1)
        self.image, self.series = nn.Conv2d(5, 5, 1), nn.Conv1d(5, 5, reach)
        self.how = how
        self.double().eval()

    def forward(self, x):
        return self.how(self, self.stem(x).relu())


def pooled(net, x):
    return net.fc(x.mean((2, 3, 4)))


def classified(net, x):
    return net.fc(x.mean((3, 4)).transpose(1, 2)).mean(1)


def alternating(net, x, times=3):
    for _ in range(times):
        x = x.flip(2)
        x = x + net.a(x).relu()
    return pooled(net, x)


def images(net, x):
    folded = net.image(x.flip(2).transpose(1, 2).flatten(0, 1)).relu().mean((2, 3))
    return net.fc(folded.unflatten(0, (len(x), -1)).mean(1))


def segments_in_the_batch(net, x):
    segments = net.a(einops.rearrange(x, "b c (s t) h w -> (b s) c t h w", s=2)).relu()
    return pooled(net, einops.rearrange(segments, "(b s) c t h w -> b c (s t) h w", s=2))


def places_in_the_batch(net, x):
    folded = net.series(x.flip(2).permute(0, 3, 4, 1, 2).flatten(0, 2)).relu()
    return net.fc(folded.unflatten(0, (len(x), 4, 4)).mean((1, 2, 4)))


def images_of_segments(net, x):
    folded = net.image(einops.rearrange(x, "b c (s t) h w -> (b t s) c h w", s=2)).relu()
    return pooled(net, einops.rearrange(folded, "(b t s) c h w -> b c (s t) h w", s=2, b=len(x)))


OWN_ROWS = {
    "turned and back, beside a residual": lambda net, x: pooled(net, x + net.a(x.flip(2)).relu().flip(2)),
    "turned and back": lambda net, x: pooled(net, net.a(x.flip(2)).relu().flip(2)),
    "turned, in front of a pool": lambda net, x: pooled(net, net.a(x.flip(2)).relu()),
    "turned, in front of a classifier": lambda net, x: classified(net, net.a(x.flip(2)).relu()),
    "turned several times": alternating,
    "rolled and back": lambda net, x: pooled(net, x + net.a(x.roll(2, 2)).relu().roll(-2, 2)),
    "permuted": lambda net, x: pooled(net, net.a(x[:, :, PERMUTATION]).relu()),
    "permuted and back": lambda net, x: pooled(net, net.a(x[:, :, PERMUTATION]).relu()[:, :, PERMUTATION.argsort()]),
    "turned and back, beside the other direction": lambda net, x: pooled(
        net, net.a(x).relu() + net.b(x.flip(2)).relu().flip(2)
    ),
    "turned, as images": images,
    "turned, as places": places_in_the_batch,
    "cut into segments of one layer": lambda net, x: pooled(
        net, torch.cat([net.a(x[:, :, :3]), net.a(x[:, :, 3:])], 2).relu()
    ),
    "cut into segments of two layers": lambda net, x: classified(
        net, torch.cat([net.a(x[:, :, :3]), net.b(x[:, :, 3:])], 2).relu()
    ),
    "segments in the batch": segments_in_the_batch,
    "segments in the batch, as images": images_of_segments,
    "mirrored views in the batch": lambda net, x: net.fc(
        net.a(torch.stack([x, x.flip(4)], 1).flatten(0, 1)).relu().mean((3, 4)).unflatten(0, (len(x), 2)).mean((1, 3))
    ),
    "time where columns would be": lambda net, x: pooled(net, net.a(x.transpose(2, 4)).relu()),
}


@pytest.mark.parametrize("name", OWN_ROWS)
def test_rows_are_in_the_order_of_the_clip(name):
    model = BehindAStem(OWN_ROWS[name])
    found = lrp3d.explain(model, CLIP, 0, contrastive=False)
    assert torch.equal(found.matrix != 0, OWN.expand(2, -1, -1))
    torch.testing.assert_close(found.frame_logits.mean(1), model(CLIP)[:, 0])
    measured = lrp3d.intervention_matrix(model, CLIP, 0)
    assert torch.equal(measured.abs() > 1e-9, OWN.expand(2, -1, -1))


def test_a_turned_network_is_that_of_the_turned_clip():
    """A convolution over three frames on each side of which the clip is turned is one with a turned kernel."""

    def over_time(turned):
        def forward(net, x):
            kernel = net.series.weight
            y = x.mean((3, 4))
            if turned:
                return net.fc((y + F.conv1d(y.flip(2), kernel, padding=1).relu().flip(2)).mean(2))
            return net.fc((y + F.conv1d(y, kernel.flip(2), padding=1).relu()).mean(2))

        return BehindAStem(forward, reach=3)

    one, other = (lrp3d.explain(over_time(turned), CLIP, 0) for turned in (True, False))
    torch.testing.assert_close(one.matrix, other.matrix)
    torch.testing.assert_close(one.frame_logits, other.frame_logits)


@pytest.mark.parametrize("name", ["padded in front", "padded on both sides and cut"])
def test_what_comes_later_is_seen_by_causal_layers_of_a_turned_clip(name):
    def forward(net, x):
        y = x.mean((3, 4)).flip(2)
        if name == "padded in front":
            z = net.series(F.pad(y, (2, 0)))
        else:
            z = F.conv1d(y, net.series.weight, net.series.bias, padding=2)[:, :, :FRAMES]
        return net.fc((y + z.relu()).flip(2).mean(2))

    found = lrp3d.explain(BehindAStem(forward, reach=3), CLIP, 0, contrastive=False)
    seen = found.matrix != 0
    assert seen.diagonal(dim1=1, dim2=2).all()
    assert not seen.tril(-1).any()
    assert not seen.triu(3).any()
    assert seen.triu(1).any()


@pytest.mark.parametrize("swapped", [False, True])
def test_parts_of_the_clip_keep_their_frames_in_whatever_order_a_layer_sees_them(swapped):
    class Parts(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.early, self.late = nn.Conv3d(3, 5, 1), nn.Conv3d(3, 5, 1)
            self.all, self.fc = nn.Conv3d(5, 5, 1), nn.Linear(5, 4)

        def forward(self, x):
            parts = [self.early(x[:, :, :3]), self.late(x[:, :, 3:])]
            return pooled(self, self.all(torch.cat(parts[::-1] if swapped else parts, 2).relu()).relu())

    found = lrp3d.explain(Parts().double().eval(), CLIP, 0, contrastive=False)
    assert torch.equal(found.matrix != 0, OWN.expand(2, -1, -1))


BLOCKS = {
    "pooled behind": lambda net, x: pooled(net, F.avg_pool3d(net.a(x.flip(2)).relu(), (2, 1, 1))),
    "interleaved segments": lambda net, x: net.fc(
        net.a(einops.rearrange(x, "b c (t s) h w -> (b s) c t h w", s=2))
        .relu()
        .unflatten(0, (len(x), 2))
        .mean((1, 3, 4, 5))
    ),
}


@pytest.mark.parametrize("name", BLOCKS)
def test_rows_of_several_frames_are_blocks_of_neighbours(name):
    found = lrp3d.explain(BehindAStem(BLOCKS[name]), CLIP, 0, contrastive=False)
    assert torch.equal(found.matrix != 0, torch.eye(3, dtype=torch.bool).expand(2, -1, -1))


def sorted_by_score(net, x):
    order = x.mean((1, 3, 4)).argsort(1)[:, None, :, None, None]
    return pooled(net, net.a(x.gather(2, order.expand_as(x))).relu())


NO_ROWS = {
    "views in both directions": (
        lambda net, x: net.fc(
            net.a(torch.stack([x, x.flip(2)], 1).flatten(0, 1))
            .relu()
            .mean((3, 4))
            .unflatten(0, (len(x), 2))
            .mean((1, 3))
        ),
        "lie apart in time",
    ),
    "parts that are pooled apart": (
        lambda net, x: net.fc(net.a(x[:, :, :3]).mean((2, 3, 4)) + net.b(x[:, :, 3:]).mean((2, 3, 4))),
        "different parts of the clip",
    ),
    "parts of several lengths": (
        lambda net, x: net.fc(net.a(x[:, :, :4]).mean((2, 3, 4)) + net.b(x[:, :, 4:]).mean((2, 3, 4))),
        "different parts of the clip",
    ),
    "an order of each clip": (sorted_by_score, "explain the clips one by one"),
}


@pytest.mark.parametrize("name", NO_ROWS)
def test_what_belongs_to_no_time_has_no_rows(name):
    forward, said = NO_ROWS[name]
    with pytest.raises(lrp3d.NoFrameLogits, match=said):
        lrp3d.explain(BehindAStem(forward), CLIP, 0)


def test_an_order_of_a_lone_clip_is_followed():
    found = lrp3d.explain(BehindAStem(sorted_by_score), CLIP[:1], 0, contrastive=False)
    assert torch.equal(found.matrix != 0, OWN[None])


@pytest.mark.parametrize("name", ["I3D-R18-f4", "TAM2D-R18-f4", "TSN-R18-f4", "TSM-R18-f4", "S3D-R18-f4"])
def test_time_is_that_of_the_layers_where_nothing_moves_frames(name, monkeypatch):
    """So that nothing is followed twice, and no network is refused that was none before."""
    moved = []
    below = TimeOfLayers.below
    monkeypatch.setattr(TimeOfLayers, "below", lambda *of: moved.append(found := below(*of)) or found)
    lrp3d.frame_logits(lrp3d.models.build(name, 4, width=8).eval(), torch.rand(2, 3, 4, 16, 16))
    assert moved
    assert not any(found.are_moved for found in moved)


def over_images(net, x):
    b, c, t, h, w = x.shape
    return net.image(x.transpose(1, 2).reshape(b * t, c, h, w)).relu().view(b, t, c, h, w).transpose(1, 2)


def over_images_time_first(net, x):
    b, c, t, h, w = x.shape
    return net.image(x.permute(2, 0, 1, 3, 4).reshape(t * b, c, h, w)).relu().view(t, b, c, h, w).permute(1, 2, 0, 3, 4)


def over_places(net, x):
    b, c, t, h, w = x.shape
    return net.series(x.permute(0, 3, 4, 1, 2).reshape(-1, c, t)).relu().view(b, h, w, c, t).permute(0, 3, 4, 1, 2)


LAYERS = {
    "clips": lambda net, x: net.a(x).relu(),
    "images": over_images,
    "images, time first": over_images_time_first,
    "places": over_places,
}
MOVES = {
    "turned": (lambda x: x.flip(2), lambda x: x.flip(2)),
    "rolled": (lambda x: x.roll(2, 2), lambda x: x.roll(-2, 2)),
    "permuted": (lambda x: x[:, :, PERMUTATION], lambda x: x[:, :, PERMUTATION.argsort()]),
    "halves changed": (lambda x: torch.cat([x[:, :, 3:], x[:, :, :3]], 2),) * 2,
}
BETWEEN = {
    "as it is": lambda layer, move, back, x: layer(x),
    "beside a residual": lambda layer, move, back, x: x + layer(x),
    "moved": lambda layer, move, back, x: layer(move(x)),
    "moved and back": lambda layer, move, back, x: back(layer(move(x))),
    "moved and back, beside a residual": lambda layer, move, back, x: back(layer(move(x))) + x,
    "cut": lambda layer, move, back, x: torch.cat([layer(x[:, :, :2]), layer(x[:, :, 2:])], 2),
    "every second": lambda layer, move, back, x: torch.stack([layer(x[:, :, i::2]) for i in (0, 1)], 3).flatten(2, 3),
    "segments in the batch": lambda layer, move, back, x: einops.rearrange(
        layer(einops.rearrange(x, "b c (s t) h w -> (b s) c t h w", s=2)), "(b s) c t h w -> b c (s t) h w", s=2
    ),
    "frame by frame": lambda layer, move, back, x: torch.cat([layer(frame) for frame in x.split(1, 2)], 2),
    "time and columns changed": lambda layer, move, back, x: layer(x.transpose(2, 4)).transpose(2, 4),
}
BLOCK = st.tuples(st.sampled_from([*BETWEEN]), st.sampled_from([*LAYERS]), st.sampled_from([*MOVES]))
HEADS = {"pooled": pooled, "classified": classified, "turned": lambda net, x: pooled(net, x.flip(2))}


@settings(max_examples=40)
@given(
    st.lists(BLOCK, min_size=1, max_size=3),
    st.sampled_from([*HEADS]),
    st.sampled_from(["", *MOVES]),
    st.booleans(),
    st.integers(1, 2),
)
def test_no_row_holds_another_frame_than_its_own(blocks, head, moved_first, has_stem, clips):
    """Whatever a forward does to frames, its rows are theirs, or there are none."""

    class Moving(BehindAStem):
        def forward(self, x):
            x = MOVES[moved_first][0](x) if moved_first else x
            x = self.stem(x).relu() if has_stem else torch.cat([x, x[:, :2]], 1)
            for between, layer, move in blocks:
                x = BETWEEN[between](lambda x, layer=layer: LAYERS[layer](self, x), *MOVES[move], x)
            return HEADS[head](self, x)

    model, clip = Moving(None), CLIP[:clips]
    try:
        found = lrp3d.explain(model, clip, 0, contrastive=False)
    except lrp3d.NoFrameLogits:
        return
    rows = found.matrix.shape[1]  # less than frames where layers see every second one, and a row is of two
    assert torch.equal(found.matrix.abs() > 1e-12, torch.eye(rows, dtype=torch.bool).expand(clips, -1, -1))
