"""Streams, computed reads, distances, recurrence: conserved, exact by frame, fast as plain, and left as they were."""

import copy

import pytest
import torch
from benchmarks.public import constructs

import lrp3d
from lrp3d.compute import kernels

NETS = [name for name in constructs.NETWORKS if name != "draws_frames"]
ROWS = [name for name in NETS if name != "lstm_last_step"]


def build(name, dtype=torch.float64):
    torch.manual_seed(0)
    net = constructs.NETWORKS[name]().to(dtype).eval()
    return net, torch.rand(1, 3, 4, 8, 8, dtype=dtype)


@pytest.fixture(autouse=True)
def _plain_tensors_are_float64():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("name", NETS)
def test_relevance_is_conserved_outputs_are_equal_and_the_model_stays(name):
    model, clip = build(name)
    wanted = copy.deepcopy(model)(clip).detach()
    state = copy.deepcopy(model.__dict__ | {n: dict(m.__dict__) for n, m in model.named_modules()}).keys()
    for contrastive in (True, False):
        found = lrp3d.explain(model, clip, temporal=False, contrastive=contrastive)
        assert found.conservation.max() < 1e-9
        assert found.relevance.abs().max() > 0
        torch.testing.assert_close(found.logits, wanted)
    assert (model.__dict__ | {n: 0 for n, _ in model.named_modules()}).keys() == state
    for module in model.modules():  # streams have kept nothing
        assert getattr(module, "kept", None) is None
        assert isinstance(getattr(module, "total", 0.0), float)
    with kernels.plain():
        plain = lrp3d.explain(model, clip, temporal=False, contrastive=False)
    torch.testing.assert_close(found.relevance, plain.relevance, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", ROWS)
def test_rows_are_the_logits_of_frames(name):
    model, clip = build(name)
    found = lrp3d.explain(model, clip, 1)
    torch.testing.assert_close(found.frame_logits.mean(1), found.logits[:, 1])
    torch.testing.assert_close(found.matrix.sum(2), found.frame_logits)


@pytest.mark.parametrize("name", ["stream_buffer", "stream_cumulative_pool", "convlstm", "lstm_every_step"])
def test_a_causal_network_has_nothing_of_later_frames(name):
    model, clip = build(name)
    matrix = lrp3d.explain(model, clip, 1, contrastive=False).matrix
    assert matrix.triu(1).abs().max() == 0
    assert (matrix.abs().tril(-1) > 0).any() or name == "stream_cumulative_pool"  # there earlier frames only weigh


@pytest.mark.parametrize("name", ["stream_buffer", "stream_cumulative_pool"])
def test_what_a_stream_has_kept_is_constant_and_stays(name):
    """A second part of a video: what the first left in the buffers is no part of this clip."""
    model, clip = build(name)
    model(torch.rand(1, 3, 4, 8, 8)).detach()
    before = {n: getattr(m, a) for n, m in model.named_modules() for a in ("kept", "total") if hasattr(m, a)}
    kept = {n: x.clone() for n, x in before.items()}
    wanted = copy.deepcopy(model)(clip).detach()
    found = lrp3d.explain(model, clip, contrastive=False, temporal=False)
    torch.testing.assert_close(found.logits, wanted)
    assert found.conservation.max() < 1e-9
    for n, m in model.named_modules():
        for a in ("kept", "total"):
            if hasattr(m, a):
                assert getattr(m, a) is before[n]
                assert torch.equal(before[n], kept[n])


def test_frames_that_are_drawn_are_noticed_and_a_seed_makes_them_the_same():
    model, clip = build("draws_frames")
    with pytest.raises(lrp3d.UnsupportedOperation, match="differ"):
        lrp3d.explain(model, clip)
    found, again = (lrp3d.explain(model, clip, seed=3, contrastive=False) for _ in range(2))
    assert torch.equal(found.relevance, again.relevance)
    assert found.conservation.max() < 1e-9
    assert "seed" in str(found.about)


def test_without_bias_the_epsilon_rule_is_gradient_times_input():
    model, clip = build("without_bias")
    found = lrp3d.explain(model, clip, 2, composite="epsilon", contrastive=False, temporal=False)
    x = clip.clone().requires_grad_()
    gradient = torch.autograd.grad(model(x)[0, 2], x)[0]
    torch.testing.assert_close(found.relevance, gradient * clip, rtol=1e-6, atol=1e-9)
