"""Lines with columns: what separates the columns, what a header says, and what each column means."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence

from lrp3d.study.listing.texts import whole_number

__all__ = ["column_of", "fields_of", "is_header", "is_open", "key_of", "separator_of", "unquoted"]

# These words head the columns of lists and of labels. The earlier a word stands in its tuple, the surer it is.
PATHS = tuple(
    "path videopath filepath video filename videoname videofile file clip clipname clippath framedir framespath folder "
    "directory dir youtubeid videoid clipid vid ytid uid name id".split()
)
CLASSES = tuple(
    "labelid classid classindex classidx labelindex actionid categoryid label class action category target labels "
    "classname labelname actionname categoryname actionlabel activity template y".split()
)
IDS = tuple("id classid labelid categoryid actionid classindex labelindex index idx number no nr num target".split())
NAMES = tuple(
    "name classname labelname displayname actionname categoryname key label class action category template text "
    "description names classes labels".split()
)
STARTS = tuple("startframe start starttime timestart".split())
FRAMES = tuple("totalframes numframes nframes framecount frames".split())
BESIDE = tuple(
    "split subset timestart timeend start end starttime endtime startframe endframe duration fps iscc url verb noun "
    "instances parent supercategory count placeholders width height".split()
)
_WORDS = {*PATHS, *CLASSES, *IDS, *NAMES, *FRAMES, *BESIDE}


def key_of(field: str) -> str:
    """Reduces a column's name to the form in which the words above are written.

    >>> key_of("Video_ID"), key_of("# label")
    ('videoid', 'label')
    """
    return re.sub(r"[\W_]+", "", field.casefold())


def is_header(fields: Sequence[str]) -> bool:
    """Says whether fields are the names of columns: all of them are known names, or both kinds of columns are named.

    >>> is_header(["id", "name"]), is_header(["path", "weather", "class"]), is_header(["a.mp4", "class"])
    (True, True, False)
    """
    keys = [key_of(field) for field in fields]
    while len(keys) > 1 and not keys[-1]:
        keys.pop()
    if any(whole_number(field) is not None for field in fields):
        return False
    recognised = [key in _WORDS for key in keys]
    named = any(key in CLASSES or key in NAMES for key in keys)
    return all(recognised) or (any(key in PATHS or key in IDS for key in keys) and named and sum(recognised) > 1)


def column_of(header: Sequence[str], words: Sequence[str], without: Sequence[int] = ()) -> int | None:
    """Returns the index of the column that the surest of the words names."""
    keys = [key_of(field) for field in header]
    columns = [keys.index(word) for word in words if word in keys and keys.index(word) not in without]
    return columns[0] if columns else None


def fields_of(line: str, separator: str | None) -> list[str]:
    """Splits a line into unquoted fields, at white space for None; empty fields after the second are dropped.

    >>> fields_of('"a, b.mp4", 2,,', ","), fields_of("a.mp4,", ","), fields_of("path  label", None)
    (['a, b.mp4', '2'], ['a.mp4', ''], ['path', 'label'])
    """
    if separator is None:
        return line.split()
    try:
        raw = next(csv.reader([line], delimiter=separator, skipinitialspace=True), [])
    except csv.Error:  # is no ValueError, and is raised only above csv's limit of letters
        raise ValueError(f"a line of {len(line):,} letters, and no field has so many") from None
    fields = [field.strip() for field in raw]
    while len(fields) > 2 and not fields[-1]:
        fields.pop()
    return fields


def is_open(line: str, separator: str | None) -> bool:
    """Says whether a quote is not closed on its line: the rest of the line would be one field with all that follows.

    >>> [is_open(line, ",") for line in ('"a.mp4,1', 'a.mp4,"tai chi', '"a, b.mp4",1', '5" a.mp4,1')]
    [True, True, False, False]
    """
    if separator is None:
        return line.startswith('"') and line.count('"') % 2 == 1
    reader = csv.reader([line, ""], delimiter=separator, skipinitialspace=True)
    try:
        next(reader, None)
    except csv.Error:  # too long a field, of which `fields_of` tells
        return False
    return reader.line_num > 1


def separator_of(line: str) -> str | None:
    """Finds what separates a list's columns: a tab, semicolon, comma or bar outside of a path, else white space (None).

    >>> [separator_of(line) for line in ("a b.mp4,2", "a, b.mp4 2", '"a; b.mp4",2', "7;Holding, or not", "a.mp4 2")]
    [',', None, ',', ';', None]
    >>> [separator_of(line) for line in ("a b.mp4|2", "a.mp4 | yoga", "path|label", "a|b.mp4 2", "take|2 30 5")]
    ['|', '|', '|', None, None]
    """
    quoted = line.startswith('"')
    for separator in "\t;,|":
        fields = fields_of(line, separator)
        if separator not in line or len(fields) < 2:
            continue
        if separator == "|" and not _ends_with_class(fields):
            continue
        before, _, last = line.rpartition(" ")
        ends = last.isdecimal() and not before.rstrip().endswith(separator) and not quoted
        if ends and (separator == "," or re.search(r"\.\w{2,4}$", before)):
            continue
        return separator
    return None


def _ends_with_class(fields: Sequence[str]) -> bool:
    """Says whether fields are a path and a class beyond doubt: bars are rare between columns, and may be in names."""
    numbered = any(whole_number(field) is not None for field in (fields[0], fields[-1]))
    return numbered or is_header(fields) or re.search(r"\.\w{2,4}$", fields[0]) is not None


def unquoted(name: str) -> str:
    """Removes the quotes around a name; Kinetics' files have quotes inside their quotes.

    >>> unquoted('"tai chi"'), unquoted('say "x"')
    ('tai chi', 'say "x"')
    """
    name = name.strip()
    return name[1:-1].strip() if len(name) > 1 and name[0] == name[-1] == '"' else name
