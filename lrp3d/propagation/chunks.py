"""How many seeds, or clips, are propagated at once: bounded by memory, not by the number of frames."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch

from lrp3d.compute import cores
from lrp3d.compute.precision import widened
from lrp3d.progress import bar
from lrp3d.twin.trace import Trace

# A CPU gains nothing from larger chunks once a layer fills its caches, and the C library maps tensors above 32 MiB
# anew every time, page by page. A GPU does gain.
CPU_BUDGET = 128 * 2**20
SEEDS_OF_LARGE_LAYERS = 2
"""Seeds of a chunk, up to which layers are so large that chunks gain from running at the same time."""
# Tensors per seed: relevance that arrives, its ratio to the denominator, what leaves, and one waiting at a branch. On a
# GPU what has no denominator is shared without asking whether there is any, which takes two more, and one to work in.
IN_FLIGHT_ON_CPU, IN_FLIGHT_ON_GPU = 4, 7
SPARED = 0.8
"""The share of a GPU's free memory that is used; the rest is for what kernels need to work."""


def seeds_at_once(record: Trace, seeds: int, chunk_size: int | None, memory_budget: int | None) -> int:
    """The number of seeds per chunk, at least one and at most `seeds`.

    Args:
        record: a recorded run; its largest step says how much memory a seed needs.
        seeds: number of seeds.
        chunk_size: number of seeds that the caller chose, or None.
        memory_budget: bytes to use, or None.
    """
    if chunk_size is not None:
        return min(chunk_size, seeds)
    device, size = record.output.device, widened(record.output.dtype).itemsize
    sizes = [step.shape.numel() for step in record.tracer.steps] or [1]
    per_seed: int = tensors_in_flight(device) * max(sizes) * size
    if memory_budget is None:
        prepared = sum(sizes) * size if device.type == "cuda" else 0  # what steps keep for all seeds
        memory_budget = _free_memory(device) - prepared
    return max(1, min(seeds, memory_budget // max(1, per_seed)))


class Chunks(NamedTuple):
    """How the seeds of all rows go through the network."""

    size: int
    """The number of seeds that go together."""
    at_once: int
    """The number of chunks that run at the same time, each on its share of the cores."""

    @classmethod
    def of(cls, record: Trace, seeds: int, chunk_size: int | None, memory_budget: int | None) -> Chunks:
        """Chooses both from the arguments of `seeds_at_once`; where memory is limited, chunks run one after another."""
        size = seeds_at_once(record, seeds, chunk_size, memory_budget)
        limited = chunk_size is not None or memory_budget is not None
        return cls(size, 1 if limited or size > SEEDS_OF_LARGE_LAYERS else cores.at_once(record.output.device))

    def fewer(self) -> Chunks | None:
        """Half as many seeds, one chunk after another; None where it is one seed already."""
        return None if self.size == self.at_once == 1 else Chunks(max(1, self.size // 2), 1)


def rows_in_chunks(rows: int, size: int, progress: bool) -> Iterator[slice]:
    """The rows that go together, chunk after chunk, with a progress bar on stderr if it is wanted."""
    for first in bar(range(0, rows, size), "chunk", progress):
        yield slice(first, first + size)


def clips_at_once(record: Trace, graph: bool, chunk_size: int | None) -> int:
    """The number of clips per forward pass, at least one.

    Args:
        record: a recorded run; its steps say how much memory a clip needs.
        graph: whether further passes are recorded as well and keep all activations; else only a few exist at once.
        chunk_size: number of clips that the caller chose, or None.
    """
    if chunk_size is not None:
        return chunk_size
    sizes = [step.shape.numel() for step in record.tracer.steps] or [1]
    values = sum(sizes) if graph else tensors_in_flight(record.output.device) * max(sizes)
    per_clip: int = values * record.output.element_size() // max(1, len(record.output))
    return max(1, _free_memory(record.output.device) // max(1, per_clip))


def tensors_in_flight(device: torch.device) -> int:
    """How many tensors of the size of a step's output one seed needs at a time."""
    return IN_FLIGHT_ON_CPU if device.type == "cpu" else IN_FLIGHT_ON_GPU


def _free_memory(device: torch.device) -> int:
    """Bytes that may be used: few on a CPU; on a GPU most of what is free, or kept by torch and used by nothing."""
    if device.type != "cuda":
        return CPU_BUDGET
    kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return int(SPARED * (torch.cuda.mem_get_info(device)[0] + kept))
