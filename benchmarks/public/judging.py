"""One network: explained, or refused because of what, or wrong; and what captum and zennit do with it."""

from __future__ import annotations

import copy
import random
import time
from typing import Any

import numpy as np
import torch
from lrp3d.integrations.wrappers import PerFrame
from torch import Tensor, nn

import lrp3d
from benchmarks.public.sources import build

TOLERANCE = 1e-4
SEED = 0
"""Of networks that draw random numbers in their forward."""


def judge(name: str) -> dict[str, str]:
    """A row of the table."""
    model, clip = build(name)
    start = time.perf_counter()
    row = {"network": name, "clip": "x".join(map(str, clip.shape[2:])), **_explained(model, clip)}
    row["seconds"] = f"{time.perf_counter() - start:.1f}"
    row["captum"], row["zennit"] = _outcome(_captum, model, clip), _outcome(_zennit, model, clip)
    return row


def _explained(model: nn.Module, clip: Tensor) -> dict[str, str]:
    torch.manual_seed(SEED), random.seed(SEED), np.random.seed(SEED)
    with torch.no_grad():  # a copy: a stream that keeps something would be another at the next call
        returned = copy.deepcopy(model)(clip)
    temporal = "yes"
    try:
        try:
            plain = lrp3d.explain(model, clip, contrastive=False, seed=SEED)
        except lrp3d.NoFrameLogits as error:
            temporal = f"no: {error.reason.partition(': ')[0]}"
            plain = lrp3d.explain(model, clip, contrastive=False, temporal=False, seed=SEED)
        contrastive = lrp3d.explain(model, clip, temporal=False, seed=SEED)
    except lrp3d.UnsupportedOperation as error:
        return {"verdict": "refused", "matrix": "", "because": _reasons(error), "conservation": ""}
    wrong = _wrong(model, clip, returned, plain, contrastive)
    return {
        "verdict": "wrong" if wrong else "works",
        "matrix": temporal,
        "because": "; ".join(wrong + list(plain.about.values())),
        "conservation": f"{float(plain.conservation.max()):.1e}",
    }


def _reasons(error: lrp3d.UnsupportedOperation) -> str:
    """Each refused operation once, and why."""
    found = (line.partition(" (")[2].replace(")", "", 1) or line for line in error.operations)
    return "; ".join(dict.fromkeys(found))


def _wrong(model: nn.Module, clip: Tensor, returned: Tensor, plain: Any, contrastive: Any) -> list[str]:
    wrong = []
    scale = float(returned.abs().max())
    if "logits" not in plain.about and not torch.allclose(plain.logits, returned, rtol=0, atol=1e-3 * scale):
        wrong.append("outputs differ")
    if not float(plain.conservation.max()) < TOLERANCE:
        wrong.append("relevance is not conserved")
    if not bool((contrastive.relevance >= 0).all()):
        wrong.append("contrastive relevance is negative")
    if plain.frame_logits is not None:
        if not _average_to_the_logit(model, clip, plain, scale):
            wrong.append("frame logits do not average to the logit")
        if not torch.allclose(plain.matrix.sum(2), plain.frame_logits, rtol=1e-3, atol=1e-3 * scale):
            wrong.append("rows are not frame logits")
        if isinstance(model, PerFrame) and not _per_frame(model, clip, plain, scale):
            wrong.append("frame logits are not those of the frames")
    return wrong


def _average_to_the_logit(model: nn.Module, clip: Tensor, plain: Any, scale: float) -> bool:
    """The mean of the frame logits is the logit; of pathways of several rates, where they are merged so (App. A)."""
    logit = plain.logits.gather(1, plain.target[:, None]).squeeze(1)

    def averages(logits: Tensor) -> bool:
        return torch.allclose(logits.mean(1), logit, rtol=1e-3, atol=1e-3 * scale)

    if averages(plain.frame_logits):
        return True
    # The paper adds slow logits to the fast ones as they are, so that the mean is another.
    merged = lrp3d.explain(model, clip, contrastive=False, merge="average", seed=SEED).frame_logits
    assert merged is not None
    return averages(merged)


def _per_frame(model: PerFrame, clip: Tensor, plain: Any, scale: float) -> bool:
    """The frame logits are what the network says of each frame, and rows see their own frame only."""
    with torch.no_grad():
        own = torch.stack([model(clip[:, :, i : i + 1])[0, plain.target[0]] for i in range(clip.shape[2])])
    off = plain.matrix[0] - plain.matrix[0].diagonal().diag()
    return torch.allclose(own, plain.frame_logits[0], rtol=0, atol=1e-3 * scale) and float(off.abs().max()) < 1e-5


def _outcome(peer: Any, model: nn.Module, clip: Tensor) -> str:
    try:
        error = peer(model, clip.clone().requires_grad_())
    except ImportError:
        return ""
    except Exception as failure:  # whatever it says is the result
        return f"no: {type(failure).__name__}"
    return f"error {error:.1e}"


def _captum(model: nn.Module, clip: Tensor) -> float:
    from captum.attr import LRP

    target = int(model(clip).argmax())
    _, delta = LRP(model).attribute(clip, target=target, return_convergence_delta=True)
    return abs(float(delta)) / abs(float(model(clip)[0, target]))


def _zennit(model: nn.Module, clip: Tensor) -> float:
    from zennit.attribution import Gradient
    from zennit.composites import EpsilonPlus

    target = int(model(clip).argmax())
    with Gradient(model=model, composite=EpsilonPlus()) as attributor:
        output, relevance = attributor(clip, torch.eye(model(clip).shape[1])[[target]] * model(clip).detach())
    logit = float(output[0, target])
    return abs(float(relevance.sum()) - logit) / abs(logit)
