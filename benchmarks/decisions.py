"""What the decisions that the paper leaves open change, in ATR and in Fig. 6's accuracy, one table.

    python -m benchmarks.findings_nets --only I3D-R18-f16-mixed     # the networks of the lines on SlowFast and on empty
    python -m benchmarks.findings_nets --only I3D-R18-f16-temporal  # images; seven CPU minutes for all of these. Lines
    python -m benchmarks.findings_nets --only TAM2D-R18-f16-mixed   # whose networks were not trained are left out.
    python -m benchmarks.findings_nets --only TAM2D-R18-f16-temporal
    python -m benchmarks.findings_nets --only SlowFast --seeds 0
    python -m benchmarks.decisions [--clips 24] [--nets build/planted]

Every line compares one other decision with the one taken, on the same clips of a trained network. Lines on ATR have the
mean avg-ATR, its change clip by clip, how many rows of the matrix get another ATR, and how much of a row's relevance
moves to other frames; their networks with residual sums are those in the package. Lines on empty images have the
accuracy when frames outside of a window are empty, the mean over windows of 1 to 12 frames, and its change by seed.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from benchmarks.paper.measures import WINDOW_SIZES, of_16_frames
from benchmarks.paper.nets import SEEDS, Net, quick_aggregation
from benchmarks.timing import common
from lrp3d.models import VideoModel
from lrp3d.models.slowfast import SlowFast
from torch import Tensor

import lrp3d
from lrp3d import models, planted, sampling
from lrp3d.compute.terms import Share, Signed, Term
from lrp3d.pathways import SharedPixels
from lrp3d.propagation.clip_relevance import ClipRelevance
from lrp3d.rules import Epsilon, Rule
from lrp3d.steps import coefficients

SHIPPED = ("I3D-R18-f16-match-d4", "TAM5-R18-f16-match-d4")
SLOWFAST = "SlowFast-R50-8x8"
BATCH = 6
SEED = 990_000


@dataclass(frozen=True)
class Doubled(Rule):
    """All of a sum's relevance to both summands, as captum's LRP does, which has rules for modules only."""

    def shares(self, x: Signed, w: Signed, bias: Tensor | None) -> list[Share]:
        """Twice an equal share."""
        ones = x.ones
        assert isinstance(ones, Tensor)
        return [Share(2.0, [Term(ones, w.ones)])]


@dataclass(frozen=True)
class Decision:
    """One that could have been taken otherwise.

    Args:
        point: what is decided.
        other: what is compared with the decision taken.
        how: arguments of `explain`.
        patched: what else is done otherwise meanwhile.
        only: the networks that it matters for, by the start of their names.
    """

    point: str
    other: str
    how: dict[str, Any] = field(default_factory=dict)
    patched: tuple[object, str, Any] | None = None
    only: str = ""

    def meanwhile(self) -> AbstractContextManager[Any]:
        """The context in which this other decision holds."""
        return nullcontext() if self.patched is None else mock.patch.object(*self.patched)


def sums(rule: Rule) -> lrp3d.Composite:
    """The paper's composite with another rule where a residual is added."""
    return lrp3d.Composite(operations={torch.add: rule})


def by_frame(relevance: ClipRelevance, maps: Sequence[Tensor]) -> Sequence[Tensor]:
    """The positive part of a frame's sum instead of its pixels'."""
    return [m * (m.sum((2, 4, 5), keepdim=True) > 0) for m in maps]


def by_place(relevance: ClipRelevance, maps: Sequence[Tensor]) -> Sequence[Tensor]:
    """The positive part of a pixel, its colours together."""
    return [m * (m.sum(2, keepdim=True) > 0) for m in maps]


RECIPROCAL = coefficients._reciprocal


def leaking(z: Tensor, epsilon: float, overwrite: bool = False) -> tuple[Tensor, None]:
    """One over a denominator, and no mask of those that are zero: what arrives there is lost."""
    return RECIPROCAL(z, epsilon, overwrite)[0], None


NARROW = "the clip's own extremes"
DECISIONS = (
    Decision("residual sums", "by the summands, with signs (epsilon)", {"composite": sums(Epsilon())}, only="I3D TAM"),
    Decision("residual sums", "all of it to both (captum)", {"composite": sums(Doubled())}, only="I3D TAM"),
    Decision(
        "positive part of CLRP",
        "of a pixel, colours together",
        patched=(ClipRelevance, "positive", by_place),
        only="I3D TAM",
    ),
    Decision(
        "positive part of CLRP", "of a frame's sum", patched=(ClipRelevance, "positive", by_frame), only="I3D TAM"
    ),
    Decision("range of valid pixels", NARROW, only="I3D TAM"),
    Decision(
        "a zero denominator", "relevance is lost", patched=(coefficients, "_reciprocal", leaking), only="I3D TAM Slow"
    ),
    Decision(
        "SlowFast: uses of a pixel",
        "positive part of each pathway",
        patched=(SharedPixels, "among", lambda *_: None),
        only="Slow",
    ),
    Decision("SlowFast: slow logits", "times n / m (average)", {"merge": "average"}, only="Slow"),
)


def networks(folder: Path, count: int) -> Iterator[tuple[str, VideoModel, Tensor]]:
    """Name, network and clips, of those that there are."""
    for name in SHIPPED:
        model = models.load_pretrained(name)
        clips = planted.Task(**models.pretrained_facts(name)["task"]).clips(count, seed=SEED).clips
        yield name, model, planted.normalise(clips, model)
    net = Net(SLOWFAST)
    try:
        model = net.trained(folder)
    except FileNotFoundError:
        print(f"no {net.name} in {folder}: left out")
        return
    yield net.name, model, planted.normalise(net.actions.clips(count, seed=SEED)[0], model)


def explained(model: VideoModel, clips: Tensor, decision: Decision | None) -> dict[str, Tensor]:
    """ATR and matrices of all clips."""
    parts: list[lrp3d.Explanation] = []
    for clip in clips.split(BATCH):
        how: dict[str, Any] = {"input_range": model.input_range} | ({} if decision is None else decision.how)
        if decision is not None and decision.other == NARROW:
            how["input_range"] = (clip.amin((0, 2, 3, 4)), clip.amax((0, 2, 3, 4)))
        given = [*model.pathways(clip)] if isinstance(model, SlowFast) else clip
        with nullcontext() if decision is None else decision.meanwhile():
            parts.append(lrp3d.explain(model, given, **how))
    names = ("atr", "avg_atr", "matrix", "conservation")
    return {what: torch.cat([getattr(part, what) for part in parts]).double() for what in names}


def compared(one: dict[str, Tensor], other: dict[str, Tensor]) -> dict[str, float]:
    """How far two ways of explaining the same clips are apart."""
    change = (other["avg_atr"] - one["avg_atr"])[~(other["avg_atr"] - one["avg_atr"]).isnan()]
    known = ~(one["atr"].isnan() | other["atr"].isnan())
    shares = [found["matrix"] / found["matrix"].sum(2, keepdim=True) for found in (one, other)]
    moved = (shares[0] - shares[1]).abs().sum(2)[known] / 2
    return {
        "as decided": float(one["avg_atr"].nanmean()),
        "otherwise": float(other["avg_atr"].nanmean()),
        "change": float(change.mean()),
        "deviation": float(change.std()),
        "rows with another ATR %": 100 * float((one["atr"] != other["atr"])[known].double().mean()),
        "relevance moved %": 100 * float(moved.nanmean()),
        "not conserved %": 100 * float(other["conservation"].mean()),
    }


OTHERWISE = ("the data's mean colour", "frozen frames, Fig. 6's other curve")


def with_empty_frames(folder: Path, net: Net, clips: int) -> Iterator[tuple[str, dict[str, float]]]:
    """What black frames around a window are compared with, and accuracies over training seeds."""
    seeds = [replace(net, seed=seed) for seed in SEEDS]
    found = [_accuracies(one, one.trained(folder), clips) for one in seeds if (folder / one.name).exists()]
    for place, other in enumerate(OTHERWISE, 1):
        if len(found) > 1:
            changes = [100 * (each[place] - each[0]) for each in found]
            black, instead = (100 * statistics.fmean(each[i] for each in found) for i in (0, place))
            spread = {"change": statistics.fmean(changes), "deviation": statistics.stdev(changes)}
            yield other, {"as decided": black, "otherwise": instead, **spread}


def _accuracies(net: Net, model: VideoModel, clips: int) -> list[float]:
    pixels, labels = net.actions.clips(clips, seed=SEED)
    x = planted.normalise(pixels, model)
    outside = [
        partial(sampling.partial_uniform_logits, fill="blank", value=torch.as_tensor(model.input_range[0])),
        partial(sampling.partial_uniform_logits, fill="blank", value=x.mean((0, 2, 3, 4))),
        partial(sampling.partial_uniform_logits, fill="edge"),
    ]
    return [statistics.fmean(_accuracy(model, x, labels, int(size), how) for size in WINDOW_SIZES) for how in outside]


def _accuracy(
    model: VideoModel, x: Tensor, labels: Tensor, size: int, sampled: Callable[..., sampling.PartialLogits]
) -> float:
    with quick_aggregation(model), torch.no_grad():
        answer = sampled(model.eval(), x, size)
    return float((answer.logits.argmax(1) == labels).double().mean())


MEASURED = ("as decided", "otherwise", "change", "deviation")
OF_ROWS = ("rows with another ATR %", "relevance moved %", "not conserved %")
COLUMNS = ("decision", "compared with", "network", "number", *MEASURED, *OF_ROWS)


def main(argv: Sequence[str] | None = None) -> common.Results:
    """Measure and write the table."""
    parser = common.arguments(__doc__)
    parser.add_argument("--clips", type=int, default=24, metavar="N", help="of each network (default: %(default)s)")
    common.add_folder(parser, "--nets", "build/planted")
    options = common.parse(parser, argv)
    device = common.start(options)
    notes = (
        "change and its deviation are over clips where the number is avg-ATR, over training seeds where it is accuracy",
        "relevance moved: half the sum of what a row's shares differ by, mean over rows",
        "not conserved: the relative error of the map's sum under the other decision, mean over clips",
    )
    results = common.Results("decisions", "Decisions that the paper leaves open", options, device, COLUMNS, notes)
    for name, model, clips in networks(options.nets, 2 if options.quick else options.clips):
        decided = explained(model, clips, None)
        for decision in DECISIONS:
            if any(name.startswith(start) for start in decision.only.split()):
                row = compared(decided, explained(model, clips, decision))
                what = {"decision": decision.point, "compared with": decision.other, "network": name}
                results.add({**what, "number": "avg-ATR", **row})
    for net in () if options.quick else [*of_16_frames(), *of_16_frames("temporal")]:
        for other, accuracies in with_empty_frames(options.nets, net, 60):
            what = {"decision": "empty images", "compared with": other, "network": net.key}
            results.add({**what, "number": "accuracy (%)", **accuracies})
    return results.write()


if __name__ == "__main__":
    main()
