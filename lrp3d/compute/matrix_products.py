"""Products of matrices as linear maps: fully connected layers, and batches of matrices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lrp3d.compute import buffers, matmul
from lrp3d.compute.linear_map import LinearMap, grouped, of_every_entry, sum_to_shape
from lrp3d.compute.plain import is_plain
from lrp3d.compute.terms import Weight


@dataclass(frozen=True)
class FullyConnected(LinearMap):
    """A fully connected layer: `a @ w.T` on the last axis."""

    def __call__(self, a: Tensor, v: Weight) -> Tensor:
        """Maps `a` (..., i) with `v` (o, i) to (..., o)."""
        assert isinstance(v, Tensor)
        return matmul.linear(a, v)

    def as_the_model(self, a: Tensor, v: Weight) -> Tensor:
        """Multiplies as `matmul` lets the model multiply."""
        assert isinstance(v, Tensor)
        return matmul.linear_as_the_model(a, v)

    def adjoint(self, r: Tensor, v: Weight, shape: torch.Size) -> Tensor:
        """Carries (s, ..., o) to (s, ..., i)."""
        return self.adjoints(r, [v], shape)[0]

    def adjoints(self, r: Tensor, weights: Sequence[Weight], shape: torch.Size) -> Sequence[Tensor]:
        """Does so with each of several weights; skips outputs without relevance (queries and keys beside values)."""
        first, last = _outputs_with_relevance(r)
        rows = r[..., first:last].flatten(0, -2)  # (s ..., o)
        parts = []
        for v in weights:
            assert isinstance(v, Tensor)
            part = buffers.empty((*r.shape[:-1], v.shape[1]), r)
            matmul.multiply(rows, v[first:last], part.view(-1, v.shape[1]))
            parts.append(part)
        return parts

    def count(self, ones: Tensor, w: Weight) -> Tensor:
        """Counts all inputs, because every output sees every input."""
        assert isinstance(w, Tensor)
        return ones.sum(-1, keepdim=True).expand(*ones.shape[:-1], w.shape[0])

    def spread(self, r: Tensor, w: Weight, shape: torch.Size) -> Tensor:
        """Hands `r` equally to every input."""
        return r.sum(-1, keepdim=True).expand(*r.shape[:-1], shape[-1])


LEAST_OUTPUTS = 32  # with fewer it does not pay to look for zeros


def _outputs_with_relevance(r: Tensor) -> tuple[int, int]:
    """The range of outputs (last axis) that has all relevance; the whole axis where that is more than half of it."""
    size = r.shape[-1]
    if size < LEAST_OUTPUTS or r.device.type != "cpu" or is_plain() or not r.numel():
        return 0, size
    rows = r.flatten(0, -2)  # (s ..., o)
    first, last = _ends(rows[len(rows) // 2] != 0)
    if 2 * (last - first) <= size:  # else one row fills more than half, and the others need no look
        first, last = _ends((rows.amax(0) != 0) | (rows.amin(0) != 0))  # NaN counts
    return (first, last) if 2 * (last - first) <= size else (0, size)


def _ends(mask: Tensor) -> tuple[int, int]:
    """The first position (o,) that is set, and the one after the last; of none, the first position alone."""
    positions = mask.nonzero().flatten().tolist() or [0]
    return positions[0], positions[-1] + 1


@dataclass(frozen=True)
class MatrixProduct(LinearMap):
    """A product of batched matrices, in which the input stands left or right of the weight."""

    gains_from_seeds = True

    left: bool

    def __call__(self, a: Tensor, v: Weight) -> Tensor:
        """Multiplies (..., n, k) by (..., k, m); `left` says which of them is the input."""
        assert isinstance(v, Tensor)
        return matmul.batched(a, v) if self.left else matmul.batched(v, a)

    def as_the_model(self, a: Tensor, v: Weight) -> Tensor:
        """Multiplies as torch does, which always multiplies for the model."""
        assert isinstance(v, Tensor)
        return a @ v if self.left else v @ a

    def adjoint(self, r: Tensor, v: Weight, shape: torch.Size) -> Tensor:
        """Folds the seeds into the axis that the weight does not contract, so that no weight is copied for them."""
        assert isinstance(v, Tensor)
        if v.dim() == 2 and self.left:
            return sum_to_shape(r @ v.mT, shape)
        seeds, rows, columns = len(r), *r.shape[-2:]
        if self.left:
            folded = matmul.batched(r.movedim(0, -3).flatten(-3, -2), v.mT)  # (..., s n, k)
            relevance = folded.unflatten(-2, (seeds, rows)).movedim(-3, 0)
        else:
            folded = matmul.batched(r.movedim(0, -3).mT.flatten(-3, -2), v)  # (..., s m, k)
            relevance = folded.unflatten(-2, (seeds, columns)).movedim(-3, 0).mT
        return sum_to_shape(relevance, shape)

    def count(self, ones: Tensor, w: Weight) -> Tensor:
        """Every output sees a row, or a column, of the input."""
        assert isinstance(w, Tensor)
        batch = torch.broadcast_shapes(ones.shape[:-2], w.shape[:-2])
        if self.left:
            return ones.sum(-1, keepdim=True).expand(*batch, ones.shape[-2], w.shape[-1])
        return ones.sum(-2, keepdim=True).expand(*batch, w.shape[-2], ones.shape[-1])

    def spread(self, r: Tensor, w: Weight, shape: torch.Size) -> Tensor:
        """Hands `r` equally to that row or column."""
        total = r.sum(-1 if self.left else -2, keepdim=True)
        return sum_to_shape(total.expand(*r.shape[:-2], *shape[-2:]), shape)

    def time_axis(self, shape: torch.Size, output: torch.Size) -> int | None:
        """The axis that is summed, for every query of the weight."""
        return (-1 if self.left else -2) if len(shape) > 2 else None

    def without_time(self, shape: torch.Size, axis: int) -> LinearMap | None:
        """The products without their sum."""

        def products(a: Tensor, v: Tensor) -> Tensor:
            rows, columns = (a, v) if self.left else (v, a)  # (..., n, k) and (..., k, m)
            return rows.unsqueeze(-2) * columns.mT.unsqueeze(-3)

        return of_every_entry(products, axis, shape[axis])

    def of_groups(self, shape: torch.Size, axis: int, groups: Tensor) -> LinearMap | None:
        """One product for each group, of the size of the output; single entries would be as many of these."""

        def products(a: Tensor, v: Tensor) -> Tensor:
            rows, columns = (a, v) if self.left else (v, a)  # (..., n, k) and (..., k, m)
            return torch.einsum("...nge,...gem->...nmg", grouped(rows, -1, groups), grouped(columns, -2, groups))

        return of_every_entry(products, axis, len(groups))
