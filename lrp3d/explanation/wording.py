"""Numbers in words for people."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lrp3d.explanation.explanation import Explanation

ROUNDING = 1e-3  # more than rounding in float32 causes, less than any rule that loses relevance loses


def conservation_words(error: float) -> str:
    """Whether relevance was conserved, from the relative error of its sum.

    >>> conservation_words(1.2e-7), conservation_words(0.0), conservation_words(0.117), conservation_words(float("nan"))
    ('yes (1e-7)', 'yes (exactly)', 'no (off by 12 %)', 'no (off by nan %)')
    """
    answer, precision = conservation_answer(error)
    return f"{answer} ({precision})"


def conservation_answer(error: float) -> tuple[str, str]:
    """Whether relevance was conserved, "yes" or "no", and how precisely.

    >>> conservation_answer(1.2e-7), conservation_answer(0.117)
    (('yes', '1e-7'), ('no', 'off by 12 %'))
    """
    if error == 0:
        return "yes", "exactly"
    if error < ROUNDING:
        return "yes", f"{error:.0e}".replace("e-0", "e-")
    return "no", f"off by {100 * error:.2g} %" if error < 1 else f"off by {100 * error:.0f} %"


def conservation_remark(error: float) -> str:
    """How precisely relevance was conserved, as a remark on the answer.

    >>> conservation_remark(0.0), conservation_remark(0.117)
    ('the sum of relevance is exact', 'the sum of relevance is off by 12 %')
    >>> conservation_remark(6e-8)
    'relative error of the sum of relevance: 6e-8'
    """
    answer, precision = conservation_answer(error)
    if answer == "no":
        return f"the sum of relevance is {precision}"
    return "the sum of relevance is exact" if error == 0 else f"relative error of the sum of relevance: {precision}"


def span_words(
    share: float,
    average: float,
    longest: float,
    columns: int,
    unit: str,
    no_average: str = "no frame's logit is positive",
) -> str:
    """What ATR says: in how many frames a frame's relevance lies; and why it has no average, if it has none.

    >>> span_words(0.975, 8.153, 14.0, 16, "frames")
    '97.5 % of the relevance within 8.2 of 16 frames on average, 14 at most'
    >>> span_words(0.975, float("nan"), float("nan"), 16, "frames")
    'no frame has relevance'
    >>> span_words(0.975, float("nan"), 4.0, 4, "frames")
    "97.5 % of the relevance within 4 of 4 frames at most; no average: no frame's logit is positive"
    """
    if not math.isfinite(longest):
        return "no frame has relevance"
    start = f"{100 * share:g} % of the relevance within"
    if not math.isfinite(average):
        return f"{start} {longest:.0f} of {columns} {unit} at most; no average: {no_average}"
    return f"{start} {average:.1f} of {columns} {unit} on average, {longest:.0f} at most"


def motion_words(share: float, contrastive: bool = True) -> str:
    """How much of the relevance is dynamic, from its share, which is none if the parts have different signs.

    Plain LRP is advised only where relevance is contrastive.

    >>> motion_words(0.123)
    '12 % of the relevance is dynamic, the rest static'
    >>> motion_words(-0.5)
    'dynamic relevance is -50 % of the whole and static 150 %: their signs differ, most often with CLRP; try plain LRP'
    >>> motion_words(-0.5, contrastive=False)
    'dynamic relevance is -50 % of the whole and static 150 %: their signs differ, so that neither is a share of it'
    >>> motion_words(-0.004), motion_words(float("nan"))
    ('0 % of the relevance is dynamic, the rest static', 'there is no relevance to split')
    """
    if not math.isfinite(share):
        return "there is no relevance to split"
    percent = round(100 * share)
    if is_part(share):
        return f"{percent} % of the relevance is dynamic, the rest static"
    what_follows = "most often with CLRP; try plain LRP" if contrastive else "so that neither is a share of it"
    shares = f"dynamic relevance is {percent} % of the whole and static {100 - percent} %"
    return f"{shares}: their signs differ, {what_follows}"


def is_part(share: float) -> bool:
    """Whether dynamic relevance is a part of the whole, from none to all of it; else the parts have different signs.

    >>> is_part(0.123), is_part(-0.5), is_part(-0.004), is_part(float("nan"))
    (True, False, True, False)
    """
    return math.isfinite(share) and 0 <= round(100 * share) <= 100


def subject(explanation: Explanation, clip: int, name: Callable[[int], str] = "class {}".format) -> str:
    """What is explained of a clip: a class, or a class rather than others."""
    chosen = name(int(explanation.explained_class[clip]))
    if explanation.against is None:
        return chosen
    return f"{chosen} rather than {' or '.join(name(other) for other in explanation.against[clip].tolist())}"


def own_logit(explanation: Explanation, clip: int) -> float:
    """The logit of a clip's explained class; a lone logit, negated where it was explained for class 0."""
    logit = float(explanation.logits[clip, explanation.target[clip]])
    return logit if explanation.sign is None else logit * float(explanation.sign[clip])


def amount(explanation: Explanation, clip: int) -> tuple[float, str]:
    """The explained number of a clip and its name: a logit, or how far the logit is above others."""
    logit = own_logit(explanation, clip)
    if explanation.against is None:
        return logit, "logit"
    mean = float(explanation.logits[clip, explanation.against[clip]].double().mean())
    return logit - mean, f"logit {comparison(explanation, clip)}"


def comparison(explanation: Explanation, clip: int) -> str:
    """With what a clip's logit is compared: "above the other's", "above their mean"; empty where it stands alone."""
    if explanation.against is None:
        return ""
    return "above the other's" if len(explanation.against[clip]) == 1 else "above their mean"


def amount_words(explanation: Explanation, clip: int) -> str:
    """The explained number of a clip in words: "logit 3.2", or "logit above the other's by 0.043"."""
    number, quantity = amount(explanation, clip)
    return f"{quantity} {'by ' if comparison(explanation, clip) else ''}{number:.4g}"


def channel_words(where: dict[str, list[int]]) -> str:
    """The channels through which relevance flows, in words.

    >>> channel_words({"layer3": [12, 40]})
    'channels 12, 40 of layer3'
    """
    named = {name: ", ".join(map(str, channels)) for name, channels in where.items()}
    return "; ".join(f"channel{'s' * (', ' in listed)} {listed} of {name}" for name, listed in named.items())


def shares_of_channels(explanation: Explanation, layer: str, clip: int, most: int) -> list[tuple[int, float]]:
    """The channels of a layer with the most relevance, and the share of each in what speaks for the class there."""
    relevance = explanation.channels(layer)[clip].double()
    total = float(relevance.clamp(min=0).sum())
    best = relevance.topk(min(most, len(relevance)))
    strongest = zip(best.indices.tolist(), best.values.tolist(), strict=True)
    return [(channel, value / total) for channel, value in strongest if value > 0]


def best_channels(explanation: Explanation, layer: str, clip: int, most: int = 5) -> str:
    """The channels of a layer with the most relevance, in words."""
    best = shares_of_channels(explanation, layer, clip, most)
    count = explanation.channels(layer).shape[1]
    listed = ", ".join(f"channel {channel} ({100 * share:.0f} %)" for channel, share in best)
    if listed:
        return f"most relevance of its {count} channels: {listed}"
    against = bool(explanation.channels(layer)[clip].any())
    return f"no relevance {'for the class ' * against}in its {count} channels"
