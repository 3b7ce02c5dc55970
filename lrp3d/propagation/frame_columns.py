"""Tells one logit for each frame from one for each class: both are (b, n), and only the graph says which they are."""

from __future__ import annotations

from torch import Tensor

from lrp3d.propagation.entry_order import by_frame
from lrp3d.propagation.time_axis import Entries, time_steps
from lrp3d.steps.graph import edge_of
from lrp3d.twin.trace import Trace


def frames_in_columns(record: Trace) -> str:
    """What the columns of logits (b, n) are if each belongs to a time step, and what to do; empty if they are classes.

    Classes come from all time steps at once, or, by whatever they are mixed, from no series of them.

    Args:
        record: one forward pass.
    """
    output = record.output
    if not isinstance(output, Tensor) or output.dim() != 2 or output.shape[1] < 2 or output.grad_fn is None:
        return ""
    if record.problems:  # nothing can be followed down through what is not known
        return ""
    columns = Entries(edge_of(output), output, -1)
    # Logits of frames begin with the first and end with the last. Not all of hundreds of classes have to be followed.
    ends = time_steps(columns, len(output), of=(0, columns.number - 1))
    if not ends or ends[0] == ends[1]:
        return ""
    frames = by_frame(time_steps(columns, len(output)))
    if frames is None:
        return ""
    count, each = len(frames), len(frames[0])
    if each == 1:
        what, reshaped = "one logit", "unsqueeze(-1)"
    elif frames == [list(range(i * each, (i + 1) * each)) for i in range(count)]:
        what, reshaped = f"{each} logits", f"unflatten(1, ({count}, {each}))"
    elif frames == [list(range(i, count * each, count)) for i in range(count)]:
        what, reshaped = f"{each} logits", f"unflatten(1, ({each}, {count})).transpose(1, 2)"
    else:
        return ""
    return (
        f"what the model returns {tuple(output.shape)} is {what} for each of {count} time steps, not one for each "
        f"class; frame logits are (b, n, k), so pass output=lambda logits: logits.{reshaped}"
    )
