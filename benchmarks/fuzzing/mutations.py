"""What happens to the bytes of a file: they flip, break off, go missing, repeat, or claim large numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

EDGE = 300  # bytes at either end, where headers and indices are: half of all damage is done there
MOST = 1 << 20  # bytes that a mutated file has at most

Mutation = Callable[[bytes, Random], bytes]


def mutated(data: bytes, rng: Random, others: Sequence[bytes] = ()) -> bytes:
    """The bytes after one to four mutations; ``others`` are files that a part may come from.

    >>> mutated(b"0123456789", Random(1)) == mutated(b"0123456789", Random(1))
    True
    """
    for _ in range(rng.choice((1, 1, 2, 4))):
        if others and rng.random() < 0.1:
            data = spliced(data, rng, rng.choice(others))
        else:
            data = rng.choice(MUTATIONS)(data, rng)
    return data[:MOST]


def place(data: bytes, rng: Random) -> int:
    """A place in the data, as often near an end as anywhere."""
    last = max(0, len(data) - 1)
    near = min(EDGE, last)
    return rng.choice((rng.randint(0, last), rng.randint(0, last), rng.randint(0, near), last - rng.randint(0, near)))


def part(data: bytes, rng: Random) -> tuple[int, int]:
    """Where a part of the data begins and ends: of a byte, of some, of much."""
    start = place(data, rng)
    return start, min(len(data), start + rng.randint(1, rng.choice((1, 8, 64, 1 + len(data) // 2))))


def flip(data: bytes, rng: Random) -> bytes:
    """Some bits are flipped."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 3, 20)) if data else 0):
        changed[place(data, rng)] ^= 1 << rng.randrange(8)
    return bytes(changed)


def cut(data: bytes, rng: Random) -> bytes:
    """The file breaks off."""
    return data[: place(data, rng)]


def drop(data: bytes, rng: Random) -> bytes:
    """A part is missing."""
    start, end = part(data, rng)
    return data[:start] + data[end:]


def repeat(data: bytes, rng: Random) -> bytes:
    """A part is there several times."""
    start, end = part(data, rng)
    return data[:start] + data[start:end] * rng.choice((2, 3, 50)) + data[end:]


def blank(data: bytes, rng: Random) -> bytes:
    """A part has zeros or ones only, as holes of a disk have."""
    start, end = part(data, rng)
    return data[:start] + rng.choice((b"\x00", b"\xff")) * (end - start) + data[end:]


def noise(data: bytes, rng: Random) -> bytes:
    """A part is random."""
    start, end = part(data, rng)
    return data[:start] + rng.randbytes(end - start) + data[end:]


def grow(data: bytes, rng: Random) -> bytes:
    """What may be a number becomes huge, negative, or one more or less."""
    size, order = rng.choice((1, 2, 4, 8)), rng.choice(("little", "big"))
    start = place(data, rng)
    top = 1 << (8 * size)
    now = int.from_bytes(data[start : start + size], "little" if order == "little" else "big")
    number = rng.choice((top - 1, top // 2, top // 2 - 1, 0, now + 1, now - 1, now * 256, now * 65536, top // 256))
    return data[:start] + (number % top).to_bytes(size, "little" if order == "little" else "big") + data[start + size :]


def spliced(data: bytes, rng: Random, other: bytes) -> bytes:
    """The file goes on as another one."""
    return data[: place(data, rng)] + other[place(other, rng) :]


MUTATIONS: tuple[Mutation, ...] = (flip, flip, cut, drop, repeat, blank, noise, grow, grow, grow)
