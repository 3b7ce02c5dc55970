"""Lists of videos in every form that data sets have, with hostile words, moved lines and other separators."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from benchmarks.fuzzing.judging import is_one_line, shown
from benchmarks.fuzzing.kind import Kind, Step, writable
from benchmarks.fuzzing.words import hostile, mutated_json, mutated_text
from lrp3d.study import read_list

LABELS = ("abseiling", "archery", "tai chi")
KINETICS = "label,youtube_id,time_start,time_end,split\n"
_SOMETHING = [
    {"id": "7", "label": "holding a cup", "template": "Holding [something]"},
    {"id": 8, "template": "Pushing [something]"},
]
SEEDS = (
    ("val.csv", KINETICS + '"tai chi",abcdefghijk,7,17,val\narchery,-bcdefghij_,0,10,val\n'),
    ("val.csv", "tai chi,abcdefghijk,7,17\narchery,-bcdefghij_,0,10\n"),
    ("val.csv", "a b/c d.mp4 2\ne.mp4 0\n"),
    ("val.txt", "take 12 3.mp4\t1\nb.mkv\t0\n"),
    ("val.csv", "path,label\na b.mp4,2\ne.mp4,0\n"),
    ("val.csv", '"a, b.mp4",2\n"c.mp4",archery\n'),
    ("val.txt", "x/take 7 120 1\nx/take two 80 2\n"),
    ("val.txt", "x/a 1 120 1\nx/b 1 80 2\n"),
    ("val.csv", "100218;Holding something next to something\n7;archery"),
    ("val.csv", "tai+chi/y.mp4,tai+chi,3,0\nx/z.mp4,archery,1,0"),
    ("val.txt", "clip1 tai chi\nclip2 archery\n"),
    ("val.txt", "frames/a 51 tai chi\nframes/b 48 archery\n"),
    ("val.csv", "folder,total_frames,class\na,51,archery\nb,48,tai chi\n"),
    ("test.txt", "a.mp4\nb.mp4"),
    ("val.json", json.dumps(_SOMETHING)),
    ("trainlist01.txt", "Archery/v_a.avi 1\nBowling/v_b.avi 2\nTaiChi/v_c.avi 3\n"),
    ("val.csv", "sep=;\nvideo_id;class\na.mp4;archery\n# one more\nb.mp4;tai chi\n"),
)
OPTIONS: tuple[dict[str, Any], ...] = (
    {},
    {"labels": LABELS},
    {"num_classes": 3},
    {"list_labels": LABELS},
    {"labels": LABELS, "list_labels": ("Tai-Chi", "archery", "abseiling"), "limit": 1},
    {"labels": LABELS, "classes": ["archery", "yoga"]},
    {"classes": ["archery"], "limit": 5},
)


def prepare(folder: Path, rng: Random) -> Path:
    """A mutated list, or a folder of classes with hostile names."""
    if rng.random() < 0.05:
        return _classes(folder, rng)
    name, text = rng.choice(SEEDS)
    path = folder / (writable(hostile(rng)) if rng.random() < 0.05 else name)
    if name.endswith(".json") and rng.random() < 0.7:
        path.write_bytes(mutated_json(text, rng).encode())
    else:
        path.write_bytes(mutated_text(text, rng))
    return path


def _classes(folder: Path, rng: Random) -> Path:
    place = folder / "data"
    for name in ("archery", "yoga", writable(hostile(rng))):
        (place / name).mkdir(parents=True, exist_ok=True)
        for clip in ("a.mp4", writable(hostile(rng)), f"{writable(hostile(rng))}.mp4"):
            (place / name / clip).touch()
    return place


def steps(path: Path, rng: Random) -> list[Step]:
    """Read with one of the options of a study."""
    return [partial(_reads, path, rng.choice(OPTIONS))]


def _reads(path: Path, options: dict[str, Any]) -> Iterator[str]:
    clips = read_list(path, **options)
    if [item.number for item in clips.items] != list(range(len(clips.items))) or not clips.items:
        yield f"{len(clips.items)} clips are not numbered from 0"
    if len(clips.items) > options.get("limit", len(clips.items)):
        yield f"{len(clips.items)} clips are more than {options['limit']}"
    for item in clips.items:
        if not item.name.strip() or not all(isinstance(place, str) and place for place in item.places):
            yield f"a clip is called {shown(item.name)} and lies at {shown(item.places)}"
        known = len(clips.labels) or 10**6
        if item.label is not None and (not isinstance(item.label, int) or not 0 <= item.label < known):
            yield f"{shown(item.name)} has class {shown(item.label)} of {known}"
    if clips.digest != read_list(path, **options).digest:
        yield "the list is another one when it is read again"
    yield from (f"a note of several lines: {shown(note)}" for note in clips.notes if not is_one_line(note))


KIND = Kind("lists", (ValueError,), prepare, steps)
