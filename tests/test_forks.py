"""A process that is forked while another thread explains can explain itself."""

import os
import subprocess
import sys

import pytest

SCRIPT = """
import os, signal, sys, threading
import torch
from torch import nn
import lrp3d
from lrp3d.compute import cores
from lrp3d.compute.precision import matmul_precision
from lrp3d.twin import given, random_state

model = nn.Sequential(nn.Conv3d(3, 4, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(4, 5))
model, clip = model.eval(), torch.rand(1, 3, 4, 8, 8)
expected = lrp3d.explain(model, clip).matrix
there, done = threading.Event(), threading.Event()

def explaining():
    with matmul_precision("high", torch.device("cuda")), random_state.kept_random_state(torch.device("cpu")):
        with given._lock, cores._lock:
            there.set()
            done.wait()

thread = threading.Thread(target=explaining)
thread.start()
there.wait(30) or sys.exit("the thread holds no locks")
child = os.fork()
if not child:
    signal.alarm(60)
    with matmul_precision("highest", torch.device("cuda")):
        same = lrp3d.explain(model, clip).matrix.equal(expected)
    os._exit(not same)
ended = os.waitpid(child, 0)[1]
done.set()
thread.join()
sys.exit(ended != 0)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_child_does_not_wait_for_threads_that_it_does_not_have():
    ran = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
