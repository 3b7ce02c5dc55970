"""Clips from memory instead of a list of files: a dataset of Hugging Face's or of torch's, or any iterable."""

from __future__ import annotations

import hashlib
import json
import operator
import tempfile
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from torch import Tensor

from lrp3d import video
from lrp3d.files import replacing
from lrp3d.printed import opening, printable, with_article
from lrp3d.study.listing.lists import Item, VideoList, make_list
from lrp3d.study.listing.rows import Row
from lrp3d.study.running.reader import Pixels, Reader

__all__ = ["Clips"]


class Clips:
    """The list and the reader of a study in one, for clips that a program already has.

    Args:
        clips: (clip, label) or (clip, label, name) for each clip, or a mapping with such entries, as the rows of a
            Hugging Face dataset are. A clip is a path; frames (t, h, w, 3) as a tensor or an array, uint8 or floats
            from 0 to 1; a sequence of images; or a decoder whose items are frames. A label is a number, a name or None.
        reader: how clips are read; paths are relative to its root.
        labels: names of the model's classes. Default: the names that a Hugging Face dataset has for its labels, or the
            names among the labels in alphabetical order.
        num_classes: how many classes the model has, as in `read_list`.
        video: the key of the clip, where each entry is a mapping.
        label: the key of the label; -1 means no label, as in Hugging Face's datasets.
        name: the key of the name; clips without a name are named by their path or number.
        keep: a folder in which the clips' pixels are kept. It is needed where `clips` can be read only once, such as a
            generator: it is then read through here, and what a model sees of each clip is written to the folder.

    Raises:
        TypeError: `clips` can be read only once and no folder is given, or an entry is of no such form.
        ValueError: two clips have one name, there is no clip, or `lrp3d.study.make_list` refuses the labels.

    Of a dataset with columns only the labels are read here, and a clip is decoded when it is explained. Other sequences
    are read through once for labels and names. Clips that cannot be read are noted in the study's ``errors.jsonl``.

    >>> import tempfile, lrp3d
    >>> from lrp3d import study
    >>> model = lrp3d.models.i3d_resnet(18, num_classes=2, width=8).eval()
    >>> pairs = [(lrp3d.video.draw_clip(20, 40, seed=n), n % 2) for n in range(2)]
    >>> clips = study.Clips(pairs, study.Reader("", frames=8, size=32, short_side=32))
    >>> explainer = study.Explainer(model, input_range=model.input_range, mean=model.mean, std=model.std)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     made = study.create(folder, study.configuration(explainer, clips), clips.list)
    ...     print(study.run(made, explainer, clips))
    2 clips explained, 0 failed
    """

    def __init__(
        self,
        clips: Iterable[Any],
        reader: Reader,
        *,
        labels: Sequence[str] = (),
        num_classes: int | None = None,
        video: str = "video",
        label: str = "label",
        name: str | None = None,
        keep: str | Path | None = None,
    ):
        self.reader = reader
        self._keys = video, label, name
        self._clips: Any = clips
        self._kept: Path | None = None
        labels = tuple(labels) or _names_of_classes(clips, label)
        by_number = hasattr(clips, "__getitem__") and hasattr(clips, "__len__")
        if by_number and hasattr(clips, "column_names"):
            rows = list(self._rows_of_columns())
        elif by_number:
            rows = [self._row(number, entry) for number, entry in enumerate(_gone_through(clips))]
        elif keep is None:
            raise TypeError(
                f"{with_article(type(clips).__name__)} can be gone through once and not be gone back to: give a "
                "sequence, or keep= a folder in which its clips' pixels are kept"
            )
        else:
            self._kept = Path(keep)
            rows = list(self._keep_all(clips))
            self._clips = None
        names = [str(PurePosixPath(row.name)) for row in rows]  # as the list will write them
        self._numbers = {name: number for number, name in enumerate(names)}
        if len(self._numbers) < len(rows):
            twice = next(name for number, name in enumerate(names) if self._numbers[name] != number)
            raise ValueError(f"two clips have the name {printable(twice)}: give each a name of its own")
        self.list: VideoList = make_list(rows, labels=labels, num_classes=num_classes)

    @property
    def options(self) -> dict[str, Any]:
        """How clips are read, for the study's configuration."""
        return self.reader.options

    def __call__(self, item: Item) -> Pixels:
        """Returns the pixels of a clip; raises `lrp3d.video.VideoError` where it cannot be read."""
        number = self._numbers[item.name]
        if self._kept is not None:
            return _kept_pixels(self._kept / f"{number:08d}.npz")
        clip, _, _ = self._parts(number, self._clips[number])
        return self._pixels(clip, item.name)

    def _rows_of_columns(self) -> Iterator[Row]:
        """Makes rows from the columns of labels and names alone, so that no clip is decoded."""
        clip, label, name = self._keys
        columns = list(self._clips.column_names)
        missing = [key for key in (clip, name) if key is not None and key not in columns]
        if missing:
            raise ValueError(f"the dataset has the columns {', '.join(columns)}, and not {', '.join(missing)}")
        length = len(self._clips)
        labels = self._clips[label] if label in columns else [None] * length
        names = self._clips[name] if name is not None else [f"{number:08d}" for number in range(length)]
        for number, (of_clip, named) in enumerate(zip(labels, names, strict=True)):
            yield Row(str(named), _label(of_clip, number))

    def _row(self, number: int, entry: Any) -> Row:
        clip, label, name = self._parts(number, entry)
        return Row(name or _name(number, clip), _label(label, number))

    def _parts(self, number: int, entry: Any) -> tuple[Any, Any, str | None]:
        """Returns the clip, label and name of an entry."""
        clip, label, name = self._keys
        if isinstance(entry, Mapping):
            if clip not in entry:
                held = ", ".join(map(str, entry))
                raise TypeError(f"clip {number} has {held}, and no {clip!r}: say which entry it is with video=")
            return entry[clip], entry.get(label), None if name is None else str(entry[name])
        if isinstance(entry, Sequence) and not isinstance(entry, str) and len(entry) in (2, 3):
            return entry[0], entry[1], None if len(entry) == 2 else str(entry[2])
        raise TypeError(
            f"clip {number} is {with_article(type(entry).__name__)}, and (clip, label), or with a name, is expected"
        )

    def _keep_all(self, clips: Iterable[Any]) -> Iterator[Row]:
        """Reads all clips and keeps what a model sees of each; for a clip that cannot be read, it keeps the reason."""
        assert self._kept is not None
        self._kept.mkdir(parents=True, exist_ok=True)
        for number, entry in enumerate(clips):
            clip, label, name = self._parts(number, entry)
            try:
                pixels, error = self._pixels(clip, name or f"clip {number}"), ""
            except video.VideoError as problem:
                nothing = np.empty((0, 0, 0, 3), np.uint8)
                pixels, error = Pixels(nothing, np.empty(0, np.int64)), str(problem)
            facts = json.dumps({"lost": pixels.lost, "notes": pixels.notes, "error": error})
            with replacing(self._kept / f"{number:08d}.npz") as temporary, temporary.open("wb") as file:
                np.savez(file, frames=pixels.frames, indices=pixels.indices, said=np.array(facts))
            yield Row(
                name or _name(number, clip if isinstance(clip, (str, Path)) else pixels.frames), _label(label, number)
            )

    def _pixels(self, clip: Any, name: str) -> Pixels:
        started = time.perf_counter()
        if isinstance(clip, Mapping) and {"path", "bytes"} & set(clip):  # the dataset was told not to decode
            clip, stored = clip.get("path"), clip.get("bytes")
            if stored is not None:
                with tempfile.TemporaryDirectory() as folder:
                    file = Path(folder, f"clip{Path(clip or '').suffix or '.mp4'}")
                    file.write_bytes(stored)
                    return self.reader(Item(0, str(file)))
        if isinstance(clip, (str, Path)):
            return self.reader(Item(0, str(clip)))
        options = {key: value for key, value in self.reader.options.items() if key != "template"}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", video.ClipWarning)
            read = video.sample_clip(clip, **options, name=name)
        return Pixels(read.pixels.numpy(), read.indices.numpy(), read.lost, read.notes, time.perf_counter() - started)


def _gone_through(clips: Any) -> Iterator[Any]:
    """Yields the clips by number, because a dataset of torch's need not end by itself."""
    return (clips[number] for number in range(len(clips)))


def _kept_pixels(path: Path) -> Pixels:
    try:
        with np.load(path, allow_pickle=False) as kept:
            facts = json.loads(str(kept["said"]))
            frames, indices = kept["frames"], kept["indices"]
    except Exception as error:
        reason = getattr(error, "strerror", None) or opening(error)
        raise video.VideoError(f"{path.name}, which holds the clip's pixels, cannot be read: {reason}") from None
    if facts["error"]:
        raise video.VideoError(facts["error"])
    return Pixels(frames, indices, tuple(facts["lost"]), tuple(facts["notes"]))


def _label(label: Any, number: int) -> int | str | None:
    """Returns a label in the form that lists have."""
    if label is None or isinstance(label, str):
        return label
    try:
        number_of_class = operator.index(label)
        return None if number_of_class == -1 else number_of_class  # Hugging Face writes -1 for an unknown class
    except TypeError:
        kind = f"{with_article(type(label).__name__)} {label!r}"
        raise TypeError(f"the label of clip {number} is {kind}: a number, a name or None is expected") from None


def _name(number: int, clip: Any) -> str:
    """Returns the path of a clip, or its number; pixels add a digest, so that other pixels make another study."""
    if isinstance(clip, (str, Path)):
        return str(clip)
    if isinstance(clip, (Tensor, np.ndarray)):
        values = clip.numpy(force=True) if isinstance(clip, Tensor) else clip
        return f"{number:08d} {hashlib.sha256(np.ascontiguousarray(values).data).hexdigest()[:8]}"
    return f"{number:08d}"


def _names_of_classes(clips: Any, label: str) -> tuple[str, ...]:
    """Returns the names of the classes, if the dataset is of Hugging Face's and knows them."""
    feature = (getattr(clips, "features", None) or {}).get(label)
    return tuple(getattr(feature, "names", None) or ())
