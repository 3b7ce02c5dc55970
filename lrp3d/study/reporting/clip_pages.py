"""Finds the pages that `lrp3d explain` wrote of a study's clips."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from lrp3d.filenames import safe_name

__all__ = ["clip_pages"]

PAGE = "report.html"


@dataclass(frozen=True)
class Page:
    """A page of a clip."""

    path: Path
    place: str
    """Its folder, below the folder of all pages."""
    video: str
    """What its video is called, without a suffix."""
    model: str
    """The name of the model; empty where nothing says so."""


def clip_pages(folder: str | Path, names: Mapping[int, str], model: str = "") -> tuple[dict[int, Path], list[str]]:
    """Finds each clip's page below a folder.

    A page is of the clip whose name in the list, with or without its suffix, is the folder of the page, as a whole
    (``archery/a.mp4``: ``archery/a/report.html``) or in its last part (``a/report.html``).

    Args:
        folder: where `lrp3d explain --out` wrote.
        names: the names of clips in the list, by number.
        model: the name of the study's model; pages that are known to be of another one are left out.

    Returns:
        The page of each clip that has one, and a sentence for each thing that a reader must know.

    Raises:
        ValueError: there is no page below the folder.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> (folder / "a").mkdir()
    >>> (folder / "a" / "report.html").touch()
    >>> found, notes = clip_pages(folder, {0: "archery/a.mp4", 1: "archery/b.mp4"})
    >>> {number: page.relative_to(folder).as_posix() for number, page in found.items()}, notes
    ({0: 'a/report.html'}, [])
    """
    folder = Path(folder)
    pages = [_read(path, folder) for path in sorted(folder.rglob(PAGE))]
    if not pages:
        raise ValueError(f"{folder} has no pages of clips: `lrp3d explain VIDEO... --out {folder}` writes them")
    own = [page for page in pages if page.model in ("", model) or not model]
    notes = []
    if len(own) < len(pages):
        notes.append(f"{len(pages) - len(own)} pages in {folder} are of other models than {model} and are not linked.")
    pages_of, unclear = _pages_of(names, own)
    if unclear:
        notes.append(
            f"{unclear} clips are not linked, because their names are not unique, among the clips or the pages in "
            f"{folder}. Folders as in the list (class/clip) tell them apart."
        )
    return pages_of, notes


def _pages_of(names: Mapping[int, str], pages: Sequence[Page]) -> tuple[dict[int, Path], int]:
    """The page of each clip that has one, and the number of clips of which it is not clear which page is theirs."""
    by_place = {page.place: page for page in pages}
    by_video: dict[str, list[Page]] = {}
    for page in pages:
        by_video.setdefault(page.video, []).append(page)
    clips_of_name = Counter(end for name in names.values() for end in {_end(spelled) for spelled in _spelled(name)})
    pages_of: dict[int, Path] = {}
    unclear = 0
    for number, name in names.items():
        for spelled in _spelled(name):
            end = _end(spelled)
            at_place, of_video = by_place.get(spelled), by_video.get(end, [])
            if "/" in spelled and at_place is not None and at_place.video == end:
                pages_of[number] = at_place.path
            elif len(of_video) == 1 and clips_of_name[end] == 1:
                pages_of[number] = of_video[0].path
        unclear += number not in pages_of and any(by_video.get(_end(spelled)) for spelled in _spelled(name))
    return pages_of, unclear


def _read(path: Path, folder: Path) -> Page:
    place = path.parent.relative_to(folder).as_posix()
    texts = _texts_beside(path)
    video = safe_name(PurePosixPath(texts["video"]).stem) if "video" in texts else path.resolve().parent.name
    return Page(path, place, video, texts.get("model", ""))


def _texts_beside(page: Path) -> dict[str, str]:
    """The texts of the summary beside a page."""
    try:
        summary = json.loads((page.parent / "explanation.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(summary, dict):
        return {}
    return {name: value for name, value in summary.items() if isinstance(value, str)}


def _spelled(name: str) -> list[str]:
    """A clip's name as folders may have it: as it is, and without a suffix, which is tried last and counts more."""
    *above, last = [part for part in name.split("/") if part] or [""]
    return list(dict.fromkeys("/".join(map(safe_name, [*above, end])) for end in (last, PurePosixPath(last).stem)))


def _end(name: str) -> str:
    return name.rpartition("/")[2]
