"""What tests of the command line say to it, and how they ask what is wrong."""

import subprocess
import sys

SMALL = ["--model", "I3D-R18-f4", "--option", "width=4", "--size", "32"]
TINY = ["--model", "networks:Net", "--frames", "4", "--size", "16"]
"""A model of `NETWORKS`, for what takes many forwards."""
RANDOM = "random weights (seed 0)"
PICTURES = {"relevance.png", "matrix.png", "atr.png"}
FILES = {"explanation.safetensors", "explanation.json", "report.html"} | PICTURES
NETWORKS = """
    import torch
    from torch import nn


    class Net(nn.Module):
        def __init__(self, classes=3):
            super().__init__()
            self.conv = nn.Conv3d(3, 4, 3, padding=1)
            self.fc = nn.Linear(4, classes)

        def forward(self, clip):
            return self.fc(torch.relu(self.conv(clip)).mean((3, 4)).transpose(1, 2)).mean(1)


    class Raising(Net):
        def forward(self, clip):
            raise KeyError("boom")


    class Nan(Net):
        def forward(self, clip):
            return super().forward(clip) * float("nan")


    class Normed(Net):
        def forward(self, clip):
            return self.fc(self.conv(clip).mean((2, 3, 4)).logcumsumexp(1))


    class PooledFirst(Net):
        def forward(self, clip):
            return self.fc(torch.relu(self.conv(clip).mean((2, 3, 4))))


    ready, number = Net(2), 3


    def broken():
        raise OSError("no such file: w.pt")


    def nothing():
        return None
"""


def in_a_process(*arguments, **options):
    command = [sys.executable, "-m", "lrp3d", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


def error(run, *arguments, code=1):
    """The one line in which a command says what is wrong."""
    ended, out, err = run(*arguments)
    assert (ended, out) == (code, ""), err
    assert err.count("\n") == 1, err
    assert err.startswith("lrp3d")
    return err
