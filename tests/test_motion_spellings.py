"""One function of a clip is split alike however it is spelled: over (b, c, t, h, w), or with axes folded together."""

import einops
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import lrp3d
from lrp3d.errors import NoMotion

EXACT = {"rtol": 1e-10, "atol": 1e-10}
CLIP = torch.rand(2, 3, 7, 6, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(5))

SPELLINGS = {
    "b c t h w": ("b c t h w", 0),
    "places in the batch": ("(b h w) c t", 0),
    "places on one axis": ("b c t (h w)", 0),
    "columns in the batch": ("(b w) c t h", 0),
    "time last": ("b c (h w) t", 1),
    "time last of three": ("b c h w t", 2),
    "rows in the batch, time last": ("(b h) c w t", 1),
}
"""The axes of an operation, and which of those over which its windows move is time."""


class Along(nn.Module):
    """An operation along time, in one spelling.

    Args:
        spelling: one of `SPELLINGS`.
        kind: "conv", "transposed", or the name of a pool without its number of axes.
        sizes: what has a number for each axis, by name, of which only the one for time is not neutral.
        options: what has none.
    """

    def __init__(self, spelling, kind, sizes, **options):
        super().__init__()
        self.axes, time = SPELLINGS[spelling]
        spatial = len(einops.parsing.ParsedExpression(self.axes).composition) - 2

        def each(name, size):
            neutral = None if name == "output_size" else int(name not in ("padding", "output_padding"))
            return tuple(size if axis == time else neutral for axis in range(spatial))

        self.sizes = {name: each(name, size) for name, size in sizes.items()}
        if kind in ("conv", "transposed"):
            name = "Conv" if kind == "conv" else "ConvTranspose"
            self.operation = getattr(nn, f"{name}{spatial}d")(4, 4, **self.sizes, **options)
        else:
            options |= {name: size[0] if spatial == 1 else size for name, size in self.sizes.items()}
            self.operation = lambda x: getattr(F, f"{kind}{spatial}d")(x, **options)

    def forward(self, x):
        b, _, _, h, w = x.shape
        x = self.operation(einops.rearrange(x, f"b c t h w -> {self.axes}"))
        return einops.rearrange(x, f"{self.axes} -> b c t h w", b=b, h=h, w=w)


class Net(nn.Module):
    """An operation along time, in a residual sum where its output has all frames, before frames are classified."""

    def __init__(self, spelling, *operation, pools_space=False, **options):
        super().__init__()
        self.stem = nn.Conv3d(3, 4, (1, 3, 3), padding=(0, 1, 1))
        self.along = Along(spelling, *operation, **options)
        self.more, self.fc = nn.Conv3d(4, 4, (2, 1, 1)), nn.Linear(4, 3)
        self.pools_space = pools_space

    def forward(self, clip):
        x = torch.relu(self.stem(clip))
        if self.pools_space:
            x = x.mean((3, 4), keepdim=True)
        y = torch.relu(self.along(x))
        x = torch.relu(self.more(x + y if x.shape == y.shape else y))
        return self.fc(x.mean((3, 4)).transpose(1, 2)).mean(1)


def explained(make, clip=CLIP, **options):
    torch.manual_seed(0)
    options = {"target": 0, "motion": True, "contrastive": False, "input_range": (0.0, 1.0)} | options
    return lrp3d.explain(make().double().eval(), clip, **options)


def alike(found, wanted, names=False):
    """All that is split agrees, and some of it is dynamic; layers are compared by their order or their names."""
    assert wanted.dynamic.abs().max() > 1e-3 * wanted.static.abs().max()
    for name in ("static", "dynamic", "relevance", "motion"):
        torch.testing.assert_close(getattr(found, name), getattr(wanted, name), **EXACT)
    for name in ("matrix", "static_matrix", "dynamic_matrix"):
        matrix, of_other = getattr(found, name), getattr(wanted, name)
        if (
            matrix.shape != of_other.shape
        ):  # the matrix of one has a column for each frame, that of the other for each row
            matrix, of_other = matrix.sum(-1), of_other.sum(-1)
        torch.testing.assert_close(matrix, of_other, **EXACT)
    pairs = zip(found.motion_by_layer.items(), wanted.motion_by_layer.items(), strict=True)
    for (layer, share), (of_layer, of_share) in pairs:
        assert not names or layer == of_layer
        torch.testing.assert_close(share, of_share, **EXACT)


def conv(kernel_size, stride=1, padding=0, dilation=1, **options):
    sizes = {"kernel_size": kernel_size, "stride": stride, "padding": padding, "dilation": dilation}
    return ("conv", sizes), options


def pool(kind, kernel_size, stride=1, padding=0, **options):
    return (kind, {"kernel_size": kernel_size, "stride": stride, "padding": padding}), options


OPERATIONS = {
    "conv": conv(3, padding=1),
    "without padding": conv(2),
    "strided": conv(3, 2, 1),
    "dilated": conv(3, 1, 2, 2),
    "depthwise": conv(3, padding=1, groups=4),
    "strided beyond its kernel": conv(1, 2),
    "no bias": conv(3, padding=1, bias=False),
    "average": pool("avg_pool", 3, 1, 1),
    "average, padding not counted": pool("avg_pool", 3, 2, 1, count_include_pad=False),
    "average, last window cut": pool("avg_pool", 2, 2, ceil_mode=True),
    "maximum": pool("max_pool", 3, 1, 1),
    "strided maximum": pool("max_pool", 3, 2, 1),
    "dilated maximum": (("max_pool", {"kernel_size": 2, "stride": 1, "padding": 0, "dilation": 2}), {}),
    "adaptive average": (("adaptive_avg_pool", {"output_size": 3}), {}),
    "adaptive maximum": (("adaptive_max_pool", {"output_size": 3}), {}),
    "transposed": (("transposed", {"kernel_size": 3, "stride": 1, "padding": 1}), {}),
}


@pytest.mark.parametrize("clips", [1, 2])
@pytest.mark.parametrize("spelling", [name for name in SPELLINGS if name != "b c t h w"])
@pytest.mark.parametrize("operation", OPERATIONS)
def test_an_operation_along_time_is_split_as_its_three_dimensional_spelling(operation, spelling, clips):
    operands, options = OPERATIONS[operation]
    wanted = explained(lambda: Net("b c t h w", *operands, **options), CLIP[:clips])
    found = explained(lambda: Net(spelling, *operands, **options), CLIP[:clips])
    alike(found, wanted)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_features_of_frames_are_split_as_a_clip_of_one_place(operation):
    operands, options = OPERATIONS[operation]
    wanted = explained(lambda: Net("b c t h w", *operands, pools_space=True, **options))
    found = explained(lambda: Net("places in the batch", *operands, pools_space=True, **options))
    alike(found, wanted)


@pytest.mark.parametrize("options", [{"contrastive": True}, {"composite": "alpha_beta"}, {"chunk_size": 2}], ids=str)
@pytest.mark.parametrize("operation", ["dilated", "maximum", "average"])
def test_spellings_agree_for_contrasts_other_rules_and_chunks(operation, options):
    operands, others = OPERATIONS[operation]
    wanted = explained(lambda: Net("b c t h w", *operands, **others), **options)
    for spelling in ("places in the batch", "places on one axis"):
        alike(explained(lambda spelling=spelling: Net(spelling, *operands, **others), **options), wanted)


class Causal(nn.Module):
    """A temporal convolutional network: dilated layers padded on both sides, cut behind, in residual sums."""

    def __init__(self, spelling):
        super().__init__()
        self.stem, self.fc = nn.Conv3d(3, 4, (1, 3, 3), padding=(0, 1, 1)), nn.Linear(4, 3)
        dilated = [conv(3, padding=2 * d, dilation=d)[0] for d in (1, 2)]
        self.layers = nn.ModuleList(Along(spelling, *layer) for layer in dilated)

    def forward(self, clip):
        x = torch.relu(self.stem(clip))
        for layer in self.layers:
            x = torch.relu(x + torch.relu(layer(x)[:, :, : x.shape[2]]))
        return self.fc(x.mean((3, 4)).transpose(1, 2)).mean(1)


@pytest.mark.parametrize("clips", [1, 2])
@pytest.mark.parametrize("spelling", [name for name in SPELLINGS if name != "b c t h w"])
def test_causal_convolutions_are_split_alike_in_every_spelling(spelling, clips):
    alike(explained(lambda: Causal(spelling), CLIP[:clips]), explained(lambda: Causal("b c t h w"), CLIP[:clips]))


class TemporalAdaptive(nn.Module):
    """TANet: a kernel over time for every clip and channel, made from the clip; clips stand among the groups."""

    def __init__(self, folded):
        super().__init__()
        self.stem, self.fc = nn.Conv3d(3, 4, (1, 3, 3)), nn.Linear(4, 3)
        self.kernel, self.folded = nn.Sequential(nn.Linear(7, 3), nn.Softmax(-1)), folded

    def forward(self, clip):
        x = torch.relu(self.stem(clip))
        b, c, t, h, w = x.shape
        kernel = self.kernel(x.mean((3, 4)).reshape(b * c, t))
        if self.folded:
            y = F.conv2d(x.reshape(1, b * c, t, h * w), kernel.view(-1, 1, 3, 1), padding=(1, 0), groups=b * c)
        else:
            y = F.conv3d(x.reshape(1, b * c, t, h, w), kernel.view(-1, 1, 3, 1, 1), padding=(1, 0, 0), groups=b * c)
        return self.fc((x + y.view(x.shape)).mean((3, 4)).transpose(1, 2)).mean(1)


@pytest.mark.parametrize("folded", [False, True])
def test_clips_among_the_groups_of_a_convolution_do_not_meet(folded):
    together = explained(lambda: TemporalAdaptive(folded))
    assert together.motion.abs().min() > 1e-4
    for i in range(2):
        alone = explained(lambda: TemporalAdaptive(False), CLIP[i : i + 1])
        torch.testing.assert_close(together.dynamic[i], alone.dynamic[0], **EXACT)
        torch.testing.assert_close(together.motion[i], alone.motion[0], **EXACT)
        for layer, of_layer in zip(together.motion_by_layer.values(), alone.motion_by_layer.values(), strict=True):
            torch.testing.assert_close(layer[i], of_layer[0], **EXACT)


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        ("b c (t h w)", r"'operation' \(convolution\) sees: at \(2, 4, 210\), frames along axis 2 do not follow"),
        ("b (c t) (h w)", r"'operation' \(convolution\) sees: at \(2, 28, 30\), frames became channels"),
        ("(b h) c (w t)", r"frames along axis 2 do not follow one another at one place"),
    ],
)
def test_windows_over_frames_of_several_places_are_refused_and_the_message_says_why(axes, message):
    class Over(Net):
        def __init__(self):
            super().__init__("b c t h w", *OPERATIONS["conv"][0])
            self.operation = nn.Conv1d(28 if "(c t)" in axes else 4, 28 if "(c t)" in axes else 4, 3, padding=1)

        def forward(self, clip):
            x = torch.relu(self.stem(clip))
            sizes = dict(zip("bcthw", x.shape, strict=True))
            x = einops.rearrange(x, f"b c t h w -> {axes}")
            x = einops.rearrange(self.operation(x), f"{axes} -> b c t h w", **sizes)
            return self.fc(x.mean((3, 4)).transpose(1, 2)).mean(1)

    with pytest.raises(NoMotion, match=message):
        explained(Over)


@pytest.mark.parametrize(
    ("axes", "operation"),
    [
        ("b c t (h w)", lambda x, w: F.conv2d(x, w.view(4, 4, 1, 3), padding=(0, 1))),
        ("b c t h w", lambda x, w: F.conv3d(x, w.view(4, 4, 1, 1, 3), padding=(0, 0, 1))),
        ("b c h w t", lambda x, w: F.conv3d(x, w.view(4, 4, 1, 3, 1), padding=(0, 1, 0))),
        ("(b t) c (h w)", lambda x, w: F.conv1d(x, w, padding=1)),
        ("(b t h) c w", lambda x, w: F.max_pool1d(x, 3, 1, 1)),
        ("(b t h) c w", lambda x, w: F.avg_pool1d(x, 3, 1, 1)),
        ("b c (t h w)", lambda x, w: F.conv1d(x, w[:, :, :1])),
        ("b c (h t) w", lambda x, w: F.conv2d(x, w[:, :, :1, None])),
        ("b h t w c", lambda x, w: F.max_pool3d(x, (1, 3, 3), 1, (0, 1, 1))),
    ],
)
def test_windows_within_frames_mix_none(axes, operation):
    class Within(Net):
        def __init__(self):
            super().__init__("b c t h w", *OPERATIONS["conv"][0])
            self.weight = nn.Parameter(torch.rand(4, 4, 3))

        def forward(self, clip):
            x = torch.relu(self.stem(clip))
            sizes = dict(zip("bcthw", x.shape, strict=True))
            x = einops.rearrange(
                operation(einops.rearrange(x, f"b c t h w -> {axes}"), self.weight), f"{axes} -> b c t h w", **sizes
            )
            return self.fc(x.mean((3, 4)).transpose(1, 2)).mean(1)

    assert (explained(Within).dynamic == 0).all()


# ---------------------------------------------------------------------------- images of frames folded into the batch


class Images(nn.Module):
    """Layers that see one frame, as 3D convolutions or as convolutions of images folded into the batch, and their sums.

    Args:
        folds: whether frames are folded into the batch.
        features: takes this network and the features of frames (b, c, t, h, w); returns those that are classified.
    """

    def __init__(self, folds, features):
        super().__init__()
        self.folds, self.features = folds, features
        self.stem, self.fc = nn.Conv3d(3, 4, (1, 3, 3), padding=(0, 1, 1)), nn.Linear(4, 3)
        self.a, self.b, self.c = (nn.Conv3d(4, 4, (1, 3, 3), padding=(0, 1, 1)) for _ in range(3))
        self.time = nn.ModuleList(nn.Conv3d(4, 4, (3, 1, 1), dilation=(d, 1, 1), padding=(2 * d, 0, 0)) for d in (1, 2))
        self.strided = nn.Conv3d(4, 4, (3, 1, 1), (2, 1, 1), (1, 0, 0))

    def image(self, layer, x):
        if not self.folds:
            return layer(x)
        images = einops.rearrange(x, "b c t h w -> (b t) c h w")
        images = F.conv2d(images, layer.weight[:, :, 0], layer.bias, padding=layer.padding[1:])
        return einops.rearrange(images, "(b t) c h w -> b c t h w", b=len(x))

    def forward(self, clip):
        x = self.features(self, torch.relu(self.image(self.stem, clip)))
        x = torch.relu(self.image(self.c, torch.relu(x)))
        return self.fc(x.mean((3, 4)).transpose(1, 2)).mean(1)


def padded(x, before, behind):
    return F.pad(x, (0, 0, 0, 0, before, behind))


def differences(net, x):
    return net.image(net.a, x)[:, :, 1:] - x[:, :, :-1]


def causal(net, x):
    """Two residual blocks of convolutions that are padded on both sides, of which what is behind is cut off."""
    for layer in net.time:
        y = layer(x)
        x = net.image(net.a, x) + torch.relu(y[:, :, : x.shape[2]])
    return x


def up_again(net, x):
    x = x[:, :, :6]
    up = net.image(net.a, torch.relu(net.strided(x))).repeat_interleave(2, 2)
    return x + net.image(net.b, up)


FEATURES = {
    "differences, padded behind": lambda net, x: x + net.image(net.b, padded(differences(net, x), 0, 1)),
    "differences, padded before": lambda net, x: x + net.image(net.b, padded(differences(net, x), 1, 0)),
    "differences, padded at last": lambda net, x: x + padded(net.image(net.b, differences(net, x)), 0, 1),
    "differences beside channels": lambda net, x: torch.cat(
        [x[:, :2], padded(net.image(net.b, differences(net, x)), 1, 0)[:, 2:]], 1
    ),
    "differences of both directions": lambda net, x: (
        x
        + net.image(net.b, padded(differences(net, x), 0, 1))
        + net.image(net.c, padded(net.image(net.a, x)[:, :, :-1] - x[:, :, 1:], 1, 0))
    ),
    "differences beside the frames behind": lambda net, x: net.image(net.b, x[:, :, 1:]) + differences(net, x),
    "causal convolutions, cut": causal,
    "every second frame beside a strided convolution": lambda net, x: net.image(net.a, x[:, :, ::2]) + net.strided(x),
}


@pytest.mark.parametrize("clips", [1, 2])
@pytest.mark.parametrize("features", FEATURES)
def test_images_folded_into_the_batch_are_split_as_clips_are(features, clips):
    wanted = explained(lambda: Images(False, FEATURES[features]), CLIP[:clips])
    alike(explained(lambda: Images(True, FEATURES[features]), CLIP[:clips]), wanted)


@pytest.mark.parametrize("features", FEATURES)
def test_both_parts_add_up_and_nothing_is_dynamic_in_a_clip_that_stands_still(features):
    plain = explained(lambda: Images(True, FEATURES[features]), motion=False)
    found = explained(lambda: Images(True, FEATURES[features]))
    torch.testing.assert_close(found.static + found.dynamic, plain.relevance, **EXACT)
    torch.testing.assert_close(found.static_matrix + found.dynamic_matrix, plain.matrix, **EXACT)
    torch.testing.assert_close(sum(found.motion_by_layer.values()), found.motion, **EXACT)
    still = explained(lambda: Images(True, FEATURES[features]), CLIP[:, :, :1].expand_as(CLIP))
    assert still.dynamic.abs().max() <= 1e-12 * still.static.abs().max()


def one_by_one(layer, x):
    """A layer without bias that changes nothing, but for the order in which it stands."""
    return F.conv3d(x, torch.eye(4, dtype=x.dtype).reshape(4, 4, 1, 1, 1)) if layer else x


@pytest.mark.parametrize(
    "meet",
    [
        lambda own, x: own(x[:, :, 1:]) - 0.5 * own(x[:, :, :-1]),
        lambda own, x: own(padded(x[:, :, :6], 0, 1)) - 0.5 * own(padded(x[:, :, :6], 1, 0)),
        lambda own, x: own(padded(x[:, :, :-1], 1, 0)) - 0.5 * x,
    ],
    ids=["difference", "padded apart", "one frame later"],
)
def test_frames_meet_also_behind_layers_that_see_one_frame(meet):
    def made(layer):
        return Images(False, lambda net, x: meet(lambda y: one_by_one(layer, y), x))

    plain, behind = explained(lambda: made(False)), explained(lambda: made(True))
    torch.testing.assert_close(behind.dynamic, plain.dynamic, **EXACT)
    assert plain.motion.abs().min() > 1e-4


def test_one_frame_beside_all_is_refused_however_long_its_sequence_is():
    with pytest.raises(NoMotion, match=r"which frames 'add' \(add\) brings together: sequences of 4 and 7 frames"):
        explained(lambda: Images(False, lambda net, x: x + net.strided(x)[:, :, :1]))


def test_frames_that_are_repeated_stand_beside_others_unless_they_could_be_views_of_one_frame():
    wanted = explained(lambda: Images(False, lambda net, x: x[:, :, :6] + interpolated(net, x[:, :, :6])))
    alike(explained(lambda: Images(False, up_again)), wanted)
    with pytest.raises(NoMotion, match=r"which frames 'add' \(add\) brings together: sequences of 3 and 6 frames"):
        explained(lambda: Images(True, up_again))


def interpolated(net, x):
    up = F.interpolate(net.image(net.a, torch.relu(net.strided(x))), scale_factor=(2, 1, 1))
    return net.image(net.b, up)
