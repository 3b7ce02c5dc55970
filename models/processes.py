"""The processes that train one model together, as torch.distributed (torchrun) starts them; or the only one."""

from __future__ import annotations

import torch.distributed as dist
from torch import Tensor


def process() -> tuple[int, int]:
    """This process and how many there are, of torch.distributed's group; (0, 1) without one."""
    return (dist.get_rank(), dist.get_world_size()) if dist.is_available() and dist.is_initialized() else (0, 1)


def summed(values: Tensor) -> Tensor:
    """The sum of `values` over all processes, in place."""
    if process()[1] > 1:
        dist.all_reduce(values)
    return values


def wait() -> None:
    """Until every process has come to this line."""
    if process()[1] > 1:
        dist.barrier()
