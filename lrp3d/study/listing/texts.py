"""Text files by people and programs: read in the encodings that these write, or refused with what is wrong in them."""

from __future__ import annotations

import codecs
import contextlib
import errno
import json
import os
import re
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lrp3d.printed import few, printable

__all__ = [
    "MOST_CLASSES",
    "NotJsonError",
    "PlaceError",
    "in_digits",
    "is_address",
    "lines_of",
    "numbered_lines",
    "on_one_line",
    "parsed",
    "read_text",
    "whole_number",
]

MOST_CLASSES = 1_000_000  # no network has so many classes; no memory is taken for a larger number
_LARGEST = 2**28  # bytes; the longest known lists of videos have a tenth of it
_BOMS = (  # the longer ones first, because one begins with the other
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


class PlaceError(ValueError):
    """Something is wrong at one place of a file, such as "line 3"; without a place it would be about all of it."""

    def __init__(self, place: str, problem: str):
        super().__init__(f"{place}: {problem}")


class NotJsonError(ValueError):
    """A text is no json, so that it may be something else; any other error is about what a json holds."""


class _RepeatedKeyError(ValueError):
    """An object of a json text gives one key twice."""


def read_text(path: Path, expected: str) -> str:
    """Reads text in UTF-8, or in UTF-16 or UTF-32 where a byte order mark says so, as spreadsheets write it.

    Raises:
        ValueError: it is no text; the message says what was ``expected``.
        OSError: it cannot be read.
    """
    if is_address(str(path)):
        raise ValueError(f"{path} is an address, and only files on this machine are read: download it first")
    data = _bytes_of(path)
    encoding = next((name for mark, name in _BOMS if data.startswith(mark)), "utf-8-sig")
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        codec = encoding.removesuffix("-sig").upper()
        reason = f"{path.name} is no text in {codec} (byte {error.start} is none of it)"
        raise ValueError(f"{reason}: {expected}, saved as UTF-8") from None
    text = re.sub(r"(?m)^\ufeff+", "", text)  # of files that were joined
    if "\0" in text:
        raise ValueError(f"{path.name} is no text (it holds zero bytes): {expected}")
    return text


def _bytes_of(path: Path) -> bytes:
    """Reads all bytes of a file, or of a pipe that somebody writes to, but never more than a list can have."""
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    with open(descriptor, "rb", buffering=0) as file:
        kind = os.fstat(descriptor).st_mode
        if stat.S_ISFIFO(kind) and hasattr(os, "set_blocking"):
            with contextlib.suppress(BlockingIOError):  # the writer has not written yet
                first = os.read(descriptor, 1)
                if not first:
                    raise ValueError(f"{path.name} is a pipe that nobody writes to")
                os.set_blocking(descriptor, True)
                return first + _read_limited(file, path)
            os.set_blocking(descriptor, True)
        return _read_limited(file, path)


def _read_limited(file: Any, path: Path) -> bytes:
    parts, size = [], 0
    while part := file.read(2**20):
        parts.append(part)
        size += len(part)
        if size > _LARGEST:
            raise ValueError(f"{path.name} has more than {_LARGEST:,} bytes, and no list of videos or classes has")
    return b"".join(parts)


@contextmanager
def on_one_line() -> Iterator[None]:
    r"""Puts any error raised inside on one line, whatever characters it repeats from the file.

    >>> with on_one_line():
    ...     raise ValueError("no class '\x85'")
    Traceback (most recent call last):
    ValueError: no class '\x85'
    """
    try:
        yield
    except ValueError as error:
        if type(error) is not ValueError or printable(error) == str(error):
            raise
        raise ValueError(printable(error)) from None


def lines_of(text: str) -> list[tuple[int, str]]:
    """Returns the stripped lines with their numbers from 1, blank lines included.

    A line ends only where editors end it: names may hold the other characters at which `str.splitlines` breaks.

    >>> lines_of("a\\r\\n\\rb c ")
    [(1, 'a'), (2, ''), (3, 'b c')]
    """
    return [(number, line.strip()) for number, line in enumerate(re.split(r"\r\n|\r|\n", text), 1)]


def parsed(text: str) -> Any:
    """Returns what a json text holds.

    Raises:
        NotJsonError: (a ValueError) it is no json, or not all of one.
        ValueError: it gives one key twice, or cannot be read; the message goes on after the name of a file.
    """

    def refuse_repeated_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        mapping = dict(pairs)
        if len(mapping) < len(pairs):
            twice = next(key for key, _ in pairs if sum(key == other for other, _ in pairs) > 1)
            raise _RepeatedKeyError(f"gives {twice!r} twice")
        return mapping

    try:
        return json.loads(text.removeprefix("\ufeff"), object_pairs_hook=refuse_repeated_keys)
    except json.JSONDecodeError as error:
        raise NotJsonError(f"is no complete json: {error}") from None
    except _RepeatedKeyError:
        raise
    except ValueError:
        raise ValueError("is json with a number of thousands of digits") from None
    except RecursionError:
        raise ValueError("is json that nests too deeply for lists and labels") from None


def whole_number(text: str) -> int | None:
    """Reads a whole number of any length, also as spreadsheets write it (``3.0``); returns None for anything else.

    >>> whole_number("7"), whole_number("3.0"), whole_number("-1"), whole_number("x1"), whole_number("9" * 5000) > 1e17
    (7, 3, -1, None, True)
    """
    match = re.fullmatch(r"([+-]?)(\d+)(?:\.0*)?", text.strip())
    if match is None:
        return None
    # Python refuses to read thousands of digits, and any such number is far above all that is counted here.
    number = int(match[2]) if len(match[2]) <= 18 else 10**18
    return -number if match[1] == "-" else number


def in_digits(number: int) -> str:
    """Writes a number for a message, unless it has more digits than anybody counts.

    >>> in_digits(10_000_000), in_digits(-3), in_digits(10**18)
    ('10000000', '-3', 'of more than 18 digits')
    """
    return str(number) if abs(number) < 10**18 else "of more than 18 digits"


def numbered_lines(numbers: Sequence[int]) -> str:
    """Lines of a file by their numbers.

    >>> numbered_lines([2]), numbered_lines([2, 3])
    ('line 2', 'lines 2, 3')
    """
    return f"line{'s' * (len(numbers) > 1)} {few(numbers)}"


def is_address(text: str) -> bool:
    """Says whether a text names a place on the network (``https://...``), even where a path has swallowed a slash.

    >>> is_address("https://x/a.mp4"), is_address("rtsp:/x/a"), is_address("C:/a.mp4"), is_address("a: b.mp4")
    (True, True, False, False)
    """
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", text) is not None
