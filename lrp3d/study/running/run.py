"""A run reads the clips of a shard that have no record yet, explains them in blocks, and records each of them."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor

from lrp3d.callers import warn
from lrp3d.defaults import TIMEOUT
from lrp3d.errors import UnsupportedOperation
from lrp3d.files import replacing
from lrp3d.metrics.aggregation import class_logits
from lrp3d.out_of_memory import is_out_of_memory
from lrp3d.printed import about, opening
from lrp3d.propagation.frame_seeds import NoFrameLogits
from lrp3d.propagation.layer_rows import NoLayerRows
from lrp3d.study.listing.lists import Item
from lrp3d.study.running.clips import Clips
from lrp3d.study.running.explainer import Explainer, LoneLogit, Part
from lrp3d.study.running.folder import Study
from lrp3d.study.running.prefetch import Failure, ahead
from lrp3d.study.running.progress import Pace
from lrp3d.study.running.reader import Pixels, Reader
from lrp3d.study.running.records import records_of
from lrp3d.study.running.shards import Shard, blocks

__all__ = ["Outcome", "run"]

OF_THE_MODEL = UnsupportedOperation, NoFrameLogits, NoLayerRows, LoneLogit
"""Errors that concern every clip, whatever it shows."""
NEVER_WORKED = 100  # after so many clips that break the model and none that works, the model is to blame


@dataclass
class Outcome:
    """How many clips of a shard were explained, and how many failed.

    Returned by `run`.

    >>> print(Outcome(explained=3, before=2, failed=1))
    3 clips explained (2 were done before), 1 failed
    """

    explained: int = 0
    before: int = 0
    """How many had a record when the run began."""
    failed: int = 0
    broken: int = 0
    """How many of those that failed could be read, but broke the model."""
    first: Exception | None = None
    """The first error of the model."""
    first_unread: str = ""
    """Why the first of those that could not be read failed; empty where all were read."""
    noted: int = 0
    """How many of the explained clips have a note in their record, such as frames that repeat."""
    first_note: str = ""

    def __str__(self) -> str:
        before = f" ({self.before} were done before)" if self.before else ""
        return f"{self.explained} clip{'s' * (self.explained != 1)} explained{before}, {self.failed} failed"


def run(
    study: Study,
    explainer: Explainer,
    reader: Reader | Clips,
    shard: Shard | None = None,
    *,
    workers: int = 0,
    timeout: float = TIMEOUT,
    batch_size: int = 1,
    explain_labels: bool = False,
    keep_relevance: bool = False,
    show_progress: bool = False,
) -> Outcome:
    """Explains every clip of a shard that has no record yet.

    Args:
        study: the study that gets the records.
        explainer: the model and how it is explained.
        reader: how the clips are read.
        shard: which part of the list is explained; all of it by default.
        workers: how many processes read ahead; with 0, this process reads. More than 0 needs a script to guard what it
            runs by ``if __name__ == "__main__"``.
        timeout: seconds that a worker may take for a clip; a decoder that hangs costs only that clip.
        batch_size: how many clips are explained together.
        explain_labels: explain the true classes instead of the predictions.
        keep_relevance: also store each clip's map, summed over colours, as bfloat16 (t, h, w).
        show_progress: show progress on stderr.

    Returns:
        The `Outcome`. Clips that cannot be read or explained are noted in ``errors.jsonl`` and tried again by the next
        run. Records that are damaged or of other clips are warned about and made anew.

    Raises:
        ValueError: true classes are to be explained, and the list does not name them.
        UnsupportedOperation, NoFrameLogits, NoLayerRows, LoneLogit: the model cannot be explained, whatever the clip.
        ValueError: the list has a class that the model does not have.
        OSError, StudyError: the folder cannot be written, or was removed during the run.
        Exception: the model's own error, if it fails on every clip, or on the first 100.

    >>> import tempfile, lrp3d
    >>> from lrp3d import study
    >>> model = lrp3d.models.tsn_resnet(18, num_classes=2, width=8).eval()
    >>> clips = study.Clips([(lrp3d.video.draw_clip(8, 32), 1)], study.Reader("", frames=4, size=32, short_side=32))
    >>> explainer = study.Explainer(model)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     made = study.create(folder, study.configuration(explainer, clips), clips.list)
    ...     print(study.run(made, explainer, clips))
    ...     print(study.run(made, explainer, clips))  # what has a record is not explained again
    1 clip explained, 0 failed
    0 clips explained (1 were done before), 0 failed
    """
    shard = shard or Shard()
    if explain_labels and any(item.label is None for item in study.items):
        raise ValueError("the true classes are to be explained, and the list does not say them for every clip")
    study.tidy()
    mine = shard.take(blocks(study.items, batch_size))
    done, problems = study.sound((item.number for block in mine for item in block), keep_relevance)
    for problem in problems:
        warn(f"{problem}: made anew")
    for number in sorted(number for number in study.done() if number >= len(study.items)):
        warn(f"{study.record_path(number)} is of no clip of the list; delete it")
    todo = [block for block in mine if not all(item.number in done for item in block)]
    outcome = Outcome(before=sum(item.number in done for block in mine for item in block))
    name = f"shard {shard.rank} of {shard.world}" if shard.world > 1 else ""
    if todo:
        study.check_writable()
    pace = Pace(sum(map(len, mine)), outcome.before, name, show_progress)
    items = (item for block in todo for item in block)
    results = ahead(reader, items, workers, 2 * max(workers, batch_size), timeout)
    with closing(pace), closing(results):
        for block in todo:
            read = [next(results) for _ in block]
            for result in _explained_block(explainer, read, explain_labels):
                if isinstance(result, _Failed):
                    with _said_by(study):
                        study.fail(result.item, result.reason)
                    outcome.failed += 1
                    pace.step(failed=1)
                    _count_broken(result, outcome)
                else:
                    _check_classes(study, result.part)
                    with _said_by(study):
                        written = _write(study, result, done, keep_relevance)
                    outcome.explained += written
                    _count_noted(result, outcome)
                    pace.step(done=written)
    if outcome.first is not None and not (outcome.explained or outcome.before):
        errors = study.folder / "errors.jsonl"
        warn(f"the model failed on each of {outcome.broken} clips: {errors} has the errors")
        raise outcome.first  # the model has never worked, so no single clip is to blame
    study.check_written(done)
    return outcome


@contextmanager
def _said_by(study: Study) -> Iterator[None]:
    """Names the folder in the error of a full disk, which does not say where it is full."""
    try:
        yield
    except OSError as error:
        if error.filename is not None or not error.strerror:
            raise
        raise OSError(error.errno, error.strerror, str(study.folder)) from error


def _count_broken(failure: _Failed, outcome: Outcome) -> None:
    """Continues after a clip that breaks the model, and stops where the model has failed on many and never worked."""
    if failure.error is None:
        outcome.first_unread = outcome.first_unread or about(failure.item.name, failure.reason)
        return
    outcome.broken += 1
    if outcome.first is None:
        outcome.first = failure.error
        warn(f"{about(failure.item.name, failure.reason)}; the other clips go on")
    if outcome.broken >= NEVER_WORKED and not (outcome.explained or outcome.before):
        raise outcome.first


def _count_noted(explained: _Explained, outcome: Outcome) -> None:
    noted = [sentences for _, pixels in explained.clips if (sentences := pixels.lost + pixels.notes)]
    outcome.noted += len(noted)
    outcome.first_note = outcome.first_note or (noted[0][0] if noted else "")


def _check_classes(study: Study, part: Part) -> None:
    """Refuses a list of classes that the model does not have, before anything is written."""
    num_classes = class_logits(part.explanation.logits).shape[1]
    beyond = next((item for item in study.items if item.label is not None and item.label >= num_classes), None)
    if beyond is not None:
        raise ValueError(f"the list has class {beyond.label} ({beyond.name}), and the model {num_classes} classes")


@dataclass
class _Explained:
    """Clips, and what was made of them together."""

    clips: list[tuple[Item, Pixels]]
    part: Part
    seconds: float


@dataclass
class _Failed:
    item: Item
    reason: str
    error: Exception | None = None
    """The model's error; None where the clip was not read."""


def _explained_block(
    explainer: Explainer, block: Sequence[tuple[Item, Pixels | Failure]], explain_labels: bool
) -> Iterator[_Explained | _Failed]:
    """Explains a block's clips, those of one shape at a time; yields the clips that could not be read first."""
    shapes: dict[tuple[int, ...], list[tuple[Item, Pixels]]] = {}
    for item, result in block:
        if isinstance(result, Failure):
            yield _Failed(item, result.reason)
        else:
            shapes.setdefault(result.frames.shape, []).append((item, result))
    for clips in shapes.values():
        yield from _explained(explainer, clips, explain_labels)


def _explained(
    explainer: Explainer, clips: list[tuple[Item, Pixels]], explain_labels: bool
) -> Iterator[_Explained | _Failed]:
    """Explains clips of one shape; where the model fails, it is tried on each clip alone."""
    targets = [item.label for item, _ in clips if item.label is not None] if explain_labels else None
    parts = explainer.parts([pixels.frames for _, pixels in clips], targets)
    position = 0
    while position < len(clips):
        started = time.perf_counter()
        try:
            part = next(parts)
        except Exception as error:
            if isinstance(error, OF_THE_MODEL) or is_out_of_memory(error):
                raise
            if len(clips) > 1:
                for clip in clips[position:]:
                    yield from _explained(explainer, [clip], explain_labels)
                return
            yield _Failed(clips[0][0], f"{type(error).__name__}: {opening(error)}", error)
            return
        yield _Explained(clips[part.clips], part, time.perf_counter() - started)
        position = part.clips.stop


def _write(study: Study, explained: _Explained, done: set[int], keep_relevance: bool) -> int:
    """Writes the records that do not exist yet; returns how many it wrote."""
    items, pixels = zip(*explained.clips, strict=True)
    windows, empty, in_time = explained.part.windows, explained.part.empty, explained.part.time
    records = records_of(
        explained.part.explanation,
        [item.number for item in items],
        [item.name for item in items],
        [item.label for item in items],
        indices=[tuple(clip.indices.tolist()) for clip in pixels],
        windows=[None] * len(items) if windows is None else list(windows),
        empty=[None] * len(items) if empty is None else list(empty),
        time=[None] * len(items) if in_time is None else list(in_time.float()),
        lost=[clip.lost for clip in pixels],
        notes=[clip.notes for clip in pixels],
        seconds=[explained.seconds / len(items)] * len(items),
        read_seconds=[clip.seconds for clip in pixels],
        config=[study.hash] * len(items),
    )
    new = [(i, record) for i, record in enumerate(records) if record.number not in done]
    for i, record in new:
        if keep_relevance:  # the map comes first, because a record says that everything is there
            _write_map(study.relevance_path(record.number), explained.part.explanation.relevance, i)
        path = study.record_path(record.number)
        _make_folder(path.parent)
        record.save(path)
        done.add(record.number)
    return len(new)


def _write_map(path: Path, relevance: Tensor | list[Tensor], clip: int) -> None:
    """Writes a map (t, h, w), which has the time axis of the clip's frames."""
    assert isinstance(relevance, Tensor)  # a study's clips have one pathway
    _make_folder(path.parent.parent)
    _make_folder(path.parent)
    content = save({"relevance": relevance[clip].sum(0).to("cpu", torch.bfloat16).contiguous()})
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def _make_folder(folder: Path) -> None:
    """Makes a folder without its parents, so that a study that was removed during a run is not made again empty."""
    folder.mkdir(exist_ok=True)
