"""Does `motion` say how much a network uses motion? Held against what it loses when its clips stand still.

    python -m benchmarks.motion [--clips 48] [--accuracy-clips 200]

On the networks that come with the package: "match" needs two frames, "static" and "flash" can be told from one. What is
lost when frames are shuffled, frozen, or shown one by one ("single", the mean of what each says) is measured truth.
Freezing also takes away a flash that is in another frame than the middle one. Motion is of plain LRP. Untrained is the
mean of three draws of the same network's weights; "absolute" counts both parts without their signs.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import torch
from benchmarks.planted.shipped import SEED, shipped
from benchmarks.timing import common
from lrp3d.study.running.time_variants import in_time
from lrp3d.twin.untrained import untrained
from torch import Tensor, nn

import lrp3d

SHIPPED = (
    "I3D-R18-f16-match-d1",
    "I3D-R18-f16-match-d4",
    "I3D-R18-f16-match-d8",
    "I3D-R18-f16-static",
    "TAM5-R18-f16-match-d1",
    "TAM5-R18-f16-match-d2",
    "TAM5-R18-f16-match-d4",
    "TAM5-R18-f16-match-d8",
    "TAM5-R18-f8-match-d4",
    "TAM5-R18-f16-flash",
)
DRAWS, BATCH = 3, 12
LOST = ("lost, shuffled", "lost, frozen", "lost, single")
MEASURES = (
    "motion",
    "motion - untrained",
    "motion, shuffled",
    "absolute",
    "absolute - untrained",
    "motion, first layer",
)
COLUMNS = ("network", "accuracy", *LOST, "motion", "motion, untrained", *MEASURES[1:])


def accuracy(network: nn.Module, clips: Tensor, labels: Tensor, variant: str = "") -> float:
    """Share of the clips that are classified rightly, with their time changed."""
    predictions = []
    with torch.inference_mode():
        for part in clips.split(BATCH):
            logits = network(in_time(part, variant) if variant else part)
            predictions.append(logits.reshape(len(part), -1, logits.shape[1]).mean(1).argmax(1))
    return float((torch.cat(predictions) == labels).double().mean())


def motion_of(network: nn.Module, clips: Tensor, labels: Tensor) -> dict[str, float]:
    """The measures, as shares of all clips' relevance together: single clips may have next to none."""
    static, dynamic, both, absolute, first = 0.0, 0.0, 0.0, 0.0, 0.0
    for part, target in zip(clips.split(BATCH), labels.split(BATCH), strict=True):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of untrained networks, in which clips may be without relevance
            found = lrp3d.explain(network, part, target, contrastive=False, motion=True)
        assert found.static_matrix is not None
        assert found.dynamic_matrix is not None
        assert found.motion is not None
        assert isinstance(found.relevance, Tensor)
        whole = found.relevance.flatten(1).sum(1)
        static += float((whole - found.motion * whole).abs().sum())
        dynamic += float((found.motion * whole).abs().sum())
        both += float(found.static_matrix.abs().sum() + found.dynamic_matrix.abs().sum())
        absolute += float(found.dynamic_matrix.abs().sum())
        shares = list(found.motion_by_layer.values())
        first += float((shares[0] * whole).abs().sum()) if shares else 0.0
    return {
        "motion": dynamic / (static + dynamic),
        "absolute": absolute / both,
        "motion, first layer": first / (static + dynamic),
    }


def main(argv: Sequence[str] | None = None) -> common.Results:
    """Measure and write the table, with the rank correlation of every measure with what is lost."""
    parser = common.arguments(__doc__)
    parser.add_argument("--clips", type=int, default=48, metavar="N", help="explained (default: %(default)s)")
    parser.add_argument(
        "--accuracy-clips", type=int, default=200, metavar="N", help="classified (default: %(default)s)"
    )
    options = common.parse(parser, argv)
    device = common.start(options)
    if options.quick:
        options.clips, options.accuracy_clips = 2, 8
    notes = (
        "as many clips of each class; motion: |dynamic| as a share of |dynamic| + |static|, both summed over each clip "
        "first, and then over clips without their signs",
        "lost: accuracy on clips as they are, minus that on clips whose time is changed",
        "the last line: rank correlation over networks with what is lost when frames are single",
    )
    results = common.Results("motion", "Motion, held against accuracy lost without it", options, device, COLUMNS, notes)
    rows: list[common.Row] = []
    for name in SHIPPED[:2] if options.quick else SHIPPED:
        of = shipped(name, device)
        network = of.network
        clips, many = of.clips(options.accuracy_clips, seed=SEED + 1)
        labels = many.labels.to(device)
        right = accuracy(network, clips, labels)
        row: common.Row = {"network": name, "accuracy": right}
        for column in LOST:
            row[column] = right - accuracy(network, clips, labels, column.removeprefix("lost, "))
        few, made = of.balanced_clips(options.clips)
        targets = made.labels.to(device)
        row |= motion_of(network, few, targets)
        row["motion, shuffled"] = motion_of(network, in_time(few, "shuffled"), targets)["motion"]
        noise = torch.rand(2, *few.shape[1:], generator=torch.Generator().manual_seed(0)).to(few)
        draws = [motion_of(untrained(lrp3d.convert(network), seed, noise), few, targets) for seed in range(DRAWS)]
        drawn = {measure: sum(draw[measure] for draw in draws) / DRAWS for measure in ("motion", "absolute")}
        row["motion, untrained"] = drawn["motion"]
        row |= {f"{measure} - untrained": float(row[measure]) - value for measure, value in drawn.items()}
        rows.append(row)
        results.add(row)
    last: common.Row = {"network": "rank correlation"}
    lost = torch.tensor([[float(row["lost, single"]) for row in rows]])
    for measure in ("motion", *MEASURES[1:], "motion, untrained"):
        values = torch.tensor([[float(row[measure]) for row in rows]])
        last[measure] = float(lrp3d.metrics.agreement.spearman(values, lost))
    results.add(last)
    return results.write()


if __name__ == "__main__":
    main()
