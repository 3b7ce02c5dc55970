"""The temporal relevance matrix of one clip: lrp3d beside captum, zennit and plain gradients.

    python -m benchmarks.matrix [--models I3D-R50 TAM2D-R50] [--frames 8 16 32] [--size 224] [--repeats 3]
                                [--peers captum zennit] [--peer-passes P] [--contestants NAME ...] [--device cuda]
    python -m benchmarks.matrix --models Swin-T --frames 16 --peers --no-vmap    # needs torchvision

All contestants take turns in one process, after a round that does not count (of which peers do two passes, and which
`--repeats 1` leaves out); `over gradient`, `over one gradient` and `lrp3d is x faster` are medians of the ratios of
single rounds. T(grad) is the looped gradient: one forward pass and N plain input gradients. Peak memory is measured in
a process of its own for each contestant: what it needed beyond the model, the clip and the imported packages.
"""

from __future__ import annotations

import argparse
import functools
import statistics
from collections.abc import Callable, Iterator

import torch
from lrp3d.compute.precision import matmul_precision
from torch import Tensor

import lrp3d
from benchmarks.timing import common, nets, peers

GRADIENT = "gradient, looped"
VMAPPED = "gradient, vmapped"
OWN = "lrp3d"
ONE_GRADIENT = "one gradient"
WEIGHTS = "gradients of the weights"
UNTEMPORAL = "explain(temporal=False)"
IN_CHUNKS = "explain(chunk_size=1)"
OURS = OWN, GRADIENT, VMAPPED, ONE_GRADIENT, UNTEMPORAL, "convert"
CPU_VMAP_CHUNK = 8  # more at once would need tens of gigabytes for 32 frames

NOTES = (
    "each contestant makes one N x N matrix; captum and zennit in 2N passes, gradients (no LRP) in N",
    "captum: z+ at the first layer, as it has no z-beta, and epsilon at residual sums; zennit: z-beta, norm at sums",
    "lrp3d explains with a twin that is kept from clip to clip; convert is what making one costs",
    "over gradient: seconds over those of one forward and N looped plain gradients; peak MiB: beyond model and clip",
    f"the vmapped gradient runs {CPU_VMAP_CHUNK} frames at once on a CPU, all of them on a GPU",
)


def contestant(
    name: str, model: nets.Network, clip: Tensor, target: int, passes: int | None, precision: str = "highest"
) -> tuple[Callable[[], Tensor], float]:
    """What to run, and by how much its seconds are to be multiplied (not 1 where a peer does only some passes).

    All contestants round products and convolutions alike: on a GPU torch's own default is TF32 for convolutions, which
    `lrp3d.explain` uses with `precision="high"` alone.
    """
    run, factor = _contestant(name, model, clip, target, passes, precision)

    def rounded_alike() -> Tensor:
        with matmul_precision(precision, clip.device):
            return run()

    return rounded_alike, factor


def _contestant(
    name: str, model: nets.Network, clip: Tensor, target: int, passes: int | None, precision: str
) -> tuple[Callable[[], Tensor], float]:
    n = clip.shape[2]
    chunk = CPU_VMAP_CHUNK if clip.device.type == "cpu" else None
    if name in common.PEERS:
        done = min(n, max(1, passes // 2)) if passes else n
        return getattr(peers, name)(model, clip, target, 2 * done), n / done
    makers: dict[str, Callable[[], Tensor]] = {
        OWN: peers.ours(model, clip, target, precision),
        GRADIENT: peers.looped_gradient(model, clip, target),
        VMAPPED: peers.vmapped_gradient(model, clip, target, chunk),
        ONE_GRADIENT: functools.partial(_one_gradient, model, clip, target),
        WEIGHTS: functools.partial(_gradient_of_weights, model, clip, target),
        UNTEMPORAL: functools.partial(_untemporal, lrp3d.convert(model), clip, target, precision),
        IN_CHUNKS: functools.partial(_in_chunks, lrp3d.convert(model), clip, target, precision),
        "convert": functools.partial(_converted, model, clip),
    }
    return makers[name], 1.0


def _one_gradient(model: nets.Network, clip: Tensor, target: int) -> Tensor:
    """One forward and one backward pass, for the clip's logit."""
    x = clip.clone().requires_grad_()
    return torch.autograd.grad(model(x)[0, target], x)[0]


def _gradient_of_weights(model: nets.Network, clip: Tensor, target: int) -> Tensor:
    """One forward and one backward pass as training has it: the gradient of every weight, the clip's not."""
    model.requires_grad_()
    return torch.autograd.grad(model(clip)[0, target], list(model.parameters()))[0]


def _untemporal(twin: torch.nn.Module, clip: Tensor, target: int, precision: str) -> Tensor:
    relevance = lrp3d.explain(twin, clip, target, temporal=False, precision=precision).relevance
    assert isinstance(relevance, Tensor)
    return relevance


def _in_chunks(twin: torch.nn.Module, clip: Tensor, target: int, precision: str) -> Tensor:
    """One frame logit after the other, on all cores, with the memory of one."""
    matrix = lrp3d.explain(twin, clip, target, chunk_size=1, precision=precision).matrix
    assert matrix is not None
    return matrix


def _converted(model: nets.Network, clip: Tensor) -> Tensor:
    lrp3d.convert(model)
    return clip


def names(wanted: list[str]) -> Iterator[str]:
    """Ours and gradients, then the peers that are installed; says which are not."""
    yield from OURS
    for peer in wanted:
        if common.installed(peer):
            yield peer
        else:
            print(f"{peer} is not installed and left out: pip install --no-deps {peer}", flush=True)


def peak(name: str, family: str, frames: int, size: int, device_name: str, width: int, threads: int) -> dict[str, int]:
    """Bytes beyond model and clip, and of the whole process (on a GPU: its memory); run in a process of its own.

    Nothing has run there before but one tiny clip, so that what loads lazily is loaded.
    """
    torch.set_num_threads(threads)
    device = torch.device(device_name)
    small = contestant(name, *_setup(family, frames, 32, device, width), 2)[0]
    small()
    run, _ = contestant(name, *_setup(family, frames, size, device, width), 2)
    return {"beyond": common.peak_memory(run, device), "whole": common.high_water(device)}


def _setup(family: str, frames: int, size: int, device: torch.device, width: int) -> tuple[nets.Network, Tensor, int]:
    """Model, clip and the class that is explained: the predicted one."""
    model, clip = nets.network(family, frames, device, width), nets.clip_of(frames, size, device)
    with torch.no_grad():
        target = int(model(clip).argmax())
    return model, clip, target


def measure(
    family: str, frames: int, options: argparse.Namespace, device: torch.device, width: int
) -> Iterator[common.Row]:
    """A row per contestant."""
    asked = {*options.contestants, *options.peers} - ({VMAPPED} if options.no_vmap else set())
    wanted = [name for name in names(options.peers) if name in asked]
    for size in (32, options.size):  # the small clip first: what loads lazily is loaded
        setup = _setup(family, frames, size, device, width)
        made = {name: contestant(name, *setup, options.peer_passes) for name in wanted}
        if size != options.size or options.repeats > 1:
            warm = {name: contestant(name, *setup, 2)[0] if name in common.PEERS else made[name][0] for name in wanted}
            common.compare(warm, 1, device)
    times = common.compare({name: run for name, (run, _) in made.items()}, options.repeats, device)
    factors = {name: factor for name, (_, factor) in made.items()}
    n = frames
    for name in wanted:
        factor = factors[name]
        seconds = [factor * s for s in times.seconds[name]]
        memory: dict[str, int] = {}
        if not options.no_memory:
            arguments = (name, family, frames, options.size, str(device), width, torch.get_num_threads())
            memory = common.in_a_child(peak, *arguments)
        yield {
            "model": family,
            "frames": n,
            "size": options.size,
            "contestant": name,
            "seconds": statistics.median(seconds),
            "over gradient": factor * times.ratio(name, GRADIENT) if GRADIENT in wanted else None,
            "over one gradient": factor * times.ratio(name, ONE_GRADIENT) if ONE_GRADIENT in wanted else None,
            "lrp3d is x faster": factor * times.ratio(name, OWN) if OWN in wanted else None,
            "peak MiB": common.mib(memory.get("beyond")),
            "peak MiB of the process": common.mib(memory.get("whole")),
            "passes scaled by": factor,
            "rounds": seconds,
        }


def main(argv: list[str] | None = None) -> common.Results:
    """Measure and write the results."""
    parser = common.arguments(__doc__)
    parser.add_argument("--models", nargs="+", default=list(nets.FAMILIES))
    parser.add_argument("--frames", nargs="+", type=int, default=[8, 16, 32])
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--peers", nargs="*", default=list(common.PEERS), choices=common.PEERS)
    parser.add_argument("--peer-passes", type=int, help="of the peers' 2N equal passes, time so many and scale")
    parser.add_argument("--no-vmap", action="store_true", help="leave out the vmapped gradient, slow for many frames")
    parser.add_argument("--no-memory", action="store_true", help="do not measure peak memory")
    parser.add_argument("--contestants", nargs="+", default=list(OURS), choices=OURS, help="all beside the peers")
    options = common.parse(parser, argv)
    device = common.start(options)
    width = 64
    if options.quick:
        options.frames, options.size, options.repeats, width = [2], 32, 1, 8
        options.models = [name.replace("R50", "R18") for name in options.models]
    notes = list(NOTES)
    if options.peer_passes:
        notes.append(f"of the peers' 2N passes, {options.peer_passes} were timed, and their seconds scaled to 2N")
    results = common.Results(
        "matrix",
        "The temporal relevance matrix of one clip",
        options,
        device,
        columns=[
            *("model", "frames", "size", "contestant", "seconds"),
            *("over gradient", "over one gradient", "lrp3d is x faster", "peak MiB"),
        ],
        notes=notes,
    )
    return results.collect(
        row
        for family in options.models
        for frames in options.frames
        for row in measure(family, frames, options, device, width)
    )


if __name__ == "__main__":
    main()
