"""Explanations that are computed again: with activations that a seed reads, at zeros, or with fewer seeds at once."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Hashable, Iterator, MutableMapping
from contextvars import ContextVar
from typing import ParamSpec

import torch

from lrp3d.callers import warn
from lrp3d.explanation import Explanation
from lrp3d.out_of_memory import free_cached_memory, is_out_of_memory
from lrp3d.propagation.chunks import Chunks
from lrp3d.steps.factor import Released, kept
from lrp3d.steps.zero_denominators import ZerosMatter

P = ParamSpec("P")


def again_if_released(function: Callable[P, Explanation]) -> Callable[P, Explanation]:
    """Calls the function again, and releases no activation, if a seed reads one that was released.

    Rows at a module need it around which relevance flows, where a composite gives residual sums a factor (attnlrp).
    """

    @functools.wraps(function)
    def explain(*args: P.args, **kwargs: P.kwargs) -> Explanation:
        try:
            return function(*args, **kwargs)
        except Released:
            pass  # the error holds the whole graph, so it has to be gone first
        with kept():
            return function(*args, **kwargs)

    return explain


def again_if_zeros_matter(function: Callable[P, Explanation]) -> Callable[P, Explanation]:
    """Calls the function again where relevance arrived at denominators that were not looked at."""

    @functools.wraps(function)
    def explain(*args: P.args, **kwargs: P.kwargs) -> Explanation:
        while True:
            with contextlib.suppress(ZerosMatter):
                return function(*args, **kwargs)

    return explain


# ------------------------------------------------------------------------------------------------ fewer seeds


class _Full(RuntimeError):
    """Memory ran out with some seeds at once, and there are fewer to try."""

    def __init__(self, tried: Chunks, fewer: Chunks, device: torch.device):
        super().__init__()
        self.tried, self.fewer, self.device = tried, fewer, device


_fitting: ContextVar[Chunks | None] = ContextVar("lrp3d_chunks_that_fit", default=None)


def again_with_fewer_seeds(function: Callable[P, Explanation]) -> Callable[P, Explanation]:
    """Calls the function again with half as many seeds at once where memory ran out (see `unless_full`)."""

    @functools.wraps(function)
    def explain(*args: P.args, **kwargs: P.kwargs) -> Explanation:
        token = _fitting.set(None)
        try:
            while True:
                try:
                    return function(*args, **kwargs)
                except _Full as error:
                    tried, fewer, device = error.tried, error.fewer, error.device
                # Only here nothing holds the memory of the attempt any more.
                free_cached_memory(device)
                warn(
                    f"memory ran out with {tried.size * tried.at_once} frame logits at once, so they are explained "
                    f"again, {fewer.size} at once: chunk_size={fewer.size} does so from the start"
                )
                _fitting.set(fewer)
        finally:
            _fitting.reset(token)

    return explain


def chunks_that_fit(chosen: Chunks, known: MutableMapping[Hashable, Chunks], kind: Hashable) -> Chunks:
    """The chunks that were chosen, or smaller ones where memory ran out before.

    Args:
        chosen: by what memory seems to be free.
        known: what earlier explanations found to fit, by their kind.
        kind: the kind of this explanation.
    """
    fitting = _fitting.get() or known.get(kind)
    return chosen if fitting is None else min(chosen, fitting)


@contextlib.contextmanager
def unless_full(
    chunks: Chunks, known: MutableMapping[Hashable, Chunks], kind: Hashable, device: torch.device
) -> Iterator[None]:
    """Inside this block, memory that runs out has the explanation computed again with fewer seeds at once, if possible.

    Args:
        chunks: that are tried.
        known: where it is noted what may fit, by the kind of an explanation.
        kind: the kind of this explanation.
        device: whose memory may run out.
    """
    try:
        yield
    except Exception as error:
        fewer = chunks.fewer()
        if fewer is None or not is_out_of_memory(error):
            raise
        known[kind] = fewer
        raise _Full(chunks, fewer, device) from None
