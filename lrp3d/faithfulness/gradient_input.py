"""Gradient times input, the plainest explanation, as a method that `check` holds beside relevance."""

from __future__ import annotations

import torch
from torch import Tensor

from lrp3d.outputs import Chosen, Output, chosen_of
from lrp3d.twin.kept_tensors import taking_gradients
from lrp3d.twin.twin import Twin


def without_gradient(twin: Twin, layout: str, left_out: str) -> str:
    """Why there is no gradient x input of a model; empty where there is."""
    if layout != "bcthw":
        return f"it is known for clips bcthw, and the model takes {layout}"
    if left_out and not callable(getattr(twin.model, "frame_logits", None)):
        return f"other methods explain {left_out}, and the model's own gradient is that of its probabilities"
    return ""


def gradient_input(twin: Twin, clip: Tensor, chosen: Chosen, output: Output | None, in_rows: bool) -> Tensor:
    """Positive part of gradient times input per value, summed over a frame: as CLRP sums (Eq. 2).

    By the model's own forward; with `in_rows` a row for each frame where the model has `frame_logits`, or returns frame
    logits, else one row.
    """
    with torch.inference_mode(False), torch.enable_grad(), twin.unchanged(clip.device), taking_gradients(twin.model):
        x = clip.detach().clone().requires_grad_()
        own = getattr(twin.model, "frame_logits", None) if in_rows else None
        logits = own(x) if callable(own) else chosen_of(twin.model(x), output)
        logits = logits if in_rows or logits.dim() == 2 else logits.mean(1)
        target = int(chosen.target)
        rows = logits[0, :, target] if logits.dim() == 3 else logits[:, target]
        rows = rows if chosen.sign is None else rows * chosen.sign.to(rows)
        gradients = [torch.autograd.grad(row, x, retain_graph=True)[0] for row in rows]
    return torch.stack([(gradient * x).detach().clamp(min=0).sum((1, 3, 4)) for gradient in gradients], 1)
