"""What all benchmarks share: timing side by side, peak memory, where it was measured, and the results' files."""

from __future__ import annotations

import argparse
import gc
import json
import multiprocessing
import os
import platform
import random
import resource
import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from lrp3d.files import replacing

import lrp3d

ROOT = Path(__file__).parent.parent.parent
RESULTS = ROOT / "benchmarks" / "results"
PEERS = ("captum", "zennit")

Row = dict[str, Any]
_ENVIRONMENT = ("versions", "machine")


# ------------------------------------------------------------------------------------------- command lines


def arguments(doc: str | None) -> argparse.ArgumentParser:
    """A parser with the options that every benchmark has."""
    parser = argparse.ArgumentParser(description=(doc or "").splitlines()[0])
    parser.add_argument("--device", default="cpu", help="cpu (default) or cuda")
    parser.add_argument("--repeats", type=int, default=3, help="rounds; medians are reported (default 3)")
    parser.add_argument("--threads", type=int, help="threads of torch on a CPU (default: torch's own choice)")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: that it runs, not how fast")
    parser.add_argument(
        "--out", type=Path, help="folder of the results (default: benchmarks/results, quick: out/quick)"
    )
    parser.add_argument("--label", help="part of the results' file name (default: the device)")
    return parser


def add_folder(parser: argparse.ArgumentParser, flag: str, default: str) -> None:
    """An option that takes a folder."""
    parser.add_argument(flag, type=Path, default=Path(default), metavar="DIR", help="default: %(default)s")


def parse(parser: argparse.ArgumentParser, argv: Sequence[str] | None) -> argparse.Namespace:
    """The options, and in `argv` the words they were read from."""
    words = sys.argv[1:] if argv is None else list(argv)
    options = parser.parse_args(words)
    options.argv = words
    return options


def start(options: argparse.Namespace) -> torch.device:
    """Check the common options and set torch up; returns the device."""
    device = torch.device(options.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise SystemExit("--device cuda: torch sees no GPU here")
    if options.repeats < 1:
        raise SystemExit(f"--repeats must be at least 1, got {options.repeats}")
    if options.threads:
        torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    return device


# --------------------------------------------------------------------------------------------------- timing


@dataclass
class Timed:
    """Seconds of each round, one list per contestant, in the order of the rounds."""

    seconds: dict[str, list[float]]

    def median(self, name: str) -> float:
        """Seconds."""
        return statistics.median(self.seconds[name])

    def ratio(self, name: str, reference: str) -> float:
        """The median of the ratios within one round: a machine that drifts does so for both."""
        pairs = zip(self.seconds[name], self.seconds[reference], strict=False)
        return statistics.median(a / b for a, b in pairs)


def compare(
    contestants: Mapping[str, Callable[[], Any]],
    repeats: int,
    device: torch.device,
    clock: Callable[[], float] = time.perf_counter,
) -> Timed:
    """Time contestants in turn, `repeats` rounds of all of them, each in an order of its own.

    What one leaves behind, in caches and free memory, is then not always met by the same one. Other programs on the
    machine count less with `time.process_time` as the clock, which is the time of the processor.
    """
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    names = list(contestants)
    order = random.Random(0)
    for _ in range(repeats):
        for name in order.sample(names, len(names)):
            gc.collect()
            seconds[name].append(timed(contestants[name], device, clock))
    return Timed(seconds)


def timed(run: Callable[[], Any], device: torch.device, clock: Callable[[], float] = time.perf_counter) -> float:
    """Seconds until `run` has come to its end, on the device too."""
    synchronise(device)
    begin = clock()
    run()
    synchronise(device)
    return clock() - begin


def synchronise(device: torch.device) -> None:
    """Wait for a GPU."""
    if device.type != "cpu":
        torch.get_device_module(device.type).synchronize()


def per_call(run: Callable[[], Any], device: torch.device, at_least: float) -> float:
    """Seconds of one call, the mean over as many as take `at_least` seconds; for what is too short to time once."""
    once = timed(run, device)
    calls = max(1, min(1000, int(at_least / max(once, 1e-7))))
    return timed(lambda: [run() for _ in range(calls)], device) / calls


def exponent(sizes: Sequence[float], values: Sequence[float]) -> float:
    """The p of values ~ sizes ** p, by least squares of logarithms.

    >>> round(exponent([8, 16, 32], [1.0, 4.0, 16.0]), 6)
    2.0
    """
    x, y = (torch.tensor(list(v), dtype=torch.float64).log() for v in (sizes, values))
    x = x - x.mean()
    return float((x * y).sum() / x.square().sum())


# --------------------------------------------------------------------------------------------------- memory


def peak_memory(run: Callable[[], Any], device: torch.device) -> int:
    """Bytes that `run` needs at its worst beyond what was there before it."""
    if device.type == "cuda":
        gc.collect()  # what is freed while it runs would hide its peak
        synchronise(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        run()
        synchronise(device)
        return torch.cuda.max_memory_allocated(device) - before
    gc.collect()
    _lower_the_mark()
    before = _resident()
    run()
    return max(0, high_water(device) - before)


def in_a_child(run: Callable[..., Any], *arguments: Any) -> Any:
    """What `run` returns in a fresh process: high-water marks never fall, so each contestant gets its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(run, arguments)


def _lower_the_mark() -> None:
    """Linux forgets its high-water mark on request; elsewhere it stays, and a peak below it goes unseen."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


def _status(key: str) -> int | None:
    """Bytes, from Linux's /proc; unlike `ru_maxrss` it does not start with the parent's high-water mark."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(key)), None)


def high_water(device: torch.device) -> int:
    """Bytes: the peak of this process so far, or of what it has on a GPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    peak = _status("VmHWM:")
    unit = 1 if sys.platform == "darwin" else 1024
    return peak if peak is not None else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _resident() -> int:
    resident = _status("VmRSS:")
    return resident if resident is not None else high_water(torch.device("cpu"))


# ---------------------------------------------------------------------------------------------------- results


def installed(package: str) -> bool:
    """Whether a peer can be measured here."""
    try:
        metadata.version(package)
    except metadata.PackageNotFoundError:
        return False
    return True


def versions() -> dict[str, str]:
    """Of Python, torch, lrp3d (with its commit) and the peers that are installed."""
    found = {"python": platform.python_version(), "torch": torch.__version__, "lrp3d": lrp3d.__version__}
    commit = _run("git", "-C", str(ROOT), "describe", "--always", "--dirty=+changes", "--exclude=*")
    if commit:
        found["lrp3d"] += f" ({commit})"
    return found | {peer: metadata.version(peer) for peer in PEERS if installed(peer)}


def machine(device: torch.device) -> dict[str, Any]:
    """CPU model, cores, threads in use, memory, system; the GPU where one is used."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    found: dict[str, Any] = {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "memory_gib": round(memory / 2**30, 1),
        "system": f"{platform.system()} {platform.machine()}",
    }
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        found["gpu"] = properties.name
        found["gpu_memory_gib"] = round(properties.total_memory / 2**30, 1)
        found["cuda"] = torch.version.cuda
    return found


def _cpu() -> str:
    """The model, and the fastest arithmetic that it has (virtual machines hide the model)."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    name = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
    return f"{name}, {torch.backends.cpu.get_cpu_capability()}"


def _run(*command: str) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


@dataclass
class Results:
    """What a program has measured so far; written while it runs, so that an interrupted one keeps what it has."""

    program: str
    title: str
    options: argparse.Namespace
    device: torch.device
    columns: Sequence[str]
    notes: Sequence[str] = ()

    def __post_init__(self) -> None:
        self.rows: list[Row] = []
        self.written = 0.0
        self.header: dict[str, Any] = {
            "benchmark": self.program,
            "title": self.title,
            "date": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
            "command": shlex.join(["python", "-m", f"benchmarks.{self.program}", *self.options.argv]),
            "versions": versions(),
            "machine": machine(self.device),
            "notes": list(self.notes),
        }

    @property
    def path(self) -> Path:
        """The JSON file; the table beside it ends in .md."""
        folder = self.options.out or (ROOT / "out" / "quick" if self.options.quick else RESULTS)
        return Path(folder) / f"{self.program}-{self.options.label or self.device.type}.json"

    def add(self, row: Row) -> None:
        """Keep a row, print it, and write all of them, at most every few seconds."""
        self.rows.append(row)
        print("  ".join(f"{name} {_shown(row.get(name))}" for name in self.columns), flush=True)
        if time.monotonic() - self.written > 5:
            self.write()

    def collect(self, rows: Iterable[Row]) -> Results:
        """Keep rows as they are measured, so that a run that is stopped has lost none, and write all of them."""
        for row in rows:
            self.add(row)
        return self.write()

    def write(self) -> Results:
        """Both files, each completely or not at all."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(self.path) as temporary:
            temporary.write_text(json.dumps(self.header | {"rows": self.rows}, indent=1) + "\n")
        with replacing(self.path.with_suffix(".md")) as temporary:
            temporary.write_text(self._page())
        self.written = time.monotonic()
        return self

    def _page(self) -> str:
        header = self.header
        named, where = (", ".join(f"{key} {value}" for key, value in header[part].items()) for part in _ENVIRONMENT)
        lines = [f"# {self.title}", "", f"- {header['date']}", f"- `{header['command']}`", f"- {named}", f"- {where}"]
        lines += [f"- {note}" for note in self.notes]
        return "\n".join([*lines, "", *table(self.columns, self.rows), ""])


def table(columns: Sequence[str], rows: Iterable[Row]) -> list[str]:
    """Lines of a Markdown table; lists in a row (all rounds) are for the JSON file only."""
    lines = ["| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]
    return lines + ["| " + " | ".join(_shown(row.get(name)) for name in columns) + " |" for row in rows]


def _shown(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def mib(size: int | None) -> float | None:
    """Bytes to MiB."""
    return None if size is None else round(size / 2**20, 1)
