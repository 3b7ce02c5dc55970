"""Explains batches of clips, all in the same way, and as many at once as fit into memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lrp3d import video
from lrp3d.callers import warn
from lrp3d.composites import Composite
from lrp3d.composites.named import preset_of
from lrp3d.defaults import CENTRED, LAYOUT, SEGMENT, SIGMA
from lrp3d.explain import explain
from lrp3d.explanation.clip_axes import with_clip_axes
from lrp3d.explanation.explanation import Explanation
from lrp3d.layout import Layout, laid_out
from lrp3d.metrics.aggregation import class_logits
from lrp3d.metrics.atr import frames_of_columns
from lrp3d.out_of_memory import free_cached_memory, is_out_of_memory
from lrp3d.outputs import logits_of
from lrp3d.propagation.layer_rows import check_rows_at
from lrp3d.sampling import partial_uniform_logits
from lrp3d.study.running.reader import normalised
from lrp3d.study.running.time_variants import TimeVariants
from lrp3d.suggestions import names_near
from lrp3d.transfer import device_of_model
from lrp3d.twin.ranges import Range
from lrp3d.twin.twin import Twin, twin_of
from lrp3d.video.pixels import black_and_white

__all__ = ["Explainer", "LoneLogit", "Part"]


class LoneLogit(ValueError):
    """Raised where a study asks for a class of a lone logit, which is explained on the side on which it is.

    >>> import torch, lrp3d
    >>> model = lrp3d.models.tsn_resnet(18, num_classes=1, width=8).eval()
    >>> clip = video.draw_clip(4, 32).numpy()
    >>> try:
    ...     list(Explainer(model).parts([clip], targets=[0]))
    ... except LoneLogit as error:
    ...     print(str(error).partition(":")[0])
    true classes are explained, and the model has one logit, which is explained for the class that its sign says
    """


@dataclass(frozen=True)
class Part:
    """Some clips of a batch, with their explanation.

    Made by `Explainer.parts`: one part for the whole batch, several where memory runs out.

    >>> import lrp3d
    >>> model = lrp3d.models.tsn_resnet(18, num_classes=5, width=8).eval()
    >>> (part,) = Explainer(model).parts([video.draw_clip(4, 32, seed=seed).numpy() for seed in range(2)])
    >>> part.clips, part.explanation.logits.shape, part.windows
    (slice(0, 2, None), torch.Size([2, 5]), None)
    """

    clips: slice
    """The clips of the batch that this part explains."""
    explanation: Explanation
    windows: Tensor | None
    """(b, w) the classes predicted with each window; None without windows."""
    empty: Tensor | None = None
    """(b, w) the classes predicted with empty images outside of each window; None where these were not asked for."""
    time: Tensor | None = None
    """(b, 1 + v, 4) results for the clips as they are and with their time changed (`TimeVariants.of`)."""


Findings = tuple[Explanation, Tensor | None, Tensor | None, Tensor | None]
"""The fields of a `Part` other than its clips."""


class Explainer:
    """Explains the clips of a whole study with one model and one set of options.

    Args:
        model: in evaluation mode and on its device; it is never modified.
        composite: as in `lrp3d.explain`.
        contrastive: True for CLRP, False for plain LRP.
        input_range: as in `lrp3d.explain`.
        mean: mean of the model's inputs, for pixels from 0 to 1.
        std: standard deviation of the model's inputs.
        sigma: the share of a row's relevance that an ATR window holds.
        windows: the windows of partial uniform sampling: sizes in frames, "segment" for the segment [l, r] of each
            frame's own ATR, or "centred" for a window of that length around the frame; each is tried once.
        empty: also predict with empty (black) images outside of each window, the paper's control.
        merge: as in `lrp3d.explain`.
        time: also explain and classify each clip "reversed", "shuffled", "frozen", and by its "single" frames.
        layout: the axes of the clips that the model takes, as in `lrp3d.explain`; maps have those of the clip that is
            read all the same.
        rows_at: as in `lrp3d.explain`, for models whose frames have no logits.

    Raises:
        ValueError: the layout is none, there are windows and the model has no ``frame_logits``, a window is of no
            known form, or there is no module of that name.

    >>> import lrp3d
    >>> model = lrp3d.models.i3d_resnet(18, num_classes=5, width=8).eval()
    >>> clips = [video.draw_clip(4, 32, seed=seed).numpy() for seed in range(3)]
    >>> [part.explanation.matrix.shape for part in Explainer(model).parts(clips)]
    [torch.Size([3, 4, 4])]
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        composite: str | Composite | None = None,
        contrastive: bool = True,
        input_range: Range | None = None,
        mean: Sequence[float] = video.IMAGENET_MEAN,
        std: Sequence[float] = video.IMAGENET_STD,
        sigma: float = SIGMA,
        windows: Sequence[int | str] = (),
        empty: bool = False,
        merge: str = "paper",
        time: Sequence[str] = (),
        layout: str = LAYOUT,
        rows_at: str | None = None,
    ):
        axes = Layout(layout)
        check_rows_at(rows_at, True, {}, merge)
        if rows_at and windows:
            raise ValueError("windows need the logits of frames, and rows_at= makes rows of the time steps of a module")
        if empty and not windows:
            raise ValueError("empty images stand outside of windows: say which windows")
        if windows and not callable(getattr(model, "frame_logits", None)):
            raise ValueError(
                f"{type(model).__name__} has no frame_logits, which partial uniform sampling (windows) needs for all "
                "classes: give it a method frame_logits(clip) -> (b, n, k), whose mean over n is the model's output"
            )
        for window in windows:
            if window not in (SEGMENT, CENTRED) and (not isinstance(window, int) or window < 1):
                raise ValueError(
                    f'a window is a number of frames from 1 on, "{SEGMENT}" or "{CENTRED}", not {window!r}'
                )
        self.model = model
        self.twin: Twin = twin_of(model, composite)
        if rows_at and rows_at not in (modules := dict(self.twin.model.named_modules())):
            raise ValueError(f"rows_at={rows_at!r}: the model has no such module{names_near(rows_at, modules)}")
        self.composite = preset_of(self.twin.composite) if composite is None else composite
        self.contrastive = contrastive
        self.input_range = input_range
        self.sigma = sigma
        self.mean: tuple[float, ...] = tuple(mean)
        self.std: tuple[float, ...] = tuple(std)
        self.windows: tuple[int | str, ...] = tuple(dict.fromkeys(windows))
        self.empty = empty
        self.merge = merge
        self.layout = layout
        self.rows_at = rows_at
        more = {"input_range": input_range, "merge": merge, "rows_at": rows_at}
        self.time: TimeVariants | None = (
            TimeVariants(self.twin, time, contrastive, sigma, layout=layout, **more) if time else None
        )
        self.device: torch.device = device_of_model(model)
        # Without a given range it is that of all clips together where they share an axis with frames.
        alone = "b" not in axes.groups and input_range is None and self.twin.input_range is None
        self.at_once: int | None = 1 if alone else None
        """How many clips are explained at once: None for all of them, until memory runs out."""
        self.seeds_at_once: int | None = None
        self._is_lone: bool | None = None

    def parts(self, frames: Sequence[np.ndarray], targets: Sequence[int] | None = None) -> Iterator[Part]:
        """Explains clips in as few parts as memory allows.

        Args:
            frames: uint8 RGB (t, h, w, 3) of each clip, all of one shape.
            targets: the class to explain for each clip; None for the predictions.

        Yields:
            `Part`s in order. Where memory runs out, half as many clips are taken from then on; a single clip that does
            not fit is explained for one frame at a time.

        Raises:
            torch.OutOfMemoryError: memory does not suffice even for that.
            LoneLogit: the model has one logit, and classes to explain are given, or time is changed.
            UnsupportedOperation, NoFrameLogits, ValueError: as `lrp3d.explain`.
        """
        first = 0
        while first < len(frames):
            count = min(self.at_once or len(frames), len(frames) - first)
            part = slice(first, first + count)
            findings = self._unless_out_of_memory(frames[part], targets and targets[part], count)
            if findings is None:  # only at this point nothing holds the memory of the attempt any more
                free_cached_memory(self.device)
                continue
            yield Part(part, *findings)
            first += count

    def _unless_out_of_memory(
        self, frames: Sequence[np.ndarray], targets: Sequence[int] | None, count: int
    ) -> Findings | None:
        """Returns the explanation, or None where memory ran out and a smaller attempt will follow."""
        try:
            return self._explain(torch.from_numpy(np.stack(frames)), targets)
        except Exception as error:
            if not is_out_of_memory(error) or (count == 1 and self.seeds_at_once == 1):
                raise
        if count > 1:
            self.at_once = count // 2
            tried = f"{self.at_once} clip{'s' if self.at_once > 1 else ''} at once from now on"
        else:
            self.seeds_at_once = 1
            tried = "one frame logit at a time from now on"
        warn(f"out of memory with {count} clip{'s' if count > 1 else ''}: {tried}")
        return None

    def _explain(self, frames: Tensor, targets: Sequence[int] | None) -> Findings:
        clips = normalised(frames.to(self.device), self.mean, self.std)
        self._check_lone(clips[:1], targets)
        explanation = explain(
            self.twin,
            laid_out(clips, self.layout),
            targets,
            contrastive=self.contrastive,
            input_range=self.input_range,
            layout=self.layout,
            merge=self.merge,
            rows_at=self.rows_at,
            chunk_size=self.seeds_at_once,
        )
        explanation = with_clip_axes(explanation.at_sigma(self.sigma))
        time = None if self.time is None else self.time.of(clips, explanation, self.seeds_at_once)
        if not self.windows:
            return explanation, None, None, time
        return (
            explanation,
            self._predictions(clips, explanation, "edge"),
            self._predictions(clips, explanation, "blank"),
            time,
        )

    def _predictions(self, clips: Tensor, explanation: Explanation, fill: str) -> Tensor | None:
        """Returns the predictions (b, w) where every frame sees only its own window (paper, Sec. 4.3)."""
        if fill == "blank" and not self.empty:
            return None
        assert explanation.matrix is not None
        frames, columns = clips.shape[2], explanation.matrix.shape[-1]
        own = None
        if explanation.positions is not None:
            positions = torch.tensor(explanation.positions, device="cpu")
            own = frames_of_columns(positions, positions, frames, columns)
        black, _ = black_and_white(self.mean, self.std)
        options: dict[str, Any] = {"fill": fill, "value": black, "own": own, "frame_logits": self._frame_logits}
        options["chunk_size"] = 1 if self.seeds_at_once == 1 else None
        rows = self._rows(clips)
        windows = [self._window(window, explanation, frames, rows) for window in self.windows]
        answers = [partial_uniform_logits(self.model, clips, window, **options).logits for window in windows]
        return torch.stack([class_logits(answer).argmax(1) for answer in answers], 1).cpu()

    def _check_lone(self, clip: Tensor, targets: Sequence[int] | None) -> None:
        """Refuses to hold the class of a lone logit, whose sign alone decides which of its sides is explained."""
        asked = "true classes are explained" if targets is not None else "time is changed" if self.time else ""
        if not asked:
            return
        if self._is_lone is None:
            self._is_lone = logits_of(self.twin.run(laid_out(clip, self.layout)), None).shape[1] == 1
        if self._is_lone:
            raise LoneLogit(
                f"{asked}, and the model has one logit, which is explained for the class that its sign says: leave "
                "that out, or give a model of two logits, such as torch.cat([-x, x], 1) / 2"
            )

    def _window(self, window: int | str, explanation: Explanation, frames: int, rows: int) -> Any:
        """Returns the windows of all frames that the model classifies, in the form of `partial_uniform_logits`."""
        if isinstance(window, int):
            return window
        assert explanation.atr is not None
        assert explanation.matrix is not None
        assert explanation.segments is not None
        each = rows // explanation.atr.shape[1]  # a matrix may sum over several rows (SlowFast)
        if window == CENTRED:
            sizes = explanation.atr * (frames / explanation.matrix.shape[-1])
            return sizes.repeat_interleave(each, 1)
        first, last = explanation.segments
        return first.repeat_interleave(each, 1), last.repeat_interleave(each, 1)

    @torch.no_grad()
    def _rows(self, clips: Tensor) -> int:
        """Returns how many frames of a clip the model itself classifies."""
        return int(self._frame_logits(clips[:1]).shape[1])

    def _frame_logits(self, clips: Tensor) -> Tensor:
        model: Any = self.model
        logits: Tensor = model.frame_logits(laid_out(clips, self.layout))
        return logits
