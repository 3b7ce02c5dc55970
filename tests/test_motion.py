"""Motion against appearance: relevance splits exactly, conserves, and nothing moves in a clip that stands still."""

import einops
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from test_conservation import Frames
from torch import nn

import lrp3d
from lrp3d.compute.maps import Bilinear
from lrp3d.operations import Operand, shares
from lrp3d.errors import NoMotion

EXACT = {"rtol": 1e-9, "atol": 1e-11}
CLIP = torch.rand(2, 3, 6, 5, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(5))


LAYOUTS = ["b t c h w", "t b c h w", "c b t h w", "c h w b t", "(b t) c h w"]


class InLayout(nn.Module):
    """A network of clips (b, c, t, h, w) that takes them in another layout."""

    def __init__(self, network, layout):
        super().__init__()
        self.network, self.layout = network, layout

    def forward(self, clip):
        return self.network(
            einops.rearrange(clip, f"{self.layout} -> b c t h w", **({"b": 2} if "(" in self.layout else {}))
        )


@pytest.mark.parametrize("options", [{}, {"contrastive": False}, {"against": "next"}], ids=["CLRP", "LRP", "next"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_clip_moves_as_much_wherever_the_axis_of_clips_is(layout, options):
    model = Deep().double().eval()
    options = {"motion": True, "input_range": (0.0, 1.0)} | options
    wanted = lrp3d.explain(model, CLIP, 1, **options)
    given = einops.rearrange(CLIP, f"b c t h w -> {layout}")
    found = lrp3d.explain(InLayout(model, layout), given, 1, layout=layout, **options)
    torch.testing.assert_close(found.motion, wanted.motion, **EXACT)
    assert sorted(found.motion_by_layer) == sorted(f"network.{name}" for name in wanted.motion_by_layer)
    for name, share in wanted.motion_by_layer.items():
        torch.testing.assert_close(found.motion_by_layer[f"network.{name}"], share, **EXACT)


class Deep(nn.Module):
    """Two temporal convolutions, batch norm, a max pool over time, a residual sum, an average over time."""

    def __init__(self, seed=0, averages=True, kernel=3, pool=True, bias=True, residual=True):
        super().__init__()
        torch.manual_seed(seed)
        side = kernel // 2
        self.first = nn.Conv3d(3, 4, (kernel, 3, 3), padding=(side, 1, 1), bias=bias)
        self.norm = nn.BatchNorm3d(4)
        self.pool = nn.MaxPool3d((kernel, 2, 2), stride=(1, 2, 2), padding=(side, 0, 0)) if pool else nn.Identity()
        self.second = nn.Conv3d(4, 4, (kernel, 1, 1), padding=(side, 0, 0), bias=bias)
        self.residual, self.averages = residual, averages
        self.fc = nn.Linear(4, 3)

    def forward(self, x):
        x = self.pool(torch.relu(self.norm(self.first(x))))
        y = torch.relu(self.second(x))
        x = x + y if self.residual else y
        x = x.mean((3, 4)).transpose(1, 2)
        return self.fc(x).mean(1) if self.averages else self.fc(x.mean(1))


def deep(**options):
    return Deep(**options).double().eval()


def split(model, clip=CLIP, **options):
    return lrp3d.explain(model, clip, motion=True, **options)


def check_whole(found, plain):
    torch.testing.assert_close(found.static + found.dynamic, plain.relevance, **EXACT)
    torch.testing.assert_close(found.static_matrix + found.dynamic_matrix, plain.matrix, **EXACT)
    torch.testing.assert_close(found.relevance, plain.relevance, **EXACT)
    torch.testing.assert_close(found.matrix, plain.matrix, **EXACT)
    torch.testing.assert_close(found.conservation, plain.conservation, rtol=0, atol=1e-9)


@settings(max_examples=5, deadline=None)
@given(
    seed=st.integers(0, 99),
    averages=st.booleans(),
    kernel=st.sampled_from([1, 3]),
    pool=st.booleans(),
    residual=st.booleans(),
    contrastive=st.booleans(),
    chunk=st.integers(1, 7),
)
def test_both_parts_add_up_to_relevance(seed, averages, kernel, pool, residual, contrastive, chunk):
    model = deep(seed=seed, averages=averages, kernel=kernel, pool=pool, residual=residual)
    found = split(model, contrastive=contrastive, chunk_size=chunk)
    check_whole(found, lrp3d.explain(model, CLIP, contrastive=contrastive))
    total = found.relevance.flatten(1).sum(1)
    torch.testing.assert_close(found.motion * total, found.dynamic.flatten(1).sum(1), **EXACT)


@settings(max_examples=3, deadline=None)
@given(seed=st.integers(0, 99), averages=st.booleans(), contrastive=st.booleans())
def test_nothing_is_dynamic_in_a_clip_that_stands_still_not_even_at_its_ends(seed, averages, contrastive):
    still = CLIP[:, :, :1].expand(-1, -1, 6, -1, -1)
    found = split(deep(seed=seed, averages=averages), still, contrastive=contrastive)
    assert found.dynamic.abs().max() <= 1e-13 * found.static.abs().max()
    assert found.dynamic_matrix.abs().max() <= 1e-12 * found.static_matrix.abs().max()


@pytest.mark.parametrize("contrastive", [True, False])
@pytest.mark.parametrize("averages", [True, False])
def test_nothing_is_dynamic_in_a_network_that_only_averages_over_time(contrastive, averages):
    found = split(deep(kernel=1, averages=averages), contrastive=contrastive)
    assert found.dynamic_matrix.abs().max() == 0
    assert found.dynamic.abs().max() == 0
    assert (found.motion == 0).all()


@pytest.mark.parametrize("averages", [True, False])
def test_layers_say_where_relevance_becomes_dynamic(averages):
    found = split(deep(averages=averages), contrastive=False)
    assert list(found.motion_by_layer) == ["first", "pool", "second"]
    torch.testing.assert_close(sum(found.motion_by_layer.values()), found.motion, **EXACT)
    assert split(deep(averages=averages)).motion_by_layer == {}


@pytest.mark.parametrize("composite", ["paper", "epsilon", "alpha_beta"])
def test_the_split_holds_for_other_rules(composite):
    model = deep(pool=False, residual=False)
    plain = lrp3d.explain(model, CLIP, contrastive=False, composite=composite)
    check_whole(split(model, contrastive=False, composite=composite), plain)


@settings(max_examples=3, deadline=None)
@given(
    seed=st.integers(0, 99),
    kernel=st.sampled_from([1, 2, 3, 5]),
    stride=st.integers(1, 4),
    dilation=st.integers(1, 2),
    frames=st.integers(6, 10),
    padded=st.booleans(),
)
@example(seed=0, kernel=3, stride=2, dilation=1, frames=8, padded=False)  # the last frame is under no kernel
@example(seed=0, kernel=4, stride=4, dilation=1, frames=10, padded=False)
@example(seed=1, kernel=3, stride=1, dilation=2, frames=7, padded=True)
def test_one_layer_is_split_as_the_definition_says_tap_by_tap(seed, kernel, stride, dilation, frames, padded):
    """By loops: over outputs, their taps, the window's mean; a layer that sees the clip has no ends to correct."""
    torch.manual_seed(seed)
    pad = kernel // 2 if padded else 0
    conv = nn.Conv3d(2, 3, (kernel, 1, 1), (stride, 1, 1), (pad, 0, 0), (dilation, 1, 1), bias=False)
    pooled = (frames + 2 * pad - dilation * (kernel - 1) - 1) // stride + 1
    if pooled < 2:
        return

    class One(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.fc = conv, nn.Linear(3, 2)

        def forward(self, x):
            return self.fc(torch.relu(self.conv(x)).mean((3, 4)).transpose(1, 2)).mean(1)

    model = One().double().eval()
    with torch.no_grad():
        for weights in model.parameters():  # so that there are no terms of another sign
            weights.abs_()
    clip = torch.rand(1, 2, frames, 1, 1, dtype=torch.float64)
    rule = lrp3d.Composite(first=lrp3d.rules.ZPlus())
    found = split(model, clip, target=0, contrastive=False, composite=rule)
    # what arrives at the convolution's outputs, from the row's logit through z+ of the classifier
    features = torch.relu(conv(clip))[0, :, :, 0, 0].T.detach()  # (n, 3)
    weight = model.fc.weight[0].detach().clamp(min=0)
    w = conv.weight[:, :, :, 0, 0].detach().clamp(min=0)  # (3, 2, k)
    x = clip[0, :, :, 0, 0]  # (2, t)
    for row in range(pooled):
        z = (features[row] * weight).sum()
        logit = model.fc(features[row])[0].detach()
        r = logit * (features[row] * weight / z if z > 0 else torch.full((3,), 1 / 3, dtype=torch.float64))
        static, whole = torch.zeros(frames, dtype=torch.float64), torch.zeros(frames, dtype=torch.float64)
        taps = [(k, row * stride + k * dilation - pad) for k in range(kernel)]
        taps = [(k, i) for k, i in taps if 0 <= i < frames]
        if not taps:
            continue
        mean = torch.stack([x[:, i] for _, i in taps]).mean(0)
        for o in range(3):
            denominator = sum((x[:, i] * w[o, :, k]).sum() for k, i in taps)
            for k, i in taps:
                if denominator > 0:
                    whole[i] += r[o] * (x[:, i] * w[o, :, k]).sum() / denominator
                    static[i] += r[o] * (mean * w[o, :, k]).sum() / denominator
                else:
                    whole[i] += r[o] / len(taps)
                    static[i] += r[o] / len(taps)
        columns = found.matrix.shape[2]  # those of the clip, or one for each row
        column = torch.arange(frames) * columns // frames
        blocks = [torch.zeros(columns, dtype=torch.float64).index_add(0, column, v) for v in (static, whole - static)]
        torch.testing.assert_close(found.static_matrix[0, row], blocks[0], **EXACT)
        torch.testing.assert_close(found.dynamic_matrix[0, row], blocks[1], **EXACT)


@pytest.mark.parametrize("contrastive", [True, False])
@pytest.mark.parametrize("inside", [True, False])
@pytest.mark.parametrize(("kernel", "stride", "frames"), [(3, 2, 8), (2, 2, 7), (3, 3, 8), (4, 4, 10)])
def test_frames_that_a_stride_leaves_out_have_neither_part(kernel, stride, frames, inside, contrastive):
    torch.manual_seed(0)
    before = [nn.Conv3d(3, 3, 1), nn.ReLU()] if inside else []
    strided = nn.Conv3d(3, 4, (kernel, 1, 1), (stride, 1, 1))
    after = [nn.ReLU(), nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(4, 3)]
    model = nn.Sequential(*before, strided, *after).double().eval()
    clip = torch.rand(2, 3, frames, 4, 4, dtype=torch.float64)
    found = split(model, clip, contrastive=contrastive)
    check_whole(found, lrp3d.explain(model, clip, contrastive=contrastive))
    seen = (frames - kernel) // stride * stride + kernel
    assert found.static[:, :, seen:].abs().max() == found.dynamic[:, :, seen:].abs().max() == 0


def test_it_works_in_batches_and_on_the_twin():
    model = deep()
    together = split(lrp3d.convert(model))
    for clip in range(2):
        alone = split(model, CLIP[clip : clip + 1])
        torch.testing.assert_close(alone.dynamic[0], together.dynamic[clip], **EXACT)
        torch.testing.assert_close(alone.dynamic_matrix[0], together.dynamic_matrix[clip], **EXACT)


class Moves(Frames):
    """Frames in another order."""

    def __init__(self, move):
        super().__init__()
        self.move = move

    def forward(self, x):
        return super().forward(self.move(x))


@pytest.mark.parametrize(
    "move",
    [
        lambda x: torch.cat([x[:, :, 1:], x[:, :, :1]], 2),
        lambda x: torch.take(x, torch.arange(x.numel()).view(x.shape).flip(2)),
        lambda x: x.index_select(2, torch.tensor([0, 0, 1, 3, 4, 4])),
    ],
)
def test_frames_may_be_moved_as_a_whole(move):
    model = Moves(move).double().eval()
    check_whole(split(model), lrp3d.explain(model, CLIP))
    still = split(model, CLIP[:, :, :1].expand(-1, -1, 6, -1, -1))
    assert still.dynamic.abs().max() <= 1e-13 * still.static.abs().max()


def test_an_operation_of_ones_own_along_time_is_split_as_the_convolution_that_it_is():
    class Pairs(nn.Module):
        """The next frame minus half of this one."""

        def forward(self, x):
            return x[:, :, 1:] - 0.5 * x[:, :, :-1]

    @lrp3d.register_layer(Pairs)
    def pairs(layer, x):
        def along(a, w):
            return w[0] * a[:, :, :-1] + w[1] * a[:, :, 1:]

        weights = torch.tensor([-0.5, 1.0], dtype=x.dtype)
        return shares(along(x, weights), [Operand(x, Bilinear(along), weights)])

    own, convolution = deep(), deep()
    own.second = Pairs()
    convolution.second = nn.Conv3d(4, 4, (2, 1, 1), groups=4, bias=False).double()
    convolution.second.weight.data[:] = torch.tensor([-0.5, 1.0]).reshape(2, 1, 1)
    own.residual = convolution.residual = False
    found, same = split(own), split(convolution)
    torch.testing.assert_close(found.static, same.static, **EXACT)
    torch.testing.assert_close(found.dynamic, same.dynamic, **EXACT)
    assert found.dynamic.abs().max() > 1e-3 * found.static.abs().max()


def test_motion_needs_temporal_relevance():
    with pytest.raises(ValueError, match="needs temporal=True"):
        split(deep(), temporal=False)


def test_frames_that_become_channels_are_refused():
    class Joins(nn.Module):
        """Two frames become the channels of one, which a kernel of one frame then mixes."""

        def __init__(self, images):
            super().__init__()
            self.images, self.fc = images, nn.Linear(4, 3)
            self.mix = nn.Conv2d(6, 4, 3) if images else nn.Conv3d(6, 4, (1, 3, 3))

        def forward(self, x):
            b, c, t, h, w = x.shape
            pairs = x.reshape(b, c, t // 2, 2, h, w)
            if self.images:
                seen = self.mix(pairs.permute(0, 2, 1, 3, 4, 5).reshape(b * t // 2, 2 * c, h, w))
                return self.fc(torch.relu(seen).mean((2, 3))).view(b, t // 2, -1).mean(1)
            seen = self.mix(pairs.transpose(2, 3).reshape(b, 2 * c, t // 2, h, w))
            return self.fc(torch.relu(seen).mean((3, 4)).transpose(1, 2)).mean(1)

    for images in (False, True):
        model = Joins(images).double().eval()
        assert lrp3d.explain(model, CLIP).matrix.shape[1] == 3
        with pytest.raises(NoMotion, match=r"'mix' .* frames became channels"):
            split(model)


def test_pathways_that_a_model_makes_of_its_clip_are_split():
    torch.manual_seed(1)
    model = lrp3d.models.slowfast_resnet50(3, frames=8, alpha=4, width=8).double().eval()
    clip = torch.rand(1, 3, 8, 32, 32, dtype=torch.float64)
    found = split(model, clip, contrastive=False)
    check_whole(found, lrp3d.explain(model, clip, contrastive=False))
    assert found.dynamic.abs().max() > 1e-3 * found.static.abs().max()
    still = split(model, clip[:, :, :1].expand(-1, -1, 8, -1, -1), contrastive=False)
    assert still.dynamic.abs().max() <= 1e-12 * still.static.abs().max()
    assert still.motion.abs().max() < 1e-12


class Chooses(Frames):
    """Takes some frames of the clip, and meets others with them."""

    def __init__(self, one, other):
        super().__init__()
        self.one, self.other = torch.tensor(one), torch.tensor(other)

    def forward(self, x):
        return super().forward(x.index_select(2, self.one) + x.index_select(2, self.other))


def test_frames_chosen_of_the_clip_are_no_motion_unless_they_meet_others():
    for one, other in (([0, 2, 4], [0, 2, 4]), ([0, 2, 4], [1, 3, 5]), ([0, 1, 2, 3, 4, 5], [5, 4, 3, 2, 1, 0])):
        model = Chooses(one, other).double().eval()
        found = split(model, contrastive=False)
        check_whole(found, lrp3d.explain(model, CLIP, contrastive=False))
        assert ("add" in found.motion_by_layer) == (one != other)
        assert list(found.motion_by_layer)[-1] != "add" or found.motion_by_layer["add"].abs().min() > 1e-6


def test_it_is_saved_and_said(tmp_path):
    found = split(deep())
    found.save(tmp_path / "one.safetensors")
    again = lrp3d.Explanation.load(tmp_path / "one.safetensors")
    assert again.dynamic.equal(found.dynamic)
    assert again.motion.equal(found.motion)
    assert "motion " in repr(again)


def test_an_empty_batch_has_empty_parts():
    class OneConvolution(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.fc = nn.Conv3d(3, 4, 3, padding=1), nn.Linear(4, 2)

        def forward(self, x):
            return self.fc(self.conv(x).relu().mean((2, 3, 4)))

    found = lrp3d.explain(OneConvolution().eval(), torch.rand(0, 3, 4, 4, 4), motion=True)
    assert found.static.shape == found.dynamic.shape == (0, 3, 4, 4, 4)
    assert (found.motion.shape, found.static_matrix.shape) == ((0,), (0, 4, 4))


class Views(nn.Module):
    """Crops or mirrored copies of every clip, folded into the batch."""

    def __init__(self, views, apart):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.fc = nn.Conv3d(3, 6, 3, padding=1), nn.Linear(6, 5)
        self.views, self.apart = views, apart

    def forward(self, x):
        x = einops.rearrange(torch.stack(self.views(x)), f"n b c t h w -> {self.apart} c t h w")
        y = self.fc(self.conv(x).relu().mean((3, 4)).transpose(1, 2))
        return einops.rearrange(y, f"{self.apart} t k -> b n t k", n=2).mean(1).mean(1)


@pytest.mark.parametrize("apart", ["(n b)", "(b n)"])
@pytest.mark.parametrize("views", [lambda x: [x[..., :4], x[..., -4:]], lambda x: [x, x.flip(-1)]])
def test_views_of_one_clip_in_the_batch_count_for_their_clip(views, apart):
    model = Views(views, apart).double().eval()
    options = {"motion": True, "contrastive": False, "input_range": (0.0, 1.0)}
    together = lrp3d.explain(model, CLIP, 0, **options)
    alone = [lrp3d.explain(model, clip[None], 0, **options) for clip in CLIP]
    for name, share in together.motion_by_layer.items():
        torch.testing.assert_close(share, torch.cat([each.motion_by_layer[name] for each in alone]), **EXACT)
    torch.testing.assert_close(together.motion, torch.cat([each.motion for each in alone]), **EXACT)
    torch.testing.assert_close(sum(together.motion_by_layer.values()), together.motion, **EXACT)


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_frames_that_meet_along_a_new_axis_are_refused(axis):
    class Stacked(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.more = nn.Conv3d(3, 6, (1, 3, 3)), nn.Conv3d(6, 6, (1, 3, 3))

        def forward(self, x):
            x = self.conv(x).relu()
            x = torch.stack([x[:, :, :-1], x[:, :, 1:]], axis).sum(axis)
            return self.more(x).relu().mean((2, 3, 4))

    with pytest.raises(NoMotion, match="does not know what 'sum'"):
        lrp3d.explain(Stacked().double().eval(), CLIP, 0, motion=True, contrastive=False)


class FramesOfViews(nn.Module):
    """Differences of frames in two crops of every clip, which are folded into the batch or run one after the other."""

    def __init__(self, folded):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.more, self.fc = nn.Conv3d(3, 6, (1, 3, 3)), nn.Conv3d(6, 6, (1, 1, 1)), nn.Linear(6, 5)
        self.folded = folded

    def logits(self, x):
        x = self.conv(x).relu()
        return self.fc(self.more(x[:, :, 1:] - 0.5 * x[:, :, :-1]).relu().mean((3, 4)).transpose(1, 2))

    def forward(self, x):
        crops = x[..., :4], x[..., -4:]
        if self.folded:
            return self.logits(torch.cat(crops)).unflatten(0, (2, -1)).mean(0).mean(1)
        return torch.stack([self.logits(crop) for crop in crops]).mean(0).mean(1)


def test_views_of_one_clip_are_not_compared_with_one_another():
    folded, one_by_one = (
        lrp3d.explain(FramesOfViews(how).double().eval(), CLIP, 0, motion=True, contrastive=False, temporal=True)
        for how in (True, False)
    )
    torch.testing.assert_close(folded.static, one_by_one.static, **EXACT)
    torch.testing.assert_close(folded.dynamic, one_by_one.dynamic, **EXACT)
    assert folded.motion.abs().min() > 1e-3
