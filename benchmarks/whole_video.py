"""What a whole video costs: whether time is linear in its length, and whether memory is bounded.

    python -m benchmarks.whole_video [--lengths 256 512 1024 2048] [--model TAM2D-R18-f16] [--size 64]

An H.264 file of each length is drawn (64 pixels, a key frame every 50 frames) and explained by `lrp3d.explain_video`,
each in a process of its own, because high-water marks never fall. "Clips" are as many explanations of single clips as
there are windows: what stitching and reading add to them is the ratio.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from benchmarks.timing import common
from lrp3d.whole_video.windows import windows

import lrp3d
from lrp3d import models
from lrp3d.video import draw_clip

COLUMNS = (
    *("model", "frames", "windows", "seconds", "seconds per frame", "over clips", "exponent"),
    *("peak MiB", "peak MiB of the process", "MiB of the result"),
)
PIXELS = 64  # of the video's frames
CLIPS_TIMED = 5


def drawn(path: Path, frames: int) -> Path:
    """A video of moving shapes; a short drawing is repeated, since what it shows does not matter."""
    import av

    period = draw_clip(min(frames, 128), PIXELS).numpy()
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width = stream.height = PIXELS
        stream.pix_fmt = "yuv420p"
        stream.codec_context.gop_size = 50
        for number in range(frames):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(period[number % len(period)], format="rgb24")))
        container.mux(stream.encode())
    return path


def measured(model_name: str, width: int, video: str, size: int, device_name: str, threads: int) -> dict[str, Any]:
    """Seconds, bytes and windows of one video; run in a process of its own.

    Seconds are of the processor on a CPU, so that other programs count less.

    Raises:
        ValueError: the model's name does not say how many frames its clips have.
    """
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    device = torch.device(device_name)
    model = models.build(model_name, num_classes=10, width=width).eval().to(device)
    if model.frames is None:
        raise ValueError(f"windows have as many frames as a clip: name them, as in {model_name}-f16, got {model_name}")
    length, twin = model.frames, lrp3d.convert(model)
    clip = torch.rand(1, 3, length, size, size, device=device)
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    explain = partial(lrp3d.explain, twin, clip, 0)
    explain()  # the first explanation of a process costs more
    one = sum(common.timed(explain, device, clock) for _ in range(CLIPS_TIMED)) / CLIPS_TIMED
    found: list[lrp3d.VideoExplanation] = []
    seconds: list[float] = []

    def whole() -> None:
        begin = clock()
        found.append(lrp3d.explain_video(twin, video, 0, size=size, short_side=size))
        seconds.append(clock() - begin)

    peak = common.peak_memory(whole, device)
    result = found[0]
    count = len(windows(len(result.indices), length, length // 2))
    kept = sum(value.nbytes for value in vars(result).values() if isinstance(value, torch.Tensor))
    return {
        "frames": len(result.indices),
        "windows": count,
        "seconds": seconds[0],
        "over clips": seconds[0] / (one * count),
        "peak": peak,
        "process": common.high_water(device),
        "result": kept,
    }


def rows(options: argparse.Namespace, device: torch.device, width: int) -> list[common.Row]:
    """One for each length, with the exponent of seconds over all of them."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for frames in options.lengths:
            video = drawn(Path(folder) / f"{frames}.mp4", frames)
            arguments = (options.model, width, str(video), options.size, str(device), torch.get_num_threads())
            found.append(common.in_a_child(measured, *arguments))
    exponent = common.exponent([one["frames"] for one in found], [one["seconds"] for one in found])
    return [
        {
            "model": options.model,
            **{name: one[name] for name in ("frames", "windows", "seconds", "over clips")},
            "seconds per frame": one["seconds"] / one["frames"],
            "exponent": exponent,
            "peak MiB": common.mib(one["peak"]),
            "peak MiB of the process": common.mib(one["process"]),
            "MiB of the result": common.mib(one["result"]),
        }
        for one in found
    ]


def main(argv: Sequence[str] | None = None) -> common.Results:
    """Measure and write the table."""
    parser = common.arguments(__doc__)
    parser.add_argument("--model", default="TAM2D-R18-f16", metavar="NAME")
    parser.add_argument("--lengths", nargs="+", type=int, default=[256, 512, 1024, 2048], metavar="N", help="frames")
    parser.add_argument("--size", type=int, default=64, help="height and width as the network sees them")
    options = common.parse(parser, argv)
    device, width = common.start(options), 16
    if options.quick:
        options.model, options.lengths, options.size, width = "I3D-R18-f4", [8, 16], 32, 8
    spent = "processor" if device.type == "cpu" else "wall"
    notes = (
        f"{spent} time of one run each; ResNet with {width} channels in its first stage, windows half a window apart",
        "exponent: p of seconds ~ frames ** p over all lengths",
        "over clips: as many explanations of single clips as there are windows, measured in the same process",
        "peak MiB: beyond the model and one explained clip; of the process: with them, Python and torch",
    )
    results = common.Results("whole_video", "What a whole video costs", options, device, COLUMNS, notes)
    for row in rows(options, device, width):
        results.add(row)
    return results.write()


if __name__ == "__main__":
    main()
