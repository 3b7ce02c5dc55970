"""Everything that is to be known of one GPU, in one call of at most eight minutes.

    python -m benchmarks.gpu [--models I3D-R50 TAM2D-R50] [--frames 8 16] [--size 224] [--seconds 480]

Needs torch alone. captum and zennit are measured where they are installed, a study with its decoder where PyAV is. In
turn: is the GPU's explanation that of the CPU; what TF32 and (in the forward) bfloat16 change; the matrix beside plain
gradients, looped and batched, and the other libraries, with peak memory; how long the first explanation takes; clips
per second. What there is no time for is named. `--device cpu --quick` shows that it runs.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import torch
from lrp3d.out_of_memory import free_cached_memory

import lrp3d
from benchmarks import matrix
from benchmarks.precision import deviation
from benchmarks.timing import common, nets

MEASURED = ("seconds", "over gradient", "peak MiB", "deviation %", "note")
COLUMNS = ("what", "model", "frames", "contestant", "rounds to", *MEASURED)
ROUNDED = {"highest": "float32", "high": "TF32"}
LONG = 16  # frames; from there on other libraries are not waited for
NOTES = (
    "equality: the GPU's explanation against the CPU's; deviation: greatest difference over the size of a row "
    "(matrix), or all differences over all relevance (map)",
    "precision: against the GPU's own float32; bfloat16 is the model's own, whose relevance is computed in float32; a "
    "small random network, as with --quick, deviates most",
    "matrix: seconds over those of one forward pass and N looped plain gradients; peak MiB beyond model and clip; all "
    "contestants of a row's kind round alike, to float32 or to TF32",
    "the matrix of captum and zennit is 2 N equal passes, of which 4 are timed and scaled",
    "study: seconds per clip, decoding of H.264 videos included; resident: the clips are on the device before",
)


class Clock:
    """What is left of the time that the whole may take."""

    def __init__(self, seconds: float):
        self.end = time.monotonic() + seconds

    @property
    def left(self) -> float:
        """Seconds."""
        return self.end - time.monotonic()


def map_deviation(one: torch.Tensor, exact: torch.Tensor) -> float:
    """All differences over all relevance.

    >>> map_deviation(torch.tensor([1.5, 2.0]), torch.tensor([1.0, 2.0]))
    0.16...
    """
    one, exact = one.detach().double().cpu(), exact.detach().double().cpu()
    return float((one - exact).abs().sum() / exact.abs().sum())


def deviations(what: str, contestant: str, found: lrp3d.Explanation, exact: lrp3d.Explanation) -> Iterator[common.Row]:
    """A row for the matrix and one for the map."""
    assert found.matrix is not None
    assert exact.matrix is not None
    assert isinstance(found.relevance, torch.Tensor)
    assert isinstance(exact.relevance, torch.Tensor)
    greatest, _ = deviation(found.matrix.cpu(), exact.matrix.cpu())
    yield {"what": what, "contestant": f"{contestant}, matrix", "deviation %": 100 * greatest}
    yield {
        "what": what,
        "contestant": f"{contestant}, map",
        "deviation %": 100 * map_deviation(found.relevance, exact.relevance),
    }


def equality(family: str, size: int, device: torch.device, width: int) -> Iterator[common.Row]:
    """Of small clips, every kind of explanation on both devices."""
    cpu = torch.device("cpu")
    models = {place: nets.network(family, 8, place, width) for place in {cpu, device}}
    clips = {place: nets.clip_of(8, size, place) for place in models}
    kinds: dict[str, Callable[[nets.Network, torch.Tensor, int], lrp3d.Explanation]] = {
        "CLRP": lrp3d.explain,
        "LRP": partial(lrp3d.explain, contrastive=False),
        "motion": partial(lrp3d.explain, motion=True),
    }
    for kind, explain in kinds.items():
        on = {place: explain(models[place], clips[place], 0) for place in models}
        yield from deviations("equality", kind, on[device], on[cpu])


def precisions(family: str, frames: int, size: int, device: torch.device, width: int) -> Iterator[common.Row]:
    """What TF32 and a model in bfloat16 change."""
    model, clip = nets.network(family, frames, device, width), nets.clip_of(frames, size, device)
    exact = lrp3d.explain(model, clip, 0)
    yield from deviations(
        "precision", 'TF32 (precision="high")', lrp3d.explain(model, clip, 0, precision="high"), exact
    )
    half = nets.network(family, frames, device, width).to(torch.bfloat16)
    yield from deviations("precision", "model in bfloat16", lrp3d.explain(half, clip.to(torch.bfloat16), 0), exact)


def speed(
    family: str,
    frames: int,
    options: argparse.Namespace,
    device: torch.device,
    width: int,
    clock: Clock,
    precision: str,
) -> Iterator[common.Row]:
    """The matrix by all means: seconds by rounds in turn, as long as there is time, and peak memory."""
    small = matrix._setup(family, frames, 32, device, width)
    setup = matrix._setup(family, frames, options.size, device, width)
    wanted = [matrix.OWN, matrix.GRADIENT, matrix.VMAPPED, "explain(temporal=False)"]
    wanted += [peer for peer in common.PEERS if common.installed(peer) and frames < LONG]
    made: dict[str, tuple[Callable[[], torch.Tensor], float]] = {}
    rows: dict[str, common.Row] = {}
    for name in wanted:
        try:
            matrix.contestant(name, *small, 2, precision)[0]()  # what loads lazily is loaded
            run, factor = matrix.contestant(name, *setup, 4, precision)
            memory = common.peak_memory(run, device)
        except torch.OutOfMemoryError:
            yield {"contestant": name, "rounds to": ROUNDED[precision], "note": "does not fit into memory"}
            continue
        made[name] = run, factor
        rows[name] = {"contestant": name, "rounds to": ROUNDED[precision], "peak MiB": common.mib(memory)}
    seconds: dict[str, list[float]] = {name: [] for name in made}
    for _ in range(options.repeats):
        if clock.left < 0:
            break
        for name, times in common.compare({name: run for name, (run, _) in made.items()}, 1, device).seconds.items():
            seconds[name] += times
    whole = common.Timed({name: [made[name][1] * s for s in times] for name, times in seconds.items()})
    for name, row in rows.items():
        if seconds[name]:
            over = whole.ratio(name, matrix.GRADIENT) if matrix.GRADIENT in made else None
            row |= {"seconds": whole.median(name), "over gradient": over, "rounds": whole.seconds[name]}
        yield row


def first_and_next(family: str, frames: int, size: int, device: torch.device, width: int) -> Iterator[common.Row]:
    """What a twin's first explanation costs beside its second."""
    twin = lrp3d.convert(nets.network(family, frames, device, width))
    clip = nets.clip_of(frames, size, device)
    for name in ("first", "second"):
        yield {"contestant": name, "seconds": common.timed(lambda: lrp3d.explain(twin, clip, 0), device)}


def clips_per_second(
    family: str, frames: int, options: argparse.Namespace, device: torch.device, width: int, batch: int
) -> Iterator[common.Row]:
    """Batches that lie on the device."""
    twin = lrp3d.convert(nets.network(family, frames, device, width))
    clip = nets.clip_of(frames, options.size, device, batch)
    lrp3d.explain(twin, clip)
    seconds = min(common.timed(lambda: lrp3d.explain(twin, clip), device) for _ in range(options.repeats)) / batch
    yield {"contestant": f"resident, batches of {batch}", "seconds": seconds, "note": f"{1 / seconds:.3g} clips/s"}


def studies(family: str, frames: int, clips: int, batch: int, device: torch.device) -> Iterator[common.Row]:
    """A study of made videos, decoder included; its network as the study builds it."""
    from benchmarks import study as of_videos

    with tempfile.TemporaryDirectory() as folder:
        videos = of_videos.make_videos(Path(folder), clips)
        options = argparse.Namespace(device=str(device), batch=batch, workers=batch)
        found = of_videos.running(folder, videos, f"{family}-f{frames}", options)
    per_second = float(found["clips_per_second"])
    yield {"contestant": "with the decoder", "seconds": 1 / per_second, "note": f"{per_second:.3g} clips/s"}


def parts(
    options: argparse.Namespace, device: torch.device, width: int, clock: Clock
) -> Iterator[tuple[str, str, int, Callable[[], Iterator[common.Row]]]]:
    """What is measured, the most needed first: name, model, frames, rows."""
    small = min(64, options.size)
    for family in options.models:
        yield "equality", family, 8, partial(equality, family, small, device, width)
    for family in options.models:
        yield "precision", family, 8, partial(precisions, family, 8, options.size, device, width)
    for family in options.models:
        yield "first", family, 8, partial(first_and_next, family, 8, options.size, device, width)
    precisions_of_device = ROUNDED if device.type == "cuda" else ("highest",)
    for precision, frames, family in itertools.product(precisions_of_device, options.frames, options.models):
        yield "matrix", family, frames, partial(speed, family, frames, options, device, width, clock, precision)
    for family in options.models:
        for batch in (1, 4):
            yield "study", family, 8, partial(clips_per_second, family, 8, options, device, width, batch)
    if common.installed("av"):
        frames, batch = (2, 1) if options.quick else (8, 4)
        for family in options.models:
            yield "study", family, frames, partial(studies, family, frames, options.clips, batch, device)


def main(argv: list[str] | None = None) -> common.Results:
    """Measure and write the results."""
    parser = common.arguments(__doc__)
    parser.set_defaults(device="cuda")
    parser.add_argument("--models", nargs="+", default=list(nets.FAMILIES))
    parser.add_argument("--frames", nargs="+", type=int, default=[8, 16, 32])
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--clips", type=int, default=32, help="videos of the study (default 32)")
    parser.add_argument("--seconds", type=float, default=420.0, help="no part begins later than that (default 420)")
    options = common.parse(parser, argv)
    device = common.start(options)
    if device.type == "cpu" and not options.quick:
        raise SystemExit("benchmarks.gpu measures a GPU; --device cpu --quick shows that it runs")
    width = 64
    if options.quick:
        options.frames, options.size, options.repeats, options.clips, width = [2], 32, 1, 2, 8
        options.models = [name.replace("R50", "R18") for name in options.models[:1]]
    missing = [name for name in (*common.PEERS, "av") if not common.installed(name)]
    notes = [*NOTES, *(f"{name} is not installed and left out" for name in missing)]
    results = common.Results("gpu", "One GPU", options, device, columns=COLUMNS, notes=notes)
    clock = Clock(options.seconds)
    try:
        for what, family, frames, run in parts(options, device, width, clock):
            about = {"what": what, "model": family, "frames": frames}
            if clock.left < 0:
                results.add(about | {"note": "no time was left"})
                continue
            if not _measure(run, about, results):
                break
            results.write()
    finally:
        results.write()
    return results


def _measure(run: Callable[[], Iterator[common.Row]], about: common.Row, results: common.Results) -> bool:
    """Adds the rows of one part; if it fails, the rest is measured all the same, unless the GPU itself has failed."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for row in run():
                results.add(about | row)
    except Exception as error:
        traceback.print_exc()
        reason = (str(error).splitlines() or [""])[0][:200]
        trace = traceback.format_exc()
        results.add(about | {"note": f"failed: {type(error).__name__}: {reason}", "traceback": trace})
        if "CUDA error" in str(error) and "out of memory" not in str(error):
            return False  # nothing can be computed in this process any more
    free_cached_memory(results.device)
    return True


if __name__ == "__main__":
    main()
