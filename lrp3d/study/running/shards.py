"""Chooses the part of a list that a process takes, as torchrun, SLURM or the user says; no process talks to another."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

__all__ = ["Shard", "blocks"]

T = TypeVar("T")


@dataclass(frozen=True)
class Shard:
    """Process ``rank`` of ``world``, and its number on its own machine.

    Raises:
        ValueError: the rank is not one of the shards.

    >>> Shard(1, 3).take(range(8))
    [1, 4, 7]
    """

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
        """Returns the shard's part: every item belongs to one shard, and none is repeated to make parts equal.

        >>> [Shard(rank, 3).take(range(8)) for rank in range(3)]
        [[0, 3, 6], [1, 4, 7], [2, 5]]
        """
        return list(items[self.rank :: self.world])

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Reads a shard "i/n", with i from 0 to n - 1.

        Raises:
            ValueError: the text is not of that form.

        >>> Shard.parse("1/4").rank
        1
        """
        rank, slash, world = text.partition("/")
        if not slash or not rank.strip().isdecimal() or not world.strip().isdecimal():
            raise ValueError(f"a shard is i/n, such as 0/4, not {text!r}")
        return cls(int(rank), int(world), said_by="--shard")

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Shard:
        """Reads the shard from the variables of torchrun (RANK, WORLD_SIZE) or SLURM (srun, job arrays, or both).

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
    """Returns rank and number of tasks, of all tasks and of those on this machine.

    A batch script has these variables, too, but is one process: only srun, which opens a step, starts several.
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
    """Groups the items that are explained together, ``size`` at a time.

    Blocks are cut from the whole list, and a shard takes whole blocks. So a clip has the same neighbours in its batch,
    and its numbers the same last bits, for any number of shards and after any interruption.

    >>> blocks("abcde", 2)
    ['ab', 'cd', 'e']
    """
    return [items[i : i + size] for i in range(0, len(items), size)]
