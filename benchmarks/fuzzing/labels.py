"""Files that name classes in every form, with hostile words; and classes asked for by such words."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from random import Random

from benchmarks.fuzzing.judging import is_one_line, shown
from benchmarks.fuzzing.kind import Kind, Step, writable
from benchmarks.fuzzing.words import hostile, mutated_json, mutated_text
from lrp3d.commands import UsageError
from lrp3d.commands.labels import find_class, read_labels
from lrp3d.study import class_list, human_classes
from lrp3d.study.listing.class_lists import UnknownClasses

MOST = 1_000_000
SEEDS = (
    ("l.json", '{"archery": 0, "tai chi": 1, "yoga": 2}'),
    ("l.json", '{"0": "archery", "1": "tai chi", "2": "yoga"}'),
    ("l.json", '["archery", "tai chi", "yoga"]'),
    ("l.json", '{"archery": "0", "tai chi": "1"}'),
    ("l.json", '{"mini": [[4, "archery"], [1, "tai chi"]], "full": [{"name": "yoga"}]}'),
    ("l.json", '{"sport_temporal": ["archery"], "sport_static": ["yoga"], "note": "by hand"}'),
    ("l.txt", "archery\ntai chi\nyoga\n"),
    ("l.csv", "id,name\n0,archery\n1,tai chi\n2,yoga\n"),
    ("l.csv", "name;id\narchery;0\ntai chi;1\n"),
    ("l.csv", "0,archery\n1,tai chi\n2,yoga\n"),
    ("l.csv", "id,key,instances\n0,take,\"['a', 'b']\"\n1,put,c\n"),
    ("l.csv", "Nummer,Klasse\n0,archery\n1,tai chi\n"),
    ("l.tsv", "archery\t0\ntai chi\t1\n"),
    ("classInd.txt", "1 Archery\n2 TaiChi\n3 Yoga\n"),
    ("l.txt", "# mine\narchery\n\ntai chi\n"),
)


def prepare(folder: Path, rng: Random) -> Path:
    """A mutated file of labels."""
    name, text = rng.choice(SEEDS)
    path = folder / (writable(hostile(rng)) if rng.random() < 0.05 else name)
    if name.endswith(".json") and rng.random() < 0.7:
        path.write_bytes(mutated_json(text, rng).encode())
    else:
        path.write_bytes(mutated_text(text, rng))
    return path


def steps(path: Path, rng: Random) -> list[Step]:
    """Read as names of classes, searched for one of them, read as classes to keep and as what people chose."""
    return [partial(_reads, path), partial(_finds, hostile(rng)), partial(_lists, path), partial(_of_people, path)]


def _reads(path: Path) -> Iterator[str]:
    labels = read_labels(path)
    if not 0 < len(labels) <= MOST:
        yield f"{len(labels)} classes"
    yield from _unnamed(labels)
    yield from (f"a note of several lines: {shown(note)}" for note in labels.notes if not is_one_line(note))
    if labels != read_labels(path):
        yield "the classes are others when they are read again"


def _finds(word: str) -> Iterator[str]:
    try:
        find_class(word, ("archery", "tai_chi", word))
    except ValueError as error:
        if type(error) is not UsageError:
            yield f"--target {shown(word)} is {type(error).__name__}: {shown(error)}"
        raise


def _lists(path: Path) -> Iterator[str]:
    yield from _unnamed(class_list(path))


def _of_people(path: Path) -> Iterator[str]:
    for names in human_classes(path, ("archery", "yoga")):
        yield from _unnamed(names)


def _unnamed(names: tuple[str, ...]) -> Iterator[str]:
    yield from (f"a class is called {shown(name)!r}" for name in names if not isinstance(name, str) or not name.strip())


KIND = Kind("labels", (ValueError, UsageError, UnknownClasses), prepare, steps)
