"""The folder of a study: what it is a study of, one file per clip that is done, a line for each that failed.

    OUT/study.json                     configuration, labels
    OUT/clips.json                     the list
    OUT/records/000/000017.safetensors clip 17, once it is done
    OUT/relevance/000/000017...        its map, if maps are kept
    OUT/errors.jsonl                   clips that failed, and why
    OUT/summary.json                   what `merge` makes of all records

Nothing else is remembered between runs, so that any number of processes can work on it, and any can die.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lrp3d.files import replacing
from lrp3d.study.listing.lists import Item, VideoList
from lrp3d.study.running.records import Record

__all__ = ["Study", "StudyError", "config_hash", "create", "load_study"]

STALE = 3600  # seconds after which an unfinished file is nobody's


class StudyError(ValueError):
    """A folder that is no study, or one of another configuration; nothing was changed in it."""


def config_hash(config: Mapping[str, Any]) -> str:
    """What tells one configuration from another.

    >>> config_hash({"frames": 8, "model": "I3D"}) == config_hash({"model": "I3D", "frames": 8})
    True
    """
    return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Study:
    """A study on the disk, as `create` or `load_study` give it."""

    folder: Path
    config: dict[str, Any]
    """Everything that the numbers depend on."""
    items: tuple[Item, ...]
    labels: tuple[str, ...]

    @property
    def hash(self) -> str:
        """Of the configuration; every record carries it."""
        return config_hash(self.config)

    def record_path(self, number: int) -> Path:
        """Where the record of a clip is, or will be."""
        return self._path("records", number)

    def relevance_path(self, number: int) -> Path:
        """Where its map is, or will be."""
        return self._path("relevance", number)

    def _path(self, kind: str, number: int) -> Path:
        return self.folder / kind / f"{number // 1000:03d}" / f"{number:06d}.safetensors"

    def done(self) -> set[int]:
        """The clips that have a record, told by their names: this opens no file."""
        found = (self.folder / "records").glob("*/*.safetensors")
        return {int(path.stem) for path in found if path.stem.isdecimal()}

    def records(self) -> Iterator[Record]:
        """All records, by number.

        Raises:
            StudyError: a record is damaged or of another configuration.
        """
        expected = self.hash
        for number in sorted(self.done()):
            try:
                record = Record.load(self.record_path(number))
            except ValueError as error:
                raise StudyError(f"{error}; delete it, and run the study again") from None
            if record.config != expected:
                raise StudyError(f"{self.record_path(number)} was made with another configuration; delete it")
            yield record

    def fail(self, item: Item, reason: str) -> None:
        """Note that a clip failed."""
        line = json.dumps({"number": item.number, "name": item.name, "label": item.label, "error": reason})
        # One write to a file open for appending: lines of several processes do not mix.
        handle = os.open(self.folder / "errors.jsonl", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        try:
            os.write(handle, (line + "\n").encode())
        finally:
            os.close(handle)

    def failures(self) -> dict[int, str]:
        """The clips that failed and have not been done since, and why."""
        path = self.folder / "errors.jsonl"
        found: dict[int, str] = {}
        for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
            try:
                entry = json.loads(line)
                found[entry["number"]] = entry["error"]
            except (json.JSONDecodeError, KeyError, TypeError):
                continue  # a line that a full disk cut off
        done = self.done()
        return {number: reason for number, reason in sorted(found.items()) if number not in done}

    def tidy(self) -> None:
        """Remove what killed processes left behind."""
        for path in self.folder.glob("*/*/.*.part"):
            try:
                if time.time() - path.stat().st_mtime > STALE:
                    path.unlink()
            except FileNotFoundError:  # another process was faster
                continue


def create(
    folder: str | Path, config: Mapping[str, Any], clips: VideoList, about: Mapping[str, Any] | None = None
) -> Study:
    """Begin a study in a folder, or go on with the one that is there.

    Args:
        folder: made if it is not there.
        config: everything that the numbers depend on, as json has it. The list's digest is added to it.
        clips: the list.
        about: what else is worth knowing, such as versions; it may change.

    Raises:
        StudyError: the folder holds a study of another configuration; says what differs.
        OSError: it cannot be written.

    >>> import tempfile
    >>> from lrp3d.study.lists import Row, make_list
    >>> clips = make_list([Row("a.mp4", 0)])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     study = create(folder, {"frames": 8}, clips)
    ...     try:
    ...         create(folder, {"frames": 16}, clips)
    ...     except StudyError as error:
    ...         print(str(error).partition(": ")[2])
    its frames is 8, not 16. Give another --out, or delete the folder
    """
    folder = Path(folder)
    full = json.loads(json.dumps({**config, "clips": f"{len(clips.items)} clips, digest {clips.digest}"}))
    if (folder / "study.json").exists():
        there = load_study(folder)
        told = differences(there.config, full)
        if told:
            raise StudyError(
                f"{folder} holds another study: {'; '.join(told)}. Give another --out, or delete the folder"
            )
        if there.labels or not clips.labels:
            return Study(folder, full, clips.items, there.labels)
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / "clips.json", [[item.name, item.label] for item in clips.items])
    # Last: a folder with this file is a study.
    _write(folder / "study.json", {"config": full, "labels": clips.labels, "about": dict(about or {})})
    return Study(folder, full, clips.items, clips.labels)


def load_study(folder: str | Path) -> Study:
    """The study in a folder.

    Raises:
        StudyError: there is none.
    """
    folder = Path(folder)
    try:
        stored = json.loads((folder / "study.json").read_text(encoding="utf-8"))
        clips = json.loads((folder / "clips.json").read_text(encoding="utf-8"))
        items = tuple(Item(number, name, label) for number, (name, label) in enumerate(clips))
        return Study(folder, stored["config"], items, tuple(stored["labels"]))
    except FileNotFoundError:
        raise StudyError(f"{folder} is no study: `lrp3d study run --out {folder}` makes one") from None
    except (json.JSONDecodeError, KeyError, TypeError, ValueError) as error:
        raise StudyError(f"{folder} holds a damaged study.json or clips.json ({error})") from None


def differences(there: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
    """What differs between a configuration that is there and another, a phrase each.

    >>> differences({"frames": 8, "model": "I3D"}, {"frames": 16, "model": "I3D"})
    ['its frames is 8, not 16']
    """
    names = [*there, *(name for name in here if name not in there)]
    return [
        f"its {name.replace('_', ' ')} is {_told(there.get(name))}, not {_told(here.get(name))}"
        for name in names
        if there.get(name) != here.get(name)
    ]


def _told(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _write(path: Path, content: Any) -> None:
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1), encoding="utf-8")
