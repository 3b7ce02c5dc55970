"""Short names for networks, by which those are told apart that have one name."""

from __future__ import annotations

import hashlib
import re

import torch
from torch import nn


def network_digest(model: nn.Module) -> str:
    """Hashes a model's modules and their settings (strides, kernels), which the same weights may fit in several ways.

    Addresses of objects, which differ from run to run, do not count.

    >>> network_digest(nn.Conv1d(1, 1, 3)) == network_digest(nn.Conv1d(1, 1, 3, stride=2))
    False
    >>> class Named(nn.Module):
    ...     def extra_repr(self):
    ...         return repr(object())
    >>> network_digest(Named()) == network_digest(Named())
    True
    """
    return hashlib.sha256(re.sub(r"0x[0-9a-f]+", "", repr(model)).encode()).hexdigest()[:16]


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
