"""Short names for networks, by which those are told apart that have one name."""

from __future__ import annotations

import hashlib
import inspect
import re

import torch
from torch import nn


def network_digest(model: nn.Module) -> str:
    """Hashes a model's modules, their settings (strides, kernels) and the source of classes of one's own.

    The same weights may fit networks that differ in these. Addresses of objects, which differ from run to run, do not
    count, and neither does code outside of these classes.

    >>> network_digest(nn.Conv1d(1, 1, 3)) == network_digest(nn.Conv1d(1, 1, 3, stride=2))
    False
    >>> class Named(nn.Module):
    ...     def extra_repr(self):
    ...         return repr(object())
    >>> network_digest(Named()) == network_digest(Named())
    True
    """
    sources = sorted({source for module in model.modules() if (source := _source(type(module)))})
    text = "\n".join([re.sub(r"0x[0-9a-f]+", "", repr(model)), *sources])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


_PACKAGES = ("torch", "lrp3d", "models")  # a study has the versions of these


def _source(kind: type) -> str:
    """The source of a class of one's own; empty where it is not known, as of a class that was typed in."""
    if kind.__module__.partition(".")[0] in _PACKAGES:
        return ""
    try:
        return inspect.getsource(kind)
    except (OSError, TypeError):
        return ""


def weights_digest(model: nn.Module) -> str:
    """Hashes a model's weights, which tells them from others wherever they came from.

    >>> weights_digest(nn.Linear(2, 2)) == weights_digest(nn.Linear(2, 2))
    False
    """
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()[:16]
