"""What `lrp3d.check` finds: numbers of every clip, their means with intervals, and what they mean in a sentence."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lrp3d.files import as_json
from lrp3d.printed import fixed, listed

__all__ = ["MEASURES", "Faithfulness", "Score"]

RESAMPLES = 2000
LEVEL = 0.95
LEAST_CLIPS = 6  # clips; with fewer, bootstrapped intervals are too narrow
ALIKE = 0.8  # rank correlation from which on two maps are called the same
YARDSTICK = "intervention"
WITHOUT_CLASS = ("random", "gradient x input")
"""Methods that are asked for their order of the frames alone."""
ORDER = "gain (freeze)"
"""The measure by which orders of the frames are judged."""
BLIND = {
    "other logit": (
        "says the same of another class: it does not tell classes apart here.",
        "say the same of another class: they do not tell classes apart here.",
    ),
    "random parameters": (
        "hardly notices that all parameters are random: most of it is the architecture; look at what stands above the "
        "floor.",
        "hardly notice that all parameters are random: most of them is the architecture; look at what stands above the "
        "floor.",
    ),
}
"""What is said of a method, and of several, whose maps stay alike in a measure."""

MEASURES = {
    "gain (freeze)": "relevance gain, frames frozen: how much more is left of the logit's lead when the frames with "
    "the least relevance go first than when those with the most do, as a share of the lead's size",
    "gain (neighbours)": "the same, frames replaced by the mean of those around them",
    "intervention": "cosine with the intervention matrix",
    "shapley": "rank correlation with the Shapley values of the frames",
    "other logit": "rank correlation with the map of another class: 1 says that the map does not depend on the class",
    "random classifier": "rank correlation with the map after the classifier was drawn anew",
    "random top half": "the same, after the upper half of the layers was",
    "random parameters": "the same, after all layers were: 1 says that the map does not depend on what was learned",
}
"""Every measure, and what it says."""


class Score(NamedTuple):
    """A mean over clips and its 95 % interval by the bootstrap; NaN where nothing was measured.

    One clip has no interval, as it does not say how clips differ.
    """

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        if math.isnan(self.mean):
            return "-"
        if math.isnan(self.low):
            return fixed(self.mean)
        return f"{fixed(self.mean)} [{fixed(self.low)}, {fixed(self.high)}]"


@dataclass(eq=False)
class Faithfulness:
    """How faithful relevance is on some clips; printed as a table with a verdict.

    >>> gains = {"gain (freeze)": {"CLRP": torch.tensor([1.0, 3.0]), "random": torch.tensor([0.2, -0.2])}}
    >>> found = Faithfulness(gains, lead=torch.tensor([2.0, 6.0]), targets=torch.tensor([0, 4]))
    >>> print(found.score("gain (freeze)", "CLRP"))
    0.50 [0.50, 0.50]
    """

    values: dict[str, dict[str, Tensor]]
    """By measure and method, a number for each clip (m,)."""
    lead: Tensor
    """(m,) by how much the explained class's logit is above the others' mean; its size is the unit of gains.

    Of a lone logit (b, 1), its size, or the logit as it is where class 0 was asked for.
    """
    targets: Tensor
    """(m,) the explained classes."""
    exact_shapley: bool = True
    """Whether Shapley values are exact, not estimated; of no meaning without them."""
    of_frame_logits: bool = True
    """Whether matrices were checked; else, as frames have no logits, their relevance for the clip's logit."""
    rows_at: str | None = None
    """The module at which rows of the matrices are time steps; None where they are frames with logits."""
    repeated: int = 0
    """How many of the clips are the same as an earlier one, and were asked about the same class."""

    @property
    def methods(self) -> list[str]:
        """The methods, in the order of the table."""
        return list(dict.fromkeys(method for by_method in self.values.values() for method in by_method))

    def score(self, measure: str, method: str) -> Score:
        """The mean over clips with its interval.

        Args:
            measure: one of `lrp3d.faithfulness.scores.MEASURES`.
            method: such as "CLRP".

        Returns:
            `Score`; of gains, as a share of the size of the lead; NaN where nothing was measured.
        """
        return self._mean(measure, self.values.get(measure, {}).get(method))

    def advantage(self, measure: str, method: str, other: str) -> Score:
        """By how much the mean of a method is above that of another one, with the interval of the difference.

        Both are measured on the same clips, so that their difference varies less than each of them.
        """
        found, others = (self.values.get(measure, {}).get(name) for name in (method, other))
        return self._mean(measure, None if found is None or others is None else found - others)

    def _mean(self, measure: str, values: Tensor | None) -> Score:
        if values is None or not len(values):
            return Score(math.nan, math.nan, math.nan)
        # A class that does not lead has a negative lead, and a good order is good for it all the same.
        weights = self.lead.abs() if measure.startswith("gain") else torch.ones_like(values)
        finite = values.isfinite()
        values, weights = values[finite].double().cpu(), weights[finite].double().cpu()
        if not len(values):
            return Score(math.nan, math.nan, math.nan)
        if len(values) == 1:
            return Score(float(values / weights), math.nan, math.nan)
        drawn = torch.randint(
            len(values), (RESAMPLES, len(values)), generator=torch.Generator().manual_seed(0), device="cpu"
        )
        means = (values[drawn].sum(1) / weights[drawn].sum(1)).sort().values
        aside = (1 - LEVEL) / 2
        ends = torch.quantile(means, torch.tensor([aside, 1 - aside], dtype=means.dtype, device="cpu"))
        return Score(float(values.sum() / weights.sum()), float(ends[0]), float(ends[1]))

    @property
    def verdict(self) -> str:
        """What the numbers say, in a few sentences: the headline, and what it rests on."""
        return " ".join([f"{self.headline}.", *self.findings])

    @property
    def headline(self) -> str:
        """What the numbers say, in one sentence without its full stop."""
        if not self._kinds:
            return "No method was checked"
        best, above = self._best, self._above_chance
        if not above:
            return "No method is shown to order the frames better than chance: do not rely on the order"
        if (different := len(self.targets) - self.repeated) < LEAST_CLIPS:
            of_kind = " different" if self.repeated else ""
            return (
                f"{different}{of_kind} {'clips are' if different > 1 else 'clip is'} too few for a verdict: take at "
                f"least {LEAST_CLIPS}, better twenty"
            )
        if best in above and not self._alike:
            return f"{best} orders the frames best"
        return f"{listed(above)} {'order' if above[1:] else 'orders'} the frames better than chance"

    @property
    def findings(self) -> list[str]:
        """What else the numbers say, a sentence each."""
        if not self._kinds:
            return []
        best = self._best
        gain, random, yardstick = (self.score(ORDER, method) for method in (best, "random", YARDSTICK))
        compared = "".join(f", {name} {score}" for name, score in (("random", random), ("interventions", yardstick)))
        sentences = [f"{best} gains most from its order of the frames: relevance gain {gain}{compared}."]
        above = self._above_chance
        if best not in above:
            sentences.append(f"That is not above a random order beyond what {self._clips('leave', 'leaves')} open.")
            sentences += [f"That of {name} is, with {self.score(ORDER, name)}." for name in above]
        if self._alike:
            clips = self._clips("do", "does")
            sentences.append(f"{clips[0].upper()}{clips[1:]} not tell it from {listed(self._alike)}.")
        return [*sentences, *self._blind()]

    def _clips(self, do: str, does: str) -> str:
        """The clips as the subject of a sentence, with its verb for several and for one."""
        count = len(self.targets)
        return f"these {count} clips {do}" if count > 1 else f"one clip {does}"

    @property
    def _kinds(self) -> list[str]:
        """The methods that are judged."""
        return [method for method in self.methods if method not in (YARDSTICK, "random")]

    @property
    def _best(self) -> str:
        return max(self._kinds, key=lambda method: _or_least(self.score(ORDER, method).mean))

    @property
    def _alike(self) -> list[str]:
        """The methods from which the clips do not tell the best one."""
        best = self._best
        return [name for name in self._kinds if name != best and not self.advantage(ORDER, best, name).low > 0]

    @property
    def _above_chance(self) -> list[str]:
        """The methods whose intervals lie above that of a random order, and above nothing gained."""
        high = self.score(ORDER, "random").high
        chance = max(0.0, 0.0 if math.isnan(high) else high)
        return [name for name in self._kinds if self.score(ORDER, name).low > chance]

    def _blind(self) -> Iterator[str]:
        """Which methods say the same of other classes or other networks, where what they explain is not the same."""
        for measure, (of_one, of_several) in BLIND.items():
            blind = [method for method in self._kinds if self.score(measure, method).mean >= ALIKE]
            if blind and self.score(measure, YARDSTICK).mean >= ALIKE:
                yield f"'{measure}' blames no method here: what interventions measure is the same, too."
            elif blind:
                yield f"{listed(blind)} {of_several if blind[1:] else of_one}"

    def __str__(self) -> str:
        rows = [["measure", *self.methods], *self.rows()]
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
        said = [f"{self.headline}.", *(f"  - {finding}" for finding in self.findings)]
        return "\n".join([*lines, self.about, *(f"-: {why}" for why in self.blanks), *said])

    def rows(self) -> list[list[str]]:
        """The table's rows: each measure's name, and its score for every method."""
        measures = [name for name in MEASURES if name in self.values]
        return [[measure, *(str(self.score(measure, method)) for method in self.methods)] for measure in measures]

    @property
    def about(self) -> str:
        """What the numbers of the table are."""
        count = len(self.targets)
        said = f"{count} clips; means with 95 % intervals over clips"
        if count == 1:
            said = "1 clip; no intervals, as one clip does not say how clips differ"
        elif count < LEAST_CLIPS:
            said += ", which are too narrow for so few"
        if self.repeated:
            said += f"; {self.repeated} of the clips repeat others, so that intervals are too narrow"
        if "shapley" in self.values:
            said += ", exact Shapley values" if self.exact_shapley else ", estimated Shapley values"
        if not self.of_frame_logits:
            said += "; frames have no logits here: all is said of the clip's logit"
        if self.rows_at is not None:
            said += f"; rows are the time steps at {self.rows_at}"
        return said

    @property
    def blanks(self) -> list[str]:
        """Why cells of the table have "-" for a number, a phrase each; empty if none has."""
        names = [(measure, method) for measure, *_ in self.rows() for method in self.methods]
        blank = [name for name in names if math.isnan(self.score(*name).mean)]
        return list(dict.fromkeys(_why_blank(*name) for name in blank))

    def __repr__(self) -> str:
        return str(self)

    def to_dict(self) -> dict[str, Any]:
        """Everything, for json; numbers that do not exist are null."""
        record: dict[str, Any] = {
            "clips": len(self.targets),
            "targets": self.targets.tolist(),
            "lead": self.lead,
            "exact_shapley": self.exact_shapley if "shapley" in self.values else None,
            "of_frame_logits": self.of_frame_logits,
            "rows_at": self.rows_at,
            "repeated": self.repeated,
            "verdict": self.verdict,
            "measures": {
                measure: {
                    method: {
                        **self.score(measure, method)._asdict(),
                        "clips": values,
                    }
                    for method, values in by_method.items()
                }
                for measure, by_method in self.values.items()
            },
        }
        return {name: as_json(value) for name, value in record.items()}


def _or_least(value: float) -> float:
    return -math.inf if math.isnan(value) else value


def _why_blank(measure: str, method: str) -> str:
    if method in WITHOUT_CLASS and measure.startswith(("other", "random")):
        return "random numbers and gradient x input are not held against other classes and weights"
    if method == "gradient x input" and measure == YARDSTICK:
        return (
            "of a model that gives no frame logits by itself, and beside rows at a layer, gradient x input has a "
            "single row, not a matrix"
        )
    return "there is nothing to measure on these clips, as where they stand still and lose nothing without a frame"
