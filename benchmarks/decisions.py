"""What the decisions that the paper leaves open change in ATR, one table.

    python -m benchmarks.decisions [--clips 24] [--nets build/planted]

Every line compares one other decision with the one taken, on the same clips of a trained network: the mean avg-ATR, its
change clip by clip, how many rows of the matrix get another ATR, and how much of a row's relevance moves to other
frames. The networks with residual sums are those in the package; SlowFast is trained by
`python -m benchmarks.findings_nets --only SlowFast --seeds 0`, and left out where it was not.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from benchmarks.paper.nets import Net
from benchmarks.timing import common
from lrp3d.models import VideoModel
from torch import Tensor

import lrp3d
from lrp3d import models, planted
from lrp3d.compute.terms import Share, Signed, Term
from lrp3d.pathways import SharedPixels
from lrp3d.propagation.clip_relevance import ClipRelevance
from lrp3d.rules import Epsilon, Rule

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
    patched: tuple[type, str, Any] | None = None
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


def explained(name: str, model: VideoModel, clips: Tensor, decision: Decision | None) -> dict[str, Tensor]:
    """ATR and matrices of all clips."""
    parts: list[lrp3d.Explanation] = []
    for clip in clips.split(BATCH):
        how: dict[str, Any] = {"input_range": model.input_range} | ({} if decision is None else decision.how)
        if decision is not None and decision.other == NARROW:
            how["input_range"] = (clip.amin((0, 2, 3, 4)), clip.amax((0, 2, 3, 4)))
        given: Any = [*model.pathways(clip)] if name.startswith("Slow") else clip
        with nullcontext() if decision is None else decision.meanwhile():
            parts.append(lrp3d.explain(model, given, **how))
    names = ("atr", "avg_atr", "matrix")
    return {what: torch.cat([getattr(part, what) for part in parts]).double() for what in names}


def compared(one: dict[str, Tensor], other: dict[str, Tensor]) -> dict[str, float]:
    """How far two ways of explaining the same clips are apart."""
    change = (other["avg_atr"] - one["avg_atr"])[~(other["avg_atr"] - one["avg_atr"]).isnan()]
    known = ~(one["atr"].isnan() | other["atr"].isnan())
    shares = [found["matrix"] / found["matrix"].sum(2, keepdim=True) for found in (one, other)]
    moved = (shares[0] - shares[1]).abs().sum(2)[known] / 2
    return {
        "avg-ATR": float(one["avg_atr"].nanmean()),
        "otherwise": float(other["avg_atr"].nanmean()),
        "change": float(change.mean()),
        "deviation": float(change.std()),
        "rows with another ATR %": 100 * float((one["atr"] != other["atr"])[known].double().mean()),
        "relevance moved %": 100 * float(moved.nanmean()),
    }


MEASURED = ("avg-ATR", "otherwise", "change", "deviation", "rows with another ATR %", "relevance moved %")
COLUMNS = ("decision", "compared with", "network", *MEASURED)


def main(argv: Sequence[str] | None = None) -> common.Results:
    """Measure and write the table."""
    parser = common.arguments(__doc__)
    parser.add_argument("--clips", type=int, default=24, metavar="N", help="of each network (default: %(default)s)")
    parser.add_argument("--nets", default=Path("build/planted"), type=Path, metavar="DIR", help="default: %(default)s")
    options = common.parse(parser, argv)
    device = common.start(options)
    notes = (
        "avg-ATR as decided, and otherwise; change and its deviation are over clips",
        "relevance moved: half the sum of what a row's shares differ by, mean over rows",
    )
    results = common.Results(
        "decisions", "Decisions that the paper leaves open, and ATR", options, device, COLUMNS, notes
    )
    for name, model, clips in networks(options.nets, 2 if options.quick else options.clips):
        decided = explained(name, model, clips, None)
        for decision in DECISIONS:
            if any(name.startswith(start) for start in decision.only.split()):
                row = compared(decided, explained(name, model, clips, decision))
                results.add({"decision": decision.point, "compared with": decision.other, "network": name, **row})
    return results.write()


if __name__ == "__main__":
    main()
