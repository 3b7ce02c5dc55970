"""One call: what comes back, and the one sentence for what cannot be explained."""

import pytest
import torch
from torch import nn

import lrp3d


class Net(nn.Module):
    def __init__(self, channels=3, classes=5):
        super().__init__()
        self.conv, self.norm = nn.Conv3d(channels, 4, 3, padding=1), nn.BatchNorm3d(4)
        self.fc = nn.Linear(4, classes)

    def forward(self, x):
        return self.fc(self.norm(self.conv(x)).relu().mean((3, 4)).transpose(1, 2)).mean(1)


@pytest.fixture
def model():
    torch.manual_seed(0)
    return Net().eval()


CLIP = torch.randn(2, 3, 4, 6, 6, generator=torch.Generator().manual_seed(0))


def test_an_explanation_has_the_shapes_of_its_contract(model):
    explanation = lrp3d.explain(model, CLIP)
    shapes = {"logits": (2, 5), "relevance": (2, 3, 4, 6, 6), "matrix": (2, 4, 4)}
    shapes |= dict.fromkeys(["target", "avg_atr", "max_atr", "conservation"], (2,))
    shapes |= dict.fromkeys(["frame_relevance", "frame_logits", "atr"], (2, 4))
    assert {name: tuple(getattr(explanation, name).shape) for name in shapes} == shapes
    assert torch.equal(explanation.target, model(CLIP).argmax(1))
    assert (explanation.relevance >= 0).all()
    torch.testing.assert_close(explanation.frame_relevance, explanation.relevance.sum((1, 3, 4)))


@pytest.mark.parametrize("composite", lrp3d.composites.PRESETS)
def test_the_map_and_its_ledger_sum_to_the_logit(model, composite):
    explanation = lrp3d.explain(model.double(), CLIP.double(), 2, composite=composite, contrastive=False)
    total = explanation.relevance.sum() + explanation.ledger.absorbed
    torch.testing.assert_close(total, explanation.logits[:, 2].sum(), rtol=1e-9, atol=1e-9)
    assert "absorbed" in str(explanation.ledger)


def test_contrast_is_booked_where_it_happens(model):
    explanation = lrp3d.explain(model.double(), CLIP[:1].double(), 2)
    absorbed = {entry.layer: entry.absorbed for entry in explanation.ledger}
    assert abs(absorbed.pop("fc") - abs(explanation.logits[0, 2])) < 1e-12
    assert max(map(abs, absorbed.values())) < 1e-12


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("contrastive", [False, True])
def test_the_default_composite_conserves(model, dtype, contrastive):
    model.norm.running_mean.normal_()
    explanation = lrp3d.explain(model.to(dtype), CLIP.to(dtype), contrastive=contrastive)
    assert explanation.conservation.max() < {torch.float32: 1e-4, torch.float64: 1e-9}[dtype]


def test_targets_one_for_all_or_one_per_clip(model):
    both = lrp3d.explain(model, CLIP, [1, 3])
    assert both.target.tolist() == [1, 3]
    for i, target in enumerate([1, 3]):
        one = lrp3d.explain(model, CLIP, target)
        assert one.target.tolist() == [target, target]
        torch.testing.assert_close(one.relevance[i], both.relevance[i])
        torch.testing.assert_close(one.matrix[i], both.matrix[i])
    assert lrp3d.explain(model, CLIP, torch.tensor(4)).target.tolist() == [4, 4]


def test_images_and_features_have_no_time():
    images = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5)).eval()
    explanation = lrp3d.explain(images, torch.randn(2, 3, 8, 8))
    assert explanation.relevance.shape == (2, 3, 8, 8)
    assert explanation.matrix is None
    assert explanation.frame_relevance is None
    features = lrp3d.explain(nn.Linear(3, 2).eval(), torch.randn(2, 3))
    assert features.relevance.shape == (2, 3)


def test_a_batch_of_no_clips_is_explained_to_nothing(model):
    explanation = lrp3d.explain(model, CLIP[:0])
    assert explanation.relevance.shape == (0, 3, 4, 6, 6)
    assert explanation.matrix.shape == (0, 4, 4)


def test_the_range_of_valid_inputs_is_the_models_unless_given(model):
    clip = CLIP.clamp(-1, 1)
    by_clip = lrp3d.explain(model, clip).relevance
    given = lrp3d.explain(model, clip, input_range=(-2.0, 2.0)).relevance
    model.input_range = ((-2.0,) * 3, (2.0,) * 3)
    assert torch.equal(lrp3d.explain(model, clip).relevance, given)
    assert not torch.allclose(by_clip, given)
    with pytest.raises(ValueError, match="per channel"):
        lrp3d.explain(model, clip, input_range=((0.0, 0.0), (1.0, 1.0)))


@pytest.mark.parametrize("layout", ["btchw", "b (t c) h w", "(b t) c h w", "tbchw"])
def test_layouts_are_told_and_change_nothing_but_the_order_of_axes(model, layout):
    import einops

    pattern = layout if " " in layout else " ".join(layout)

    class Folded(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = model

        def forward(self, x):
            sizes = {"c": 3} if "(t c)" in layout else {"b": 2} if "(b t)" in layout else {}
            return self.inner(einops.rearrange(x, f"{pattern} -> b c t h w", **sizes))

    clip = einops.rearrange(CLIP, f"b c t h w -> {pattern}")
    range_ = (-4.0, 4.0)
    found = lrp3d.explain(Folded().eval(), clip, layout=layout, input_range=range_)
    expected = lrp3d.explain(model, CLIP, input_range=range_)
    torch.testing.assert_close(found.matrix, expected.matrix)
    torch.testing.assert_close(found.frame_relevance, expected.frame_relevance)
    torch.testing.assert_close(found.relevance, einops.rearrange(expected.relevance, f"b c t h w -> {pattern}"))


BAD = {
    "NaN": (lambda: (CLIP / 0 * 0,), {}, ValueError, "NaN"),
    "infinite": (lambda: (CLIP / 0,), {}, ValueError, "infinite"),
    "integer": (lambda: (CLIP.byte(),), {}, TypeError, "float"),
    "no tensor": (lambda: ("clip.mp4",), {}, TypeError, "Tensor"),
    "no clip axis": (lambda: (CLIP[0, 0, 0, 0],), {}, ValueError, "axes"),
    "six axes": (lambda: (CLIP[None],), {}, ValueError, "axes"),
    "no frames": (lambda: (CLIP[:, :, :0],), {}, ValueError, "empty"),
    "no values": (lambda: (CLIP.to("meta"),), {}, ValueError, "holds its values"),
    "sparse": (lambda: (CLIP.to_sparse(),), {}, ValueError, r"to_dense\(\)"),
    "one frame": (lambda: (CLIP[:, :, :1],), {}, ValueError, "2 frames"),
    "no pathways": (lambda: ([],), {}, ValueError, "pathways"),
    "uneven pathways": (lambda: ([CLIP, CLIP[:1]],), {}, ValueError, "same clips"),
    "target too large": (lambda: (CLIP, 5), {}, ValueError, "0 to 4"),
    "target negative": (lambda: (CLIP, -1), {}, ValueError, "0 to 4"),
    "target a fraction": (lambda: (CLIP, 1.5), {}, TypeError, "whole number"),
    "target a name": (lambda: (CLIP, "dancing"), {}, TypeError, "target"),
    "one target too many": (lambda: (CLIP, [0, 1, 2]), {}, ValueError, r"one per clip \(2\)"),
    "layout": (lambda: (CLIP,), {"layout": "bcthx"}, ValueError, "b c t h w"),
    "chunk": (lambda: (CLIP,), {"chunk_size": 0}, ValueError, "chunk_size"),
    "budget": (lambda: (CLIP,), {"memory_budget": -1}, ValueError, "memory_budget"),
    "tolerance": (lambda: (CLIP,), {"tolerance": 1.5}, ValueError, "tolerance"),
    "precision": (lambda: (CLIP,), {"precision": "low"}, ValueError, "precision"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_gets_one_clear_sentence(name, model):
    arguments, options, kind, word = BAD[name]
    with pytest.raises(kind, match=word) as caught:
        lrp3d.explain(model, *arguments(), **options)
    assert "\n" not in str(caught.value)


def test_a_clip_of_the_wrong_shape_says_what_the_model_was_given(model):
    with pytest.raises(ValueError, match=r"could not run.*\(2, 1, 4, 6, 6\)"):
        lrp3d.explain(model, CLIP[:, :1])


@pytest.mark.parametrize(
    "output",
    [
        lambda y: (y, y),
        lambda y: {"logits": y, "loss": y.sum()},
        lambda y: y[:, :0],
        lambda y: y[:, 0],
        lambda y: y / 0,
    ],
)
def test_what_is_no_logits_is_refused(output):
    class Wrong(Net):
        def forward(self, x):
            return output(super().forward(x))

    with pytest.raises(ValueError, match="logits"):
        lrp3d.explain(Wrong().eval(), CLIP)


def test_no_model_no_explanation():
    with pytest.raises(TypeError, match=r"nn\.Module"):
        lrp3d.explain(lambda x: x, CLIP)


@pytest.mark.parametrize("pathways", [False, True])
def test_an_explanation_is_saved_and_loaded_bit_for_bit(model, tmp_path, pathways):
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.slow, self.fast, self.fc = nn.Conv3d(3, 4, 1), nn.Conv3d(3, 2, 1), nn.Linear(6, 5)

        def forward(self, clips):
            pooled = [conv(x).relu().mean((2, 3, 4)) for conv, x in zip((self.slow, self.fast), clips, strict=True)]
            return self.fc(torch.cat(pooled, 1))

    explanation = lrp3d.explain(Two().eval(), [CLIP[:, :, ::2], CLIP]) if pathways else lrp3d.explain(model, CLIP)
    place = tmp_path / "a folder" / "that is missing" / "clip.safetensors"
    explanation.save(place)
    loaded = lrp3d.Explanation.load(place)
    for name, tensor in explanation._tensors():
        other = dict(loaded._tensors())[name]
        assert torch.equal(torch.nan_to_num(tensor), torch.nan_to_num(other)), name
        assert tensor.dtype == other.dtype
    assert loaded.ledger == explanation.ledger
    assert (loaded.contrastive, loaded.layout) == (explanation.contrastive, explanation.layout)
    assert list(place.parent.iterdir()) == [place]
    assert explanation.to(torch.float64).relevance[0].dtype == torch.float64
    assert explanation.to(torch.float64).target.dtype == torch.int64
    assert explanation.to("meta").to(torch.float64).target.device.type == "meta", "a type moves nothing"
    assert "matrix" in repr(loaded)


def test_other_files_are_no_explanations(tmp_path):
    import safetensors.torch

    (tmp_path / "text").write_text("no tensors")
    safetensors.torch.save_file({"a": torch.zeros(1)}, tmp_path / "weights")
    for name in ("text", "weights"):
        with pytest.raises(ValueError, match="no explanation"):
            lrp3d.Explanation.load(tmp_path / name)
    with pytest.raises(OSError):  # noqa: PT011  the system's own sentence
        lrp3d.Explanation.load(tmp_path / "missing")


def test_conservation_is_the_share_that_a_rule_lost():
    """A map and what was absorbed add up to the logit, and conservation is how much of the logit the map lacks."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv3d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(4, 5))
    clip = torch.randn(2, 3, 4, 6, 6, dtype=torch.float64)
    found = lrp3d.explain(model.double().eval(), clip, [1, 2], contrastive=False, composite="epsilon")
    logit = found.logits[torch.arange(2), [1, 2]]
    lost = (found.relevance.sum((1, 2, 3, 4)) - logit).abs() / logit.abs()
    assert (lost > 0.01).all()
    torch.testing.assert_close(found.conservation, lost)
