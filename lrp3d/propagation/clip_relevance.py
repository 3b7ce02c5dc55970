"""From a recorded forward pass to the maps of its clips and the rows of its frames: seeds in, relevance out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property, partial
from typing import NamedTuple, cast

import torch
from torch import Tensor

from lrp3d.compute.cores import results_of
from lrp3d.layout import Layout
from lrp3d.motion.splitting import Motion
from lrp3d.outputs import Chosen
from lrp3d.pathways import SharedPixels
from lrp3d.progress import bar
from lrp3d.propagation.chunks import Chunks, rows_in_chunks
from lrp3d.propagation.frame_seeds import FrameSeeds
from lrp3d.propagation.inside import Gate, Inside, with_outlets_recorded
from lrp3d.propagation.one_side import below_classifiers, one_side
from lrp3d.propagation.propagate import Flow, Start, joined_starts, propagate, step_propagation
from lrp3d.propagation.temporal_matrix import on_one_clock
from lrp3d.steps.graph import Edge, edge_of
from lrp3d.steps.step import Step
from lrp3d.twin.classifier import orient
from lrp3d.twin.ranges import layout_of
from lrp3d.twin.trace import Trace

Split = tuple[Tensor, Tensor]
"""Static and dynamic relevance."""


@dataclass(frozen=True)
class Settings:
    """How relevance is propagated."""

    contrastive: bool
    tolerance: float
    dtype: torch.dtype
    layout: str
    seed: int | None = None
    """Seed of the random numbers that the model drew."""
    release: bool = False
    """Whether activations are released that no later seed reads."""
    output: str = ""
    """Which part of what the model returned is explained, where nobody said it."""


class Carried(NamedTuple):
    """What came of seeds that were carried down to the clip."""

    maps: list[Tensor]
    """Signed maps (s, *pathway) of every pathway; where motion is split, the static and the dynamic one of the clip."""
    flows: list[Flow]
    """What came into every step and went out of it; empty where it was not booked."""
    at_outlets: dict[str, Tensor]
    """Relevance (s, *output) at the outputs of modules."""


class _Chunk(NamedTuple):
    """What came of some of the frame logits' seeds."""

    rows: Tensor
    """(s, b, t)."""
    maps: list[Tensor]
    """Their part of the clip's signed maps, where that is the mean over all rows."""
    flows: list[Flow]
    at_outlets: dict[str, Tensor]
    orientation: Tensor | None


class ClipRelevance:
    """Relevance of one recorded batch of clips: for the logits of the clips, and for those of their frames.

    Args:
        record: the forward pass.
        chosen: the class that is explained, for every clip.
        settings: how relevance is propagated.
        pathways: the clips as the caller passed them, which say how maps are laid out.
        inside: keeps relevance inside the network, if the caller asked for it.
    """

    def __init__(
        self,
        record: Trace,
        chosen: Chosen,
        settings: Settings,
        pathways: Sequence[Tensor],
        inside: Inside | None = None,
    ):
        self.record = record
        self.inside: Inside = inside or Inside(record, (), len(record.output), rows=False)
        self.chosen = chosen
        self.settings = settings
        self.logits: Tensor = record.output.detach()
        self.logit: Tensor = chosen.of(self.logits)
        orient(record.output, chosen)
        self.single: bool = len(pathways) == 1
        self.layouts: list[Layout | None] = [layout_of(x, settings.layout) for x in pathways]
        self.has_time: bool = all(axes is not None and axes.has_time for axes in self.layouts)
        self.shared: SharedPixels | None = (
            SharedPixels.among(pathways, self.layouts, len(self.logits)) if settings.contrastive else None
        )
        self.ends: list[Edge] = [edge_of(entry) for entry in record.entries]
        self.doors: set[Edge] = set(below_classifiers(record.output))
        """Where seeds start, or enter what all of them flow through."""
        self.flows: dict[Step, Tensor] = {}
        """The relevance (2,) that came into and went out of every step, for the clips' logits."""
        self._released = False

    @property
    def frame_count(self) -> int:
        """The number of frames of the fastest pathway; zero for inputs without time."""
        if not self.has_time:
            return 0
        clips = zip(self.record.entries, self.layouts, strict=True)
        return max(axes.sizes(x, len(self.logits))["t"] for x, axes in clips if axes is not None)

    def maps(self) -> list[Tensor]:
        """Signed maps, shaped like the clip, for the clip's logit."""
        carried = self._propagate([self.start()], booked=True)
        self._book(carried.flows, 1)
        self.inside.add(carried.at_outlets)
        return [m[0] for m in carried.maps]

    def start(self) -> Start:
        """The seed of the clip's logit."""
        return Start(edge_of(self.record.output), self.chosen.seed(self.logits, self.settings.contrastive))

    def at(self, edge: Edge) -> Tensor:
        """The relevance (1, *tensor.shape) at a tensor of the run, for the clips' logits."""
        return self._down_to(edge, [self.start()])

    def one_side_at(self, edge: Edge) -> Tensor:
        """The same without the contrast: what speaks for each clip's own class."""
        return self._down_to(edge, self._starts_of_one_side())

    def _down_to(self, edge: Edge, starts: Sequence[Start]) -> Tensor:
        self.doors.add(edge)
        starts = self._in_working_type(starts)
        return propagate(starts, [edge, *self.ends], doors=self.doors, clips=len(self.logits)).relevance[0]

    def _propagate(self, starts: Sequence[Start], booked: bool = False, at_outlets: bool = True) -> Carried:
        starts = self._in_working_type(starts)
        outlets: dict[str, Tensor] = {}
        through = with_outlets_recorded(outlets, step_propagation) if at_outlets else step_propagation
        release = self.settings.release and booked and not self._released
        propagated = propagate(
            starts, self.ends, booked, self.settings.tolerance, through, self.doors, release, len(self.logits)
        )
        self._released = self._released or release
        maps = [m.to(self.logit.dtype) for m in propagated.relevance]
        return Carried(maps, propagated.flows, outlets)

    def _in_working_type(self, starts: Sequence[Start]) -> list[Start]:
        return [Start(start.edge, start.relevance.to(self.settings.dtype)) for start in starts]

    def through_gates(self, starts: Sequence[Start], gates: Sequence[Gate]) -> Carried:
        """What comes of the relevance that flows through all gates, given from the top down."""
        for gate in gates:
            ends = [gate.edge, *self.ends]
            propagated = propagate(
                self._in_working_type(starts), ends, tolerance=self.settings.tolerance, clips=len(self.logits)
            )
            starts = [gate.start(propagated.relevance[0])]
        return self._propagate(starts)

    def rows(self, seeds: FrameSeeds, chunks: Chunks, progress: bool) -> tuple[Tensor, list[Tensor]]:
        """Relevance (b, n, t) of frames for frame logits; and the clip's signed maps."""
        n = seeds.logits.shape[1]
        self.doors |= seeds.doors
        # Whatever fills the ledger comes first, as it says what later seeds read.
        total: list[Tensor] | None = None if seeds.additive else self.maps()
        of_chunks = [
            partial(self._chunk, seeds, slice(start, start + chunks.size)) for start in range(0, n, chunks.size)
        ]
        goes_with_others = self._judges_one_side and self.logits.device.type != "cpu"
        if goes_with_others:  # a GPU takes no longer for one seed more, but as long for one alone as for a chunk
            of_chunks[0] = partial(self._chunk, seeds, slice(0, chunks.size), with_one_side=True)
        first = [of_chunks.pop(0)()] if seeds.additive or goes_with_others else []
        tasks: list[Callable[[], _Chunk | Tensor]] = [*of_chunks]
        judges_first = self._judges_one_side and not goes_with_others
        if judges_first:
            # First of all, as it takes longest: its relevance is in all frames at every layer.
            tasks.insert(0, lambda: self._one_side)
        rows: list[Tensor] = []
        with closing(results_of(tasks, chunks.at_once)) as results:
            if judges_first:
                next(results)
            for _ in bar(range(len(first) + len(of_chunks)), "chunk", progress):
                chunk = cast(_Chunk, first.pop() if first else next(results))
                if seeds.additive:
                    total = chunk.maps if total is None else [t + m for t, m in zip(total, chunk.maps, strict=True)]
                    self._book(chunk.flows, n)
                    self.inside.add(chunk.at_outlets, 1 / n)
                self.inside.add_rows(chunk.at_outlets, chunk.orientation)
                rows.append(chunk.rows)
        return torch.cat(rows).transpose(0, 1), cast(list[Tensor], total)

    def _chunk(self, seeds: FrameSeeds, chunk: slice, with_one_side: bool = False) -> _Chunk:
        """Some of the rows. The ledger is filled by them only if the clip's logit is the mean of all.

        Args:
            seeds: of all rows.
            chunk: which of them go together.
            with_one_side: whether the seed of `_one_side` goes with them, as the last one.
        """
        n = seeds.logits.shape[1]
        starts = [start.chunk(chunk) for start in seeds.starts]
        if with_one_side:
            starts = joined_starts(starts, self._starts_of_one_side())
        maps, flows, at_outlets = self._propagate(starts, booked=seeds.additive)
        if with_one_side:
            self._one_side = self._sums([m[-1] for m in maps])
            maps = [m[:-1] for m in maps]
            flows = [Flow(flow.step, flow.relevance_in[:-1], flow.relevance_out[:-1]) for flow in flows]
            at_outlets = {name: relevance[:-1] for name, relevance in at_outlets.items()}
        return _Chunk(
            self.frames(self.positive(self.oriented(maps, seeds.orientation, chunk))),
            [m.sum(0) / n for m in maps] if seeds.additive else [],
            flows,
            at_outlets,
            self.row_orientation(seeds, chunk),
        )

    def split_rows(
        self, seeds: FrameSeeds, at_once: int, motion: Motion, progress: bool = False
    ) -> tuple[Split, Split]:
        """Static and dynamic rows (b, n, t), and signed static and dynamic maps for the clip's logit."""
        n = seeds.logits.shape[1]
        rows: list[list[Tensor]] = [[], []]
        maps: list[Tensor | float] = [0.0, 0.0]
        for chunk in rows_in_chunks(n, at_once, progress):
            both, flows, at_outlets = self._split([start.chunk(chunk) for start in seeds.starts], motion)
            self.inside.add_rows(at_outlets, self.row_orientation(seeds, chunk))
            if seeds.additive:
                self.inside.add(at_outlets, 1 / n)
                maps = [total + part.sum(0) / n for total, part in zip(maps, both, strict=True)]
                self._book(flows, n)
                motion.count(1 / n)
            row_orientation = [self.oriented([part], seeds.orientation, chunk)[0] for part in both]
            for chunks, part in zip(rows, self.positive_parts(*row_orientation), strict=True):
                chunks.append(self.frames([part]))
        static, dynamic = (torch.cat(chunks).transpose(0, 1) for chunks in rows)
        if not seeds.additive:
            both, flows, at_outlets = self._split([self.start()], motion)
            maps = [m[0] for m in both]
            self._book(flows, 1)
            self.inside.add(at_outlets)
            motion.count(1.0)
        return (static, dynamic), (cast(Tensor, maps[0]), cast(Tensor, maps[1]))

    def row_orientation(self, seeds: FrameSeeds, chunk: slice) -> Tensor | None:
        """The orientation (s, b) of a chunk of rows: -1 where the seed has the opposite sign; None if all are 1."""
        return None if seeds.orientation is None else seeds.orientation[chunk]

    def _split(self, starts: Sequence[Start], motion: Motion) -> Carried:
        """Static and dynamic relevance (s, *clip) of the seeds, which are all static at the start."""
        doubled = [
            Start(start.edge, torch.cat([start.relevance, torch.zeros_like(start.relevance)]))
            for start in self._in_working_type(starts)
        ]
        motion.converted.clear()
        outlets: dict[str, Tensor] = {}
        through = with_outlets_recorded(outlets, motion.through)
        propagated = propagate(doubled, self.ends, True, self.settings.tolerance, through, clips=len(self.logits))
        (relevance,) = propagated.relevance
        at_outlets = {name: torch.add(*both.chunk(2)) for name, both in outlets.items()}
        return Carried([*relevance.to(self.logit.dtype).chunk(2)], propagated.flows, at_outlets)

    def positive_parts(self, static: Tensor, dynamic: Tensor) -> Split:
        """Both parts; of contrastive relevance, only at input values where their sum is positive (Eq. 2)."""
        if not self.settings.contrastive:
            return static, dynamic
        counts = static + dynamic > 0
        return static * counts, dynamic * counts

    def oriented(self, maps: Sequence[Tensor], orientation: Tensor | None, chunk: slice) -> Sequence[Tensor]:
        """The maps of rows, negated where the seed of the row had the opposite sign."""
        if orientation is None:
            return maps
        return [m * axes.per_clip(orientation[chunk], m) for m, axes in zip(maps, self.layouts, strict=True) if axes]

    def positive(self, maps: Sequence[Tensor]) -> Sequence[Tensor]:
        """Eq. 2: the positive part of maps (s, *pathway) per input value; a pixel in two pathways counts as one."""
        if self.shared is not None:
            return self.shared.positive(maps)
        return [m.clamp(min=0) for m in maps] if self.settings.contrastive else maps

    def frames(self, maps: Sequence[Tensor]) -> Tensor:
        """Sums maps over pixels to (s, b, t), on the clock of the fastest pathway."""
        batch = len(self.logits)
        return on_one_clock([axes.frames(m, batch) for m, axes in zip(maps, self.layouts, strict=True) if axes])

    def _book(self, flows: list[Flow], rows: int) -> None:
        """Adds flows to those of the ledger; the clip's logit is the mean of `rows` seeds."""
        if not flows:
            return
        # In few operations, as each costs a GPU as much as that of a layer.
        both = [x for flow in flows for x in (flow.relevance_in, flow.relevance_out)]
        totals = (torch.stack([x.to(both[0]) for x in both]).sum(1) / rows).view(-1, 2)
        for flow, total in zip(flows, totals.unbind(), strict=True):
            before = self.flows.get(flow.step)
            self.flows[flow.step] = total if before is None else before + total

    def conservation(self, signed: Sequence[Tensor]) -> Tensor:
        """The relative error (b,) of the sums of the clips' signed maps.

        A contrastive map is R - Rbar, and both should sum to the logit's magnitude. A map against other classes is a
        difference of two maps as well. In both cases the larger of the two errors is returned.
        """
        sums = self._sums(signed)
        own = self.chosen.alone.of(self.logits)
        own = own.abs() if self.settings.contrastive else own
        other = own if self.settings.contrastive else own - self.logit
        judged = [(self._one_side, own), (self._one_side - sums, other)] if self._judges_one_side else [(sums, own)]
        error = torch.stack([(total - expected).abs() for total, expected in judged]).amax(0)
        scale = torch.stack([expected.abs() for _, expected in judged]).amax(0)
        return error / scale.clamp(min=torch.finfo(scale.dtype).tiny)

    @property
    def _judges_one_side(self) -> bool:
        """Whether maps are a contrast: with other classes, or at a classifier."""
        return self.contrasts_classes or self.chosen.against is not None

    @property
    def contrasts_classes(self) -> bool:
        """Whether maps are a contrast at a classifier."""
        return self.settings.contrastive and any(step.is_classifier for step in self.record.tracer.steps)

    @cached_property
    def _one_side(self) -> Tensor:
        """The sum (b,) of each clip's relevance for its own class alone."""
        carried = self._propagate(self._starts_of_one_side(), at_outlets=False)
        return self._sums([m[0] for m in carried.maps])

    def _starts_of_one_side(self) -> list[Start]:
        seed = self.chosen.alone.seed(self.logits, self.settings.contrastive).to(self.settings.dtype)
        return one_side(self.record.output, seed)

    def _sums(self, maps: Sequence[Tensor]) -> Tensor:
        """The sum (b,) of each clip's maps."""
        batch = len(self.logits)
        sums = [
            m.flatten(1).sum(1) if axes is None else axes.clips(m[None], batch)[0]
            for m, axes in zip(maps, self.layouts, strict=True)
        ]
        return sum(sums[1:], sums[0])
