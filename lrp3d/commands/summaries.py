"""Summaries of an explained clip: lines for the terminal, and a record for other programs."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from datetime import datetime, timezone
from typing import Any

import torch
from torch import Tensor

from lrp3d.commands.labels import label_of
from lrp3d.commands.model_options import ModelChoice
from lrp3d.commands.one_clip import ClipOptions, ExplainedClip
from lrp3d.explanation.explanation import Explanation
from lrp3d.explanation.rows_wording import above_floor, no_positive_row, rows_without_relevance, rows_words
from lrp3d.explanation.wording import (
    amount,
    amount_words,
    best_channels,
    channel_words,
    conservation_answer,
    conservation_words,
    motion_words,
    own_logit,
    span_words,
    subject,
)
from lrp3d.files import as_json
from lrp3d.metrics.aggregation import class_logits
from lrp3d.metrics.atr import frame_windows
from lrp3d.printed import few

TOP = 3
LAYERS = 16
"""Modules that are named; of more, a line says how many follow."""
WORTH_A_WORD = 1e-3
"""The share of the logit from which on it is said what rules absorbed; less is rounding."""


def summary(explained: ExplainedClip) -> list[str]:
    """The lines about a clip for the terminal."""
    explanation, choice = explained.explanation, explained.choice
    lines = [f"{explained.name}: {choice.name}, {len(explained.pixels)} frames, explained in {explained.seconds:.1f} s"]
    lines += [f"  {'note' if choice.trained else 'NOTE':13} {choice.weights}"]
    lines += [f"  {'note':13} {note}" for note in explained.notes]
    for rank, entry in enumerate(top(explained)):
        name = _class_name(entry["class"], choice)
        head = "" if rank else "top classes"
        lines.append(f"  {head:13} {100 * entry['score']:5.1f} %  {name}, logit {entry['logit']:.4g}")
    named = subject(explanation, 0, lambda index: _class_name(index, choice))
    lines.append(f"  {'explained':13} {named}, {amount_words(explanation, 0)}; {_method(explained)}")
    if explanation.matrix is not None:
        columns = explanation.matrix.shape[-1]
        assert explanation.avg_atr is not None
        assert explanation.max_atr is not None
        average, longest = float(explanation.avg_atr[0]), float(explanation.max_atr[0])
        why = no_positive_row(explanation)
        lines.append(f"  {'ATR':13} {span_words(explanation.sigma, average, longest, columns, explanation.unit, why)}")
        if rows := rows_words(explanation, [0]):
            lines.append(f"  {'rows':13} {rows}")
        if rows := rows_without_relevance(explanation, 0):
            lines.append(f"  {'no relevance':13} {rows}")
    if explanation.motion is not None:
        lines.append(f"  {'motion':13} {motion_words(float(explanation.motion[0]), explanation.contrastive)}")
    if explanation.where is not None:
        lines.append(f"  {'only through':13} {channel_words(explanation.where)}")
    names = list(explanation.layers)
    lines += [f"  {'layer':13} {name}: {best_channels(explanation, name, 0)}" for name in names[:LAYERS]]
    if (more := len(names) - LAYERS) > 0:
        lines.append(f"  {'':13} and {more} more layers, which the page and explanation.json name")
    if floor := above_floor(explanation, 0):
        lines.append(f"  {'floor':13} {floor}")
    lines.append(f"  {'conserved':13} {conservation_words(float(explanation.conservation[0]))}{_absorbed(explanation)}")
    return lines


def _absorbed(explanation: Explanation) -> str:
    """What rules keep, which is why relevance is not conserved; empty if it is."""
    logit = abs(amount(explanation, 0)[0])
    if not explanation.contrastive:
        absorbed = explanation.ledger.absorbed
        return "" if abs(absorbed) < WORTH_A_WORD * logit else f"; rules absorbed {absorbed:.4g}"
    if conservation_answer(float(explanation.conservation[0]))[0] == "yes":
        return ""
    # At the classifier, contrast leaves nothing of the sum: what is meant is lost below.
    below = [entry for entry in explanation.ledger if not entry.rule.startswith("Contrastive(")]
    keeping = sorted(below, key=lambda entry: -abs(entry.absorbed))
    named = few(
        (f"{entry.layer} by {entry.rule}" for entry in keeping if abs(entry.absorbed) > WORTH_A_WORD * logit), 2
    )
    return f"; rules absorbed some: {named}" if named else ""


def _class_name(index: int, choice: ModelChoice) -> str:
    """A class by its name and number, or by its number alone if it has no name."""
    label = label_of(index, choice.labels)
    return label if label == f"class {index}" else f"{label} (class {index})"


def _method(explained: ExplainedClip) -> str:
    kind = "contrastive LRP" if explained.explanation.contrastive else "plain LRP"
    return f"{kind}, composite {explained.composite}"


def top(explained: ExplainedClip) -> list[dict[str, Any]]:
    """The classes with the highest logits, with their softmax scores."""
    logits = explained.explanation.logits[0]
    scores, classes = class_logits(logits).softmax(0).topk(min(TOP, max(2, len(logits))))
    if len(logits) == 1:  # it speaks for class 1, and its negative for class 0
        logits = torch.cat([-logits, logits])
    return [
        {
            "class": int(index),
            "label": label_of(int(index), explained.choice.labels),
            "score": float(score),
            "logit": float(logits[index]),
        }
        for score, index in zip(scores, classes, strict=True)
    ]


def record(explained: ExplainedClip) -> dict[str, Any]:
    """Everything except relevance of pixels, for json; numbers that do not exist are null."""
    explanation = explained.explanation
    excess = explanation.excess
    result: dict[str, Any] = {
        "video": explained.name,
        "frames": explained.indices,
        "times": explained.times,
        "top": top(explained),
        "target": {
            "class": explained.target,
            "label": label_of(explained.target, explained.choice.labels),
            "logit": own_logit(explanation, 0),
            "explained": amount(explanation, 0)[1],
        },
        "against": None if explanation.against is None else explanation.against[0].tolist(),
        "conservation": float(explanation.conservation[0]),
        "frame_relevance": _numbers(explanation.frame_relevance),
        "frame_logits": _numbers(explanation.frame_logits),
        "rows_at": explanation.rows_at,
        "matrix": _numbers(explanation.matrix),
        "atr": _numbers(explanation.atr),
        "avg_atr": _numbers(explanation.avg_atr),
        "max_atr": _numbers(explanation.max_atr),
        "windows": None,
        "floor": _numbers(explanation.floor),
        "motion": None if explanation.motion is None else float(explanation.motion[0]),
        "motion_by_layer": {name: float(share[0]) for name, share in explanation.motion_by_layer.items()},
        "static_matrix": _numbers(explanation.static_matrix),
        "dynamic_matrix": _numbers(explanation.dynamic_matrix),
        "where": explanation.where,
        "layers": {
            name: {"shape": list(x.shape), "channels": _numbers(explanation.channels(name))}
            for name, x in explanation.layers.items()
        },
        "excess": None if excess is None else {name: _numbers(value) for name, value in vars(excess).items()},
        "positions": explanation.positions,
        "seconds": explained.seconds,
        "notes": list(explained.notes),
    }
    if explanation.matrix is not None:
        first, last = frame_windows(explanation.matrix[0], explanation.sigma, explanation.positions)
        result["windows"] = [list(window) for window in zip(first.tolist(), last.tolist(), strict=True)]
    return {key: as_json(value) for key, value in result.items()}


def _numbers(values: Tensor | None) -> Any:
    return None if values is None else values[0].tolist()


def origin(options: argparse.Namespace, choice: ModelChoice) -> dict[str, Any]:
    """The command, when it ran, and the hash of the checkpoint's file; for json and pages."""
    return {
        "command": getattr(options, "command_line", None),
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "weights_sha256": choice.sha256,
    }


def settings(choice: ModelChoice, options: ClipOptions) -> dict[str, Any]:
    """The settings with which all clips of a run were explained, for json."""
    from lrp3d import __version__

    return {
        "lrp3d": __version__,
        "model": choice.name,
        "weights": choice.weights,
        "weights_given": choice.trained,
        **asdict(options),
        "sigma": options.share,
    }
