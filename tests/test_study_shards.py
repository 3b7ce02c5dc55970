"""Shards: every clip belongs to one process, whoever starts the processes."""

import pytest

from lrp3d.commands.command_line import main
from lrp3d.study import Item, Shard
from lrp3d.study.running.shards import blocks


@pytest.mark.parametrize(
    ("environment", "rank", "world"),
    [
        ({}, 0, 1),
        ({"RANK": "3", "WORLD_SIZE": "4", "SLURM_PROCID": "0", "SLURM_NTASKS": "2"}, 3, 4),
        ({"SLURM_PROCID": "2", "SLURM_NTASKS": "4"}, 2, 4),
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "4", "SLURM_JOB_ID": "7"}, 0, 1),  # a batch script: one process
        ({"SLURM_PROCID": "1", "SLURM_NTASKS": "4", "SLURM_JOB_ID": "7", "SLURM_STEP_ID": "0"}, 1, 4),
        ({"SLURM_ARRAY_TASK_ID": "12", "SLURM_ARRAY_TASK_COUNT": "3", "SLURM_ARRAY_TASK_MIN": "10"}, 2, 3),
        ({"SLURM_ARRAY_TASK_ID": "1", "SLURM_ARRAY_TASK_COUNT": "2", "SLURM_PROCID": "1", "SLURM_NTASKS": "2"}, 3, 4),
    ],
)
def test_the_shard_is_what_the_launcher_says(environment, rank, world):
    shard = Shard.from_environment(environment)
    assert (shard.rank, shard.world) == (rank, world)


@pytest.mark.parametrize("world", [1, 2, 3, 7, 20])
@pytest.mark.parametrize("size", [1, 4])
def test_every_clip_belongs_to_one_shard(world, size):
    items = [Item(number, str(number)) for number in range(11)]
    taken = [item for rank in range(world) for block in Shard(rank, world).take(blocks(items, size)) for item in block]
    assert sorted(item.number for item in taken) == list(range(11))


@pytest.mark.parametrize("text", ["4/4", "1", "a/b", "-1/2", "1/0"])
def test_a_shard_that_cannot_be_is_refused(text, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["study", "run", "--list", "x", "--out", "y", "--shard", text])
    assert ended.value.code == 2
    assert "0 to -1" not in capsys.readouterr().err


@pytest.mark.parametrize("text", ["soon", "0", "-1", "nan", "1e12"])
def test_a_timeout_that_cannot_be_is_refused(text, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["study", "run", "--list", "x", "--out", "y", "--timeout", text])
    assert ended.value.code == 2
    said = "is more seconds than can be waited for" if text == "1e12" else "is not a number above 0"
    assert f"argument --timeout: {text!r} {said}" in capsys.readouterr().err
