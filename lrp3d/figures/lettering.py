"""Text of figures: drawn as it is written, never as a formula, in fonts that have all its letters."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lrp3d.callers import warn
from lrp3d.figures.colours import import_matplotlib
from lrp3d.printed import printable

if TYPE_CHECKING:
    from matplotlib.ft2font import FT2Font

__all__ = ["MissingLetters", "em", "lettered"]

BOX = "\N{WHITE SQUARE}"
EAST_ASIAN = ("CJK", "HIRAGANA", "KATAKANA", "HANGUL", "BOPOMOFO", "KANGXI", "IDEOGRAPHIC", "FULLWIDTH")
UPRIGHT = ("Regular", "Book", "Roman", "Medium", "Normal")


class MissingLetters(UserWarning):
    """Warns that no installed font has some letters of a figure."""


def lettered(text: object) -> tuple[str, dict[str, Any]]:
    """The text and the properties of a `Text` with which matplotlib draws it as it is written.

    Line breaks are kept; other control characters are escaped. Letters that are in no font of the settings are taken
    from another installed font; if there is none, a box is drawn and `MissingLetters` says what to install.

    >>> said, how = lettered("pay $5 or $10")
    >>> said, how["parse_math"]
    ('pay $5 or $10', False)
    """
    import_matplotlib()
    from matplotlib.font_manager import FontProperties

    printable_text = "\n".join(printable(line.replace("\t", " ")) for line in str(text).split("\n"))
    families = FontProperties().get_family()
    letters = {letter for letter in printable_text if letter != "\n"}
    missing = {letter for letter in letters if not any(_has(font, letter) for font in _fonts(tuple(families)))}
    fallbacks = _fallbacks().names_for(missing)
    undrawable = {letter for letter in missing if letter not in _fallbacks().owners}
    _warn_of_direction(printable_text)
    _warn_of({letter for letter in undrawable if not _unseen(letter)})
    printable_text = "".join(
        ("" if _unseen(letter) else BOX) if letter in undrawable else letter for letter in printable_text
    )
    return printable_text, {"parse_math": False, "usetex": False, "fontfamily": [*families, *fallbacks]}


@cache
def _fonts(families: tuple[str, ...]) -> list[FT2Font]:
    """The fonts that matplotlib's settings name."""
    from matplotlib.font_manager import FontProperties, findfont
    from matplotlib.ft2font import FT2Font

    return [FT2Font(findfont(FontProperties(family=[family]))) for family in families]


@cache
def em(letter: str) -> float:
    """The width of a letter of a text that `lettered` returned, in sizes of its font."""
    from matplotlib.font_manager import FontProperties

    fonts = [*_fonts(tuple(FontProperties().get_family())), *_fallbacks().fonts.values()]
    font = next((font for font in fonts if _has(font, letter)), fonts[0])
    font.set_size(10, 72)
    return font.load_char(ord(letter)).linearHoriAdvance / 65536 / 10


def _has(font: FT2Font, letter: str) -> bool:
    return font.get_char_index(ord(letter)) != 0


def _unseen(letter: str) -> bool:
    """Whether a letter only changes the look of its neighbours, so that it needs no glyph."""
    return unicodedata.category(letter) == "Cf" or unicodedata.name(letter, "").startswith("VARIATION SELECTOR")


class _Fallbacks:
    """Fonts for letters that the fonts of the settings lack; each letter is looked up once in all installed fonts."""

    def __init__(self) -> None:
        self.fonts: dict[str, FT2Font] = {}
        self.owners: dict[str, str] = {}
        self.nowhere: set[str] = set()

    def names_for(self, letters: set[str]) -> list[str]:
        """As few font families as possible that have these letters."""
        new = letters - self.nowhere - set(self.owners)
        if new:
            self._look_for(new)
        return sorted({self.owners[letter] for letter in letters if letter in self.owners})

    def _look_for(self, letters: set[str]) -> None:
        has = {font.family_name: (font, _covered(font, letters)) for font in _installed()}
        while letters and has:
            owners = set(self.owners.values())
            name = max(has, key=lambda name: (len(has[name][1] & letters), name in owners, *_suits(has[name][0])))
            covered = has[name][1] & letters
            if not covered:
                break
            self.fonts[name] = has[name][0]
            self.owners |= dict.fromkeys(covered, name)
            letters = letters - covered
        self.nowhere |= letters


@cache
def _fallbacks() -> _Fallbacks:
    return _Fallbacks()


def _covered(font: FT2Font, letters: Iterable[str]) -> set[str]:
    return {letter for letter in letters if _has(font, letter)}


def _suits(font: FT2Font) -> tuple[bool, bool]:
    """A key for sorting: of two fonts with the same letters, the one that suits the other text comes first."""
    name = font.family_name.lower()
    return "mono" not in name, "sans" in name


@cache
def _installed() -> list[FT2Font]:
    """Upright fonts of normal weight that matplotlib can draw, including fonts installed after its last search."""
    from matplotlib.font_manager import findSystemFonts, fontManager
    from matplotlib.ft2font import FT2Font

    listed = {entry.fname for entry in fontManager.ttflist}
    fonts: dict[str, FT2Font] = {}
    for path in sorted({*listed, *findSystemFonts()}):
        try:
            font = FT2Font(path)
            if not font.scalable or font.style_name not in UPRIGHT or _draws_no_text(path):
                continue
            if path not in listed:
                fontManager.addfont(path)
        except (OSError, RuntimeError, ValueError, NotImplementedError):
            continue  # the file is not a font, or not one that can be drawn
        fonts.setdefault(font.family_name, font)
    return list(fonts.values())


def _draws_no_text(path: str) -> bool:
    """Whether a font draws boxes, or is one of matplotlib's fonts for formulas."""
    from matplotlib import get_data_path

    name = Path(path).name.lower()
    return "lastresort" in name or (path.startswith(get_data_path()) and not name.startswith("dejavu"))


@cache
def _warned() -> set[str]:
    return set()


def _warn_of(missing: set[str]) -> None:
    """Warns of missing letters, once for each kind of letters in a process."""
    for kind, letters in _by_kind(missing).items():
        if kind in _warned():
            continue
        _warned().add(kind)
        font, package = {
            "Chinese, Japanese or Korean letters": ("Noto Sans CJK", "fonts-noto-cjk"),
            "symbols": ("Symbola", "fonts-symbola"),
        }.get(kind, ("those of Noto", "fonts-noto-core"))
        warn(
            f"no installed font has the {kind} {''.join(sorted(letters)[:8])}, and pictures show boxes in their place: "
            f"install one that has them, such as {font} (Debian, Ubuntu: apt-get install {package})",
            MissingLetters,
        )


def _warn_of_direction(text: str) -> None:
    """Warns that matplotlib before 3.11 writes every script from left to right."""
    from matplotlib import ft2font

    if hasattr(ft2font, "__libraqm_version__") or "direction" in _warned():
        return
    if any(unicodedata.bidirectional(letter) in ("R", "AL") for letter in text):
        _warned().add("direction")
        warn(
            "this matplotlib writes Hebrew and Arabic from left to right in pictures: install matplotlib 3.11 or later",
            MissingLetters,
        )


def _by_kind(missing: Iterable[str]) -> dict[str, set[str]]:
    kinds: dict[str, set[str]] = {}
    for letter in missing:
        script = unicodedata.name(letter, "UNNAMED").partition(" ")[0]
        if script.startswith(EAST_ASIAN):
            kind = "Chinese, Japanese or Korean letters"
        elif unicodedata.category(letter)[0] in "LM":
            kind = f"{script.capitalize()} letters"
        else:
            kind = "symbols"
        kinds.setdefault(kind, set()).add(letter)
    return kinds
