"""`inspect`: every operation that a model applies to a clip, with its rule, before anything is explained."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import NamedTuple

from torch import Tensor, nn

from lrp3d.checks import check_axes, check_clip, check_logits, check_numbers, check_seed
from lrp3d.compiling import not_compiled
from lrp3d.composites import Composite
from lrp3d.outputs import Output, logits_of
from lrp3d.propagation.inside import names_of
from lrp3d.steps.ends import ClipInput, Unsupported
from lrp3d.steps.step import Rearrangement
from lrp3d.twin.evaluation_mode import prepare_mode
from lrp3d.twin.probabilities import LEFT_OUT
from lrp3d.twin.ranges import Range
from lrp3d.twin.twin import twin_of


class Operation(NamedTuple):
    """One operation of the forward pass."""

    name: str
    """Qualified name of the module, or of the module and the operation in its forward."""
    operation: str
    """Name of the operation, such as that of the function."""
    shape: tuple[int, ...]
    """Shape of the output."""
    rule: str
    """What happens to relevance, in words; "-" where nothing is known."""
    supported: bool
    """Whether relevance gets through, or never comes here."""
    advice: str = ""
    """What to do about an operation without a rule."""


class Inspection(list[Operation]):
    """All operations in order, printed as a table.

    Args:
        operations: the operations, as for a list.
        problems: one line for each that prevents an explanation.

    >>> import torch, lrp3d
    >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 2)).eval()
    >>> found = lrp3d.inspect(model, torch.rand(1, 3, 2, 2), contrastive=False)
    >>> print(found)
    name  operation  output  rule
    0     flatten    1x12    moves values
    1     linear     1x2     ZBeta(low=None, high=None)
    >>> found.unsupported, found.problems
    ([], [])
    """

    def __init__(self, operations: Iterable[Operation] = (), problems: Sequence[str] = ()):
        super().__init__(operations)
        self.problems: list[str] = list(problems)
        """What prevents an explanation, one line each."""

    @property
    def unsupported(self) -> list[Operation]:
        """Operations without a rule that relevance would reach."""
        return [operation for operation in self if not operation.supported]

    def __str__(self) -> str:
        columns = [("name", "operation", "output", "rule")]
        for operation in self:
            rule = operation.rule if operation.supported else f"UNSUPPORTED: {operation.advice}"
            columns.append((operation.name, operation.operation, "x".join(map(str, operation.shape)), rule))
        widths = [max(len(row[i]) for row in columns) for i in range(3)]
        lines = [
            "  ".join([*(cell.ljust(w) for cell, w in zip(row[:3], widths, strict=True)), row[3]]) for row in columns
        ]
        if self.problems:
            lines += ["", "Cannot be explained:", *(f"  - {problem}" for problem in self.problems)]
        return "\n".join(lines)

    def __repr__(self) -> str:
        return str(self)


@not_compiled
def inspect(
    model: nn.Module,
    clip: Tensor | Sequence[Tensor],
    *,
    composite: str | Composite | None = None,
    contrastive: bool = True,
    input_range: Range | Sequence[Range | None] | None = None,
    layout: str = "bcthw",
    output: Output | None = None,
    constants: str | Sequence[str] = (),
    seed: int | None = None,
) -> Inspection:
    """List every operation that `model` applies to `clip`, in order, with its rule; nothing is explained.

    Args:
        model: any `nn.Module` in evaluation mode, or a twin.
        clip: as for `lrp3d.explain`; its shape matters, its values do not.
        composite: as for `lrp3d.explain`.
        contrastive: as for `lrp3d.explain`; it changes the rule of the classifier.
        input_range: as for `lrp3d.explain`.
        layout: as for `lrp3d.explain`.
        output: as for `lrp3d.explain`.
        constants: as for `lrp3d.explain`.
        seed: as for `lrp3d.explain`.

    Returns:
        A list of `Operation(name, operation, shape, rule, supported, advice)`, printed as a table; `problems` has one
        line for everything without a rule that relevance would reach, even for code that is hidden (scripted code).

    Raises:
        TypeError, ValueError: as `lrp3d.explain` for the clip and the model's output.

    >>> import torch, lrp3d
    >>> class Cumulated(torch.nn.Module):
    ...     def forward(self, x):
    ...         return x.flatten(1).logcumsumexp(1)
    >>> model = torch.nn.Sequential(Cumulated(), torch.nn.Linear(12, 2), torch.nn.Softmax(1)).eval()
    >>> [(row.name, row.supported) for row in lrp3d.inspect(model, torch.rand(1, 3, 2, 2))]
    [('0.flatten', True), ('0.logcumsumexp', False), ('1', True), ('2', True)]
    """
    seed = check_seed(seed)
    constants = names_of(constants, "constants")
    pathways = check_clip(clip, layout)
    twin = twin_of(model, composite)
    check_axes(twin, pathways, layout)
    prepare_mode(twin, clip, seed)
    read = partial(logits_of, output=output)
    record = twin.record((clip,), input_range, layout, contrastive, read, constants, seed)
    check_logits(record.output, pathways, layout)
    check_numbers(record.clip_is_finite, record.output_is_finite)
    problems = set(record.problems)
    rows = Inspection(problems=record.problems)
    for step in record.tracer.steps:
        if isinstance(step, ClipInput):
            continue
        shape = tuple(step.shape)
        note = LEFT_OUT if step in record.left_out else step.site.note
        if isinstance(step, Unsupported):
            blocked = step.problem in problems
            rule = "-" if blocked else note or "gate or constant: no relevance reaches it"
            rows.append(Operation(step.name, step.operation, shape, rule, not blocked, step.advice))
        else:
            rule = "moves values" if isinstance(step, Rearrangement) else str(step.rule or "by position")
            rule += f" ({note})" if note else ""
            rows.append(Operation(step.name, step.operation, shape, rule, True))
    return rows
