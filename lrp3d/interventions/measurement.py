"""What is measured: a model, and the form of its input and its output."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from lrp3d.checks import check_axes, check_clip, check_frames, check_logits, check_numbers
from lrp3d.compute.precision import matmul_precision, no_autocast
from lrp3d.explain import Clip
from lrp3d.layout import Layout, axes_hint
from lrp3d.outputs import Chosen, Output, Reader
from lrp3d.propagation.frame_logits import frame_seeds
from lrp3d.propagation.frame_seeds import FrameSeeds
from lrp3d.propagation.temporal_matrix import check_row_count
from lrp3d.targets import Against
from lrp3d.twin.evaluation_mode import prepare_mode
from lrp3d.twin.trace import Trace
from lrp3d.twin.twin import Twin


@contextmanager
def as_explain(clip: Clip) -> Iterator[None]:
    """Sets the modes in which `explain` records a model, whatever modes the caller has set."""
    parts = clip if isinstance(clip, (list, tuple)) else [clip]  # what is no clip is refused later
    first = next((x for x in parts if isinstance(x, Tensor)), torch.empty(0, device="cpu"))
    own_types, rounding = no_autocast(first.device), matmul_precision("highest", first.device)
    with torch.inference_mode(False), torch.enable_grad(), own_types, rounding:
        yield


@dataclass
class Measurement:
    """The model that is measured, and the form of its input and its output."""

    twin: Twin
    layout: str
    output: Output | None
    merge: str
    against: Against | None = None

    def checked_pathways(self, clip: Clip) -> list[Tensor]:
        """The clip's pathways; raises an error if the model cannot take them."""
        pathways, axes = check_clip(clip, self.layout), Layout(self.layout).axes
        check_axes(self.twin, pathways, self.layout)
        for x in pathways:
            if x.dim() != axes:
                raise ValueError(
                    f"frame logits need clips, {axes} axes ({self.layout}), got shape {tuple(x.shape)}"
                    + axes_hint(pathways, self.layout)
                )
        prepare_mode(self.twin, clip, takes_seed=False)
        return pathways

    def record(self, clip: Clip, layers: Sequence[str] = ()) -> tuple[Trace, Reader]:
        """A recorded forward pass, in which the outputs of some modules are steps of their own, and what read it.

        Operations before the logits need no rule, but random numbers are refused.
        """
        read = Reader(self.output)
        record = self.twin.record((clip,), None, self.layout, read=read, layers=layers)
        if record.differs:
            raise ValueError(
                "the model draws random numbers in its forward, and its output differs from run to run: nothing can be "
                "measured; switch the draws off"
            )
        return record, read

    def frames(self, pathways: list[Tensor], batch: int) -> int:
        """The number of frames of the fastest pathway."""
        return max(Layout(self.layout).sizes(x, batch)["t"] for x in pathways)

    def checked_rows(self, logits: Tensor, clip: Clip) -> Tensor:
        """The frame logits (b, n); raises NoFrameLogits if there are more of them than frames."""
        pathways = check_clip(clip, self.layout)
        hint = axes_hint(pathways, self.layout)
        check_row_count(logits.shape[1], self.frames(pathways, len(logits)), hint)
        return logits

    def frame_seeds(self, record: Trace, chosen: Chosen, frames: torch.Size | None) -> FrameSeeds:
        """The frame logits of a recorded pass; `frames` is the shape of those that the model returns."""
        return frame_seeds(record, chosen, self.twin.composite, False, self.merge, self.layout, frames)

    def check(self, logits: Tensor, pathways: list[Tensor], finite: Sequence[bool]) -> None:
        """Checks the logits and that there are at least two frames; `finite`: whether clip and logits are finite."""
        check_logits(logits, pathways, self.layout)
        check_numbers(*finite)
        check_frames(pathways, self.layout, len(logits), "give a longer clip")
