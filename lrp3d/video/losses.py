"""What was lost of a video, by the numbers of its frames, so that several reads of it can be told as one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import Any

from lrp3d.printed import few

MOST = 8  # stretches of frames that a sentence names


@dataclass(frozen=True)
class Losses:
    """Frames of one video that could not be read, or may be wrong.

    >>> first = Losses("a.mp4", damaged=(3, 4, 5, 6))
    >>> (first | Losses("a.mp4", damaged=(5, 6, 7, 9))).sentences()
    ['frames 3 to 7, 9 of a.mp4 follow damaged data and may be wrong']
    """

    name: str
    """The name of the video in sentences."""
    replaced: tuple[tuple[int, int], ...] = ()
    """Frames that do not decode, each with the one that stands in for it."""
    still: tuple[int, ...] = ()
    """Frames around which the picture of a moving video stands still."""
    damaged: tuple[int, ...] = ()
    """Frames that decode, but from damaged data."""
    of_all: tuple[str, ...] = ()
    """Sentences about the whole video."""

    @classmethod
    def of_frames(cls, name: str, wanted: list[int], shown: list[int], of_all: Iterable[str] = ()) -> Losses:
        """Those of a read that has shown these frames in place of the wanted ones."""
        replaced = sorted({(w, s) for w, s in zip(wanted, shown, strict=True) if w != s})
        return cls(name, replaced=tuple(replaced), of_all=tuple(of_all))

    def __or__(self, other: Losses) -> Losses:
        """Those of two reads of one video."""
        return Losses(
            self.name,
            tuple(sorted({*self.replaced, *other.replaced})),
            tuple(sorted({*self.still, *other.still})),
            tuple(sorted({*self.damaged, *other.damaged})),
            tuple(dict.fromkeys((*self.of_all, *other.of_all))),
        )

    def and_of_all(self, sentences: Iterable[str]) -> Losses:
        """These, and further sentences about the whole video."""
        return replace(self, of_all=(*self.of_all, *sentences))

    def sentences(self) -> list[str]:
        """A sentence about each kind of loss; none if nothing was lost."""
        said = []
        if self.replaced:
            replacements = few([f"{wanted} by {shown}" for wanted, shown in self.replaced], MOST)
            count = len(self.replaced)
            said.append(
                f"{count} of the frames asked for do not decode in {self.name} and were replaced: {replacements}"
            )
        said += self.of_all
        if self.still:
            said.append(
                f"the picture of {self.name} stands still around {frames(self.still)}, as after damage in a recording"
            )
        if self.damaged:
            follow = "follows" if len(self.damaged) == 1 else "follow"
            said.append(f"{frames(self.damaged)} of {self.name} {follow} damaged data and may be wrong")
        return said

    def to_dict(self) -> dict[str, Any]:
        """All of it, for json."""
        return asdict(self)

    @classmethod
    def from_dict(cls, facts: dict[str, Any]) -> Losses:
        """What `to_dict` gave, back from json."""
        replaced = tuple((int(wanted), int(shown)) for wanted, shown in facts["replaced"])
        still, damaged = (tuple(map(int, facts[key])) for key in ("still", "damaged"))
        return cls(str(facts["name"]), replaced, still, damaged, tuple(map(str, facts["of_all"])))


def frames(numbers: Iterable[int]) -> str:
    """Frames by their numbers, those that follow one another by the first and the last of them.

    >>> frames([3]), frames([3, 4]), frames([3, 4, 5, 9])
    ('frame 3', 'frames 3, 4', 'frames 3 to 5, 9')
    """
    numbers = list(numbers)
    starts = [0, *(i for i, (before, after) in enumerate(pairwise(numbers), 1) if after != before + 1)]
    stretches = [numbers[start:end] for start, end in zip(starts, [*starts[1:], len(numbers)], strict=True)]
    named = few([stretch(run[0], run[-1]) for run in stretches], MOST)
    if len(stretches) > MOST:
        return f"{len(numbers)} frames ({named})"
    return f"frame{'s' if len(numbers) > 1 else ''} {named}"


def stretch(first: int, last: int) -> str:
    """Numbers that follow one another.

    >>> stretch(3, 3), stretch(3, 4), stretch(3, 5)
    ('3', '3, 4', '3 to 5')
    """
    return ", ".join(map(str, range(first, last + 1))) if last - first < 2 else f"{first} to {last}"
