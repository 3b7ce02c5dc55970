"""The limits of a study: clips per second with the decoder, memory by process, size on the disk, and what that means
for the whole of Kinetics-400's validation set.

    python -m benchmarks.study                                    # a few minutes on two cores
    python -m benchmarks.study --device cuda --clips 64 --batch 4 --workers 8
    python -m benchmarks.study --processes 1 2                    # as torchrun does it: the cores shared out evenly

Videos are made for it: 340 x 256 pixels, 10 s, H.264 with a key frame every 250 frames, as Kinetics is usually kept.
Results go to benchmarks/results/study-DEVICE.json and .md.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch

import lrp3d
from lrp3d import study

KINETICS_VALIDATION = 20_000
MODELS = ("I3D-R50-f8", "TAM2D-R50-f8", "TAM2D-R50-f16")
READ = 12  # clips of which reading is measured
THREADS = torch.get_num_threads()


def main() -> None:
    """Measure, print and write."""
    options = _options()
    torch.manual_seed(0)
    where = machine(options.device)  # before this loads it
    with tempfile.TemporaryDirectory() as folder:
        clips = make_videos(Path(folder), options.clips)
        result: dict[str, Any] = {
            "what": "limits of a study",
            "command": " ".join(["python -m benchmarks.study", *sys.argv[1:]]),
            "date": datetime.now(timezone.utc).date().isoformat(),
            "versions": versions(),
            "machine": where,
            "reading": [reading(folder, clips, frames) for frames in (8, 16, 32)],
            "runs": [
                running(folder, clips, name, options) if processes == 1 else shared(folder, clips, name, processes)
                for name in options.models
                for processes in options.processes
            ],
        }
    for run in result["runs"]:
        run["projection"] = projection(run)
    out = options.out / f"study-{options.device.partition(':')[0]}"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.with_suffix(".json").write_text(json.dumps(result, indent=1) + "\n")
    out.with_suffix(".md").write_text(page(result))
    print(page(result))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--clips", type=int, default=6)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--models", nargs="+", default=MODELS)
    about = "that explain, each with its part of the list and of the cores (CPU); default: %(default)s"
    parser.add_argument("--processes", nargs="+", type=int, default=[1], metavar="N", help=about)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    options = parser.parse_args()
    if max(options.processes) > 1 and options.clips < 2 * max(options.processes):
        parser.error(
            f"--clips: {max(options.processes)} processes need two clips each, of which the first is not counted"
        )
    return options


def make_videos(folder: Path, count: int) -> study.VideoList:
    """Videos as Kinetics has them after the usual shrinking, and their list."""
    noise = np.random.default_rng(0).integers(-12, 13, (256, 340, 1))
    rows = []
    for number in range(count):
        drawn = lrp3d.video.draw_clip(50, 340, seed=number)[:, 42:298].numpy()
        there_and_back = [*range(50), *range(48, 0, -1)] * 3
        with av.open(str(folder / f"{number}.mp4"), "w") as container:
            stream: Any = container.add_stream("libx264", rate=25)
            stream.width, stream.height, stream.pix_fmt = 340, 256, "yuv420p"
            for step, index in enumerate(there_and_back[:250]):
                textured = drawn[index].astype(np.int16) + np.roll(noise, step, 1)
                frame = av.VideoFrame.from_ndarray(textured.clip(0, 255).astype(np.uint8), format="rgb24")
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        rows.append(study.Row(f"{number}.mp4", number % 400))
    return study.make_list(rows)


def reading(folder: str, clips: study.VideoList, frames: int) -> dict[str, Any]:
    """Clips per second of one process that does nothing but read: seek, decode, resize, crop."""
    reader = study.Reader(folder, frames=frames)
    reader(clips.items[0])
    torch.set_num_threads(1)  # as in a worker process
    started, busy = time.perf_counter(), time.process_time()
    for i in range(READ):
        reader(clips.items[i % len(clips.items)])
    seconds, busy = time.perf_counter() - started, time.process_time() - busy
    torch.set_num_threads(THREADS)
    return {
        "frames": frames,
        "clips_per_second": round(READ / seconds, 3),
        "cpu_seconds_per_clip": round(busy / READ, 3),
    }


def running(folder: str, clips: study.VideoList, name: str, options: argparse.Namespace) -> dict[str, Any]:
    """A run as `lrp3d study run` does it, the first batch not counted: it pays for starting processes and kernels."""
    explainer, reader = _parts(folder, name, options.device)
    with tempfile.TemporaryDirectory() as out, PeakMemory() as memory:
        made = study.create(out, study.configuration(explainer, reader, model=name), clips)
        settings = {"workers": options.workers, "batch_size": options.batch}
        busy = time.process_time()
        study.run(made, explainer, reader, **settings)
        busy = time.process_time() - busy
        first = {number for number in made.done() if number < options.batch}
        times = sorted(made.record_path(number).stat().st_mtime for number in made.done() - first)
        begun = max(made.record_path(number).stat().st_mtime for number in first)
        record = made.record_path(0)
        seconds = [entry.seconds for entry in made.records()]
        found = {
            "model": name,
            "processes": 1,
            "frames": reader.frames,
            **settings,
            "clips_per_second": round(len(times) / (times[-1] - begun), 4),
            "cpu_seconds_per_clip": round(busy / len(clips.items), 2),
            "explaining_share": round(sum(seconds[options.batch :]) / (times[-1] - begun), 3),
            "bytes_per_record": record.stat().st_size,
            "memory_mb": memory.found(),
        }
    if options.device.startswith("cuda"):
        found["gpu_memory_mb"] = round(torch.cuda.max_memory_allocated() / 2**20)
        torch.cuda.reset_peak_memory_stats()
    return found


def _parts(folder: str, name: str, device: str = "cpu") -> tuple[study.Explainer, study.Reader]:
    torch.manual_seed(0)
    model = lrp3d.models.build(name, num_classes=400).eval().requires_grad_(False).to(device)
    explainer = study.Explainer(model, input_range=model.input_range, mean=model.mean, std=model.std)
    return explainer, study.Reader(folder, frames=model.frames or 8)


def shared(folder: str, clips: study.VideoList, name: str, processes: int) -> dict[str, Any]:
    """A run by several processes on one CPU, as under torchrun; the first clip of each is not counted."""
    explainer, reader = _parts(folder, name)
    with tempfile.TemporaryDirectory() as out, PeakMemory() as memory:
        made = study.create(out, study.configuration(explainer, reader, model=name), clips)
        busy = _seconds_of_children()
        parts = [study.Shard(rank, processes) for rank in range(processes)]
        spawn = multiprocessing.get_context("spawn")
        workers = [spawn.Process(target=_explain_part, args=(folder, name, out, part)) for part in parts]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        if any(worker.exitcode for worker in workers):
            raise RuntimeError(f"a process that explains with {name} failed")
        busy = _seconds_of_children() - busy
        times = {number: made.record_path(number).stat().st_mtime for number in made.done()}
        # Each process by itself: where the list does not divide evenly, one of them is idle at the end.
        of_each = [sorted(times[number] for number in part.take(range(len(times)))) for part in parts]
        rate = sum((len(moments) - 1) / (moments[-1] - moments[0]) for moments in of_each)
        busy_seconds = sum(moments[-1] - moments[0] for moments in of_each)
        first = set(range(processes))
        explaining = sum(entry.seconds for entry in made.records() if entry.number not in first)
        return {
            "model": name,
            "processes": processes,
            "frames": reader.frames,
            "workers": 0,
            "batch_size": 1,
            "clips_per_second": round(rate, 4),
            "cpu_seconds_per_clip": round(busy / len(times), 2),
            "explaining_share": round(explaining / busy_seconds, 3),
            "bytes_per_record": made.record_path(0).stat().st_size,
            "memory_mb": {"main": memory.found()["reader"], "reader": 0},
        }


def _explain_part(folder: str, name: str, out: str, part: study.Shard) -> None:
    torch.set_num_threads(max(1, THREADS // part.world))
    study.run(study.load_study(out), *_parts(folder, name), part)


def _seconds_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


class PeakMemory:
    """The greatest memory of this process and of those below it, sampled twice a second (Linux)."""

    def __enter__(self) -> PeakMemory:
        self.most = {"main": 0.0, "reader": 0.0}
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._watch, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.over.set()
        self.thread.join()

    def _watch(self) -> None:
        while not self.over.wait(0.5):
            self.most["main"] = max(self.most["main"], _megabytes(os.getpid(), "Rss"))
            for child in _below(os.getpid()):
                # What it has for itself: code and libraries are shared with the server process it comes from.
                own = _megabytes(child, "Private_Clean") + _megabytes(child, "Private_Dirty")
                self.most["reader"] = max(self.most["reader"], own)

    def found(self) -> dict[str, int]:
        """In MB: resident memory of the main process, private memory of the largest reading process."""
        return {name: round(value) for name, value in self.most.items()}


def _below(pid: int) -> list[int]:
    listed = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    parents = {int(child): int(parent) for child, parent in (line.split() for line in listed.splitlines())}
    found, generation = [], [pid]
    while generation:
        generation = [child for child, parent in parents.items() if parent in generation]
        found += generation
    return found


def _megabytes(pid: int, kind: str) -> float:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:  # it has ended
        return 0.0
    return sum(float(line.split()[1]) for line in lines if line.startswith(f"{kind}:")) / 1024


def projection(run: dict[str, Any]) -> dict[str, Any]:
    """The whole validation set at the measured rate; shards do not wait for each other, so n devices take 1/n."""
    hours = KINETICS_VALIDATION / run["clips_per_second"] / 3600
    return {
        "clips": KINETICS_VALIDATION,
        "hours_on_1_device": round(hours, 2),
        "hours_on_8_devices": round(hours / 8, 2),
        "records_mb": round(run["bytes_per_record"] * KINETICS_VALIDATION / 1e6),
    }


def versions() -> dict[str, str]:
    """Of everything that decides about speed."""
    return {
        "lrp3d": lrp3d.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "av": av.__version__,
    }


def machine(device: str) -> dict[str, Any]:
    """What it ran on."""
    names = [line.partition(": ")[2] for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    found: dict[str, str | int | float | None]
    found = {"cpu": names[0] if names else platform.processor(), "cores": cores, "threads": THREADS}
    if hasattr(os, "getloadavg"):  # above 0 others were at work too, and rates are too low
        found["load_before"] = round(os.getloadavg()[0], 1)
    if device.startswith("cuda"):
        found["gpu"] = torch.cuda.get_device_name(device)
    return found


def _lines(path: str) -> Sequence[str]:
    return Path(path).read_text().splitlines() if Path(path).exists() else []


def page(result: dict[str, Any]) -> str:
    """The results for people."""
    where = ", ".join(f"{key} {value}" for key, value in {**result["machine"], **result["versions"]}.items())
    read = study.Table(
        "reading",
        "Reading",
        ["frames of a clip", "clips/s of one process", "CPU s of a clip"],
        [
            [one["frames"], *(study.Value(one[key], digits=2) for key in ("clips_per_second", "cpu_seconds_per_clip"))]
            for one in result["reading"]
        ],
    )
    headers = [
        "model",
        "processes",
        "clips/s",
        "CPU s of a clip",
        "share explaining",
        "main process MB",
        "reading process MB",
    ]
    headers += ["bytes of a record", "20,000 clips: h on 1 device", "h on 8 devices", "records MB"]
    rows: list[list[study.Cell]] = []
    for run in result["runs"]:
        speed = [study.Value(run["clips_per_second"], digits=3), study.Value(run["cpu_seconds_per_clip"])]
        share = study.Value(run["explaining_share"], digits=2)
        sizes = [run["memory_mb"]["main"], run["memory_mb"]["reader"], run["bytes_per_record"]]
        projection = run["projection"]
        hours = [study.Value(projection[f"hours_on_{devices}"]) for devices in ("1_device", "8_devices")]
        rows.append([run["model"], run["processes"], *speed, share, *sizes, *hours, projection["records_mb"]])
    runs = study.Table("runs", "Runs", headers, rows)
    return (
        f"# Limits of a study\n\n`{result['command']}`, {result['date']}; {where}.\n\n"
        f"## Reading\n\n{read.markdown()}\n\n## Runs\n\n{runs.markdown()}\n"
    )


if __name__ == "__main__":
    main()
