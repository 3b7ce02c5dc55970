"""How many seeds, or clips, travel at once: bounded by memory, not by the number of frames."""

from __future__ import annotations

import torch

from lrp3d.twin.twin import Trace

# A CPU gains nothing from larger chunks once a layer fills its caches, and tensors above 32 MiB are mapped anew by
# the C library every time, page by page. A GPU does gain.
CPU_BUDGET = 128 * 2**20
# Relevance in flight: what arrives, its ratio to the denominator, what leaves, and one waiting at a branch.
TENSORS_IN_FLIGHT = 4


def seeds_at_once(record: Trace, seeds: int, chunk_size: int | None, memory_budget: int | None) -> int:
    """The number of seeds per chunk, at least one and at most `seeds`.

    Args:
        record: a recorded run; its largest step says what a seed costs.
        seeds: how many there are.
        chunk_size: chosen by the caller, if not None.
        memory_budget: bytes, if not None.
    """
    if chunk_size is not None:
        return min(chunk_size, seeds)
    largest = max((step.shape.numel() for step in record.run.steps), default=1)
    per_seed: int = TENSORS_IN_FLIGHT * largest * record.output.element_size()
    if memory_budget is None:
        memory_budget = _free(record.output.device)
    return max(1, min(seeds, memory_budget // max(1, per_seed)))


def clips_at_once(record: Trace, recorded: bool, chunk_size: int | None) -> int:
    """The number of clips per forward pass, at least one.

    Args:
        record: a recorded run; its steps say what a clip costs.
        recorded: further passes are recorded too and keep all activations; else a few are in flight.
        chunk_size: chosen by the caller, if not None.
    """
    if chunk_size is not None:
        return chunk_size
    sizes = [step.shape.numel() for step in record.run.steps] or [1]
    values = sum(sizes) if recorded else TENSORS_IN_FLIGHT * max(sizes)
    per_clip: int = values * record.output.element_size() // max(1, len(record.output))
    return max(1, _free(record.output.device) // max(1, per_clip))


def _free(device: torch.device) -> int:
    """Bytes to use: little on a CPU, half of what is free on a GPU."""
    return CPU_BUDGET if device.type != "cuda" else torch.cuda.mem_get_info(device)[0] // 2
