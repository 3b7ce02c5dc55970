"""Makes text of other origin safe to print: no character moves the cursor, ends a line or reverses the direction."""

from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Iterable
from pathlib import PurePath
from typing import Any, TextIO

__all__ = ["about", "counted", "few", "fixed", "listed", "opening", "printable", "say", "with_article"]

# Control characters, surrogates, line and paragraph separators, and characters that change the direction of text.
UNSEEN = frozenset({"Cc", "Cs", "Zl", "Zp"})
TURNING = frozenset({"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"})


def printable(text: object) -> str:
    r"""The text on one line, with every character that would have an effect escaped.

    >>> printable("tai\x1b[31m chi\n"), printable("太极拳 $5"), printable("caf\udce9.mp4")
    ('tai\\x1b[31m chi\\n', '太极拳 $5', 'caf\\xe9.mp4')
    """
    text = str(text)
    if text.isprintable():
        return text
    return "".join(_escaped(letter) if _acts(letter) else letter for letter in text)


def _acts(letter: str) -> bool:
    return unicodedata.category(letter) in UNSEEN or unicodedata.bidirectional(letter) in TURNING


def _escaped(letter: str) -> str:
    """The escape sequence of a character in Python; for a byte of a file name that is not text, that of the byte."""
    if "\udc80" <= letter <= "\udcff":
        return f"\\x{ord(letter) - 0xDC00:02x}"
    return letter.encode("unicode_escape").decode()


def opening(text: object) -> str:
    r"""The beginning of a message of several lines on one line: up to the end of its first sentence or paragraph.

    What torch says of its own source code is left out.

    >>> opening("A process was started before the\n  other one was ready.\n\nIn the main module:\n    ...")
    'A process was started before the other one was ready.'
    """
    lines: list[str] = []
    for line in str(text).strip().splitlines():
        if not line.strip() or line.startswith("Exception raised from"):
            break
        lines.append(line.strip())
        if lines[-1].endswith((".", "!", "?")):
            break
    return " ".join(lines)


def about(file: object, sentence: object) -> str:
    """A sentence about a file, with its path in it once: `sentence` may hold the path already, or the file's name.

    >>> about("in/a.mp4", "a.mp4 is empty"), about("in/a.mp4", "there is no file in/a.mp4")
    ('in/a.mp4 is empty', 'there is no file in/a.mp4')
    >>> about("in/a.mp4", "it has 3 frames"), about("it", "it has 3 frames")
    ('in/a.mp4: it has 3 frames', 'it has 3 frames')
    """
    path, sentence = str(file), str(sentence)
    for name in filter(None, (path, str(PurePath(path)), PurePath(path).name)):
        # A word such as "clip" may be a file's name, but only at either end of a sentence it surely is.
        where = rf"(?<!\S){re.escape(name)}(?=[\s,:;]|$)"
        where = where if "." in name or "/" in name else rf"^{where}|{where}$"
        with_path, times = re.subn(where, lambda _: path, sentence, count=1)
        if times:
            return with_path
    return f"{path}: {sentence}"


def say(*lines: object, stream: TextIO | None = None) -> None:
    """Print lines, on stdout by default; everything that lrp3d prints goes through this function.

    Each line is made printable, so that it stays one line. Characters that the terminal's encoding lacks are escaped.
    Nothing is printed if there is no stream.
    """
    stream = sys.stdout if stream is None else stream
    if stream is None:
        return
    text = "".join(f"{printable(line)}\n" for line in lines)
    encoding = getattr(stream, "encoding", None) or "utf-8"
    stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
    stream.flush()


def counted(number: int, noun: str) -> str:
    """A number of things, in the singular or plural.

    >>> counted(1, "clip"), counted(3, "clip"), counted(2, "class")
    ('1 clip', '3 clips', '2 classes')
    """
    plural = f"{noun}es" if noun.endswith("s") else f"{noun}s"
    return f"{number} {noun if number == 1 else plural}"


def few(values: Iterable[Any], most: int = 5) -> str:
    """Joins the first few of some things, as examples.

    >>> few(range(9)), few(["a", "b"])
    ('0, 1, 2, 3, 4, ...', 'a, b')
    """
    texts = list(map(str, values))
    return ", ".join(texts[:most]) + (", ..." if len(texts) > most else "")


def listed(values: Iterable[Any], most: int | None = None) -> str:
    """Joins things as a sentence names all of them; of more than `most`, the first and how many others there are.

    >>> listed(["a"]), listed(["a", "b", "c"]), listed(["a", "b", "c", "d"], 2)
    ('a', 'a, b and c', 'a, b and 2 more')
    """
    texts = list(map(str, values))
    if most is not None and len(texts) > most:
        texts = [*texts[:most], f"{len(texts) - most} more"]
    return " and ".join([", ".join(texts[:-1]), texts[-1]] if len(texts) > 1 else texts)


def fixed(value: float, digits: int = 2, sign: str = "") -> str:
    """A number with a fixed number of digits; what rounds to zero has no minus, which would say that it is below.

    >>> fixed(-0.001), fixed(-0.006), fixed(-0.01, 1, "+")
    ('0.00', '-0.01', '+0.0')
    """
    return f"{round(value, digits) + 0.0:{sign}.{digits}f}"


def with_article(noun: str) -> str:
    """A noun, such as the name of a type, behind its indefinite article.

    >>> with_article("int"), with_article("Tensor"), with_article("UserDict")
    ('an int', 'a Tensor', 'a UserDict')
    """
    vowel = noun[:1].lower() in "aeio" or noun[:2].lower() in ("un", "um", "ul")
    return f"{'an' if vowel and noun else 'a'} {noun}"
