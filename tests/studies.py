"""Records and videos for the tests of studies: made up, small, and the same every time."""

from pathlib import Path

import av
import torch

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
