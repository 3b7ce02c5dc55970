"""Suggests a known name for one that is misspelt or fits nothing."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Sequence
from difflib import get_close_matches

from lrp3d.printed import few

__all__ = ["did_you_mean", "names_hint", "names_near"]


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """A question to add to an error sentence, or an empty text if no known name is close.

    >>> did_you_mean("explian", ["explain", "study"]), did_you_mean("vit", ["explain"])
    ('; did you mean explain?', '')
    """
    names = {name.lower(): name for name in choices}
    close = get_close_matches(word.lower(), names, n=1, cutoff=0.7)
    return f"; did you mean {names[close[0]]}?" if close and names[close[0]] != word else ""


def names_hint(unmatched: Sequence[str], names: Sequence[str]) -> str:
    """What may be meant instead of names or patterns of modules that fit nothing, or where to look.

    Args:
        unmatched: the names and patterns.
        names: the names that there are.

    >>> names_hint(["layer3"], ["features.layer3", "fc"]), names_hint(["x*"], ["fc"])
    ("did you mean 'features.layer3'?", 'lrp3d.inspect(model, clip) shows their names')
    """
    for wanted in unmatched:
        for wrapper in ("module.", "_orig_mod."):
            inside = wanted.removeprefix(wrapper)
            if inside != wanted and fnmatch.filter(names, inside):
                return f"names are those inside of the wrapper: {inside!r}"
        if any(name.startswith(f"{wanted}.") for name in names):
            return f"did you mean {wanted + '.*'!r}?"
        spelt = [] if set(wanted) & set("*?[") else get_close_matches(wanted, set(names) - {wanted}, n=1, cutoff=0.7)
        if meant := [*(name for name in names if name.endswith(f".{wanted}")), *spelt]:
            return f"did you mean {meant[0]!r}?"
    return "lrp3d.inspect(model, clip) shows their names"


def names_near(word: str, choices: Iterable[str], most: int = 5) -> str:
    """The name that is close, as `did_you_mean`, or else those that go on where the word ends.

    >>> names_near("r3d", ["r3d_18", "mc3_18"]), names_near("r3d_81", ["r3d_18", "mc3_18"])
    ('; there is r3d_18', '; did you mean r3d_18?')
    >>> names_near("", ["r3d_18"])
    ''
    """
    names = list(choices)
    longer = [name for name in names if word and name.lower().startswith(word.lower())]
    return did_you_mean(word, names) or (
        f"; there {'is' if len(longer) == 1 else 'are'} {few(longer, most)}" if longer else ""
    )
