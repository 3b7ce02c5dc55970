"""What happens to texts and json: their words are replaced by hostile ones, their lines and fields are moved."""

from __future__ import annotations

import json
import re
from random import Random
from typing import Any

from benchmarks.fuzzing.mutations import mutated

HOSTILE = (
    *("", " ", "0", "1", "-1", "+1", "007", "1.0", "1.5", "1e999", "nan", "-inf", "Infinity", "true", "null", "None"),
    *("9" * 30, "9" * 5000, "-" + "9" * 400, "1" + "0" * 12, "999999", "1000000", str(2**63), "٣", "²", "--5", "0x10"),
    *("http://example.org/a.mp4", "file:///a", "pipe:0", "concat:a|b", "../../a", "/dev/zero", "C:\\a", "~", "."),
    *("=1+1", "=cmd|' /C calc'!A0", "@SUM(A1)", "$x$", "%s%n", "{0}", "<b>", "\x1b[31m", "a\0b", "\x07", "\x7f"),
    *("\u2028", "\x85", "\x0b", "\x1c", "\u202e", "\ufeff", "太极拳", "🤸", "\u0301", "İ", "ß"),
    *('"', '""', '"a', "'", "\\", ",", ";", "\t", "|", "#", "# ", "sep=;", 'sep="', "sep= ", "\r", "\n", "\n\n"),
    *("id", "name", "label", "path", "path,label", "id,name", "label,youtube_id,time_start,time_end,split"),
    *("{", "}", "[]", "[" * 5000, '{"a":' * 5000, "x" * 3000, "x" * 140_000, "a.mp4", "a b.mp4", "a/b"),
)
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 1.5, 1e308, float("nan"), float("inf"), 10**6, 10**12, 2**63, 10**400),
    *([], {}, [[]], [None], {"": 0}, {"name": "a"}, [1, "a"], list(range(50)), "\ud800"),
)
_TOKEN = re.compile(r"[\w.+-]+|[^\w\s]|\s")


def mutated_text(text: str, rng: Random) -> bytes:
    """The bytes of a text after some mutations of its words, lines, fields, encoding, and in the end bytes."""
    for _ in range(rng.choice((1, 1, 2, 3))):
        text = rng.choice((_replaced, _replaced, _replaced, _lines, _separated))(text, rng)
    encoding = rng.choice(("utf-8",) * 8 + ("utf-8-sig", "utf-16", "utf-32", "latin-1"))
    data = text.encode(encoding, "replace")
    return mutated(data, rng) if rng.random() < 0.2 else data


def hostile(rng: Random) -> str:
    """A word that should do no harm."""
    return rng.choice(HOSTILE)


def _replaced(text: str, rng: Random) -> str:
    """A word, or what stands between words, becomes hostile; or it comes in front."""
    tokens = list(_TOKEN.finditer(text))
    if not tokens:
        return hostile(rng)
    token = rng.choice(tokens)
    start = token.start() if rng.random() < 0.8 else token.end()
    return text[:start] + hostile(rng) + text[token.end() :]


def _lines(text: str, rng: Random) -> str:
    """Lines change places, repeat, go missing, or a foreign one comes in."""
    lines = text.split("\n")
    first, second = rng.randrange(len(lines)), rng.randrange(len(lines))
    change = rng.randrange(4)
    if change == 0:
        lines[first], lines[second] = lines[second], lines[first]
    elif change == 1:
        lines.insert(first, lines[second])
    elif change == 2:
        del lines[first]
    else:
        lines.insert(first, hostile(rng))
    return rng.choice(("\n", "\n", "\r\n", "\r")).join(lines)


def _separated(text: str, rng: Random) -> str:
    """One mark is another, everywhere or once."""
    old, new = rng.choice(",; \t\n\"'[]{}:"), rng.choice((*",; \t\n\"'[]{}:", ""))
    return text.replace(old, new, rng.choice((1, -1)))


def mutated_json(text: str, rng: Random) -> str:
    """Json with another value, or key, somewhere in it; one text may be json itself, as in metadata.

    >>> mutated_json('{"a": [1, 2]}', Random(3)) == mutated_json('{"a": [1, 2]}', Random(3))
    True
    """
    stored = _changed(json.loads(text), rng)
    return json.dumps(stored, ensure_ascii=rng.random() < 0.5 or "\ud800" in repr(stored) or _has_halves(stored))


def _has_halves(stored: Any) -> bool:
    """Whether some text is no text of utf-8."""
    text = json.dumps(stored, ensure_ascii=False)
    return any("\ud800" <= letter <= "\udfff" for letter in text)


def _changed(value: Any, rng: Random) -> Any:
    if isinstance(value, (dict, list)) and value and rng.random() < 0.85:
        value = value.copy()
        key = rng.choice(list(value)) if isinstance(value, dict) else rng.randrange(len(value))
        chance = rng.random()
        if chance < 0.1:
            del value[key]
        elif chance < 0.25 and isinstance(value, dict):
            value[hostile(rng)] = value.pop(key)
        elif chance < 0.3 and isinstance(value, list):
            value.append(value[key])
        else:
            value[key] = _changed(value[key], rng)
        return value
    if isinstance(value, str) and value[:1] in ("{", "[") and rng.random() < 0.8:
        try:
            return json.dumps(_changed(json.loads(value), rng))
        except ValueError:
            return hostile(rng)
    if isinstance(value, int) and not isinstance(value, bool) and rng.random() < 0.4:
        return rng.choice((value + 1, value - 1, -value, value * 1000, float(value), str(value)))
    return rng.choice(VALUES) if rng.random() < 0.6 else hostile(rng)
