"""`lrp3d explain --whole`: videos that are longer than a clip."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lrp3d.commands import UsageError
from lrp3d.commands.each_video import each_video
from lrp3d.commands.labels import label_of
from lrp3d.commands.model_options import ModelChoice
from lrp3d.commands.output_folder import ALWAYS, NOT_ALWAYS, WHOLE
from lrp3d.commands.terminal import shows_progress
from lrp3d.commands.termination import ends_in_order
from lrp3d.defaults import SIGMA
from lrp3d.files import write_text
from lrp3d.whole_video.explaining import explain_video
from lrp3d.whole_video.timeline import VideoExplanation

SHOWN = 8  # stretches of one class that are printed


def run(options: argparse.Namespace, choice: ModelChoice, target: int | None, folders: Sequence[Path | None]) -> int:
    """Explain every video as a whole; returns 1 if any of them failed."""
    from lrp3d.commands.number_of_classes import labels_note, number_of_classes
    from lrp3d.twin.twin import convert

    unsupported = {
        "--against": options.against,
        "--motion": options.motion,
        "--floor": options.floor,
        "--compare": options.compare,
        "--animate": options.animate,
        "--theme": options.theme,
        "--layers": options.layers,
        "--where": options.where,
        "--sampling dense": options.sampling != "uniform",
        "--merge average": options.merge != "paper",
    }
    if value_given := [name for name, value in unsupported.items() if value]:
        pronoun = "it" if len(value_given) == 1 else "them"
        raise UsageError(f"{', '.join(value_given)} cannot be combined with --whole: only single clips have {pronoun}")
    if options.stride and options.stride > choice.frames:
        raise UsageError(
            f"--stride {options.stride} leaves frames out between windows of {choice.frames}: give at most that"
        )
    classes = number_of_classes(choice, options.layout) if choice.labels else None
    notes = (*choice.notes, *labels_note(len(choice.labels), classes))
    twin = convert(choice.model, options.composite)

    def explain_one(path: str, folder: Path | None, show: Callable[..., None]) -> dict[str, Any]:
        explanation = explain_video(
            twin,
            path,
            target,
            frames=choice.frames,
            stride=options.stride,
            every=options.every or 1,
            folder=None if folder is None else folder / "parts",
            contrastive=not options.plain,
            sigma=SIGMA if options.sigma is None else options.sigma,
            input_range=choice.input_range,
            layout=options.layout,
            size=choice.size,
            short_side=choice.short_side,
            mean=choice.mean,
            std=choice.std,
            rows_at=options.rows_at,
            progress=shows_progress(),
        )
        explanation.about |= {"model": choice.name, "weights": choice.weights}
        explanation.notes[:0] = [choice.weights, *notes]
        facts = explanation.to_dict(choice.labels)
        show(*_summary(explanation, choice))
        for file in _write(explanation, facts, choice, folder) if folder else ():
            show(f"  wrote {file}")
        return {"video": path, **facts}

    what_next = "run it again to start anew" if options.out is None else "run it again to continue"
    with ends_in_order(what_next):
        return each_video(options, folders, explain_one, lambda records: {"videos": records})


def _summary(explanation: VideoExplanation, choice: ModelChoice) -> list[str]:
    """The lines about a video for the terminal."""
    unit = "frames" if explanation.step == 1 else f"steps of {explanation.step} frames"
    lines = [f"{explanation.about['video']}: {choice.name}, {len(explanation.indices)} frames"]
    lines += [f"  {'note':13} {note}" for note in explanation.notes]
    average = f"{explanation.avg_atr:.1f}" if explanation.avg_atr == explanation.avg_atr else "none"
    lines.append(
        f"  {'ATR':13} {100 * explanation.sigma:g} % of a row within {average} of {explanation.band.shape[1]} {unit}"
    )
    stretches = _stretches(explanation)
    for rank, (first, last, target) in enumerate(stretches[:SHOWN]):
        begin, end = (1 + int(explanation.indices[row * explanation.step]) for row in (first, last))
        lines.append(f"  {'' if rank else 'classes':13} frames {begin} to {end}: {label_of(target, choice.labels)}")
    if len(stretches) > SHOWN:
        lines.append(f"  {'':13} and {len(stretches) - SHOWN} more stretches")
    return lines


def _stretches(explanation: VideoExplanation) -> list[tuple[int, int, int]]:
    """The first row, the last row and the class of each stretch in which the explained class is the same."""
    classes = explanation.target.tolist()
    starts = [i for i, target in enumerate(classes) if i == 0 or target != classes[i - 1]]
    ends = [*starts[1:], len(classes)]
    return [(start, end - 1, classes[start]) for start, end in zip(starts, ends, strict=True)]


def _write(explanation: VideoExplanation, facts: dict[str, Any], choice: ModelChoice, folder: Path) -> list[Path]:
    """Write the tensors, the numbers and the page."""
    explanation.save(folder / "video.safetensors")
    texts = {
        "video.json": json.dumps(facts, indent=1, allow_nan=False),
        "timeline.html": explanation.page(choice.labels),
    }
    for name, text in texts.items():
        write_text(folder / name, text)
    for name in (*ALWAYS, *NOT_ALWAYS):  # of an earlier run, which explained a clip, perhaps of another video
        (folder / name).unlink(missing_ok=True)
    return [folder / name for name in WHOLE]
