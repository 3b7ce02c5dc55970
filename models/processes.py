"""The processes of torch.distributed (torchrun) that train one model together, or the only process."""

from __future__ import annotations

import torch.distributed as dist
from torch import Tensor


def process() -> tuple[int, int]:
    """The rank of this process and the number of processes in torch.distributed's group; (0, 1) without a group."""
    return (dist.get_rank(), dist.get_world_size()) if dist.is_available() and dist.is_initialized() else (0, 1)


def summed(values: Tensor) -> Tensor:
    """The sum of `values` over all processes, in place."""
    if process()[1] > 1:
        dist.all_reduce(values)
    return values


def wait() -> None:
    """Waits until every process has reached this call."""
    if process()[1] > 1:
        dist.barrier()
