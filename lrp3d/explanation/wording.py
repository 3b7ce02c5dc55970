"""Numbers in words that a person can read."""

from __future__ import annotations

import math

ROUNDING = 1e-3  # above what rounding does in float32, below what any rule that loses something loses


def conserved(error: float) -> str:
    """Whether relevance was conserved, from the relative error of its sum.

    >>> conserved(1.2e-7), conserved(0.0), conserved(0.117), conserved(float("nan"))
    ('yes (1e-7)', 'yes (exactly)', 'no (off by 12 %)', 'no (off by nan %)')
    """
    if error == 0:
        return "yes (exactly)"
    if error < ROUNDING:
        return f"yes ({error:.0e})".replace("e-0", "e-")
    return f"no (off by {100 * error:.2g} %)" if error < 1 else f"no (off by {100 * error:.0f} %)"


def within(share: float, average: float, longest: float, columns: int, unit: str) -> str:
    """What ATR says: in how many frames a frame's relevance lies.

    >>> within(0.975, 8.153, 14.0, 16, "frames")
    '97.5 % of the relevance within 8.2 of 16 frames on average, 14 at most'
    >>> within(0.975, float("nan"), float("nan"), 16, "frames")
    'no frame has relevance'
    """
    if not math.isfinite(longest):
        return "no frame has relevance"
    mean = f"{average:.1f}" if math.isfinite(average) else "none"
    return f"{100 * share:g} % of the relevance within {mean} of {columns} {unit} on average, {longest:.0f} at most"
