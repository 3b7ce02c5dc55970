"""Clips whose time is changed, to see whether a network needs time at all.

How much a network loses when frames are reversed, shuffled or frozen is a measured fact about its use of time, to which
ATR and motion can be compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from lrp3d.defaults import LAYOUT, TIME_VARIANTS
from lrp3d.errors import NoMotion
from lrp3d.explain import explain
from lrp3d.explanation.explanation import Explanation
from lrp3d.layout import laid_out
from lrp3d.metrics.atr import avg_atr
from lrp3d.twin.twin import Twin

COLUMNS = ("prediction", "logit", "avg_atr", "motion")
"""The numbers that are kept of a clip in each variant."""


def check_variants(names: Sequence[str]) -> tuple[str, ...]:
    """Returns the names of variants; raises ValueError for a name that is no variant.

    >>> check_variants(["reversed", "frozen"])
    ('reversed', 'frozen')
    """
    if wrong := [name for name in names if name not in TIME_VARIANTS]:
        raise ValueError(f"time is changed to {', '.join(TIME_VARIANTS)}, not {wrong[0]!r}")
    return tuple(dict.fromkeys(names))


def in_time(clips: Tensor, variant: str) -> Tensor:
    """Returns the same clips with their time changed.

    Args:
        clips: (b, c, t, h, w).
        variant: "reversed"; "shuffled", in one order for all clips with as many frames; "frozen", which repeats the
            middle frame; "single", which repeats each frame in turn, (b t, c, t, h, w), and shows what each says alone.

    Raises:
        ValueError: for any other variant.

    >>> in_time(torch.arange(4.0).reshape(1, 1, 4, 1, 1), "reversed").flatten().tolist()
    [3.0, 2.0, 1.0, 0.0]
    """
    check_variants([variant])
    frames = clips.shape[2]
    if variant == "reversed":
        return clips.flip(2)
    if variant == "shuffled":
        order = torch.randperm(frames, generator=torch.Generator().manual_seed(0), device="cpu")
        return clips[:, :, order.to(clips.device)]
    if variant == "frozen":
        return clips[:, :, frames // 2].unsqueeze(2).expand_as(clips)
    alone = clips.transpose(1, 2).flatten(0, 1).unsqueeze(2)
    return alone.expand(-1, -1, frames, -1, -1)


class TimeVariants:
    """Measures a model on clips as they are and with their time changed.

    Args:
        twin: the twin of the model.
        names: the variants.
        contrastive: CLRP for ATR; motion is always of plain LRP, because a share of contrast has no meaning.
        sigma: the share of a row's relevance that an ATR window holds.
        layout: the axes of the clips that the model takes.
        more: further arguments of `lrp3d.explain`.
    """

    def __init__(
        self,
        twin: Twin,
        names: Sequence[str],
        contrastive: bool,
        sigma: float,
        *,
        layout: str = LAYOUT,
        **more: Any,
    ):
        self.twin = twin
        self.names: tuple[str, ...] = check_variants(names)
        self.contrastive = contrastive
        self.sigma = sigma
        self.layout = layout
        self.more = more
        self.no_motion: str = ""
        """Why there is no motion; empty as long as there is."""

    def of(self, clips: Tensor, explanation: Explanation, chunk_size: int | None) -> Tensor:
        """Returns (b, 1 + v, 4): predicted class, logit of the explained class, avg-ATR and motion; NaN where missing.

        Args:
            clips: (b, c, t, h, w), whatever axes the model takes.
            explanation: the explanation of the unchanged clips.
            chunk_size: as in `lrp3d.explain`.
        """
        rows = [self._row(explanation, clips, chunk_size)]
        for name in self.names:
            changed = in_time(clips, name)
            if name == "single":
                rows.append(self._alone(changed, explanation))
                continue
            options = {**self.more, "contrastive": self.contrastive, "chunk_size": chunk_size}
            variant = self._explanation(changed, explanation, **options).at_sigma(self.sigma)
            rows.append(self._row(variant, changed, chunk_size))
        return torch.stack(rows, 1).cpu()

    def _row(self, explanation: Explanation, clips: Tensor, chunk_size: int | None) -> Tensor:
        assert explanation.atr is not None
        assert explanation.frame_logits is not None
        logit = explanation.logits.gather(1, explanation.target[:, None])[:, 0]
        atr = avg_atr(explanation.atr, explanation.frame_logits)
        columns = [
            explanation.logits.argmax(1).to(logit),
            logit,
            atr.to(logit),
            self._motion(clips, explanation, chunk_size),
        ]
        return torch.stack(columns, 1)

    def _motion(self, clips: Tensor, explanation: Explanation, chunk_size: int | None) -> Tensor:
        nothing = torch.full_like(explanation.logits[:, 0], torch.nan)
        if self.no_motion:
            return nothing
        options = {**self.more, "contrastive": False, "motion": True, "chunk_size": chunk_size}
        try:
            motion = self._explanation(clips, explanation, **options).motion
        except NoMotion as error:
            self.no_motion = str(error)
            return nothing
        assert motion is not None
        return motion.to(nothing)

    def _explanation(self, clips: Tensor, of_unchanged: Explanation, **options: Any) -> Explanation:
        return explain(self.twin, laid_out(clips, self.layout), of_unchanged.target, layout=self.layout, **options)

    def _alone(self, changed: Tensor, explanation: Explanation) -> Tensor:
        """Returns the result for the mean logits of single frames, which have no time that relevance could lie in."""
        batch = len(explanation.logits)
        parts = [self.twin.run(laid_out(part, self.layout)) for part in changed.split(max(1, batch))]
        logits = torch.cat(parts).reshape(batch, -1, explanation.logits.shape[1]).mean(1)
        logit = logits.gather(1, explanation.target[:, None])[:, 0]
        nothing = torch.full_like(logit, torch.nan)
        return torch.stack([logits.argmax(1).to(logit), logit, nothing, nothing], 1)
