"""Relevance inside: exact at every layer, and channels add up to the layer."""

import gc

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_motion import CLIP, Deep
from torch import nn

import lrp3d
from lrp3d.steps.step import Step

EXACT = {"rtol": 1e-9, "atol": 1e-11}
LAYERS = ["first", "norm", "pool", "second"]


def deep(**options):
    return Deep(**options).double().eval()


def plain_relevance(model, clip, target, of):
    """By autograd through the twin, at the tensor that a hook sees."""
    seen = {}
    twin = lrp3d.convert(model)
    getattr(twin.model, of).register_forward_hook(lambda module, inputs, output: seen.update(x=output))
    x = clip.clone().requires_grad_()
    logits = twin(x)
    seed = torch.zeros_like(logits)
    seed[:, target] = logits.detach()[:, target]
    return torch.autograd.grad(logits, seen["x"], seed)[0]


@settings(max_examples=4, deadline=None)
@given(seed=st.integers(0, 99), averages=st.booleans(), chunk=st.integers(1, 7), temporal=st.booleans())
def test_relevance_at_a_layer_is_what_plain_autograd_carries_there_and_sums_to_the_logit(
    seed, averages, chunk, temporal
):
    model = deep(seed=seed, averages=averages)
    found = lrp3d.explain(model, CLIP, 1, contrastive=False, layers=LAYERS, chunk_size=chunk, temporal=temporal)
    assert list(found.layers) == LAYERS
    for name in LAYERS:
        torch.testing.assert_close(found.layers[name], plain_relevance(model, CLIP, 1, name), **EXACT)
        if name != "second":  # which the residual flows around
            torch.testing.assert_close(found.layers[name].flatten(1).sum(1), found.logits[:, 1], **EXACT)


@pytest.mark.parametrize("averages", [True, False])
@pytest.mark.parametrize("contrastive", [True, False])
def test_nothing_else_changes_where_layers_are_asked_for(averages, contrastive):
    model = deep(averages=averages)
    plain, found = (lrp3d.explain(model, CLIP, contrastive=contrastive, layers=names) for names in ([], ["*"]))
    for name in ("relevance", "matrix", "atr", "frame_logits", "conservation"):
        torch.testing.assert_close(getattr(found, name), getattr(plain, name), **EXACT, equal_nan=True)
    assert plain.layers == {}
    assert set(found.layers) == {*LAYERS, "fc"}
    if contrastive:
        assert found.layers["pool"].flatten(1).sum(1).abs().max() < 1e-9


class TwoRates(nn.Module):
    """A slow and a fast pathway with a head of their own each; no frame but every third is one of the slow pathway."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.slow, self.fast = (nn.Sequential(nn.Conv3d(3, 4, 1), nn.ReLU(), nn.AdaptiveAvgPool3d(1)) for _ in range(2))
        self.heads = nn.ModuleList(nn.Sequential(nn.Flatten(), nn.Linear(4, 5)) for _ in range(2))
        self.double().eval()

    def forward(self, x):
        return self.heads[0](self.slow(x[:, :, ::3])) + self.heads[1](self.fast(x))


def test_a_layer_that_sees_nothing_of_some_frames_changes_nothing_either():
    plain, found = (lrp3d.explain(TwoRates(), CLIP, 0, contrastive=False, layers=names) for names in ([], ["*"]))
    torch.testing.assert_close(found.matrix, plain.matrix, **EXACT)
    logits = sum(found.layers[f"heads.{i}.1"].sum(1) for i in range(2))
    torch.testing.assert_close(logits, found.logits[:, 0], **EXACT)


@pytest.mark.parametrize("averages", [True, False])
def test_rows_at_a_layer_sum_to_their_frame_logits_and_on_average_to_the_layer(averages):
    found = lrp3d.explain(
        deep(averages=averages), CLIP, contrastive=False, layers=["pool"], layer_rows=True, chunk_size=4
    )
    rows = found.layer_rows["pool"]
    assert rows.shape == (2, 6, 4, 6, 2, 2)
    torch.testing.assert_close(rows.flatten(2).sum(2), found.frame_logits, **EXACT)
    if averages:
        torch.testing.assert_close(rows.mean(1), found.layers["pool"], **EXACT)


@settings(max_examples=4, deadline=None)
@given(
    seed=st.integers(0, 99),
    averages=st.booleans(),
    contrastive=st.booleans(),
    chunk=st.integers(1, 7),
    part=st.sets(st.integers(0, 3), min_size=1, max_size=3),
)
def test_channels_of_a_layer_add_up_to_it(seed, averages, contrastive, chunk, part):
    model = deep(seed=seed, averages=averages)
    twin = lrp3d.convert(model)
    whole = lrp3d.explain(twin, CLIP, contrastive=contrastive)
    options = {"contrastive": contrastive, "chunk_size": chunk, "layers": ["first"]}
    pieces = [
        lrp3d.explain(twin, CLIP, where={"pool": sorted(channels)}, **options)
        for channels in (part, {0, 1, 2, 3} - part, {0, 1, 2, 3})
    ]
    for name in ("relevance", "matrix", "frame_relevance"):
        one, other, every = (getattr(piece, name) for piece in pieces)
        torch.testing.assert_close(one + other, getattr(whole, name), **EXACT)
        torch.testing.assert_close(every, getattr(whole, name), **EXACT)
    torch.testing.assert_close(pieces[0].conservation, whole.conservation, rtol=0, atol=1e-12)
    summed = pieces[0].layers["first"] + pieces[1].layers["first"]
    torch.testing.assert_close(summed, pieces[2].layers["first"], **EXACT)


def test_only_channels_that_are_named_have_relevance_at_their_layer():
    found = lrp3d.explain(deep(), CLIP, contrastive=False, where={"pool": [2]}, layers=["pool", "norm"])
    assert found.where == {"pool": [2]}
    assert found.channels("pool").count_nonzero(1).tolist() == [1, 1]
    torch.testing.assert_close(found.channels("pool").sum(1), found.relevance.flatten(1).sum(1), **EXACT)
    # batch norm and relu keep channels apart: the layer below has the same alone
    torch.testing.assert_close(found.channels("norm"), found.channels("pool"), **EXACT)


def test_what_flows_around_a_layer_is_not_counted_there():
    """Of a residual sum, the branch and the rest are parts of the whole."""
    model = deep()
    whole = lrp3d.explain(model, CLIP, contrastive=False, layers=["second"])
    branch = lrp3d.explain(model, CLIP, contrastive=False, where={"second": range(4)})
    torch.testing.assert_close(branch.relevance.flatten(1).sum(1), whole.layers["second"].flatten(1).sum(1), **EXACT)
    assert (branch.relevance.flatten(1).sum(1) < 0.99 * whole.relevance.flatten(1).sum(1).abs()).all()


def test_of_two_layers_what_flows_through_both_is_followed():
    twin = lrp3d.convert(deep())
    pairs = [
        lrp3d.explain(twin, CLIP, contrastive=False, where={"first": [i], "pool": [j]}).relevance
        for i in range(4)
        for j in range(4)
        if i == j
    ]
    whole = lrp3d.explain(twin, CLIP, contrastive=False).relevance
    torch.testing.assert_close(sum(pairs), whole, **EXACT)  # channels stay apart between them
    crossed = lrp3d.explain(twin, CLIP, contrastive=False, where={"pool": [0], "first": [1]}).relevance
    assert crossed.abs().max() == 0


def test_it_works_in_batches_on_folded_frames_and_with_motion():
    model = lrp3d.models.tsn_resnet(18, num_classes=4, width=4).double().eval()
    clip = torch.rand(2, 3, 4, 32, 32, dtype=torch.float64)
    both = lrp3d.explain(lrp3d.convert(model), clip, contrastive=False, layers=["*layer2"], layer_rows=True)
    (name,) = both.layers
    assert both.layers[name].shape[:3] == (2, 8, 4)
    alone = lrp3d.explain(model, clip[1:], contrastive=False, layers=[name], layer_rows=True)
    torch.testing.assert_close(alone.layers[name][0], both.layers[name][1], **EXACT)
    torch.testing.assert_close(alone.layer_rows[name][0], both.layer_rows[name][1], **EXACT)
    plain = lrp3d.explain(deep(), CLIP, layers=LAYERS, layer_rows=True)
    split = lrp3d.explain(deep(), CLIP, layers=LAYERS, layer_rows=True, motion=True)
    for layer in LAYERS:
        torch.testing.assert_close(split.layers[layer], plain.layers[layer], **EXACT)
        torch.testing.assert_close(split.layer_rows[layer], plain.layer_rows[layer], **EXACT)


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.pair, self.fc = nn.Conv3d(3, 3, 1), Pair(), nn.Linear(3, 2)
        self.left, self.right = nn.Conv3d(3, 3, 1), nn.Conv3d(3, 3, 1)
        self.unused = nn.Conv3d(3, 3, 1)

    def forward(self, x):
        x, _ = self.pair(self.conv(self.conv(x)))
        return self.fc((self.left(x) + self.right(x)).mean((2, 3, 4)))


class Pair(nn.Module):
    def forward(self, x):
        return x, x


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"layers": ["nowhere"]}, r"'nowhere' fits no module that ran"),
        ({"where": {"nowhere": [0]}}, r"^'nowhere' fits no module that ran"),
        ({"layers": ["unused"]}, "'unused' is a module that does not run in this forward"),
        ({"layers": ["unusual"]}, "'unusual' fits no module that ran; lrp3d.inspect"),
        ({"layers": ["conv"]}, "'conv' runs several times in one forward"),
        ({"layers": ["pair"]}, "'pair' returns a tuple with 2 tensors, not one tensor: name modules inside of it"),
        ({"layers": ["con*"]}, "'con\\*' fits no module whose relevance can be kept: 'conv' runs several times"),
        ({"layers": ["[cp]*"]}, r"'\[cp\]\*' fits no module whose relevance can be kept: 'conv' runs several times"),
        ({"layers": ["*", "conv"]}, "'conv' runs several times in one forward"),
        ({"layers": 3}, "layers= takes the names of modules"),
        ({"where": {"left": [3]}}, r"the output of 'left', \(2, 3, 6, 5, 5\), has channels from 0 to 2 on axis 1"),
        ({"where": {"left": []}}, "takes numbers of channels from 0 on"),
        ({"where": {"left": None}}, r"takes numbers of channels from 0 on, got None"),
        ({"where": {"left": "3"}}, r"takes numbers of channels from 0 on, got '3'"),
        ({"where": {"left": torch.tensor([True, False, True])}}, r"got a mask: give mask\.nonzero\(\)"),
        ({"where": {"left": [True, False, True]}}, r"got a mask"),
        ({"where": ["left"]}, "where= takes channels by module"),
        ({"constants": 3}, "constants= takes the names of modules"),
        ({"where": {"left": 0, "right": 0}}, "no relevance flows through both 'left' and 'right'"),
        ({"where": {"fc": 0}}, "no relevance flows through 'fc'"),
        ({"where": {"left": 0}, "floor": True}, "leave out where="),
        ({"layer_rows": True}, "it needs layers="),
        ({"layers": ["fc"], "layer_rows": True}, "no row's relevance flows through 'fc'"),
    ],
)
def test_what_cannot_be_had_is_said_in_a_sentence(options, said):
    with pytest.raises((ValueError, TypeError), match=said):
        lrp3d.explain(Twice().double().eval(), CLIP, **options)


@pytest.mark.filterwarnings("error")
def test_a_pattern_leaves_out_modules_without_a_single_output_and_says_which():
    model = Twice().double().eval()
    with pytest.warns(UserWarning, match="is kept without conv and pair, which the patterns of layers= fit") as said:
        found = lrp3d.explain(model, CLIP, layers=["*"])
    assert [warning.filename for warning in said] == [__file__]
    assert list(found.layers) == ["left", "right", "fc"]
    assert found.about["layers"].startswith("without conv and pair, which")
    named = lrp3d.explain(model, CLIP, layers=["left", "right"])
    assert "layers" not in named.about
    for name, relevance in named.layers.items():
        torch.testing.assert_close(found.layers[name], relevance, **EXACT)
    torch.testing.assert_close(found.relevance, named.relevance, **EXACT)


def test_it_is_saved_moved_and_said(tmp_path):
    found = lrp3d.explain(deep(), CLIP, layers=["pool"], layer_rows=True, where={"pool": [1, 2]})
    found.save(tmp_path / "one.safetensors")
    again = lrp3d.Explanation.load(tmp_path / "one.safetensors")
    assert again.where == {"pool": [1, 2]}
    assert again.layers["pool"].equal(found.layers["pool"])
    assert again.layer_rows["pool"].equal(found.layer_rows["pool"])
    assert again.to(torch.float32).layers["pool"].dtype == torch.float32
    assert "only through  channels 1, 2 of pool" in repr(again)
    assert "layer         pool (2, 4, 6, 2, 2)" in repr(again)
    with pytest.raises(KeyError, match="there are pool"):
        found.channels("fc")


def test_layers_have_the_same_order_when_they_are_read_again(tmp_path):
    model = deep()
    names = [name for name, module in model.named_modules() if not list(module.children())]
    for layers in (names, names[::-1]):
        found = lrp3d.explain(model, CLIP, layers=layers, temporal=False)
        found.save(tmp_path / "one.safetensors")
        assert list(lrp3d.Explanation.load(tmp_path / "one.safetensors").layers) == list(found.layers)


def test_prototypes_are_the_clips_with_most_relevance_in_a_channel():
    model = deep()
    clips = torch.rand(5, 3, 6, 5, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    found = lrp3d.prototypes(model, iter(clips), "pool", [3, 1], targets=[0, 1, 2, 0, 1], top=2, batch_size=2)
    by_clip = [
        lrp3d.explain(model, clip[None], target, temporal=False, layers=["pool"]).channels("pool")[0]
        for clip, target in zip(clips, [0, 1, 2, 0, 1], strict=True)
    ]
    shares = torch.stack([r / r.clamp(min=0).sum() for r in by_clip])
    torch.testing.assert_close(found.of_clips, shares[:, [3, 1]], **EXACT)
    assert found.clips.tolist() == shares[:, [3, 1]].argsort(0, descending=True)[:2].T.tolist()
    assert "channel 3" in str(found)
    batches = lrp3d.prototypes(model, [clips[:2], clips[2], clips[3:]], "pool", [3, 1], targets=[0, 1, 2, 0, 1], top=2)
    torch.testing.assert_close(batches.of_clips, found.of_clips, **EXACT)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"layer": "pool", "channel": 4}, "'pool' has 4 channels, from 0 to 3"),
        ({"layer": "*o*"}, "fits 3 modules"),
        ({"layer": "pool", "targets": [0]}, "more clips than targets"),
        ({"layer": "pool", "top": 0}, "top must be a whole number of at least 1, got 0"),
        ({"layer": "pool", "top": 1.5}, "top must be a whole number of at least 1, got 1.5"),
        ({"layer": "pool", "batch_size": True}, "batch_size must be a whole number of at least 1, got True"),
        ({"layer": "pool", "channel": True}, "'pool' has 4 channels.*got channel=True"),
        ({"layer": "pool", "channel": 1.0}, "'pool' has 4 channels.*got channel=1.0"),
        ({"layer": "pool", "targets": [1.7, 0.0]}, "target must be a class index .a whole number., got torch.float32"),
        ({"layer": "pool", "targets": iter([1.7, 0.0])}, "target must be a class index .a whole number."),
        (
            {"layer": "pool", "targets": [1, None]},
            r"target must be a class, one class per clip, or None, got \[1, None\]",
        ),
        ({"layer": "pool", "clips": CLIP.numpy()}, r"clip must be a torch.Tensor .*got ndarray: pass torch.from_numpy"),
    ],
)
def test_prototypes_that_cannot_be_had_are_refused_in_a_sentence(options, said):
    with pytest.raises((ValueError, TypeError), match=said):
        lrp3d.prototypes(deep(), **{"clips": CLIP, **options})
    with pytest.raises(ValueError, match="there are no clips"):
        lrp3d.prototypes(deep(), [], "pool")
    with pytest.raises(ValueError, match=r"more targets \(5\) than clips \(3\): give one for each clip"):
        lrp3d.prototypes(deep(), CLIP[:1].expand(3, -1, -1, -1, -1), "pool", targets=[0, 1, 2, 0, 1])


class OfOneSign(nn.Module):
    """Its logits are a positive number, and that number negated, of channels of which the last weighs most."""

    def __init__(self):
        super().__init__()
        self.body, self.fc = nn.Conv3d(3, 4, 1, bias=False), nn.Linear(4, 2, bias=False)
        with torch.no_grad():
            self.body.weight.copy_(torch.tensor([1.0, 2.0, 3.0, 4.0])[:, None].expand(4, 3).reshape(4, 3, 1, 1, 1))
            self.fc.weight.copy_(torch.tensor([[1.0], [-1.0]]).expand(2, 4))

    def forward(self, x):
        return self.fc(self.body(x).relu().mean((2, 3, 4)))


def test_what_carries_a_negative_logit_has_the_share_of_what_carries_the_same_logit_above_zero():
    clips = torch.rand(3, 3, 4, 5, 5, generator=torch.Generator().manual_seed(0))
    model = lrp3d.convert(
        OfOneSign().eval(), "epsilon"
    )  # the paper's rule for classifiers passes positive weights only
    shares = torch.tensor([0.1, 0.2, 0.3, 0.4]).expand(3, 4)
    for target in (0, 1):
        found = lrp3d.prototypes(model, clips, "body", targets=target, contrastive=False)
        torch.testing.assert_close(found.of_clips, shares)
        assert found.left_out == []


@pytest.mark.filterwarnings("ignore:.*no relevance")
@pytest.mark.parametrize("contrastive", [False, True])
def test_a_clip_without_relevance_is_no_prototype_and_named(contrastive):
    model, clips = OfOneSign().eval(), torch.rand(3, 3, 4, 5, 5, generator=torch.Generator().manual_seed(0))
    clips[1] = -1.0  # every channel is zero behind the ReLU
    found = lrp3d.prototypes(model, clips, "body", targets=0, contrastive=contrastive, input_range=(-1.0, 1.0))
    assert found.of_clips.isnan().all(1).tolist() == [False, True, False]
    assert [sorted(row) for row in found.clips.tolist()] == [[0, 2]] * 4
    assert found.relevance.isfinite().all()
    assert found.left_out == [1]
    assert "left out, as no relevance reaches the layer: 1" in str(found)
    with pytest.raises(ValueError, match="no relevance of any clip reaches 'body'"):
        lrp3d.prototypes(model, clips[1:2], "body", targets=0, contrastive=contrastive, input_range=(-1.0, 1.0))


def test_one_target_of_prototypes_may_be_a_tensor():
    by_tensor, by_number = (lrp3d.prototypes(deep(), CLIP, "pool", targets=k) for k in (torch.tensor(2), 2))
    assert by_tensor.of_clips.equal(by_number.of_clips)


@pytest.mark.parametrize(
    "how", [{"layers": ["*"]}, {"where": {"first": [0]}}, {"layers": ["pool"], "layer_rows": True}]
)
def test_no_step_outlives_its_run_where_layers_are_asked_for(how):
    lrp3d.explain(deep(), CLIP, 1, **how)
    gc.collect()
    assert not [x for x in gc.get_objects() if isinstance(x, Step)]


def test_a_pattern_leaves_out_rows_that_no_relevance_flows_to():
    class Gated(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.gate, self.fc = nn.Conv3d(3, 4, 3, padding=1), nn.Conv3d(4, 4, 1), nn.Linear(4, 5)

        def forward(self, x):
            x = self.conv(x).relu()
            return self.fc((x * self.gate(x).sigmoid()).mean((2, 3, 4)))

    model, clip = Gated().eval(), torch.rand(1, 3, 4, 6, 6)
    found = lrp3d.explain(model, clip, 0, contrastive=False, layers=["*"], layer_rows=True)
    assert "conv" in found.layer_rows
    assert "gate" not in found.layer_rows
    assert "without rows for gate" in found.about["layers"]
    with pytest.raises(ValueError, match="no row's relevance flows through 'gate'"):
        lrp3d.explain(model, clip, 0, contrastive=False, layers=["gate"], layer_rows=True)


class Written(nn.Module):
    """Returns a buffer that it fills part by part."""

    def forward(self, x):
        out = torch.zeros_like(x)
        out[:, :1], out[:, 1:] = 2 * x[:, :1], x[:, 1:]
        return out


class WithOutputsFirst(nn.Module):
    """A layer of torch's that returns its output, and beside it states or weights."""

    def __init__(self, layer):
        super().__init__()
        self.written, self.layer, self.fc = Written(), layer, nn.Linear(4, 2)

    def forward(self, x):
        tokens = self.written(x).mean((3, 4)).transpose(1, 2)
        attends = isinstance(self.layer, nn.MultiheadAttention)
        return self.fc((self.layer(tokens, tokens, tokens) if attends else self.layer(tokens))[0].mean(1))


@pytest.mark.parametrize("kind", ["lstm", "gru", "attention"])
def test_outputs_that_were_written_or_come_first_of_several_have_relevance(kind):
    torch.manual_seed(0)
    layers = {"lstm": nn.LSTM(4, 4, batch_first=True), "gru": nn.GRU(4, 4, batch_first=True)}
    layer = layers[kind] if kind in layers else nn.MultiheadAttention(4, 2, batch_first=True)
    model, clip = WithOutputsFirst(layer).double().eval(), torch.rand(2, 4, 3, 2, 2, dtype=torch.float64)
    found = lrp3d.explain(model, clip, contrastive=False, temporal=False, layers=["written", "layer"])
    logit = found.logits.gather(1, found.target[:, None]).squeeze(1)
    assert found.layers["layer"].shape == (2, 3, 4)
    torch.testing.assert_close(found.layers["layer"].sum((1, 2)), logit)
    torch.testing.assert_close(found.layers["written"].sum((1, 3, 4)), found.frame_relevance)
