"""The network that is checked: how it is run, and the matrix of every method for one of its clips."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lrp3d.callers import warn
from lrp3d.checks import check_rows_of_logits
from lrp3d.explain import explain
from lrp3d.faithfulness.gradient_input import gradient_input, without_gradient
from lrp3d.faithfulness.random_networks import random_networks
from lrp3d.faithfulness.scores import YARDSTICK
from lrp3d.interventions import frame_logits, intervention_matrix
from lrp3d.layout import laid_out
from lrp3d.metrics.contributions import without_rounding
from lrp3d.outputs import Chosen, Output, Reader, logits_of
from lrp3d.propagation.frame_seeds import FramesInColumns, NoFrameLogits
from lrp3d.targets import targets_of
from lrp3d.transfer import placed
from lrp3d.twin.probabilities import logits_note
from lrp3d.twin.trace import Trace
from lrp3d.twin.twin import Twin


@dataclass(frozen=True)
class Subject:
    """The network that is checked, how it is run, and what is measured."""

    twin: Twin
    input_range: Any
    layout: str
    output: Output | None
    options: dict[str, Any]
    """Arguments that `explain` and `intervention_matrix` share."""
    methods: Sequence[str]
    shapley_values: bool
    left_out: str
    """The softmax or sigmoid with which the model ends; empty if it returns logits."""
    random_networks: dict[str, Twin]
    """The network with random parameters, for every stage of `STAGES` for which it can be had."""
    has_rows: bool
    """Whether there is a matrix, of frames with logits or of time steps at a layer; else the clip's logit is explained
    and measured, in a single row."""

    @classmethod
    def of(
        cls,
        twin: Twin,
        clip: Tensor,
        input_range: Any,
        layout: str,
        output: Output | None,
        methods: Sequence[str],
        *,
        rows_at: str | None,
        chunk_size: int | None,
        shapley_values: bool,
    ) -> Subject:
        """What a run of the first clip tells of the network, which is drawn anew; warns of what cannot be measured."""
        trace = twin.record((laid_out(clip, layout),), input_range, layout, read=Reader(output))
        left_out = logits_note(trace.left_out).get("logits", "")
        del trace  # frees its memory for the random networks
        if "gradient x input" in methods and (reason := without_gradient(twin, layout, left_out)):
            warn(f"gradient x input is left out: {reason}")
        return cls(
            twin,
            input_range,
            layout,
            output,
            {"layout": layout, "output": output, "rows_at": rows_at, "chunk_size": chunk_size},
            methods,
            shapley_values,
            left_out,
            random_networks(twin, clip, layout),
            rows_at is not None or _has_frame_logits(twin, laid_out(clip, layout), layout, output),
        )

    def record(self, clip: Tensor, twin: Twin | None = None) -> Trace:
        """The run of a clip that `explain` reads."""
        x = laid_out(clip, self.layout)
        return (twin or self.twin).record((x,), self.input_range, self.layout, read=Reader(self.output))

    def logits(self, clip: Tensor, twin: Twin | None = None) -> Tensor:
        """(b, k), those that `explain` explains: of a model that returns probabilities, what they are made from."""
        twin = twin or self.twin
        logits: Tensor
        if self.left_out:
            logits = self.record(clip, twin).output.detach()
        else:
            logits = logits_of(twin.run(laid_out(clip, self.layout)), self.output).detach()
        check_rows_of_logits(logits, len(clip))
        return logits

    def chosen(self, clip: Tensor, target: int | None) -> Chosen:
        """The class, contrasted with all others."""
        logits = self.logits(clip)
        if self.left_out and target is None:
            target = self.record(clip).prediction(None)
        chosen = targets_of(target, logits)
        own = int(chosen.target)
        others = [k for k in range(logits.shape[1]) if k != own]
        return Chosen(chosen.target, chosen.sign, placed([others], clip.device) if others else None)

    def lead(self, clips: Tensor, chosen: Chosen) -> Tensor:
        """By how much the class's logit is above the mean of the others, (b,)."""
        return chosen.at(torch.zeros(len(clips), dtype=torch.long, device=chosen.target.device)).of(self.logits(clips))

    def interventions(self, clip: Tensor, target: int | None, twin: Twin | None = None) -> Tensor:
        """What each output frame's logit loses without each input frame, (1, n, t)."""
        x = laid_out(clip, self.layout)
        matrix = intervention_matrix(twin or self.twin, x, target, occluder="nearest", **self.options)
        return without_rounding(matrix, self.logits(clip, twin))

    def matrix(self, method: str, clip: Tensor, target: int | None, twin: Twin | None = None) -> Tensor | None:
        """The matrix (1, n, t) of a method; None where the model has none for it."""
        x, twin = laid_out(clip, self.layout), twin or self.twin
        if method == YARDSTICK:
            return self.interventions(clip, target, twin)
        if method == "gradient x input":
            if without_gradient(twin, self.layout, self.left_out):
                return None
            return gradient_input(twin, clip, self.chosen(clip, target), self.output, self.options["rows_at"] is None)
        options = {**self.options, "input_range": self.input_range, "temporal": self.has_rows}
        explanation = explain(twin, x, target, contrastive=method == "CLRP", **options)
        if self.has_rows or explanation.frame_relevance is None:
            return explanation.matrix
        return explanation.frame_relevance.unsqueeze(1)


def _has_frame_logits(twin: Twin, x: Tensor, layout: str, output: Output | None) -> bool:
    """Whether the frames of clips have logits; raises FramesInColumns where they were taken for those of classes."""
    try:
        frame_logits(twin, x, layout=layout, output=output)
    except FramesInColumns:
        raise
    except NoFrameLogits:
        return False
    return True
