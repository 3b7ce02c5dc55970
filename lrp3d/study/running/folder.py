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

import errno
import hashlib
import json
import os
import tempfile
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lrp3d.files import replacing, require_regular
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
    notes: tuple[str, ...] = ()
    """What was decided to read list, labels and weights, a sentence each."""

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
        paths = (self.folder / "records").glob("*/*.safetensors")
        numbers = ((int(path.stem), path) for path in paths if path.stem.isdecimal() and len(path.stem) < 18)
        return {number for number, path in numbers if path == self.record_path(number)}

    def record(self, number: int) -> Record:
        """The record of a clip.

        Raises:
            StudyError: there is none, or it is damaged, or that of another clip or configuration.
        """
        path = self.record_path(number)
        try:
            record = Record.load(path)
        except (ValueError, OSError) as error:
            raise StudyError(f"{error}; delete it, and run the study again") from None
        if record.config != self.hash:
            raise StudyError(f"{path} was made with another configuration; delete it")
        if number >= len(self.items):
            raise StudyError(f"{path} is of none of the {len(self.items)} clips of the list; delete it")
        if record.number != number:  # names and classes are those of the list, as the hash says
            raise StudyError(f"{path} is the record of clip {record.number}, {record.name}; delete it")
        return record

    def records(self) -> Iterator[Record]:
        """All records, by number.

        Raises:
            StudyError: a record is damaged, or that of another clip or configuration.
        """
        return (self.record(number) for number in sorted(self.done()))

    def sound(self, numbers: Iterable[int]) -> tuple[set[int], list[str]]:
        """Those of some clips that have a record in which nothing is wrong, and what is wrong with the others'."""
        intact, problems = set(), []
        for number in sorted(self.done().intersection(numbers)):
            try:
                self.record(number)
                intact.add(number)
            except StudyError as error:
                problems.append(str(error).partition(" delete it")[0].rstrip(";,"))
        return intact, problems

    def check_writable(self) -> None:
        """Raise OSError now for a folder that cannot take records, not after a clip has been explained."""
        for folder in (self.folder, self.folder / "records"):
            try:
                with tempfile.NamedTemporaryFile(dir=folder, prefix=".", suffix=".part") as file:
                    file.write(b"\0" * 4096)
                    file.flush()
            except OSError as error:  # which names the temporary file, or none
                raise OSError(error.errno, error.strerror, str(folder)) from None

    def check_written(self, numbers: Iterable[int]) -> None:
        """Raise StudyError if what was written is not there: somebody removed it while the run was under way."""
        if not (self.folder / "study.json").is_file() or not (self.folder / "clips.json").is_file():
            raise StudyError(f"{self.folder} is no study any more: study.json or clips.json was removed under the run")
        gone = set(numbers) - self.done()
        if gone:
            raise StudyError(f"{len(gone)} records that this run wrote to {self.folder} are gone: run it again")

    def fail(self, item: Item, reason: str) -> None:
        """Note that a clip failed."""
        line = json.dumps({"number": item.number, "name": item.name, "label": item.label, "error": reason}) + "\n"
        path = self.folder / "errors.jsonl"
        # One write to a file open for appending: lines of several processes do not mix.
        handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o666)
        try:
            size = os.fstat(handle).st_size
            if size and os.pread(handle, 1, size - 1) != b"\n":
                line = "\n" + line  # after one that a full disk cut off
            if os.write(handle, line.encode()) < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        finally:
            os.close(handle)

    def failures(self) -> dict[int, str]:
        """The clips that failed and have not been done since, and why; a line that a full disk cut off is warned about.

        Raises:
            StudyError: errors.jsonl holds bytes that are no text.
        """
        path = self.folder / "errors.jsonl"
        reasons: dict[int, str] = {}
        content = path.read_bytes() if path.exists() else b""
        for line, text in enumerate(content.split(b"\n"), 1):
            try:
                entry = json.loads(text.decode()) if text.strip() else None
                if entry is not None:
                    self.items[entry["number"]]  # of the list
                    reasons[int(entry["number"])] = str(entry["error"])
            except UnicodeDecodeError:
                raise StudyError(f"{path}, line {line}, holds bytes that are no UTF-8; delete that line") from None
            except (ValueError, LookupError, TypeError, RecursionError):
                warnings.warn(f"{path}, line {line}, is damaged and counts as no failure", stacklevel=2)
        done = self.done()
        return {number: reason for number, reason in sorted(reasons.items()) if number not in done}

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
        existing = load_study(folder)
        differ = differences(existing.config, full)
        if differ:
            raise StudyError(
                f"{folder} holds another study: {'; '.join(differ)}. Give another --out, or delete the folder"
            )
        if existing.labels or not clips.labels:
            (folder / "records").mkdir(exist_ok=True)
            return Study(folder, full, clips.items, existing.labels, existing.notes)
    # Here alone: a folder that is removed under a run is missed, and not made again.
    (folder / "records").mkdir(parents=True, exist_ok=True)
    _write(folder / "clips.json", [[item.name, item.label] for item in clips.items])
    told = {**(about or {}), "notes": [*(about or {}).get("notes", ()), *clips.notes]}
    # Last: a folder with this file is a study.
    _write(folder / "study.json", {"config": full, "labels": clips.labels, "about": told})
    return Study(folder, full, clips.items, clips.labels, tuple(told["notes"]))


def load_study(folder: str | Path) -> Study:
    """The study in a folder.

    Raises:
        StudyError: there is none.
    """
    folder = Path(folder)
    try:
        for name in ("study.json", "clips.json"):
            require_regular(folder / name)
        stored = json.loads((folder / "study.json").read_text(encoding="utf-8"))
        clips = json.loads((folder / "clips.json").read_text(encoding="utf-8"))
        items = tuple(Item(number, _text(name), label) for number, (name, label) in enumerate(clips))
        config, labels, about = dict(stored["config"]), tuple(map(_text, stored["labels"])), stored.get("about") or {}
        if "clips" in config and not config["clips"].endswith(VideoList(items).digest):
            raise ValueError(f"the list is not that of {config['clips']}")
        return Study(folder, config, items, labels, tuple(map(str, about.get("notes", ()))))
    except FileNotFoundError:
        if (folder / "study.json").exists():
            raise StudyError(f"{folder} holds a study.json without its clips.json: give another --out") from None
        raise StudyError(f"{folder} is no study: `lrp3d study run --out {folder}` makes one") from None
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
        raise StudyError(f"{folder} holds a damaged study.json or clips.json ({error})") from None


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no name")
    return value


def differences(existing: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """What differs between a configuration that is there and another, a phrase each.

    >>> differences({"frames": 8, "model": "I3D"}, {"frames": 16, "model": "I3D"})
    ['its frames is 8, not 16']
    """
    names = [*existing, *(name for name in other if name not in existing)]
    return [
        f"its {name.replace('_', ' ')} is {_told(existing.get(name))}, not {_told(other.get(name))}"
        for name in names
        if existing.get(name) != other.get(name)
    ]


def _told(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _write(path: Path, content: Any) -> None:
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1), encoding="utf-8")
