"""File names: the kind of file that a name stands for, and names made from others that stay in their folder."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable
from pathlib import PurePath

from lrp3d.printed import printable

__all__ = ["extension", "last_name", "safe_name", "unique_names"]

LONGEST = 200  # bytes: file systems allow 255, and suffixes are added to the name
FORBIDDEN = '<>:"/\\|?*'  # forbidden by Windows, to which folders may be copied; other systems forbid only the slash
DEVICES = frozenset({"CON", "PRN", "AUX", "NUL"} | {f"{kind}{n}" for kind in ("COM", "LPT") for n in range(1, 10)})


def extension(path: PurePath) -> str:
    """What a name ends in, from its last dot on, in lower case; of a name that only begins with a dot, nothing.

    `PurePath.suffix` says other things of names that begin with several dots from Python 3.14 on.

    >>> extension(PurePath("a/clip.MP4")), extension(PurePath("...npy")), extension(PurePath(".npy"))
    ('.mp4', '.npy', '')
    """
    before, _, ending = path.name.rpartition(".")
    return f".{ending.lower()}" if before and ending else ""


def last_name(path: str | os.PathLike[str]) -> str:
    """The name of the file or folder at a path, also where the path leads there by dots.

    >>> last_name("a/clip.mp4"), last_name("a/frames/"), last_name("/videos/frames/.")
    ('clip.mp4', 'frames', 'frames')
    """
    return os.path.basename(os.path.abspath(path))


def safe_name(name: str, otherwise: str = "clip") -> str:
    r"""A name for a file or folder on every file system, which leaves no folder and names no hidden file or device.

    Args:
        name: any text.
        otherwise: the name to use if nothing is left of `name`.

    >>> safe_name("tai chi"), safe_name(".."), safe_name("../a"), safe_name("a\n"), safe_name("nul.1")
    ('tai chi', 'clip', '_a', 'a_', '_nul.1')
    """
    cleaned = "".join("_" if letter in FORBIDDEN or printable(letter) != letter else letter for letter in name)
    cleaned = cleaned.encode()[:LONGEST].decode(errors="ignore").strip(". ") or otherwise
    return f"_{cleaned}" if cleaned.partition(".")[0].strip().upper() in DEVICES else cleaned


def unique_names(names: Iterable[str], otherwise: str = "clip") -> list[str]:
    """Safe names for files, with a number added where a file system could take two names for the same.

    >>> unique_names(["clip", "Clip", "other", "clip-2"])
    ['clip', 'Clip-2', 'other', 'clip-2-2']
    """
    used_names: set[str] = set()
    filenames = []
    for name in names:
        safe = safe_name(name, otherwise)
        unique, number = safe, 2
        while _file_system_name(unique) in used_names:
            unique, number = f"{safe}-{number}", number + 1
        used_names.add(_file_system_name(unique))
        filenames.append(unique)
    return filenames


def _file_system_name(name: str) -> str:
    """The name as a file system sees it that ignores case and how a letter is composed."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
