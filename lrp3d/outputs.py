"""What a model returns, read as logits: which of its outputs, and what their axes mean."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import torch
from torch import Tensor

from lrp3d.compute.precision import widened
from lrp3d.printed import few, with_article

Output = str | int | Callable[[Any], Any]
"""Which of a model's outputs are its logits: a key, an index, or a function of what it returns."""


def logits_of(returned: Any, output: Output | None) -> Tensor:
    """Logits (b, k) of what a model returned.

    Args:
        returned: logits (b, k), frame logits (b, n, k), whose mean is taken, or what `output` picks them from.
        output: as in `lrp3d.explain`.

    Raises:
        ValueError: if there is no such output, or what was picked are no logits; what there is is named.
    """
    return Reader(output)(returned)


class Reader:
    """`logits_of`, which remembers the axes of what it read: a run is asked whether they are what it took them for."""

    def __init__(self, output: Output | None):
        self.output = output
        self.frames: torch.Size | None = None
        """The axes (b, n, k) of frame logits, None where logits (b, k) were read."""
        self.note: str = ""
        """Which part of what the model returned was taken, where nobody said it; else empty."""

    def __call__(self, returned: Any) -> Tensor:
        """Logits (b, k), as `logits_of`."""
        chosen = chosen_of(returned, self.output)
        only = None if self.output is not None else _only_part(returned)
        self.note = "" if only is None else f"{only!r}, the only part of {_described(returned)} that the model returns"
        frames = chosen.dim() == 3 and 0 not in chosen.shape[1:]
        self.frames = chosen.shape if frames else None
        if not frames:
            return chosen
        return chosen.squeeze(1) if chosen.shape[1] == 1 else chosen.mean(1)


def chosen_of(returned: Any, output: Output | None) -> Tensor:
    """The tensor among what a model returned that `output` says, or the only one; raises ValueError as `logits_of`."""
    if output is None:
        only = _only_part(returned)
        chosen = returned if only is None else parts_of(returned)[only]
    else:
        chosen = picked(returned, output)
    of = "what the model returns" if output is None else "what output= picks"
    if not isinstance(chosen, Tensor):
        raise ValueError(
            f"{of} is {_described(chosen)}, not one tensor of logits (b, k); say with output= where they are: "
            "a key, an index, or a function of what the model returns"
        )
    if not chosen.is_floating_point():
        raise ValueError(
            f"{of} is {chosen.dtype}, and logits are floating-point numbers, one for each class: return those, not the "
            "classes or answers that were made of them"
        )
    return chosen


def _only_part(returned: Any) -> str | int | None:
    """The key or index of the tensor that is all that a model returned, such as a tuple of one; None otherwise."""
    parts = {} if isinstance(returned, Tensor) else parts_of(returned)
    parts = {key: part for key, part in parts.items() if part is not None}  # a loss that was not asked for
    keys = [key for key, part in parts.items() if isinstance(part, Tensor)]
    return keys[0] if len(keys) == len(parts) == 1 else None


FRAMES_LAST = (
    "frame logits are (b, n, k), the frames before the classes, and what the model returns {shape} has its frames "
    "last; pass output=lambda logits: logits.transpose(1, 2)"
)


def picked(returned: Any, output: Output) -> Any:
    """The part of what a model returned that `output` says; raises ValueError naming what there is."""
    if callable(output):
        return output(returned)
    if isinstance(returned, Tensor):
        raise ValueError(
            f"output={output!r} has nothing to choose from: the model returns {_described(returned)}; leave it out"
        )
    try:
        if isinstance(output, str) and not isinstance(returned, Mapping):
            return getattr(returned, output)
        return returned[output]
    except (KeyError, IndexError, TypeError, AttributeError):
        raise ValueError(f"there is no output={output!r}: the model returns {_described(returned)}") from None


def parts_of(returned: Any) -> dict[str | int, Any]:
    """The parts of what a model returned, by key, by field or by index."""
    if isinstance(returned, Mapping):
        return dict(returned)
    if is_dataclass(returned):
        return {field.name: getattr(returned, field.name) for field in fields(returned)}
    if isinstance(returned, tuple) and hasattr(returned, "_fields"):
        return {name: getattr(returned, name) for name in returned._fields}
    if isinstance(returned, Sequence) and not isinstance(returned, str):
        return dict(enumerate(returned))
    return {}


def tensors_of(returned: Any) -> list[Tensor]:
    """Every tensor of what a model returned."""
    if isinstance(returned, Tensor):
        return [returned]
    return [tensor for part in parts_of(returned).values() for tensor in tensors_of(part)]


def _described(returned: Any) -> str:
    if isinstance(returned, Tensor):
        return f"a tensor {tuple(returned.shape)}"
    parts = parts_of(returned)
    kind = with_article(type(returned).__name__)
    if not parts:
        return kind
    shown = [
        f"{key!r} ({'x'.join(map(str, part.shape)) if isinstance(part, Tensor) else type(part).__name__})"
        for key, part in parts.items()
    ]
    return f"{kind} with {few(shown, 12)}"


@dataclass
class Chosen:
    """The class explained for every clip, on which side of a lone logit it stands, and rather than which others."""

    target: Tensor
    """(b,)."""
    sign: Tensor | None = None
    """(b,) -1 where the class is the one that a negative lone logit speaks for, else 1; None: all are 1."""
    against: Tensor | None = None
    """(b, m) the classes whose mean logit is taken from the target's; None: none are."""

    @property
    def alone(self) -> Chosen:
        """The target, whatever it is held against."""
        return Chosen(self.target, self.sign)

    def of(self, logits: Tensor) -> Tensor:
        """What is explained (b,) of logits (b, k): the chosen class's logit, or how far it is above the others'."""
        logit = _wide(logits).gather(1, self.target[:, None]).squeeze(1)
        logit = logit if self.sign is None else logit * self.sign.to(logit)
        return logit if self.against is None else logit - _wide(logits).gather(1, self.against).mean(1)

    def of_frames(self, logits: Tensor) -> Tensor:
        """The same (b, n) of frame logits (b, n, k)."""
        return torch.stack([self.of(frame) for frame in logits.unbind(1)], 1)

    def seed(self, logits: Tensor, contrastive: bool) -> Tensor:
        """Where relevance starts, (1, b, k): the logit at the target, or, contrastive, its magnitude (Eq. 2).

        At each of the classes that it is held against lies its part of their mean, negative.
        """
        size = self.alone.of(logits).abs() if contrastive else self.alone.of(logits)
        seed = torch.zeros_like(logits, dtype=size.dtype).scatter_(1, self.target[:, None], size[:, None])
        if self.against is not None:
            others = _wide(logits).gather(1, self.against) / -self.against.shape[1]
            seed.scatter_add_(1, self.against, others.to(seed.dtype))
        return seed[None]

    def at(self, clips: Tensor) -> Chosen:
        """The same for some of the clips, (p,) their numbers."""
        return Chosen(self.target[clips], *(None if x is None else x[clips] for x in (self.sign, self.against)))


def _wide(logits: Tensor) -> Tensor:
    return logits.detach().to(widened(logits.dtype))
