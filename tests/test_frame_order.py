"""Rows are those of the frames of the clip, whatever a forward does to their order and axes before its layers."""

import einops
import pytest
import torch
from torch import nn

import lrp3d
from lrp3d.propagation.entry_order import disorder

FRAMES = 6
CLIP = torch.rand(2, 3, FRAMES, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
OWN = torch.eye(FRAMES, dtype=torch.bool)


class FrameByFrame(nn.Module):
    """No layer mixes frames: a row that holds another frame than its own is wrong."""

    def __init__(self, forward):
        super().__init__()
        torch.manual_seed(0)
        self.clips, self.images, self.pixels = nn.Conv3d(3, 5, 1), nn.Conv2d(3, 5, 1), nn.Linear(3, 5)
        self.further, self.fc = nn.Conv3d(5, 5, 1), nn.Linear(5, 4)
        self.how = forward
        self.double().eval()

    def features(self, x):
        return self.clips(x).relu().mean((3, 4))

    def forward(self, x):
        return self.how(self, x)


def explained(forward, clip=CLIP, **options):
    return lrp3d.explain(FrameByFrame(forward), clip, 0, contrastive=False, **options)


def plain(net, x):
    return net.fc(net.features(x).mean(2))


def folded(net, x):
    """Features (b, t, c) of images."""
    return net.images(x.transpose(1, 2).flatten(0, 1)).relu().mean((2, 3)).unflatten(0, (len(x), -1))


def without_a_matrix(forward, clip=CLIP, said="", **options):
    with pytest.raises(lrp3d.NoFrameLogits, match=said):
        explained(forward, clip, **options)
    assert explained(forward, clip, temporal=False, **options).relevance.shape == clip.shape


ORDERS = {
    "backwards": lambda x: x.flip(2),
    "rolled": lambda x: x.roll(2, 2),
    "by an index": lambda x: x[:, :, [3, 1, 5, 0, 4, 2]],
    "backwards, normalised": lambda x: (x.flip(2) - 0.5) * 2,
    "backwards, by numbers": lambda x: torch.take(x, torch.arange(x.numel()).view(x.shape).flip(2)),
}


@pytest.mark.parametrize("how", ORDERS)
def test_rows_are_in_the_clips_order_whatever_order_the_forward_gives_frames(how):
    move = ORDERS[how]
    for forward in (
        lambda net, x: plain(net, move(x)),
        lambda net, x: net.fc(net.further(net.clips(move(x)).relu()).relu().mean((3, 4)).transpose(1, 2)).mean(1),
        lambda net, x: net.fc(net.features(move(x)).transpose(1, 2)),
        lambda net, x: net.fc(folded(net, move(x)).mean(1)),
    ):
        found = explained(forward)
        assert torch.equal(found.matrix != 0, OWN.expand(2, -1, -1))
        assert torch.equal(found.atr, torch.ones(2, FRAMES, dtype=torch.float64))
        measured = lrp3d.intervention_matrix(FrameByFrame(forward), CLIP, 0)
        assert torch.equal(measured.abs() > 1e-9, OWN.expand(2, -1, -1))
    if how != "backwards, normalised":
        torch.testing.assert_close(explained(lambda net, x: plain(net, move(x))).matrix, explained(plain).matrix)


def test_two_frames_are_turned_round_as_well():
    found = explained(lambda net, x: plain(net, x.flip(2)), CLIP[:, :, :2])
    assert torch.equal(found.matrix != 0, torch.eye(2, dtype=torch.bool).expand(2, -1, -1))


def test_frames_that_meet_in_a_layer_are_in_order():
    """Differences of neighbours, also around the ends; and two frames as the channels of one."""
    for stay, differences in ((OWN, lambda x: x - 0.5 * x.roll(1, 2)), (OWN, lambda x: x - 0.5 * x.roll(-1, 2))):
        found = explained(lambda net, x, of=differences: plain(net, of(x))).matrix != 0
        assert torch.equal(found & stay, stay.expand(2, -1, -1))
        assert torch.equal(found.sum(2), torch.full((2, FRAMES), 2))

    class Pairs(nn.Module):
        def __init__(self):
            super().__init__()
            self.mix, self.fc = nn.Conv3d(6, 4, 1), nn.Linear(4, 3)

        def forward(self, x):
            pairs = einops.rearrange(x, "b c (t two) h w -> b (two c) t h w", two=2)
            return self.fc(self.mix(pairs).relu().mean((2, 3, 4)))

    found = lrp3d.explain(Pairs().double().eval(), CLIP, 0, contrastive=False)
    assert torch.equal(found.matrix != 0, torch.eye(3, dtype=torch.bool).expand(2, -1, -1))


REPEATED = {
    "every second": (lambda x: x[:, :, [0, 0, 2, 2, 4, 4]], [0, 0, 2, 2, 4, 4]),
    "the first": (lambda x: x[:, :, [0, 0, 1, 1, 2, 2]], [0, 0, 1, 1, 2, 2]),
    "a loop": (lambda x: x[:, :, [0, 1, 2, 3, 0, 1]], [0, 0, 1, 1, 2, 3]),
    "the last, as a pad": (lambda x: torch.cat([x[:, :, 1:], x[:, :, -1:]], 2), [1, 2, 3, 4, 5, 5]),
}


@pytest.mark.parametrize("name", REPEATED)
def test_frames_that_are_taken_twice_have_two_rows_that_stand_where_they_are(name):
    pick, positions = REPEATED[name]
    found = explained(lambda net, x: plain(net, pick(x)))
    assert found.positions == positions
    assert found.unit == "frames"
    assert torch.equal(found.matrix != 0, OWN[positions].expand(2, -1, -1))
    assert torch.equal(found.atr, torch.ones_like(found.atr))


def test_a_clip_that_is_seen_forwards_and_backwards_has_rows_of_what_both_say_of_a_frame():
    found = explained(lambda net, x: plain(net, x) + plain(net, x.flip(2)))
    assert torch.equal(found.matrix != 0, OWN.expand(2, -1, -1))
    torch.testing.assert_close(found.frame_logits, 2 * explained(plain).frame_logits)


def time_first(net, x):
    features = net.images(x.permute(2, 0, 1, 3, 4).flatten(0, 1)).relu().mean((2, 3))
    return net.fc(features.unflatten(0, (x.shape[2], len(x))).mean(0))


def mistaken_for_clips_first(net, x):
    features = net.images(x.permute(2, 0, 1, 3, 4).flatten(0, 1)).relu().mean((2, 3))
    return net.fc(features.unflatten(0, (len(x), x.shape[2])).mean(1))


def test_frames_that_are_folded_before_clips_are_followed():
    for clip in (CLIP, CLIP[:1], CLIP[:, :, :2]):
        own = torch.eye(clip.shape[2], dtype=torch.bool)
        assert torch.equal(explained(time_first, clip).matrix != 0, own.expand(len(clip), -1, -1))
        assert lrp3d.intervention_matrix(FrameByFrame(time_first), clip, 0).shape == (len(clip), *own.shape)
    assert torch.equal(explained(time_first).frame_logits[1:], explained(time_first, CLIP[1:]).frame_logits)


def test_frames_of_other_clips_have_no_rows():
    without_a_matrix(mistaken_for_clips_first)


OTHER_AXES = {
    "rows of pixels": lambda net, x: net.fc(
        net.images(einops.rearrange(x, "b c t h w -> (b h) c t w")).relu().unflatten(0, (len(x), -1)).mean((1, 3, 4))
    ),
    "columns of pixels": lambda net, x: plain(net, x.transpose(2, 4)),
}


@pytest.mark.parametrize("how", OTHER_AXES)
def test_an_axis_that_is_not_time_has_no_rows(how):
    without_a_matrix(OTHER_AXES[how], said="another order|another of its axes")
    without_a_matrix(OTHER_AXES[how], CLIP[:, :, :2, :2, :2], said="another of its axes")


def segments(net, x, order="(u t)"):
    """Features (b, segments, c, t, h, w) of segments, which are folded into the batch."""
    folded = einops.rearrange(x, f"b c {order} h w -> (b u) c t h w", u=2)
    return net.clips(folded).relu().unflatten(0, (len(x), 2))


def test_segments_that_are_folded_into_the_batch_are_followed():
    """Averaged at once, segments are rows; joined again, each of their frames is."""
    found = explained(lambda net, x: net.fc(segments(net, x).mean((1, 3, 4, 5))))
    assert torch.equal(found.matrix != 0, torch.eye(2, dtype=torch.bool).expand(2, -1, -1))
    joined = explained(lambda net, x: net.fc(segments(net, x).movedim(1, 2).flatten(2, 3).mean((2, 3, 4))))
    assert torch.equal(joined.matrix != 0, OWN.expand(2, -1, -1))
    interleaved = explained(
        lambda net, x: net.fc(segments(net, x, "(t u)").movedim(1, 3).flatten(2, 3).mean((2, 3, 4)))
    )
    assert torch.equal(interleaved.matrix != 0, OWN.expand(2, -1, -1))


@pytest.mark.parametrize("layout", ["bthwc", "bhwtc", "bchwt"])
def test_time_is_where_the_layout_says(layout):
    """A layer of pixels has no axes of its own."""
    axes = " ".join(layout)
    places = [i for i, letter in enumerate(layout) if letter in "thw"]

    def forward(net, x):
        pixels = x if layout.endswith("c") else x.movedim(1, -1)
        return net.fc(net.pixels(pixels).relu().mean([i if layout.endswith("c") else i - 1 for i in places]))

    found = explained(forward, einops.rearrange(CLIP, f"b c t h w -> {axes}"), layout=layout)
    assert torch.equal(found.matrix != 0, OWN.expand(2, -1, -1))
    without_a_matrix(
        lambda net, x: net.fc(net.clips(x).relu().mean((2, 3, 4))),
        einops.rearrange(CLIP, "b c t h w -> b c h w t"),
        said="layout=",
        layout="bchwt",
    )


PARTS = {
    "halves": lambda u: (u[:, :, :3].mean(2) + u[:, :, 3:].mean(2)) / 2,
    "change": lambda u: u[:, :, 3:].mean(2) - u[:, :, :3].mean(2),
    "pyramid": lambda u: u.mean(2) + u[:, :, :3].mean(2) + u[:, :, 3:].mean(2),
    "all and the last": lambda u: u.mean(2) + u[:, :, -2:].mean(2),
}


@pytest.mark.parametrize("how", PARTS)
def test_parts_of_the_features_are_no_pathways(how):
    without_a_matrix(lambda net, x: net.fc(PARTS[how](net.features(x))), said="on no common clock")


def test_a_pathway_with_one_step_less_is_on_no_clock_of_the_other():
    def with_differences(net, x):
        changes = net.clips(x[:, :, 1:] - x[:, :, :-1]).relu().mean((2, 3, 4))
        return net.fc(net.features(x).mean(2) + changes)

    without_a_matrix(with_differences, said="over 5 and over 6 time steps")


def test_frame_logits_that_a_model_returns_stand_where_they_come_from():
    found = explained(lambda net, x: net.fc(net.features(x).transpose(1, 2))[:, 2:])
    assert found.positions == [2, 3, 4, 5]
    assert torch.equal(found.matrix != 0, OWN[2:].expand(2, -1, -1))
    backwards = explained(lambda net, x: net.fc(net.features(x).transpose(1, 2)).flip(1))
    assert torch.equal(backwards.matrix != 0, OWN.expand(2, -1, -1))


def test_a_negative_pad_picks_frames():
    found = explained(lambda net, x: plain(net, nn.functional.pad(x, (0, 0, 0, 0, -2, 0))))
    assert found.positions == [2, 3, 4, 5]
    assert torch.equal(found.matrix != 0, OWN[2:].expand(2, -1, -1))


def test_a_pathway_of_every_second_frame_is_on_the_clock_of_the_fast_one():
    class TwoClocks(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.conv, self.slow, self.fast = nn.Conv3d(3, 4, 1), nn.Linear(4, 5), nn.Linear(4, 5)

        def forward(self, clip):
            x = self.conv(clip).relu()
            return self.slow(x[:, :, ::2].mean((2, 3, 4))) + self.fast(x.mean((2, 3, 4)))

    found = lrp3d.explain(TwoClocks().double().eval(), torch.rand(1, 3, 8, 4, 4, dtype=torch.double), 1)
    assert found.matrix.shape == (1, 4, 4)
    torch.testing.assert_close(found.matrix.sum(2), found.frame_logits)


def test_a_refusal_tells_frames_that_were_added_up_from_frames_that_are_mixed():
    assert "all come from the same time steps" in disorder([[True, True], [True, True]])
    assert "do not come from one time step after another" in disorder([[True, True, False], [False, True, False]])
    assert "averages constants beside the frames" in disorder([[True, False], [False, False]])
