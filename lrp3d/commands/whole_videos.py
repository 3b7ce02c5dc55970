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
from lrp3d.commands.model_options import Chosen
from lrp3d.commands.one_clip import progress_wanted
from lrp3d.files import replacing
from lrp3d.whole_video.explaining import explain_video
from lrp3d.whole_video.timeline import VideoExplanation

SHOWN = 8  # stretches of one class that are printed


def run(options: argparse.Namespace, choice: Chosen, target: int | None, folders: Sequence[Path | None]) -> int:
    """Explain every video as a whole; 1 if any of them failed."""
    from lrp3d.twin.twin import convert

    refused = {
        "--against": options.against,
        "--motion": options.motion,
        "--floor": options.floor,
        "--compare": options.compare,
        "--animate": options.animate,
        "--theme dark": options.theme != "light",
        "--layers": options.layers,
        "--where": options.where,
        "--sampling dense": options.sampling != "uniform",
        "--merge average": options.merge != "paper",
    }
    if given := [name for name, value in refused.items() if value]:
        raise UsageError(f"{', '.join(given)} with --whole: they are of single clips")
    twin = convert(choice.model, options.composite)

    def explain_one(path: str, folder: Path | None, show: Callable[..., None]) -> dict[str, Any]:
        found = explain_video(
            twin,
            path,
            target,
            frames=choice.frames,
            stride=options.stride,
            every=options.every or 1,
            folder=None if folder is None else folder / "parts",
            contrastive=not options.plain,
            sigma=options.sigma,
            input_range=choice.input_range,
            layout=options.layout,
            size=choice.size,
            short_side=choice.short_side,
            mean=choice.mean,
            std=choice.std,
            progress=progress_wanted(),
        )
        found.about |= {"model": choice.name, "weights": choice.weights}
        found.notes[:0] = [*([] if choice.trained else [choice.weights]), *choice.notes]
        said = found.to_dict(choice.labels)
        show(*_summary(found, choice))
        for file in _write(found, said, choice, folder) if folder else ():
            show(f"  wrote {file}")
        return {"video": path, **said}

    return each_video(options, folders, explain_one, lambda records: {"videos": records})


def _summary(found: VideoExplanation, choice: Chosen) -> list[str]:
    """A few lines for people."""
    unit = "frames" if found.step == 1 else f"steps of {found.step} frames"
    lines = [f"{found.about['video']}: {choice.name}, {len(found.indices)} frames"]
    lines += [f"  {'note':13} {note}" for note in found.notes]
    average = f"{found.avg_atr:.1f}" if found.avg_atr == found.avg_atr else "none"
    lines.append(f"  {'ATR':13} {100 * found.sigma:g} % of a row within {average} of {found.band.shape[1]} {unit}")
    stretches = _stretches(found)
    for rank, (first, last, target) in enumerate(stretches[:SHOWN]):
        begin, end = (int(found.indices[row * found.step]) for row in (first, last))
        lines.append(f"  {'' if rank else 'classes':13} frames {begin} to {end}: {label_of(target, choice.labels)}")
    if len(stretches) > SHOWN:
        lines.append(f"  {'':13} and {len(stretches) - SHOWN} more stretches")
    return lines


def _stretches(found: VideoExplanation) -> list[tuple[int, int, int]]:
    """First and last row, and class, of each stretch in which the class stays."""
    classes = found.target.tolist()
    starts = [i for i, one in enumerate(classes) if i == 0 or one != classes[i - 1]]
    ends = [*starts[1:], len(classes)]
    return [(start, end - 1, classes[start]) for start, end in zip(starts, ends, strict=True)]


def _write(found: VideoExplanation, said: dict[str, Any], choice: Chosen, folder: Path) -> list[Path]:
    """Tensors, numbers and the page."""
    found.save(folder / "video.safetensors")
    texts = {
        "video.json": json.dumps(said, indent=1, allow_nan=False),
        "timeline.html": found.page(choice.labels),
    }
    for name, text in texts.items():
        with replacing(folder / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return [folder / name for name in ("video.safetensors", *texts)]
