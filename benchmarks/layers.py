"""The relevance of every layer by itself, over the layer's forward pass and over its plain input gradient.

    python -m benchmarks.layers [--models I3D-R50 TAM2D-R50] [--frames 8] [--size 224] [--seeds 1 8 32]

Shapes are those that occur in the models, each once, with how often it occurs; layer types that occur in none of them
follow at one shape. A column `relevance s` is the time for s seeds over s times the plain input gradient, `plain s` the
same with torch's own kernels (`lrp3d.kernels.plain`); `over forward` is one seed over one forward pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

import lrp3d
from benchmarks.timing import common, nets
from lrp3d.compute import buffers, kernels
from lrp3d.models import VideoModel
from lrp3d.propagation.chunks import seeds_at_once
from lrp3d.propagation.propagate import Start, propagate
from lrp3d.steps.graph import edge_of
from lrp3d.twin.trace import Trace


class Sum(nn.Module):
    """A residual sum."""

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """x + y."""
        return x + y


class Concatenation(nn.Module):
    """Of channels."""

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """(b, c + c', ...)."""
        return torch.cat([x, y], 1)


class Excitation(nn.Module):
    """A gate from the mean of every channel (squeeze and excitation)."""

    def forward(self, x: Tensor) -> Tensor:
        """x times what its means say of it."""
        return x * torch.sigmoid(x.mean((2, 3, 4), keepdim=True))


@dataclass
class Case:
    """A layer, the shapes of its inputs, how often it occurs where, and whether it sees the clip."""

    layer: nn.Module
    shapes: list[tuple[int, ...]]
    model: str = "-"
    count: int = 1
    first: bool = False

    @property
    def name(self) -> str:
        """Type and what tells it from others of its type."""
        kind = type(self.layer).__name__
        weight = getattr(self.layer, "weight", None)
        parts = [kind]
        if isinstance(weight, Tensor) and weight.dim() > 1:
            parts.append(f"{'x'.join(map(str, weight.shape[:2]))}")
        for key, mark in (("kernel_size", ""), ("stride", "/"), ("groups", "g")):
            value = getattr(self.layer, key, None)
            if value is not None and (key != "groups" or value > 1):
                value = value if isinstance(value, tuple) else (value,)
                if key == "kernel_size" or any(v != 1 for v in value):
                    parts.append(mark + "x".join(map(str, value)))
        return " ".join(parts)


class _AfterReLU(nn.Module):
    """A layer inside a network: what it sees is no clip and never negative."""

    def __init__(self, layer: nn.Module):
        super().__init__()
        self.layer = layer

    def forward(self, *inputs: Tensor) -> Tensor:
        out: Tensor = self.layer(*(torch.relu(x) for x in inputs))
        return out


def occurring(family: str, frames: int, size: int, device: torch.device, width: int) -> list[Case]:
    """Every layer of a model at every shape, once each, in order; a residual sum for every block."""
    model = nets.network(family, frames, device, width)
    if not isinstance(model, VideoModel):
        raise SystemExit(f"--models: layers are those of networks of lrp3d.models, got {family}; leave it out")
    stems = model.stems
    cases: dict[str, Case] = {}

    def met(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        is_sum = hasattr(layer, "downsample")
        shown = Sum() if is_sum else layer
        shapes = [tuple(output.shape)] * 2 if is_sum else [tuple(x.shape) for x in inputs]
        case = Case(shown, shapes, family, first=layer in stems)
        case = cases.setdefault(f"{shown} {shapes}", case)
        case.count += case.layer is not shown

    skipped = (nn.Identity, nn.Dropout)
    handles = [
        module.register_forward_hook(met)
        for module in model.modules()
        if hasattr(module, "downsample") or not (list(module.children()) or isinstance(module, skipped))
    ]
    with torch.no_grad():
        model(nets.clip_of(frames, size, device))
    for handle in handles:
        handle.remove()
    return list(cases.values())


def others(channels: int, frames: int, size: int) -> list[Case]:
    """What lrp3d supports and the models lack."""
    video, image = (1, channels, frames, size, size), (1, channels, size, size)
    sequence, vector = (1, channels, frames * size), (1, channels)
    c = channels
    on_video = [
        nn.Conv3d(c, c, 3, padding=1, groups=4),
        nn.Conv3d(c, c, 3, padding=1, groups=c),
        nn.Conv3d(c, c, 3, padding=2, dilation=2),
        nn.Conv3d(c, c, (3, 1, 1), padding=(1, 0, 0)),
        nn.Conv3d(c, c, (5, 1, 1), padding=(2, 0, 0), groups=c),
        nn.Conv3d(c, c, 3, padding=1, padding_mode="replicate"),
        nn.ConvTranspose3d(c, c, 2, 2),
        nn.MaxPool3d(3, 2, 1),
        nn.MaxPool3d(3, 1, 1),
        nn.MaxPool3d((2, 1, 1)),
        nn.AvgPool3d(3, 2, 1),
        nn.AvgPool3d((2, 1, 1)),
        nn.AdaptiveAvgPool3d(1),
        nn.AdaptiveMaxPool3d(2),
        nn.Upsample(scale_factor=2),
        nn.SiLU(),
        nn.GELU(),
        nn.Hardswish(),
        Excitation(),
    ]
    on_image = [
        nn.Conv2d(c, c, 3, padding=1),
        nn.Conv2d(c, c, 3, padding=1, groups=c),
        nn.ConvTranspose2d(c, c, 2, 2),
        nn.BatchNorm2d(c),
        nn.MaxPool2d(2),
        nn.AvgPool2d(2),
        nn.UpsamplingBilinear2d(scale_factor=2),
    ]
    on_sequence = [nn.Conv1d(c, c, 3, padding=1), nn.BatchNorm1d(c), nn.MaxPool1d(2), nn.AvgPool1d(2)]
    return [
        *(Case(layer, [video]) for layer in on_video),
        Case(Concatenation(), [video, video]),
        *(Case(layer, [image]) for layer in on_image),
        *(Case(layer, [sequence]) for layer in on_sequence),
        Case(nn.Linear(c, c), [vector]),
    ]


def measure(case: Case, seeds: list[int], repeats: int, device: torch.device, at_least: float) -> common.Row:
    """One row: seconds of the forward pass and the gradient, everything else in ratios."""
    layer = case.layer.eval().to(device)
    generator = torch.Generator().manual_seed(2)
    inputs = [torch.rand(shape, generator=generator).to(device).requires_grad_() for shape in case.shapes]
    output = layer(*inputs)
    seed = torch.rand(output.shape, generator=generator).to(device)

    def forward() -> Tensor:
        with torch.no_grad():
            out: Tensor = layer(*inputs)
            return out

    def gradient() -> tuple[Tensor, ...]:
        return torch.autograd.grad(output, inputs, seed, retain_graph=True)

    contestants: dict[str, Callable[[], object]] = {"forward": forward, "gradient": gradient}
    twin = lrp3d.convert(layer if case.first else _AfterReLU(layer))
    record = twin.record(inputs, (-2.0, 2.0) if case.first else None)
    contestants["recorded forward"] = lambda: twin.record(inputs, (-2.0, 2.0) if case.first else None)
    for number in seeds:
        contestants[f"relevance {number}"] = _relevance(record, seed, number)
        contestants[f"plain {number}"] = _in_plain_kernels(_relevance(record, seed, number))
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    with buffers.reused():
        for run in contestants.values():
            run()
        for _ in range(repeats):
            for name, run in contestants.items():
                seconds[name].append(common.per_call(run, device, at_least))
    times = common.Timed(seconds)
    row: common.Row = {
        "model": case.model,
        "layer": case.name,
        "input": "x".join(map(str, case.shapes[0])),
        "count": case.count,
        "forward ms": 1e3 * times.median("forward"),
        "gradient ms": 1e3 * times.median("gradient"),
        "recorded forward": times.ratio("recorded forward", "forward"),
    }
    row["over forward"] = times.ratio("relevance 1", "forward") if 1 in seeds else None
    for number in seeds:
        for name in (f"relevance {number}", f"plain {number}"):
            row[name] = times.ratio(name, "gradient") / number
    return row | {"seconds": seconds}


def _relevance(record: Trace, seed: Tensor, number: int) -> Callable[[], object]:
    """In chunks, as `explain` would."""
    ends = [edge_of(entry) for entry in record.entries]
    at_once = seeds_at_once(record, number, None, None)
    relevance = seed.expand(at_once, *seed.shape).contiguous()

    def run() -> None:
        for first in range(0, number, at_once):
            propagate([Start(edge_of(record.output), relevance[: number - first])], ends)

    return run


def _in_plain_kernels(run: Callable[[], object]) -> Callable[[], object]:
    def plain() -> None:
        with kernels.plain():
            run()

    return plain


def cases(families: list[str], frames: int, size: int, device: torch.device, width: int) -> Iterator[Case]:
    """Those of the models, then the layers that no model has."""
    for family in families:
        yield from occurring(family, frames, size, device, width)
    yield from others(2 * width, max(4, frames), max(4, size // 8))


def main(argv: list[str] | None = None) -> common.Results:
    """Measure and write the results."""
    parser = common.arguments(__doc__)
    parser.add_argument("--models", nargs="+", default=list(nets.FAMILIES))
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 8, 32])
    options = common.parse(parser, argv)
    device = common.start(options)
    width, at_least = 64, 0.05
    if options.quick:
        options.frames, options.size, options.repeats, width, at_least = 2, 32, 1, 8, 0.0
        options.models = [name.replace("R50", "R18") for name in options.models]
    results = common.Results(
        "layers",
        "Relevance of every layer by itself",
        options,
        device,
        columns=[
            *("model", "layer", "input", "count", "forward ms", "gradient ms", "recorded forward", "over forward"),
            *(f"{kind} {number}" for number in options.seeds for kind in ("relevance", "plain")),
        ],
        notes=[
            "relevance s, plain s: seconds of s seeds over s plain input gradients, with lrp3d's kernels and torch's",
            "recorded forward, over forward: the recorded forward pass, and the relevance of one seed, over a forward",
            "normalisation and activations hand relevance on as it is: what is measured there is lrp3d's look at which "
            "frames have any, once in an explanation, which its plain path leaves out",
        ],
    )
    return results.collect(
        measure(case, options.seeds, options.repeats, device, at_least)
        for case in cases(options.models, options.frames, options.size, device, width)
    )


if __name__ == "__main__":
    main()
