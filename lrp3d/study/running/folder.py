"""The folder of a study: its configuration, one file for each clip that is done, one line for each that failed.

    OUT/study.json                     configuration, labels
    OUT/clips.json                     the list
    OUT/records/000/000017.safetensors clip 17, once it is done
    OUT/relevance/000/000017...        its map, if maps are kept
    OUT/errors.jsonl                   clips that failed, and why
    OUT/summary.json                   what `merge` makes of all records

Nothing else is remembered between runs, so any number of processes can work on a study, and any of them can die.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

from lrp3d.callers import warn
from lrp3d.defaults import LAYOUT
from lrp3d.errors import AdvisedError
from lrp3d.files import write_text
from lrp3d.study.listing.lists import Item, VideoList
from lrp3d.study.running.records import Record

__all__ = ["Study", "StudyError", "config_hash", "create", "load_study"]

UNSAID = {"layout": LAYOUT}  # what a configuration means that does not say it
CALLED = {"contrastive": "contrast (false with --plain)"}
"""What is called otherwise where people give it."""
STALE = 3600  # seconds after which an unfinished file belongs to no living process


class StudyError(AdvisedError):
    """The folder is no study, or it is a study with another configuration; nothing was changed in it.

    >>> try:
    ...     load_study("missing")
    ... except StudyError as error:
    ...     print(error)
    missing is no study: `lrp3d study run --out missing` makes one
    """


def config_hash(config: Mapping[str, Any]) -> str:
    """Hashes a configuration, which tells it from others.

    >>> config_hash({"frames": 8, "model": "I3D"}) == config_hash({"model": "I3D", "frames": 8})
    True
    """
    return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Study:
    """A study on disk, as `create` or `load_study` returns it.

    >>> import tempfile
    >>> from lrp3d.study import Row, make_list
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     study = create(folder, {"frames": 8}, make_list([Row("a.mp4", 0), Row("b.mp4", 1)]))
    ...     study.config["frames"], [item.name for item in study.items], study.done()
    (8, ['a.mp4', 'b.mp4'], set())
    """

    folder: Path
    config: dict[str, Any]
    """Everything that the numbers depend on."""
    items: tuple[Item, ...]
    labels: tuple[str, ...]
    notes: tuple[str, ...] = ()
    """One sentence for each decision made while reading the list, labels and weights."""

    @property
    def hash(self) -> str:
        """The hash of the configuration; every record carries it."""
        return config_hash(self.config)

    def record_path(self, number: int) -> Path:
        """Returns the path at which the record of a clip is, or will be."""
        return self._path("records", number)

    def relevance_path(self, number: int) -> Path:
        """Returns the path at which the relevance map of a clip is, or will be."""
        return self._path("relevance", number)

    def _path(self, kind: str, number: int) -> Path:
        return self.folder / kind / f"{number // 1000:03d}" / f"{number:06d}.safetensors"

    def done(self) -> set[int]:
        """Returns the clips that have a record; it looks at file names only and opens no file."""
        paths = (self.folder / "records").glob("*/*.safetensors")
        numbers = ((int(path.stem), path) for path in paths if path.stem.isdecimal() and len(path.stem) < 18)
        return {number for number, path in numbers if path == self.record_path(number)}

    def record(self, number: int) -> Record:
        """Reads the record of a clip.

        Raises:
            StudyError: there is no record, it is damaged, or it is of another clip or configuration.
        """
        path = self.record_path(number)
        try:
            record = Record.load(path)
        except (ValueError, OSError) as error:
            raise StudyError(str(error), "delete it, and run the study again") from None
        if record.config != self.hash:
            raise StudyError(f"{path} was made with another configuration", "delete it")
        if number >= len(self.items):
            raise StudyError(f"{path} is of none of the {len(self.items)} clips of the list", "delete it")
        if record.number != number:  # the hash covers names and classes of the list, so only the number can differ
            raise StudyError(f"{path} is the record of clip {record.number}, {record.name}", "delete it")
        return record

    def records(self) -> Iterator[Record]:
        """Reads all records, in the order of their numbers.

        Raises:
            StudyError: a record is damaged, or of another clip or configuration.
        """
        return (self.record(number) for number in sorted(self.done()))

    def sound(self, numbers: Iterable[int], with_maps: bool = False) -> tuple[set[int], list[str]]:
        """Returns which of some clips have a faultless record, and what is wrong with the others.

        Args:
            numbers: the numbers of the clips.
            with_maps: whether a clip needs its map as well.
        """
        intact, problems = set(), []
        for number in sorted(self.done().intersection(numbers)):
            try:
                self.record(number)
            except StudyError as error:
                problems.append(error.reason)
                continue
            if with_maps and not self.relevance_path(number).is_file():
                problems.append(f"{self.relevance_path(number)} is not there, though {self.record_path(number)} is")
            else:
                intact.add(number)
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
                raise StudyError(f"{path}, line {line}, holds bytes that are no UTF-8", "delete that line") from None
            except (ValueError, LookupError, TypeError, RecursionError):
                warn(f"{path}, line {line}, is damaged and counts as no failure")
        done = self.done()
        return {number: reason for number, reason in sorted(reasons.items()) if number not in done}

    def tidy(self) -> None:
        """Remove what killed processes left behind."""
        for path in self.folder.glob("*/*/.*.part"):
            try:
                if time.time() - path.stat().st_mtime > STALE:
                    path.unlink()
            except FileNotFoundError:  # another process removed it first
                continue


def create(
    folder: str | Path, config: Mapping[str, Any], clips: VideoList, about: Mapping[str, Any] | None = None
) -> Study:
    """Begins a study in a folder, or continues the study that is there.

    Args:
        folder: the study's folder, which is made if it does not exist.
        config: everything that the numbers depend on, as json can hold it. The list's digest is added.
        clips: the list.
        about: what else is worth knowing, such as versions; it may change between runs.

    Raises:
        StudyError: the folder holds a study of another configuration; the message names the differences.
        OSError: the folder cannot be written.

    >>> import tempfile
    >>> from lrp3d.study import Row, make_list
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
        if full.get("trained", True) is None:  # the digest of the weights tells others; earlier studies said true here
            full["trained"] = existing.config.get("trained")
        if "network" not in existing.config:  # earlier studies did not say it
            full.pop("network", None)
        differ = differences(existing.config, full)
        if differ:
            raise StudyError(
                f"{folder} holds another study: {'; '.join(differ)}. Give another --out, or delete the folder"
            )
        if existing.labels and clips.labels and clips.labels != existing.labels:
            pairs = zip_longest(existing.labels, clips.labels)
            number, (before, now) = next((i, pair) for i, pair in enumerate(pairs) if pair[0] != pair[1])
            raise StudyError(
                f"{folder} holds another study: its class {number} is called {before!r}, not {now!r}. Give another "
                "--out, or the labels of that study, or none"
            )
        if existing.labels or not clips.labels:
            (folder / "records").mkdir(exist_ok=True)
            return Study(folder, full, clips.items, existing.labels, existing.notes)
    # Only here is the folder made: one that is removed during a run is reported, not made again.
    (folder / "records").mkdir(parents=True, exist_ok=True)
    _write(folder / "clips.json", [[item.name, item.label] for item in clips.items])
    details = {**(about or {}), "notes": [*(about or {}).get("notes", ()), *clips.notes]}
    # This file is written last, because a folder that holds it is a study.
    _write(folder / "study.json", {"config": full, "labels": clips.labels, "about": details})
    return Study(folder, full, clips.items, clips.labels, tuple(details["notes"]))


def load_study(folder: str | Path) -> Study:
    """Reads the study in a folder.

    Raises:
        StudyError: the folder holds no study.

    >>> import tempfile
    >>> from lrp3d.study import Row, make_list
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     made = create(folder, {"frames": 8}, make_list([Row("a.mp4", 0)]))
    ...     load_study(folder).hash == made.hash
    True
    """
    folder = Path(folder)
    try:
        for name in ("study.json", "clips.json"):
            if not (folder / name).is_file() and (folder / name).exists():
                raise ValueError(f"{name} is no regular file")
        stored = json.loads((folder / "study.json").read_text(encoding="utf-8"))
        clips = json.loads((folder / "clips.json").read_text(encoding="utf-8"))
        items = tuple(Item(number, _text(name), label) for number, (name, label) in enumerate(clips))
        config, labels, about = dict(stored["config"]), tuple(map(_text, stored["labels"])), stored.get("about") or {}
        if "clips" in config and not config["clips"].endswith(VideoList(items).digest):
            raise ValueError(f"the list is not that of {config['clips']}")
        return Study(folder, config, items, labels, tuple(map(str, about.get("notes", ()))))
    except (FileNotFoundError, NotADirectoryError):
        if (folder / "study.json").exists():
            raise StudyError(f"{folder} holds a study.json without its clips.json: give another --out") from None
        raise StudyError(f"{folder} is no study: `lrp3d study run --out {folder}` makes one") from None
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
        missing = f"no {error}" if isinstance(error, KeyError) else error
        raise StudyError(
            f"{folder} holds a damaged study.json or clips.json ({missing}), without which nothing says what its "
            "records are of: put both back from a copy, or run the study anew with another --out"
        ) from None


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no name")
    return value


def differences(existing: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """Names what differs between an existing configuration and another, one phrase for each difference.

    >>> differences({"frames": 8, "model": "I3D"}, {"frames": 16, "model": "I3D"})
    ['its frames is 8, not 16']
    """
    names = [*existing, *(name for name in other if name not in existing)]
    return [
        f"its {CALLED.get(name, name.replace('_', ' '))} is {_told(_said(existing, name))}, not "
        f"{_told(_said(other, name))}"
        for name in names
        if existing.get(name) != other.get(name)
    ]


def _said(config: Mapping[str, Any], name: str) -> Any:
    return config.get(name, UNSAID.get(name))


def _told(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _write(path: Path, content: Any) -> None:
    write_text(path, json.dumps(content, indent=1))
