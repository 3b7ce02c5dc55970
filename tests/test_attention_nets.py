"""Networks of today's constructs: relevance is conserved, frames have exact logits, fast is plain."""

import attention_nets
import pytest
import torch
import torch.nn.functional as F
from attention_nets import NETS, build, clip_for
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

import lrp3d
from lrp3d.compute import kernels
from lrp3d.propagation.propagate import Start, propagate
from lrp3d.steps.graph import edge_of


@pytest.mark.parametrize("name", NETS)
def test_relevance_is_conserved_and_nothing_is_changed(name):
    for dtype, limit in ((torch.float64, 1e-9), (torch.float32, 1e-4)):
        model, clip = build(name, dtype), clip_for(dtype=dtype)
        state = {key: value.clone() for key, value in model.state_dict().items()}
        wanted = model(clip).detach()
        for contrastive in (True, False):
            explanation = lrp3d.explain(model, clip, temporal=False, contrastive=contrastive)
            assert explanation.conservation.max() < limit
            assert explanation.relevance.abs().max() > 0
            torch.testing.assert_close(explanation.logits, wanted, rtol=limit, atol=limit)
        assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
        assert not any(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize("name", NETS)
def test_fast_is_plain_and_a_walk_is_autograd(name):
    model, clip = build(name), clip_for(1)
    found = lrp3d.explain(model, clip, 2, temporal=False, contrastive=False)
    with kernels.plain():
        plain = lrp3d.explain(model, clip, 2, temporal=False, contrastive=False)
    torch.testing.assert_close(found.relevance, plain.relevance, rtol=1e-9, atol=1e-12)
    x = clip.clone().requires_grad_()
    seed = torch.zeros(1, attention_nets.CLASSES, dtype=clip.dtype)
    seed[0, 2] = found.logits[0, 2]
    by_autograd = torch.autograd.grad(lrp3d.convert(model)(x), x, seed)[0]
    torch.testing.assert_close(found.relevance, by_autograd, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", [name for name in NETS if name != "class token"])
def test_frames_have_exact_logits(name):
    """Their mean is the logit, and seeds that travel together are seeds that travel alone."""
    model, clip = build(name), clip_for()
    explanation = lrp3d.explain(model, clip, 1)
    torch.testing.assert_close(explanation.frame_logits.mean(1), explanation.logits[:, 1])
    torch.testing.assert_close(explanation.matrix.sum(2), explanation.frame_logits)
    alone = lrp3d.explain(model, clip, 1, chunk_size=1)
    torch.testing.assert_close(explanation.matrix, alone.matrix, rtol=1e-9, atol=1e-12)


def test_frame_logits_of_tokens_are_those_of_their_time_step():
    """VideoMAE's head, written out: the mean over the tokens of a frame, then the classifier."""
    model, clip = build("ViT"), clip_for()
    tokens = model.norm(model.blocks(attention_nets.tokens_of(model.embed(clip)) + model.position))
    wanted = model.fc(tokens.unflatten(1, (4, -1)).mean(2))[..., 3]
    torch.testing.assert_close(lrp3d.explain(model, clip, 3).frame_logits, wanted.detach())


def test_frame_logits_of_windows_are_those_of_their_time_step():
    model, clip = build("Video Swin"), clip_for()
    features = {}
    model.norm.register_forward_hook(lambda module, inputs, output: features.update(x=output))
    model(clip)
    wanted = model.fc(features["x"].mean((2, 3)))[..., 3]
    torch.testing.assert_close(lrp3d.explain(model, clip, 3).frame_logits, wanted.detach())


def test_tokens_are_found_however_many_there_are(monkeypatch):
    """Where each token stands is found for all at once from a number on; the answer is the same."""
    model, clip = build("ViT"), clip_for()
    one_by_one = lrp3d.explain(model, clip, 1)
    monkeypatch.setattr("lrp3d.propagation.time_axis.MANY", 1)
    at_once = lrp3d.explain(model, clip, 1)
    assert torch.equal(one_by_one.matrix, at_once.matrix)


@pytest.mark.parametrize(
    ("head", "reason"), [("class token", "a class token"), ("norm after the mean", "'norm' .* is not linear")]
)
def test_without_frame_logits_the_true_reason_is_given_and_frames_have_relevance(head, reason):
    torch.manual_seed(0)
    model, clip = attention_nets.VideoViT(head=head).double().eval(), clip_for()
    with pytest.raises(ValueError, match=reason):
        lrp3d.explain(model, clip)
    explanation = lrp3d.explain(model, clip, temporal=False)
    assert explanation.frame_relevance.shape == (2, 4)
    assert explanation.frame_relevance.min() > 0


def test_torchs_fast_path_is_not_taken_where_nothing_requires_grad():
    model, clip = build("torch's encoder"), clip_for()
    wanted = lrp3d.explain(model, clip, 1).matrix
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    torch.testing.assert_close(lrp3d.explain(model, clip, 1).matrix, wanted, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", ["ViT", "TANet", "EfficientViT"])
def test_relevance_does_not_flow_into_what_weighs(name):
    """Queries, keys and kernels are constants: their parameters change the map only through what they weigh with."""
    rows = lrp3d.inspect(build(name), clip_for(1))
    assert any("factor weighs" in row.rule for row in rows)
    assert not rows.problems


class DepthwiseKernel(nn.Module):
    """A kernel over time that every clip makes for each of its channels, applied in one convolution of groups (TAM)."""

    def __init__(self, frames=4):
        super().__init__()
        self.stem, self.kernel = nn.Conv3d(3, 4, (1, 3, 3), padding=(0, 1, 1)), nn.Linear(frames, 3)
        self.classifier = nn.Linear(4, 5)

    def forward(self, x):
        y = self.stem(x).relu()
        b, c, t, h, w = y.shape
        kernel = self.kernel(y.mean((3, 4))).softmax(-1).reshape(b * c, 1, 3, 1)
        y = nn.functional.conv2d(y.reshape(1, b * c, t, h * w), kernel, padding=(1, 0), groups=b * c)
        return self.classifier(y.reshape(b, c, t, h, w).mean((2, 3, 4)))


@pytest.mark.parametrize("composite", ["paper", "attnlrp"])
def test_a_kernel_for_every_channel_is_explained_by_every_composite(composite):
    torch.manual_seed(0)
    model = DepthwiseKernel().double().eval()
    model.classifier.bias.data.zero_()
    clip = torch.rand(2, 3, 4, 6, 6, dtype=torch.float64)
    together = lrp3d.explain(model, clip, 1, composite=composite)
    with kernels.plain():
        plain = lrp3d.explain(model, clip, 1, composite=composite)
    torch.testing.assert_close(together.relevance, plain.relevance, rtol=1e-9, atol=1e-12)
    assert composite == "attnlrp" or together.conservation.max() < 1e-9  # the former leaves relevance in biases


def test_attention_is_batched_and_relevance_of_a_clip_knows_no_other_clip():
    model, clip = build("ViT"), clip_for()
    together = lrp3d.explain(model, clip, 1, temporal=False).relevance
    options = {"temporal": False, "input_range": (clip.amin((0, 2, 3, 4)), clip.amax((0, 2, 3, 4)))}
    alone = torch.cat([lrp3d.explain(model, x[None], 1, **options).relevance for x in clip])
    given = lrp3d.explain(model, clip, 1, **options).relevance
    torch.testing.assert_close(given, alone, rtol=1e-9, atol=1e-12)
    assert together.shape == clip.shape


class _Largest(TorchDispatchMode):
    """How many values the largest tensor that is made has."""

    values = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for x in out if isinstance(out, (tuple, list)) else [out]:
            if isinstance(x, torch.Tensor):
                self.values = max(self.values, x.untyped_storage().nbytes() // x.element_size())
        return out


@pytest.mark.parametrize("by_hand", [True, False])
def test_no_attention_map_is_copied_for_a_seed(by_hand):
    seeds, tokens, width = 8, 64, 4

    class Attention(nn.Module):
        def forward(self, x):
            return (
                torch.einsum("bij,bjc->bic", (x @ x.mT).softmax(-1), x)
                if by_hand
                else F.scaled_dot_product_attention(x, x, x)
            )

    record = lrp3d.convert(nn.Sequential(nn.Linear(width, width), Attention()).eval()).record(
        (torch.rand(1, tokens, width),)
    )
    start = Start(edge_of(record.output), torch.rand(seeds, 1, tokens, width))
    with _Largest() as largest:
        propagate([start], [edge_of(x) for x in record.entries])
    assert largest.values <= max(tokens**2, seeds * tokens * width * 4)


def test_a_module_of_attention_written_with_its_options_is_what_torch_computes():
    """Masks, weights asked for, keys and values of other widths, a bias among keys: outputs equal, sums kept."""

    class Cross(nn.Module):
        def __init__(self, **options):
            super().__init__()
            self.attention = nn.MultiheadAttention(4, 2, **options)
            width = options.get("kdim") or 4
            self.keys, self.fc = nn.Linear(4, width), nn.Linear(4, 3)

        def forward(self, x):
            x = x.mean((3, 4)).permute(2, 0, 1)
            keys = self.keys(x)
            causal = torch.triu(torch.ones(len(x), len(x), dtype=torch.bool), 1)
            out, weights = self.attention(x, keys, keys, attn_mask=causal, need_weights=self.asked)
            assert (weights is not None) == self.asked
            return self.fc(out.mean(0))

    for options in ({}, {"kdim": 6, "vdim": 6}, {"add_bias_kv": True, "bias": False}, {"add_zero_attn": True}):
        for asked in (True, False):
            torch.manual_seed(0)
            model = Cross(**options).double().eval()
            model.asked = asked
            clip = torch.randn(2, 4, 4, 2, 2, dtype=torch.float64)
            explanation = lrp3d.explain(model, clip, 0, temporal=False, contrastive=False)
            torch.testing.assert_close(explanation.logits, model(clip).detach())
            assert explanation.conservation.max() < 1e-9


@pytest.mark.parametrize("side", [16, 64])
def test_tokens_in_another_order_are_found_by_an_index_however_many_there_are(side):
    class Shuffled(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.classify = nn.Conv3d(3, 8, (1, 8, 8), (1, 8, 8)), nn.Linear(8, 4)
            self.order = torch.randperm(8 * (side // 8) ** 2, generator=torch.Generator().manual_seed(0))

        def forward(self, x):
            tokens = self.embed(x).relu().flatten(2).transpose(1, 2)
            return self.classify(tokens[:, self.order].mean(1))

    clip = torch.randn(1, 3, 8, side, side, generator=torch.Generator().manual_seed(1))
    matrix = lrp3d.explain(Shuffled().eval(), clip, 0).matrix[0]
    assert matrix.diagonal().ne(0).all()
    assert torch.equal(matrix, matrix.diagonal().diag())
