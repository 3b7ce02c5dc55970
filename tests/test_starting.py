"""Whatever starts processes tells a script without a guard so, in one sentence, and in no time."""

import multiprocessing
import os
import subprocess
import sys
from pathlib import Path

import pytest

import lrp3d

TRAINS = """
import multiprocessing
import tempfile
import torch
from lrp3d import models
multiprocessing.set_start_method("{method}", force=True)
clips = [(torch.randn(3, 2, 8, 8), number % 2) for number in range(2)]
model = models.tsn_resnet(18, 2, width=2)
{guard}print(models.{call}, "done")
"""
CALLS = [
    "train(model, clips, tempfile.mkdtemp(), epochs=1, batch_size=2, workers=2, progress=False)",
    "evaluate(model, clips, workers=2)",
]
METHODS = [method for method in ("spawn", "forkserver") if method in multiprocessing.get_all_start_methods()]
# One pair of a call and a method; the others are slow tests.
PAIRS = [
    pytest.param(call, method, id=f"{name}-{method}", marks=[pytest.mark.slow] if (name, i) != ("train", 0) else [])
    for name, call in zip(("train", "evaluate"), CALLS, strict=True)
    for i, method in enumerate(METHODS)
]


def ran(folder, code):
    script = folder / "script.py"
    script.write_text(code)
    where = os.pathsep.join([str(Path(lrp3d.__file__).parent.parent), *filter(None, sys.path)])
    return subprocess.run(
        [sys.executable, script],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": where},
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize(("call", "method"), PAIRS)
def test_a_script_that_trains_when_it_is_imported_is_told_so(call, method, tmp_path):
    ended = ran(tmp_path, TRAINS.format(method=method, guard="", call=call))
    assert ended.returncode == 1
    assert ended.stdout == ""
    assert ended.stderr.count("Traceback") == 1, "the processes that were started say nothing"
    assert "clips were to be loaded by other processes (workers=2)" in ended.stderr
    assert ended.stderr.strip().endswith("or load in this process with workers=0")


@pytest.mark.slow
def test_a_script_with_a_guard_trains_in_processes_that_are_not_forked(tmp_path):
    ended = ran(tmp_path, TRAINS.format(method=METHODS[-1], guard="if __name__ == '__main__': ", call=CALLS[0]))
    assert (ended.returncode, "done" in ended.stdout) == (0, True), ended.stderr


@pytest.mark.slow
def test_clips_that_cannot_be_sent_to_other_processes_are_said_to_be_so(tmp_path):
    clips = "clips = models.VideoClips([torch.zeros(3, 9, 8, 8)] * 2, [0, 1], model, lambda frames: [0, 1])\n    "
    guard = "if __name__ == '__main__':\n    " + clips
    ended = ran(tmp_path, TRAINS.format(method="spawn", guard=guard, call=CALLS[0]))
    assert ended.returncode == 1
    assert "TypeError: the clips cannot be sent to the processes that load them (workers=2)" in ended.stderr
