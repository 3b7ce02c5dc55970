"""What operations that only move values do to numbers that broadcast to them, without making them as large as these.

Torch's nodes keep the arguments of their operations, so that the operation can be run again on an array of another
size. Numbers vary along few axes, and the others stay of size one.

`ARRANGEMENTS` has one entry for each of torch's nodes. A node that is not there is no error: `moved` then runs the
adjoint of its adjoint, on full arrays.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lrp3d.steps.graph import Node, step_of
from lrp3d.steps.torch_nodes import axis_of, signed
from lrp3d.steps.writes import IndexedWrite

Shapes = Sequence[torch.Size | None]
"""The shapes of a node's inputs; None for constants, of which a node says nothing."""

Arrangement = Callable[[Node, int, Sequence[Tensor], Shapes, torch.Size], Tensor | None]
"""Takes a node, the number of its output, the numbers and shapes of its inputs and the shape of that output; returns
the numbers of the output, or None where it cannot say them."""


def arranged(node: Node, output: int, inputs: Sequence[Tensor], shapes: Shapes, shape: torch.Size) -> Tensor | None:
    """The numbers (broadcasting to `shape`) of an output of a node; None where this file does not know them.

    Args:
        node: a node that only moves values.
        output: which of its outputs.
        inputs: the numbers of its inputs, each of which broadcasts to the shape of the input.
        shapes: the shapes of its inputs.
        shape: the shape of the output.
    """
    if 0 in shape:
        return torch.zeros([1] * len(shape), dtype=torch.long, device="cpu")
    step = step_of(node)
    if step is not None:
        return _written(step, inputs) if isinstance(step, IndexedWrite) else None
    arrangement = ARRANGEMENTS.get(node.name().rstrip("0123456789").removesuffix("Backward"))
    try:
        return None if arrangement is None else arrangement(node, output, inputs, shapes, shape)
    except AttributeError:  # another version of torch keeps other arguments
        return None


def _same(node: Node, output: int, inputs: Sequence[Tensor], shapes: Shapes, shape: torch.Size) -> Tensor | None:
    return inputs[0]


def _reshaped(node: Node, output: int, inputs: Sequence[Tensor], shapes: Shapes, shape: torch.Size) -> Tensor | None:
    """Axes that are merged or split with others are as large as these; all others stay as they are."""
    (x,), (before,) = inputs, shapes
    if before is None or math.prod(before) != math.prod(shape):
        return None
    full, small = list(x.shape), []
    i = j = 0
    while i < len(before) or j < len(shape):
        # The next axes before and after that have as many values, among them those of size one.
        starts, of_input, of_output = (i, j), 1, 1
        while of_input != of_output or (i, j) == starts:
            if j < len(shape) and (of_output < of_input or i == len(before)):
                of_output, j = of_output * shape[j], j + 1
            else:
                of_input, i = of_input * before[i], i + 1
        varies = any(size > 1 for size in x.shape[starts[0] : i])
        full[starts[0] : i] = before[starts[0] : i] if varies else [1] * (i - starts[0])
        small += list(shape[starts[1] : j]) if varies else [1] * (j - starts[1])
    return x.expand(full).reshape(small)


def _permuted(node: Node, output: int, inputs: Sequence[Tensor], shapes: Shapes, shape: torch.Size) -> Tensor | None:
    return inputs[0].permute([signed(dim) for dim in node._saved_dims])


def _transposed(node: Node, output: int, inputs: Sequence[Tensor], shapes: Shapes, shape: torch.Size) -> Tensor | None:
    return inputs[0].transpose(signed(node._saved_dim0), signed(node._saved_dim1))


def _turned(node: Node, output: int, inputs: Sequence[Tensor], shapes: Shapes, shape: torch.Size) -> Tensor | None:
    return inputs[0].T


def _sliced(node: Node, output: int, inputs: Sequence[Tensor], shapes: Shapes, shape: torch.Size) -> Tensor | None:
    x, axis = inputs[0], _axis(node, inputs[0])
    if x.shape[axis] == 1:
        return x
    start, end = (None if bound is None else signed(bound) for bound in (node._saved_start, node._saved_end))
    return x[(slice(None),) * axis + (slice(start, end, node._saved_step),)]


def _selected(node: Node, output: int, inputs: Sequence[Tensor], shapes: Shapes, shape: torch.Size) -> Tensor | None:
    x, axis = inputs[0], _axis(node, inputs[0])
    return x.select(axis, signed(node._saved_index) if x.shape[axis] > 1 else 0)


def _flipped(node: Node, output: int, inputs: Sequence[Tensor], shapes: Shapes, shape: torch.Size) -> Tensor | None:
    return inputs[0].flip([signed(dim) for dim in node._saved_dims])


def _rolled(node: Node, output: int, inputs: Sequence[Tensor], shapes: Shapes, shape: torch.Size) -> Tensor | None:
    dims = [signed(dim) for dim in node._saved_dims]
    return inputs[0].roll([signed(shift) for shift in node._saved_shifts], dims) if dims else None


def _expanded(node: Node, output: int, inputs: Sequence[Tensor], shapes: Shapes, shape: torch.Size) -> Tensor | None:
    x = inputs[0]
    return x.reshape(*[1] * (len(shape) - x.dim()), *x.shape)


def _with_axis(node: Node, output: int, inputs: Sequence[Tensor], shapes: Shapes, shape: torch.Size) -> Tensor | None:
    x, dim = inputs[0], signed(node._saved_dim)
    return x.unsqueeze(dim)


def _split(node: Node, output: int, inputs: Sequence[Tensor], shapes: Shapes, shape: torch.Size) -> Tensor | None:
    x, axis = inputs[0], _axis(node, inputs[0])
    if x.shape[axis] == 1:
        return x
    sizes = getattr(node, "_saved_split_sizes", None)
    start = output * node._saved_split_size if sizes is None else sum(sizes[:output])
    return x.narrow(axis, start, shape[axis])


def _unbound(node: Node, output: int, inputs: Sequence[Tensor], shapes: Shapes, shape: torch.Size) -> Tensor | None:
    x, axis = inputs[0], _axis(node, inputs[0])
    return x.select(axis, output if x.shape[axis] > 1 else 0)


def _joined(node: Node, output: int, inputs: Sequence[Tensor], shapes: Shapes, shape: torch.Size) -> Tensor | None:
    axis = axis_of(node)
    known = [size[axis] for size in shapes if size is not None and len(size) == len(shape)]
    if len(known) < len(shapes) - 1:
        return None
    sizes = [shape[axis] - sum(known) if size is None else size[axis] for size in shapes]
    if all(x.shape[axis] == 1 and x.shape == inputs[0].shape and x.equal(inputs[0]) for x in inputs):
        return inputs[0]  # parts of the same frames, side by side
    return _beside(inputs, sizes, axis)


def _stacked(node: Node, output: int, inputs: Sequence[Tensor], shapes: Shapes, shape: torch.Size) -> Tensor | None:
    axis = axis_of(node)
    return _beside([x.unsqueeze(axis) if x.dim() < len(shape) else x for x in inputs], [1] * len(inputs), axis)


def _beside(inputs: Sequence[Tensor], sizes: Sequence[int], axis: int) -> Tensor:
    """Numbers of tensors that are concatenated, which have these sizes along the axis."""
    axes = max(x.dim() for x in inputs)
    inputs = [x.reshape(*[1] * (axes - x.dim()), *x.shape) for x in inputs]
    common = [max(x.shape[i] for x in inputs) for i in range(axes)]
    parts = [x.expand(*common[:axis], size, *common[axis + 1 :]) for x, size in zip(inputs, sizes, strict=True)]
    return torch.cat(parts, axis)


def _padded(node: Node, output: int, inputs: Sequence[Tensor], shapes: Shapes, shape: torch.Size) -> Tensor | None:
    (x,), (before,) = inputs, shapes
    pad = [signed(number) for number in node._saved_pad]
    if before is None:
        return None
    full = list(x.shape)
    for i in range(len(pad) // 2):
        if pad[2 * i] or pad[2 * i + 1]:
            full[-1 - i] = before[-1 - i]
    return nn.functional.pad(x.expand(full), pad)


def _repeated(node: Node, output: int, inputs: Sequence[Tensor], shapes: Shapes, shape: torch.Size) -> Tensor | None:
    x = inputs[0].reshape(*[1] * (len(shape) - inputs[0].dim()), *inputs[0].shape)
    counts = [1] * (len(shape) - len(node._saved_repeats)) + [signed(count) for count in node._saved_repeats]
    return x.repeat([count if size > 1 else 1 for count, size in zip(counts, x.shape, strict=True)])


def _picked(node: Node, output: int, inputs: Sequence[Tensor], shapes: Shapes, shape: torch.Size) -> Tensor | None:
    """Entries of one axis, in any order, by numbers that are not on a device."""
    if node.name().startswith("IndexSelect"):
        axis, index = _axis(node, inputs[0]), node._saved_index
    else:
        given = [(axis, index) for axis, index in enumerate(node._saved_indices) if index is not None]
        if len(given) != 1 or given[0][1].dim() != 1 or given[0][1].dtype == torch.bool:
            return None
        axis, index = given[0]
    if index.device.type != "cpu":  # which would be waited for
        return None
    x = inputs[0]
    return x.index_select(axis, index % x.shape[axis]) if x.shape[axis] > 1 else x


def _written(step: IndexedWrite, inputs: Sequence[Tensor]) -> Tensor | None:
    """The target with the value at an index of slices and numbers; a constant has the number zero."""
    parts = step.index if isinstance(step.index, tuple) else (step.index,)
    if not all(part is ... or type(part) in (int, slice) for part in parts):
        return None
    shape = step.target_shape
    missing = [slice(None)] * (len(shape) - sum(part is not ... for part in parts))
    dots = next((i for i, part in enumerate(parts) if part is ...), len(parts))
    places: list[Any] = [*parts[:dots], *missing, *parts[dots + 1 :]]
    single = [axis for axis, part in enumerate(places) if isinstance(part, int)]
    constant = torch.zeros([1] * len(shape), dtype=torch.long, device="cpu")
    given = list(inputs)
    target = given.pop(0) if step.to_target else constant
    value = given.pop(0) if step.to_value else constant[(0,) * len(shape)]
    value = value.reshape(*[1] * (len(shape) - len(single) - value.dim()), *value.shape)
    for axis in single:
        value = value.unsqueeze(axis)
    if value.dim() != len(shape):
        return None
    sizes, index = list[int](), list[slice]()
    for axis, part in enumerate(places):
        is_all = isinstance(part, slice) and part.indices(shape[axis]) == (0, shape[axis], 1)
        varies = not is_all or target.shape[axis] > 1 or value.shape[axis] > 1
        sizes.append(shape[axis] if varies else 1)
        start = part % shape[axis] if isinstance(part, int) else None
        index.append(slice(None) if is_all else part if start is None else slice(start, start + 1))
    written = target.expand(sizes).clone()
    written[tuple(index)] = value
    return written


def _axis(node: Node, x: Tensor) -> int:
    """The axis of a node's input along which it works."""
    return signed(node._saved_dim) % x.dim()


ARRANGEMENTS: dict[str, Arrangement] = {
    **dict.fromkeys(("Alias", "Clone", "ToCopy"), _same),
    **dict.fromkeys(("View", "UnsafeView", "ReshapeAlias", "Squeeze"), _reshaped),
    "Permute": _permuted,
    "Transpose": _transposed,
    "T": _turned,
    "Slice": _sliced,
    "Select": _selected,
    "Flip": _flipped,
    "Roll": _rolled,
    "Expand": _expanded,
    "Unsqueeze": _with_axis,
    **dict.fromkeys(("Split", "SplitWithSizes"), _split),
    "Unbind": _unbound,
    "Cat": _joined,
    "Stack": _stacked,
    "ConstantPadNd": _padded,
    "Repeat": _repeated,
    **dict.fromkeys(("Index", "IndexSelect"), _picked),
}
"""By the beginning of the names of torch's nodes."""
