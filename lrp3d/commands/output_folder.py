"""Writes everything about an explained clip into a folder: tensors, numbers, pictures and a page."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from lrp3d.commands.one_clip import ExplainedClip
from lrp3d.commands.summaries import record, top
from lrp3d.explanation.rows_wording import row_axis, row_quantity, row_words
from lrp3d.explanation.wording import channel_words
from lrp3d.extras import is_installed
from lrp3d.files import replacing, write_text
from lrp3d.metrics.atr import frame_windows
from lrp3d.printed import printable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from lrp3d.explanation.explanation import Explanation

ALWAYS = ("explanation.safetensors", "explanation.json")
NOT_ALWAYS = ("relevance.png", "matrix.png", "atr.png", "relevance.gif", "relevance.mp4", "report.html")
WHOLE = ("video.safetensors", "video.json", "timeline.html")
"""The files of a whole video, which stand in place of these."""


def write(
    explained: ExplainedClip, folder: Path, facts: dict[str, Any], animated: str | None = None, theme: str = "light"
) -> Iterator[Path]:
    """Write everything about a clip; yields the path of each file once it is complete.

    Without matplotlib only tensors and numbers are written: `missing_pictures` names the rest.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for path in _written(explained, folder, facts, animated, theme):
        written.append(path.name)
        yield path
    # Those of an earlier run may show another clip. Finished parts of a whole video stay: they say of which they are.
    for name in {*NOT_ALWAYS, *WHOLE} - set(written):
        (folder / name).unlink(missing_ok=True)


def _written(
    explained: ExplainedClip, folder: Path, facts: dict[str, Any], animated: str | None, theme: str
) -> Iterator[Path]:
    saved = folder / "explanation.safetensors"
    explained.explanation.save(saved)
    yield saved
    path = folder / "explanation.json"
    write_text(path, json.dumps({**facts, **record(explained)}, indent=1))
    yield path
    if missing_pictures(explained):
        return
    from lrp3d.explanation.clip_report import Provenance, report
    from lrp3d.figures import style

    with style(theme):
        for name, figure in _pictures(explained):
            with replacing(folder / name) as temporary:
                figure.savefig(
                    temporary, format="png", dpi=150, metadata={"Comment": printable(explained.choice.weights)}
                )
            yield folder / name
        if animated:
            yield _animation(explained, folder / f"relevance.{animated}")
    page = report(
        explained.explanation,
        explained.pixels,
        title=explained.label,
        origin=Provenance(
            model=explained.choice.name,
            video=explained.name,
            weights=explained.choice.weights,
            trained=explained.choice.trained,
            random_weights=explained.choice.random,
            composite=explained.composite,
            made=_making_options(facts),
        ),
        top=top(explained),
        notes=explained.notes,
        times=explained.times,
        others=explained.others,
    )
    path = folder / "report.html"
    write_text(path, page)
    yield path


def _making_options(facts: dict[str, Any]) -> dict[str, str]:
    """The version, command, date and hash of the checkpoint, as far as they are known."""
    named = {"lrp3d": "lrp3d", "command": "command", "date": "date", "weights_sha256": "SHA-256 of the weights"}
    return {name: str(facts[key]) for key, name in named.items() if facts.get(key)}


def missing_pictures(explained: ExplainedClip) -> tuple[str, ...]:
    """The files that are left out because matplotlib is not installed."""
    if is_installed("matplotlib"):
        return ()
    return (
        "relevance.png",
        *(("matrix.png", "atr.png") if explained.explanation.matrix is not None else ()),
        "report.html",
    )


def _animation(explained: ExplainedClip, path: Path) -> Path:
    """The clip beside its relevance, each frame with its number, time and logit."""
    from lrp3d import figures

    explanation = explained.explanation
    assert isinstance(explanation.relevance, Tensor)
    assert explanation.frame_relevance is not None
    logits = explanation.frame_logits
    block = 0 if logits is None or len(explained.pixels) % logits.shape[1] else len(explained.pixels) // logits.shape[1]
    captions = []
    for number, second in enumerate(explained.times):
        time = f", {second:.2f} s" if math.isfinite(second) else ""
        row = f", {_row(explanation, number // block, block)}" if block else ""
        captions.append(f"frame {number + 1}{time}{row}")
    relevance, curve = explanation.relevance[0], explanation.frame_relevance[0]
    return figures.animation(explained.pixels, relevance, path, captions=captions, curve=curve)


def _row(explanation: Explanation, row: int, block: int) -> str:
    """What a row says, which is that of a step where it stands for a block of several frames."""
    return f"step {row + 1}: {row_words(explanation, 0, row)}" if block > 1 else row_words(explanation, 0, row)


def _pictures(explained: ExplainedClip) -> Iterator[tuple[str, Figure]]:
    from lrp3d import figures

    explanation = explained.explanation
    method = "CLRP" if explanation.contrastive else "LRP"
    title = printable(f"{explained.label} · {method} · {explained.choice.name} · {explained.name}")
    through = [f"only through {channel_words(explanation.where)}"] if explanation.where else []
    footnote = "\n".join(map(printable, [*through, explained.choice.weights, *explained.notes]))
    assert isinstance(explanation.relevance, Tensor)
    strip = figures.overlay_strip(
        explained.pixels, explanation.relevance[0], title=title, footnote=footnote, deciding=explained.deciding
    )
    yield "relevance.png", strip
    if explanation.matrix is None or explanation.frame_logits is None or explanation.atr is None:
        return
    matrix, logits, atr = explanation.matrix[0], explanation.frame_logits[0], explanation.atr[0]
    quantity, row = row_quantity(explanation, 0), row_axis(explanation)
    rows, columns = matrix.shape
    windows = frame_windows(matrix, explanation.sigma, explanation.positions)
    if len(explained.pixels) % rows or rows != columns:
        heatmap = figures.matrix_heatmap(
            matrix,
            title=title,
            footnote=footnote,
            label=f"relevance ({quantity})",
            windows=windows,
            positions=explanation.positions,
            times=explained.times if len(explained.times) == columns else (),
            rows=row,
        )
        yield "matrix.png", heatmap
        return
    yield (
        "matrix.png",
        figures.clip_summary(
            explained.pixels,
            logits,
            matrix,
            atr,
            title=title,
            footnote=footnote,
            windows=windows,
            times=explained.times,
            deciding=explained.deciding,
            quantity=quantity,
            rows=row,
        ),
    )
    yield (
        "atr.png",
        figures.atr_windows(
            atr,
            matrix,
            windows=windows,
            frame_logits=logits,
            pixels=explained.pixels,
            title=title,
            footnote=footnote,
            unit="frame" if len(explained.pixels) == columns else "step",
            times=explained.times,
            rows=row,
        ),
    )
