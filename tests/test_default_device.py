"""The device on which torch makes tensors by default is the user's, and has no part in an explanation."""

import ast
import subprocess
import sys
from pathlib import Path

import lrp3d

PACKAGE = Path(lrp3d.__file__).parent
FACTORIES = {"rand", "randn", "randperm", "randint", "arange", "tensor", "as_tensor", "zeros", "ones", "eye"}
FACTORIES |= {"linspace", "full", "empty"}

SCRIPT = """
import torch
import lrp3d

torch.manual_seed(0)
model = lrp3d.models.build("TAM2D-R18-f4", num_classes=5, width=4).eval()
clip = torch.rand(2, 3, 4, 32, 32)

def everything():
    torch.manual_seed(0)
    explanation = lrp3d.explain(model, clip, [0, 3], floor=True, layers=["features.layer2"], layer_rows=True)
    print(explanation)
    yield from (explanation.matrix, explanation.floor, explanation.excess.span, explanation.relevance)
    yield lrp3d.explain(model, clip, motion=True, input_range=([0.0] * 3, [1.0] * 3)).dynamic_matrix
    yield lrp3d.explain(model, clip, [0, 3], against=[1, 2], where={"features.layer3": [0, 1]}).matrix
    yield lrp3d.intervention_matrix(model, clip, 0)
    yield lrp3d.frame_logits(model, clip)
    yield from lrp3d.check(model, clip, [0, 3], shapley_values=True).values["shapley"].values()
    yield lrp3d.prototypes(model, clip, "features.layer2", 0).relevance
    yield lrp3d.sampling.uniform_indices(9, 4)
    planted = lrp3d.planted.Task("match", gap=2).clips(2)
    yield from (planted.clips, lrp3d.atr.mean_matrix(explanation.matrix), lrp3d.video.draw_clip(4, 16))
    lrp3d.inspect(model, clip)

expected = list(everything())
torch.set_default_device("meta")  # where nothing can be computed, as on a GPU nothing of the host can
for found, wanted in zip(everything(), expected, strict=True):
    assert found.device.type == "cpu"
    assert found.equal(wanted) or torch.allclose(found, wanted, equal_nan=True)
"""


def test_the_default_device_has_no_part_in_an_explanation():
    ran = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr


def test_every_tensor_that_is_made_says_where():
    silent = [
        f"{path.relative_to(PACKAGE)}:{node.lineno}"
        for path in sorted(PACKAGE.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and (node.func.value.id, node.func.attr in FACTORIES) == ("torch", True)
        and not any(keyword.arg in ("device", None) for keyword in node.keywords)
    ]
    assert silent == []
