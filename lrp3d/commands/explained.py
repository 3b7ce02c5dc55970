"""One video, explained: what the terminal, the json, the pictures and the report say of it."""

from __future__ import annotations

import importlib.util
import json
import math
import sys
import textwrap
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from lrp3d import video
from lrp3d.atr import SIGMA, frame_windows
from lrp3d.commands.chosen import Chosen
from lrp3d.commands.labels import label_of
from lrp3d.explain import explain
from lrp3d.explanation import Explanation
from lrp3d.frames import NoFrameLogits
from lrp3d.models.files import replacing
from lrp3d.twin import Twin

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TOP = 3
WIDE = 64  # letters on a line of the narrowest picture


@dataclass(frozen=True)
class How:
    """What the command line decides about an explanation."""

    composite: str = "paper"
    contrastive: bool = True
    sigma: float = SIGMA
    sampling: str = "uniform"


@dataclass(frozen=True)
class Explained:
    """An explanation, with everything that was decided on the way to it."""

    explanation: Explanation
    pixels: Tensor
    """uint8 RGB (t, h, w, 3)."""
    indices: list[int]
    """The number of each frame in the video."""
    times: list[float]
    name: str
    choice: Chosen
    composite: str
    seconds: float
    notes: tuple[str, ...]

    @property
    def target(self) -> int:
        """The explained class."""
        return int(self.explanation.target[0])

    @property
    def label(self) -> str:
        """What it is called."""
        return label_of(self.target, self.choice.labels)


def read(path: Path, choice: Chosen, sampling: str = "uniform") -> video.Clip:
    """The clip of a video file as the model wants it; what was lost is in it and not warned about."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", video.LostFramesWarning)
        return video.read_clip(
            path,
            frames=choice.frames,
            sampling=sampling,
            size=choice.size,
            short_side=round(choice.size * 256 / 224),
            mean=choice.mean,
            std=choice.std,
        )


def explain_clip(
    clip: video.Clip,
    name: str,
    choice: Chosen,
    twin: Twin,
    target: int | None,
    how: How,
) -> Explained:
    """Explain one clip; a model without frame logits is explained without the matrix, and that is noted."""
    device = next((parameter.device for parameter in choice.model.parameters()), torch.device("cpu"))
    started = time.perf_counter()
    notes = [*choice.notes, *clip.lost]
    temporal = len(clip.pixels) > 1
    if not temporal:
        notes.append("a clip of one frame has no temporal relevance")
    given: dict[str, Any] = {
        "contrastive": how.contrastive,
        "input_range": choice.input_range,
        "progress": progress_wanted(),
    }
    try:
        explanation = explain(twin, clip.tensor.to(device), target, temporal=temporal, **given)
    except NoFrameLogits as error:
        notes.append(str(error).partition(". To explain")[0])
        explanation = explain(twin, clip.tensor.to(device), target, temporal=False, **given)
    classes, labels = explanation.logits.shape[1], len(choice.labels)
    if labels > classes:
        raise ValueError(f"{labels} labels do not fit a model of {classes} classes")
    if 0 < labels < classes:
        notes.append(f"the labels name {labels} of {classes} classes: are they the model's?")
    if explanation.matrix is not None:
        explanation = explanation.at_sigma(how.sigma)
    seconds = time.perf_counter() - started
    about = {
        "video": name,
        "model": choice.name,
        "weights": choice.weights,
        "class": label_of(int(explanation.target[0]), choice.labels),
        "composite": how.composite,
    }
    return Explained(
        explanation=replace(explanation.to("cpu"), about=about),
        pixels=clip.pixels,
        indices=clip.indices.tolist(),
        times=clip.times.tolist(),
        name=name,
        choice=choice,
        composite=how.composite,
        seconds=seconds,
        notes=tuple(notes),
    )


def progress_wanted() -> bool:
    """Whether there is someone to see a progress bar, and something to draw it."""
    return sys.stderr.isatty() and importlib.util.find_spec("tqdm") is not None


# What the terminal and other programs are told


def summary(one: Explained) -> str:
    """A few lines for people."""
    explanation, choice = one.explanation, one.choice
    lines = [f"{one.name}: {choice.name}, {len(one.pixels)} frames, explained in {one.seconds:.1f} s"]
    lines += [f"  {'note' if choice.trained else 'NOTE':13} {choice.weights}"]
    lines += [f"  {'note':13} {note}" for note in one.notes]
    for rank, found in enumerate(_top(one)):
        name = _named(found["class"], choice)
        head = "" if rank else "top classes"
        lines.append(f"  {head:13} {100 * found['score']:5.1f} %  {name}, logit {found['logit']:.4g}")
    logit = explanation.logits[0, one.target]
    lines.append(f"  {'explained':13} {_named(one.target, choice)}, logit {logit:.4g}; {_method(one)}")
    if explanation.matrix is not None:
        columns = explanation.matrix.shape[-1]
        assert explanation.avg_atr is not None
        assert explanation.max_atr is not None
        unit = "frames" if columns == len(one.pixels) else f"steps of {len(one.pixels) / columns:.3g} frames"
        lines.append(
            f"  {'ATR':13} average {_or_none(explanation.avg_atr[0], '{:.2f}')}, "
            f"maximum {_or_none(explanation.max_atr[0], '{:.0f}')} of {columns} {unit} "
            f"(sigma {100 * explanation.sigma:g} %)"
        )
    lines.append(f"  {'conservation':13} {explanation.conservation[0]:.1e} relative error")
    return "\n".join(lines)


def _or_none(value: Tensor, form: str) -> str:
    """ATR does not exist where no frame has relevance, its average where no frame has a positive logit."""
    return form.format(float(value)) if math.isfinite(float(value)) else "none"


def _named(index: int, choice: Chosen) -> str:
    """A class by name and number, or by the number that is its name."""
    label = label_of(index, choice.labels)
    return label if label == f"class {index}" else f"{label} (class {index})"


def _method(one: Explained) -> str:
    kind = "contrastive LRP" if one.explanation.contrastive else "plain LRP"
    return f"{kind}, composite {one.composite}"


def _top(one: Explained) -> list[dict[str, Any]]:
    logits = one.explanation.logits[0]
    scores, classes = logits.softmax(0).topk(min(TOP, len(logits)))
    return [
        {
            "class": int(index),
            "label": label_of(int(index), one.choice.labels),
            "score": float(score),
            "logit": float(logits[index]),
        }
        for score, index in zip(scores, classes, strict=True)
    ]


def record(one: Explained) -> dict[str, Any]:
    """Everything but the pixels' relevance, for json; numbers that do not exist are null."""
    explanation = one.explanation
    result: dict[str, Any] = {
        "video": one.name,
        "frames": one.indices,
        "times": one.times,
        "top": _top(one),
        "target": {
            "class": one.target,
            "label": one.label,
            "logit": float(explanation.logits[0, one.target]),
        },
        "conservation": float(explanation.conservation[0]),
        "frame_relevance": _numbers(explanation.frame_relevance),
        "frame_logits": _numbers(explanation.frame_logits),
        "matrix": _numbers(explanation.matrix),
        "atr": _numbers(explanation.atr),
        "avg_atr": _numbers(explanation.avg_atr),
        "max_atr": _numbers(explanation.max_atr),
        "windows": None,
        "positions": explanation.positions,
        "seconds": one.seconds,
        "notes": list(one.notes),
    }
    if explanation.matrix is not None:
        first, last = frame_windows(explanation.matrix[0], explanation.sigma, explanation.positions)
        result["windows"] = [list(window) for window in zip(first.tolist(), last.tolist(), strict=True)]
    return _finite(result)


def _numbers(values: Tensor | None) -> Any:
    return None if values is None else values[0].tolist()


def _finite(value: Any) -> Any:
    """Json has no NaN."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def settings(choice: Chosen, how: How) -> dict[str, Any]:
    """How all of a run's clips were explained, for json."""
    from lrp3d import __version__

    return {
        "lrp3d": __version__,
        "model": choice.name,
        "weights": choice.weights,
        "weights_given": choice.trained,
        **asdict(how),
    }


# What is written into a folder


def write(one: Explained, folder: Path, said: dict[str, Any]) -> Iterator[Path]:
    """Write everything about a clip, each file whole or not at all; yields their paths as they are done."""
    from lrp3d.report import report

    folder.mkdir(parents=True, exist_ok=True)
    saved = folder / "explanation.safetensors"
    one.explanation.save(saved)
    yield saved
    with _text(folder / "explanation.json") as (path, lines):
        lines.append(json.dumps({**said, **record(one)}, indent=1))
    yield path
    for name, figure in _pictures(one):
        with replacing(folder / name) as temporary:
            figure.savefig(temporary, format="png", dpi=150, metadata={"Comment": one.choice.weights})
        yield folder / name
    with _text(folder / "report.html") as (path, lines):
        lines.append(
            report(
                one.explanation,
                one.pixels,
                title=one.label,
                model=one.choice.name,
                video=one.name,
                weights=one.choice.weights,
                trained=one.choice.trained,
                composite=one.composite,
                top=_top(one),
                notes=one.notes,
                times=one.times,
            )
        )
    yield path


@contextmanager
def _text(path: Path) -> Iterator[tuple[Path, list[str]]]:
    lines: list[str] = []
    yield path, lines
    with replacing(path) as temporary:
        temporary.write_text("\n".join(lines), encoding="utf-8")


def _pictures(one: Explained) -> Iterator[tuple[str, Figure]]:
    from lrp3d import figures

    explanation = one.explanation
    title = textwrap.fill(f"{one.label} · {one.choice.name} · {one.name}", WIDE)
    footnote = textwrap.fill(one.choice.weights, WIDE)
    assert isinstance(explanation.relevance, Tensor)
    yield (
        "relevance.png",
        figures.overlay_strip(
            one.pixels,
            explanation.relevance[0],
            title=title,
            footnote=footnote,
            smooth=one.pixels.shape[2] / 112,
        ),
    )
    if explanation.matrix is None or explanation.frame_logits is None or explanation.atr is None:
        return
    matrix, logits, atr = explanation.matrix[0], explanation.frame_logits[0], explanation.atr[0]
    rows, columns = matrix.shape
    windows = frame_windows(matrix, explanation.sigma, explanation.positions)
    if len(one.pixels) % rows or rows != columns:
        yield "matrix.png", figures.matrix_heatmap(matrix, title=title, footnote=footnote, windows=windows)
        return
    yield (
        "matrix.png",
        figures.clip_summary(one.pixels, logits, matrix, atr, title=title, footnote=footnote, windows=windows),
    )
    yield (
        "atr.png",
        figures.atr_windows(
            atr,
            matrix,
            windows=windows,
            frame_logits=logits,
            pixels=one.pixels,
            title=title,
            footnote=footnote,
        ),
    )
