"""Records, videos and models for the tests of studies: made up, small, and the same every time."""

import csv
import io
from pathlib import Path
from typing import ClassVar

import av
import numpy as np
import torch
from torch import nn

from lrp3d import study
from lrp3d.metrics.atr import frame_atr
from lrp3d.study import Record, summarise
from lrp3d.video import draw_clip


def encode(path: Path, frames=20, size=40, seed=0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.height = stream.width = size
        stream.pix_fmt = "yuv420p"
        for image in draw_clip(frames, size, seed).numpy():
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    return path


def rows(table):
    """The rows of a table as its csv has them."""
    return list(csv.DictReader(io.StringIO(table.csv())))


def record(number, label=0, classes=3, frames=4, seed=None, reach=1.0, windows=0, config="", right=True):
    """A clip that is predicted rightly or wrongly, whose frames look ``reach`` far."""
    generator = torch.Generator().manual_seed(number if seed is None else seed)
    distance = (torch.arange(frames).view(-1, 1) - torch.arange(frames)).abs()
    matrix = torch.exp(-distance / reach) * (0.5 + torch.rand(frames, frames, generator=generator))
    logits = torch.rand(classes, generator=generator)
    answer = (label or 0) if right else ((label or 0) + 1) % classes
    logits[answer] += 6
    return Record(
        number=number,
        name=f"clip {number}.mp4",
        label=label,
        target=answer,
        logits=logits,
        frame_logits=matrix.sum(1),
        matrix=matrix,
        atr=frame_atr(matrix),
        conservation=1e-7,
        indices=tuple(range(frames)),
        windows=torch.full((windows,), answer) if windows else None,
        config=config,
    )


def summary_of(model="I3D-R50-f8", dataset="Kinetics", classes=6, clips=36, reach=1.0, labels=(), **config):
    """The summary of a made-up study; every fifth clip is predicted wrongly."""
    windows = config.get("windows", [])
    records = [
        record(i, i % classes, classes, 8, None, reach * (1 + i % classes / classes), len(windows), right=i % 5 > 0)
        for i in range(clips)
    ]
    full = {"model": model, "dataset": dataset, "frames": 8, "sigma": 0.975, "trained": True, **config}
    return summarise(records, config=full, labels=labels or [f"doing {i}" for i in range(classes)])


class Hungry(nn.Module):
    """Runs out of memory above so many clips, and breaks on a black one."""

    tried: ClassVar[list[int]] = []

    def __init__(self, most=2):
        super().__init__()
        torch.manual_seed(0)
        self.most = most
        self.stem = nn.Conv3d(3, 4, 3, padding=1)
        self.head = nn.Linear(4, 3)

    def forward(self, clip):
        self.tried.append(len(clip))
        if len(clip) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        if bool((clip.amax((1, 2, 3, 4)) < -1.7).any()):
            raise ZeroDivisionError("a black\n  clip.\n\nWhere this came from: ...")
        return self.head(torch.relu(self.stem(clip)).mean((2, 3, 4)))


def drawn(count):
    return [draw_clip(4, 16, seed=seed).numpy() for seed in range(count)]


class Given:
    """A reader of clips that are there already."""

    def __init__(self, clips):
        self.clips = clips

    def __call__(self, item):
        return study.Pixels(self.clips[item.number], np.arange(len(self.clips[item.number])))


def make_study(folder, count, **config):
    clips = study.make_list([study.Row(f"{number}.mp4", 0) for number in range(count)])
    return study.create(folder, config, clips)
