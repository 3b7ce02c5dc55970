"""A record holds everything that a study keeps of one clip, in a small file that is complete or does not exist."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from lrp3d.explanation.explanation import Explanation
from lrp3d.files import replacing, require_regular
from lrp3d.metrics.aggregation import class_logits
from lrp3d.metrics.atr import avg_atr, max_atr

__all__ = ["Record", "records_of"]


@dataclass(frozen=True, eq=False)
class Record:
    """What a model made of one clip: `k` classes, `n` frames with a logit, `t` columns of the matrix, `w` windows.

    Written by `run`, one file for each clip; `Study.records` reads them.

    >>> rows = {"frame_logits": torch.ones(2), "matrix": torch.eye(2), "atr": torch.ones(2), "conservation": 0.0}
    >>> record = Record(0, "a.mp4", label=1, target=1, logits=torch.tensor([0.0, 2.0]), **rows)
    >>> record.prediction, round(record.score, 2), record.avg_atr
    (1, 0.88, 1.0)
    """

    number: int
    """The clip's place in the study's list."""
    name: str
    """The clip's name in the list."""
    label: int | None
    """The clip's true class; None where it is unknown."""
    target: int
    """The explained class."""
    logits: Tensor
    """(k,) the logits; a lone logit (1,) is that of class 1 against class 0."""
    frame_logits: Tensor
    """(n,) the logit of the explained class at each frame."""
    matrix: Tensor
    """(n, t) the matrix, as `lrp3d.Explanation.matrix`."""
    atr: Tensor
    """(n,) the ATR of each row, in columns of the matrix."""
    conservation: float
    """The relative error of the sum of relevance."""
    positions: tuple[int, ...] | None = None
    """The column of each row's own frame, where the model has logits for only n of t frames."""
    indices: tuple[int, ...] = ()
    """The number of each of the clip's frames in the video."""
    windows: Tensor | None = None
    """(w,) the class predicted with each of the study's windows (partial uniform sampling)."""
    empty: Tensor | None = None
    """(w,) the class predicted with empty images outside of each window."""
    time: Tensor | None = None
    """(1 + v, 4) results for the clip as it is and with its time changed: predicted class, logit of the explained
    class, avg-ATR, motion; NaN where there is no number."""
    lost: tuple[str, ...] = ()
    """What is missing or damaged in the video."""
    notes: tuple[str, ...] = ()
    """What was decided about the video, such as which of several series of images was read."""
    seconds: float = 0.0
    """How long explaining took: the clip's share of its batch."""
    read_seconds: float = 0.0
    """How long reading the clip took."""
    config: str = ""
    """The hash of the configuration that the record was made with."""

    @property
    def prediction(self) -> int:
        """The class with the greatest logit; of a lone logit 1 where it is positive, else 0."""
        return int(class_logits(self.logits).argmax())

    @property
    def score(self) -> float:
        """The softmax of the greatest logit, from 0 to 1; of a lone logit the sigmoid, on the predicted side."""
        return float(class_logits(self.logits.double()).softmax(0).max())

    @property
    def logit(self) -> float:
        """The logit of the explained class; a lone logit, negated where it was explained for class 0."""
        if len(self.logits) == 1:
            return float(self.logits if self.target else -self.logits)
        return float(self.logits[self.target])

    @property
    def avg_atr(self) -> float:
        """The mean ATR, weighted by positive frame logits; NaN where there is none."""
        return float(avg_atr(self.atr, self.frame_logits))

    @property
    def max_atr(self) -> float:
        """The greatest ATR of the clip's frames."""
        return float(max_atr(self.atr))

    def save(self, path: str | Path) -> None:
        """Writes the record as safetensors; after a failure there is no file."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        tensors = {name: x.detach().cpu().contiguous() for name, x in values.items() if isinstance(x, Tensor)}
        rest = {name: value for name, value in values.items() if not isinstance(value, Tensor)}
        text = json.dumps(rest)
        content = save(tensors, {"record": text, "digest": _digest(text, tensors)})
        with replacing(Path(path)) as temporary:
            temporary.write_bytes(content)  # Python's own writing reports a full disk as the system does

    @classmethod
    def load(cls, path: str | Path) -> Record:
        """Reads what `save` wrote; raises ValueError for any other file.

        >>> import tempfile, torch
        >>> rows = {"frame_logits": torch.ones(2), "matrix": torch.eye(2), "atr": torch.ones(2)}
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Record(0, "a.mp4", 1, 1, torch.tensor([0.0, 2.0]), **rows, conservation=0.0).save(f"{folder}/0")
        ...     record = Record.load(f"{folder}/0")
        >>> record.prediction, record.avg_atr
        (1, 1.0)
        """
        require_regular(path, "record of a study")
        try:
            with safe_open(str(path), "pt") as file:
                metadata = file.metadata() or {}
                rest = json.loads(metadata["record"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  a file is no mapping
            if "digest" in metadata and metadata["digest"] != _digest(metadata["record"], tensors):
                raise ValueError("its bytes are not those that were written")
            lists = {name: tuple(value) for name, value in rest.items() if isinstance(value, list)}
            record = cls(**(rest | lists | tensors))
            record._check()
            return record
        except (SafetensorError, KeyError, TypeError, AttributeError, ValueError) as error:
            raise ValueError(f"{path} is no record of a study ({error})") from error

    def _check(self) -> None:
        """Refuses shapes and types that later steps could not use."""
        if not isinstance(self.number, int) or not isinstance(self.name, str):
            raise ValueError("its number or name is none")
        rows = len(self.atr)
        if self.matrix.ndim != 2 or self.logits.ndim != 1 or not len(self.logits) or len(self.matrix) != rows:
            raise ValueError(f"a matrix {tuple(self.matrix.shape)} and {rows} frames do not fit")


def _digest(text: str, tensors: Mapping[str, Tensor]) -> str:
    """Hashes bytes, because a disk may lose some of them without an error."""
    digest = hashlib.sha256(text.encode())
    for name, value in sorted(tensors.items()):
        digest.update(name.encode())
        digest.update(value.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def records_of(
    explanation: Explanation,
    numbers: Sequence[int],
    names: Sequence[str],
    labels: Sequence[int | None],
    **more: Sequence[Any],
) -> list[Record]:
    """Makes one record for each clip of an explanation.

    Args:
        explanation: the explanation of b clips, with a matrix.
        numbers: (b,) the clips' places in the list.
        names: (b,) their names in the list.
        labels: (b,) their true classes.
        more: further fields of `Record`, each a sequence with one value per clip, such as ``seconds=[0.1, 0.1]``.

    Raises:
        ValueError: the explanation has no matrix, or there is not one value for each clip.

    >>> import lrp3d, torch
    >>> model = lrp3d.models.i3d_resnet(18, num_classes=5, width=8).eval()
    >>> explanation = lrp3d.explain(model, torch.rand(2, 3, 4, 32, 32))
    >>> [record.matrix.shape for record in records_of(explanation, [0, 1], ["a.mp4", "b.mp4"], [3, None])]
    [torch.Size([4, 4]), torch.Size([4, 4])]
    """
    if explanation.matrix is None or explanation.frame_logits is None or explanation.atr is None:
        raise ValueError("a record is of temporal relevance, and this explanation has no matrix")
    count = len(explanation.logits)
    for name, values in {"numbers": numbers, "names": names, "labels": labels, **more}.items():
        if len(values) != count:
            raise ValueError(f"{name} are one for each of {count} clips of the explanation, got {len(values)}")
    kept = explanation.to("cpu")
    assert kept.matrix is not None
    assert kept.frame_logits is not None
    assert kept.atr is not None
    targets = kept.explained_class
    return [
        Record(
            number=number,
            name=names[i],
            label=labels[i],
            target=int(targets[i]),
            logits=kept.logits[i].float(),
            frame_logits=kept.frame_logits[i].float(),
            matrix=kept.matrix[i].float(),
            atr=kept.atr[i].float(),
            conservation=float(kept.conservation[i]),
            positions=None if kept.positions is None else tuple(kept.positions),
            **{field: values[i] for field, values in more.items()},
        )
        for i, number in enumerate(numbers)
    ]
