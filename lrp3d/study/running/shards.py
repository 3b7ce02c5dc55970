"""Which part of the list a process takes, as torchrun, SLURM or the user says; no process talks to another."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

__all__ = ["Shard", "blocks"]

T = TypeVar("T")


@dataclass(frozen=True)
class Shard:
    """Process ``rank`` of ``world``, and which of them it is on its machine."""

    rank: int = 0
    world: int = 1
    local_rank: int = 0
    local_world: int = 1
    said_by: str = ""

    def __post_init__(self) -> None:
        if not 0 <= self.rank < self.world:
            if self.world < 1:
                raise ValueError(f"shard {self.rank} of {self.world}: there is at least one shard")
            raise ValueError(f"shard {self.rank} of {self.world}: shards count from 0 to {self.world - 1}")

    def take(self, items: Sequence[T]) -> list[T]:
        """Its part: every item is taken by one shard, and none is repeated to make parts equal.

        >>> [Shard(rank, 3).take(range(8)) for rank in range(3)]
        [[0, 3, 6], [1, 4, 7], [2, 5]]
        """
        return list(items[self.rank :: self.world])

    @classmethod
    def parse(cls, text: str) -> Shard:
        """The shard "i/n", i from 0 to n - 1.

        Raises:
            ValueError: it is nothing of that form.

        >>> Shard.parse("1/4").rank
        1
        """
        rank, slash, world = text.partition("/")
        if not slash or not rank.strip().isdecimal() or not world.strip().isdecimal():
            raise ValueError(f"a shard is i/n, such as 0/4, not {text!r}")
        return cls(int(rank), int(world), said_by="--shard")

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Shard:
        """What torchrun (RANK, WORLD_SIZE) or SLURM says (tasks of srun, job arrays, or both); else everything.

        Raises:
            ValueError: the variables contradict each other.

        >>> Shard.from_environment({"SLURM_PROCID": "2", "SLURM_NTASKS": "8"}).take(range(12))
        [2, 10]
        """
        if "RANK" in environment and "WORLD_SIZE" in environment:
            rank, world = int(environment["RANK"]), int(environment["WORLD_SIZE"])
            local = int(environment.get("LOCAL_RANK", 0)), int(environment.get("LOCAL_WORLD_SIZE", 1))
            return cls(rank, world, *local, said_by="torchrun")
        rank, world, local_rank, local_world = _slurm_tasks(environment)
        if "SLURM_ARRAY_TASK_ID" in environment and "SLURM_ARRAY_TASK_COUNT" in environment:
            jobs = int(environment["SLURM_ARRAY_TASK_COUNT"])
            step = int(environment.get("SLURM_ARRAY_TASK_STEP", 1))
            job = (int(environment["SLURM_ARRAY_TASK_ID"]) - int(environment.get("SLURM_ARRAY_TASK_MIN", 0))) // step
            rank, world = job * world + rank, jobs * world
        return cls(rank, world, local_rank, local_world, said_by="SLURM" if world > 1 else "")


def _slurm_tasks(environment: Mapping[str, str]) -> tuple[int, int, int, int]:
    """Rank and number of tasks, of all and of this machine.

    A batch script has these variables too, and is one process: only srun, which opens a step, starts as many.
    """
    names = ("SLURM_PROCID", "SLURM_NTASKS")
    in_script = "SLURM_JOB_ID" in environment and "SLURM_STEP_ID" not in environment
    if in_script or not all(name in environment for name in names):
        return 0, 1, 0, 1
    rank, world = int(environment["SLURM_PROCID"]), int(environment["SLURM_NTASKS"])
    world = int(environment.get("SLURM_STEP_NUM_TASKS", world))
    local_world = environment.get("SLURM_NTASKS_PER_NODE", "1")
    return rank, world, int(environment.get("SLURM_LOCALID", 0)), int(local_world) if local_world.isdecimal() else 1


def blocks(items: Sequence[T], size: int) -> list[Sequence[T]]:
    """Items that are explained together, ``size`` at a time.

    Blocks are those of the whole list, and shards take whole ones: a clip's neighbours in a batch, and with them the
    last bits of its numbers, are the same for any number of shards and after any interruption.

    >>> blocks("abcde", 2)
    ['ab', 'cd', 'e']
    """
    return [items[i : i + size] for i in range(0, len(items), size)]
