"""Where the seconds, products and bytes of an explanation go, beside those of plain gradients and what the machine can.

    python -m benchmarks.breakdown [--models I3D-R50 TAM2D-R50] [--frames 8] [--size 224] [--device cuda]

Every operation of torch is timed by itself and counted for the part of the explanation that asked for it. The `least`
seconds are a roofline: no operation can take less than its products at the speed of the best matrix product, or than
its bytes at the speed of a copy, both measured here.
"""

from __future__ import annotations

import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from types import FrameType
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten
from torch.utils.flop_counter import flop_registry

import lrp3d
from benchmarks.timing import common, nets, peers
from lrp3d.compute import onednn

EXPLAIN = "explain as a whole"
GRADIENTS = "forward and N plain gradients"

# By file and function, the part of an explanation that it works for; of the functions that run, the outermost decides.
PARTS = {
    ("clip_relevance.py", "_one_side"): "one side alone, to check conservation",
    ("lazy_relevance.py", "total"): "totals for the ledger",
    ("linear.py", "_prepare"): "denominators and factors, once for all frames",
    ("window_maxima.py", "_input_relevance"): "max pools",
    ("kernels.py", "adjoint"): "products and convolutions of relevance",
    ("windows.py", "adjoint"): "products and convolutions of relevance",
    ("kernels.py", "scaled_adjoint"): "products and convolutions of relevance",
    ("windows.py", "scaled_adjoint"): "products and convolutions of relevance",
    ("matmul.py", None): "products and convolutions of relevance",
    ("propagate.py", "propagate"): "multiplications and sums of relevance",
    ("twin.py", "record"): "the model's forward",
    ("frame_logits.py", None): "seeds",
}
OTHER = "everything else"
BY_ONEDNN = getattr(torch.ops.mkldnn, "_linear_pointwise", None) and torch.ops.mkldnn._linear_pointwise.default
"""The product of `lrp3d.compute.onednn`, which torch's own table of operations does not count."""


@dataclass
class Work:
    """What operations took."""

    seconds: float = 0.0
    gflop: float = 0.0
    gigabytes: float = 0.0
    least: float = 0.0


@dataclass(frozen=True)
class Peaks:
    """The best that the machine was seen to do."""

    gflops: float
    gflops_of_torch: float
    """Of torch's own product, which is not the fastest on every processor (`lrp3d.compute.onednn`)."""
    gigabytes_per_second: float

    @staticmethod
    def measured(device: torch.device, quick: bool) -> Peaks:
        """A matrix product, and a copy that no cache holds; the best of several."""
        side, length = (256, 2**20) if quick else (2048, 2**26)
        a, b, out = torch.rand(side, side).to(device), torch.rand(side, side).to(device), torch.rand(side, side)
        source, target, out = torch.rand(length).to(device), torch.rand(length).to(device), out.to(device)

        def best(run: Callable[[], Any]) -> float:
            return min(common.timed(run, device) for _ in range(5))

        of_torch = best(lambda: torch.mm(a, b, out=out))
        product = min(of_torch, best(lambda: onednn.product(a, b))) if onednn.suits(a, b) else of_torch
        return Peaks(
            2 * side**3 / 1e9 / product,
            2 * side**3 / 1e9 / of_torch,
            8 * length / 1e9 / best(lambda: target.copy_(source)),
        )


class Watch(TorchDispatchMode):
    """Times every operation, and counts it for the part of the explanation that asked for it."""

    def __init__(self, device: torch.device, peaks: Peaks):
        super().__init__()  # type: ignore[no-untyped-call]  # torch does not annotate it
        self.device, self.peaks = device, peaks
        self.parts: dict[str, Work] = defaultdict(Work)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        common.synchronise(self.device)
        begin = time.perf_counter()
        out = func(*args, **(kwargs or {}))
        common.synchronise(self.device)
        seconds = time.perf_counter() - begin
        work = self.parts[_part(sys._getframe(1))]
        count = _linear_flop if func is BY_ONEDNN else flop_registry.get(func.overloadpacket)
        gflop = 0.0 if count is None else count(*args, **(kwargs or {}), out_val=out) / 1e9
        copied = [x for x in tree_flatten((args, kwargs, out))[0] if isinstance(x, Tensor)]
        gigabytes = 0.0 if func.is_view else sum(map(_bytes, copied)) / 1e9
        work.seconds += seconds
        work.gflop += gflop
        work.gigabytes += gigabytes
        work.least += min(seconds, max(gflop / self.peaks.gflops, gigabytes / self.peaks.gigabytes_per_second))
        return out


def _linear_flop(x: Tensor, w: Tensor, *_: Any, **__: Any) -> int:
    """Of x (..., i) and w (o, i)."""
    return 2 * x.numel() * len(w)


def _bytes(x: Tensor) -> int:
    """What there is of it in memory: a tensor that was expanded is no larger than before."""
    return min(x.numel() * x.element_size(), x.untyped_storage().nbytes())


def _part(frame: FrameType | None) -> str:
    found = OTHER
    while frame is not None:
        file, name = frame.f_code.co_filename.rpartition("/")[2], frame.f_code.co_name
        part = PARTS.get((file, name)) or PARTS.get((file, None))
        # A walk over the graph is what all others are inside of, so it counts only where none of them runs.
        if part is not None and (found == OTHER or name != "propagate"):
            found = part
        frame = frame.f_back
    return found


def measure(family: str, options: Any, device: torch.device, width: int, peaks: Peaks) -> Iterator[common.Row]:
    """A row for each part of an explanation, one for all, and one for the plain gradients of the same logits."""
    model = nets.network(family, options.frames, device, width)
    clip = nets.clip_of(options.frames, options.size, device)
    twin = lrp3d.convert(model)

    def explained() -> object:
        return lrp3d.explain(twin, clip, 0)

    gradients = peers.looped_gradient(model, clip, 0)
    explained()  # what loads lazily is loaded, and memory is there
    programs = {EXPLAIN: explained, GRADIENTS: gradients}
    times = common.compare(programs, options.repeats, device)
    for name, run in programs.items():
        with Watch(device, peaks) as watch:
            run()
        whole = [sum(getattr(work, field.name) for work in watch.parts.values()) for field in fields(Work)]
        if name == EXPLAIN:
            for part, work in sorted(watch.parts.items(), key=lambda item: -item[1].seconds):
                yield _row(family, part, work) | {"% of operations": 100 * work.seconds / whole[0]}
        yield _row(family, name, Work(times.median(name), *whole[1:]))


def _row(family: str, part: str, work: Work) -> common.Row:
    return {
        "model": family,
        "part": part,
        "seconds": work.seconds,
        "GFLOP": work.gflop,
        "GB": work.gigabytes,
        "least": work.least,
    }


def main(argv: list[str] | None = None) -> common.Results:
    """Measure and write the results."""
    parser = common.arguments(__doc__)
    nets.add_sizes(parser)
    options = common.parse(parser, argv)
    device = common.start(options)
    width = nets.width_of(options)
    peaks = Peaks.measured(device, options.quick)
    results = common.Results(
        "breakdown",
        "Where the seconds of an explanation go",
        options,
        device,
        columns=["model", "part", "seconds", "% of operations", "GFLOP", "GB", "least"],
        notes=[
            f"{options.frames} frames at {options.size} px; wholes are medians; parts, and their shares, are of one "
            "more run, in which every operation is timed by itself, and chunks go one after the other",
            f"least: seconds at {peaks.gflops:.0f} GFLOP/s (the best matrix product; torch's own makes "
            f"{peaks.gflops_of_torch:.0f}) or {peaks.gigabytes_per_second:.0f} GB/s (a copy) for each operation, "
            "whichever is longer",
        ],
    )
    return results.collect(row for family in options.models for row in measure(family, options, device, width, peaks))


if __name__ == "__main__":
    main()
