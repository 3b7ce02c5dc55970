"""What is given up for speed is given up on request alone: precision by name, and tolerance, which is booked."""

import os
import subprocess
import sys

import pytest
import torch
from torch import nn

import lrp3d
from lrp3d.compute import bands
from lrp3d.compute.bands import Band


@pytest.fixture(scope="module")
def explained():
    torch.manual_seed(0)
    model = lrp3d.models.tam_resnet(18, num_classes=6, frames=16, width=16).eval()
    clip = torch.rand(1, 3, 16, 48, 48)
    return model, clip, lrp3d.explain(model, clip, 0, input_range=(0.0, 1.0))


def test_on_a_cpu_lower_precision_changes_nothing(explained):
    model, clip, exact = explained
    high = lrp3d.explain(model, clip, 0, input_range=(0.0, 1.0), precision="high")
    torch.testing.assert_close(high.matrix, exact.matrix, rtol=0, atol=0)


def test_medium_precision_is_refused_with_what_to_use_instead(explained):
    model, clip, _ = explained
    with pytest.raises(
        ValueError, match=r'"medium" no longer exists: .* in bfloat16 .* use "highest", or "high" \(TF32, on a GPU\)'
    ):
        lrp3d.explain(model, clip, 0, precision="medium")


GPU_PRECISION = """
import os, sys
import torch
from lrp3d.compute.precision import _settings, matmul_precision
b = torch.backends
def flags():
    with b.cudnn.flags(enabled=False):
        return True
READ = {
    "products": lambda: b.cuda.matmul.allow_tf32, "convolutions": lambda: b.cudnn.allow_tf32,
    "all": torch.get_float32_matmul_precision, "flags": flags,
} | {
    f"{kind} {name}": lambda kind=kind, name=name: getattr(getattr(kind, name), "fp32_precision", None)
    for kind in (b.cudnn, b.cuda, b.mkldnn) for name in ("conv", "rnn", "matmul") if hasattr(kind, name)
}
def read(name):
    try:
        return READ[name]()
    except RuntimeError:
        return "not readable"
def state():
    return {name: read(name) for name in READ}
def rounded():
    return [getattr(holder, name) for holder, name, *_ in _settings(torch.device("cuda"))]
def check(before):
    exec(before)
    outside = state()
    for precision in ("highest", "high"):
        with matmul_precision(precision, torch.device("cuda")):
            print(precision, *{str(value) for value in rounded()}, end=" ")
            inside = state()
            if "not readable" not in outside.values():
                assert "not readable" not in inside.values(), inside
            assert precision == "high" or "tf32" not in inside.values(), inside
        assert state() == outside, (state(), outside)
    try:
        with matmul_precision("high", torch.device("cuda")):
            raise KeyError
    except KeyError:
        assert state() == outside
    print(flush=True)
for before in sys.argv[1:]:
    child = os.fork()  # torch forbids to set by the old names what was set by the new ones
    if not child:
        check(before)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0, before
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_gpu_rounds_as_asked_inside_and_as_before_outside():
    before = ["pass", "torch.backends.cuda.matmul.allow_tf32 = True", "torch.set_float32_matmul_precision('high')"]
    if hasattr(torch.backends.cudnn, "conv"):  # else torch has one switch for all convolutions
        before.append("torch.backends.cuda.matmul.fp32_precision = 'tf32'")
        before.append("torch.backends.cudnn.conv.fp32_precision = 'ieee'")
    ran = subprocess.run([sys.executable, "-c", GPU_PRECISION, *before], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    expected = ({"highest ieee high tf32"}, {"highest", "False", "high", "True"})
    assert [{line.strip()} in expected or set(line.split()) in expected for line in ran.stdout.splitlines()] == [
        True
    ] * len(before)


CPU_PRECISION = """
import sys
import torch
import lrp3d
from lrp3d.compute.precision import _settings
torch.manual_seed(0)
model = lrp3d.models.tam_resnet(18, num_classes=6, frames=8, width=32).eval()
clip = torch.rand(1, 3, 8, 64, 64)
def found():
    explanation = lrp3d.explain(model, clip, 0, input_range=(0.0, 1.0))
    interventions = lrp3d.intervention_matrix(model, clip, 0)
    return explanation.logits, explanation.matrix, lrp3d.frame_logits(model, clip), interventions
def state():
    return [getattr(holder, name) for holder, name, *_ in _settings(torch.device("cpu"))]
exact = found()
for setting in sys.argv[1:]:
    exec(setting)
    outside = state()
    assert all(one.equal(other) for one, other in zip(found(), exact, strict=True)), setting
    assert state() == outside, setting
"""


@pytest.mark.slow
def test_a_cpu_never_rounds_to_bfloat16_whatever_is_set():
    """Processors that multiply bfloat16 would; on others this cannot fail."""
    settings = ["torch.set_float32_matmul_precision('medium')"]
    if hasattr(torch.backends.mkldnn, "matmul"):  # else torch has one switch for products and convolutions
        settings += [f"torch.backends.mkldnn.{what}.fp32_precision = 'bf16'" for what in ("matmul", "conv")]
    ran = subprocess.run([sys.executable, "-c", CPU_PRECISION, *settings], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr


INHERITED = """
import torch
from lrp3d.compute.precision import matmul_precision

backends = torch.backends
backends.fp32_precision = "tf32"
with matmul_precision("highest", torch.device("cpu")):
    assert backends.mkldnn.matmul.fp32_precision == "ieee"
assert backends.mkldnn.matmul.fp32_precision == "tf32"
backends.fp32_precision = "ieee"
assert {backends.mkldnn.matmul.fp32_precision, backends.mkldnn.conv.fp32_precision} == {"ieee"}
"""


@pytest.mark.skipif(not hasattr(torch.backends, "fp32_precision"), reason="needs torch 2.9")
def test_a_setting_that_follows_that_of_the_process_goes_on_to_follow_it():
    ran = subprocess.run([sys.executable, "-c", INHERITED], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr


@pytest.mark.parametrize("tolerance", [1e-4, 1e-2])
def test_what_tolerance_drops_is_little_and_booked(explained, tolerance):
    model, clip, _ = explained
    options = {"input_range": (0.0, 1.0), "contrastive": False}
    whole = lrp3d.explain(model, clip, 0, **options)
    found = lrp3d.explain(model, clip, 0, tolerance=tolerance, **options)
    dropped = sum(entry.absorbed for entry in found.ledger) - sum(entry.absorbed for entry in whole.ledger)
    logit = float(found.logits[0, 0])
    assert float(found.relevance.sum()) + dropped == pytest.approx(float(whole.relevance.sum()), rel=1e-4)
    layers = sum(isinstance(layer, (nn.Conv3d, nn.Linear)) for layer in model.modules())
    assert abs(dropped) <= tolerance * layers * abs(logit)


def test_tolerance_drops_the_outermost_frames_of_what_is_there():
    r = torch.tensor([1e-6, 1e-6, -1.0, 2.0, 1e-6]).reshape(1, 1, 1, 5, 1, 1)
    assert bands.outermost_dropped(r, 1e-4) == Band(2, 2, 4)
    assert bands.outermost_dropped(r, 1e-9) is None
    assert bands.outermost_dropped(torch.cat([r, r.flip(3)]), 1e-4) == Band(2, 1, 4)  # no seed loses its own
    assert bands.outermost_dropped(torch.zeros(1, 1, 1, 5, 1, 1), 0.5) is None


def test_tolerance_counts_the_relevance_of_every_clip_by_itself():
    r = torch.tensor([1e-6, 1e-6, 1.0, 2.0, 1e-6]).reshape(1, 1, 1, 5, 1, 1)
    faint = 1e-6 * r.flip(3)
    assert bands.outermost_dropped(torch.cat([r, faint], 1), 1e-4) == Band(2, 1, 4)
    folded = torch.cat([r, faint], 1).transpose(2, 3).flatten(1, 2)  # (s, b t, c, h, w)
    assert bands.outermost_dropped(folded, 1e-4, clips=2) is None
    assert torch.equal(bands.outermost_zeroed(folded, 1e-4, clips=2), folded)
    assert bands.outermost_dropped(r.transpose(2, 3).flatten(1, 2), 1e-4) == Band(0, 2, 4)


@pytest.mark.parametrize("shape", [(2, 3, 4, 8, 8), (3, 3, 8, 8)], ids=["clips", "images"])
def test_no_clip_is_dropped_because_others_have_more_relevance(shape):
    torch.manual_seed(0)
    convolution = nn.Conv2d(3, 4, 3, padding=1)
    layers = [nn.Conv2d(4, 4, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)]
    image = nn.Sequential(convolution, nn.ReLU(), *layers)

    class Frames(nn.Module):
        def __init__(self):
            super().__init__()
            self.image = image

        def forward(self, clip):
            frames = clip.transpose(1, 2).flatten(0, 1)
            return self.image(frames).unflatten(0, (len(clip), -1)).mean(1)

    clips = torch.rand(shape) * torch.logspace(-5, 0, shape[0]).reshape(-1, *[1] * (len(shape) - 1))
    model = (Frames() if len(shape) == 5 else image).eval()
    options = {"target": 0, "contrastive": False, "input_range": (0.0, 1.0)}
    for part in (convolution, *layers):
        if isinstance(part, (nn.Conv2d, nn.Linear)):
            nn.init.zeros_(part.bias)  # so that faint clips have faint features
    exact, found = (lrp3d.explain(model, clips, tolerance=tolerance, **options) for tolerance in (0.0, 0.05))
    torch.testing.assert_close(found.relevance, exact.relevance)
