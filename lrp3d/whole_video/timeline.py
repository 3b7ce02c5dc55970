"""The explanation of a whole video: one banded matrix, and a track for everything that changes along it."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from lrp3d.defaults import SIGMA
from lrp3d.files import as_json, read_saved, replacing
from lrp3d.metrics.atr import avg_atr
from lrp3d.printed import few, printable


@dataclass(eq=False)
class VideoExplanation:
    """The temporal relevance of a whole video: `n` rows (frames, or steps of several) and windows of `c` columns.

    Made by `lrp3d.explain_video`. Relevance has the unit of the logits, ATR counts columns.

    >>> import tempfile, numpy as np, lrp3d
    >>> model = lrp3d.models.tsn_resnet(18, num_classes=10, width=8).eval()
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.save(f"{folder}/video.npy", lrp3d.video.draw_clip(frames=12, size=32).numpy())
    ...     found = lrp3d.explain_video(model, f"{folder}/video.npy", frames=4, size=32, short_side=32)
    ...     found.save(f"{folder}/video.safetensors")
    ...     again = lrp3d.VideoExplanation.load(f"{folder}/video.safetensors")
    >>> found.band.shape, found.matrix.shape, bool((again.band == found.band).all())
    (torch.Size([12, 4]), torch.Size([12, 12]), True)
    """

    band: Tensor
    """(n, c) row i is the relevance of the c columns from `first[i]` on for frame logit i, and sums to it."""
    first: Tensor
    """(n,) int64, the column at which each row of the band begins."""
    frame_logits: Tensor
    """(n,) the logit of the row's class."""
    target: Tensor
    """(n,) int64, the class that was explained in the window of the row."""
    scores: Tensor
    """(n,) the softmax score of that class in that window."""
    atr: Tensor
    """(n,) action temporal relevance in columns, NaN of a row without relevance."""
    indices: Tensor
    """(frames,) int64, the number in the video of each frame that was used."""
    times: Tensor
    """(frames,) the time of each of these frames in seconds; NaN if the source does not say."""
    thumbnails: Tensor
    """uint8 (m, h, w, 3), small pictures of some of the frames."""
    thumbnail_frames: Tensor
    """(m,) int64, which frames the thumbnails show."""
    contrastive: bool = True
    sigma: float = SIGMA
    """The share of a row's relevance that its ATR window holds."""
    about: dict[str, str] = field(default_factory=dict)
    """Further facts, such as the model and the video."""
    notes: list[str] = field(default_factory=list)
    """Sentences about frames that were lost in reading."""

    @property
    def rows_at(self) -> str | None:
        """The module at whose output rows are time steps; None where they are frames with a logit."""
        return self.about.get("rows at")

    @property
    def step(self) -> int:
        """The number of frames that a row and a column stand for."""
        return len(self.indices) // len(self.band)

    @property
    def relevance(self) -> Tensor:
        """(n,) the relevance of each column, summed over all rows."""
        columns = self.first[:, None] + torch.arange(self.band.shape[1], device="cpu")
        return self.band.new_zeros(len(self.band)).index_add(0, columns.flatten(), self.band.flatten())

    @property
    def avg_atr(self) -> float:
        """The mean of ATR, weighted by positive frame logits."""
        return float(avg_atr(self.atr[None], self.frame_logits[None])[0])

    @property
    def matrix(self) -> Tensor:
        """(n, n) the whole matrix, zero outside of the band; it takes memory that grows with n squared."""
        columns = self.first[:, None] + torch.arange(self.band.shape[1], device="cpu")
        return self.band.new_zeros(len(self.band), len(self.band)).scatter(1, columns, self.band)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write everything to a safetensors file, which is complete or not there.

        Raises:
            OSError: the file cannot be written.
        """
        tensors = {name: value.contiguous() for name, value in vars(self).items() if isinstance(value, Tensor)}
        rest = {name: value for name, value in vars(self).items() if name not in tensors}
        with replacing(Path(path)) as partial:
            safetensors.torch.save_file(tensors, partial, {"lrp3d.video": json.dumps(rest)})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> VideoExplanation:
        """Read a file that `save` wrote; raises ValueError for any other file."""
        rest, tensors = read_saved(path, "lrp3d.video", "explanation of a video")
        return cls(**tensors, **json.loads(rest))

    def to_dict(self, labels: Sequence[str] = ()) -> dict[str, Any]:
        """Everything except pictures, for json; numbers that do not exist are None."""
        rows = [
            {
                "class": target,
                "label": labels[target] if target < len(labels) else f"class {target}",
                "score": score,
                "logit": logit,
                "atr": atr,
                "first": first,
                "relevance": band,
            }
            for target, score, logit, atr, first, band in zip(
                self.target.tolist(),
                self.scores.tolist(),
                self.frame_logits.tolist(),
                self.atr.tolist(),
                self.first.tolist(),
                self.band.tolist(),
                strict=True,
            )
        ]
        record: dict[str, Any] = {
            "about": self.about,
            "contrastive": self.contrastive,
            "sigma": self.sigma,
            "step": self.step,
            "frames": self.indices.tolist(),
            "times": self.times,
            "avg_atr": self.avg_atr,
            "relevance": self.relevance.tolist(),
            "rows": rows,
            "notes": self.notes,
        }
        return {name: as_json(value) for name, value in record.items()}

    def page(self, labels: Sequence[str] = (), title: str = "") -> str:
        """One self-contained html page: tracks over time, the band, and the frames under the pointer.

        Args:
            labels: names of classes.
            title: the title of the page; by default the name of the video.

        Raises:
            ImportError: Pillow, which comes with matplotlib, is not installed.
        """
        from lrp3d.whole_video.page import page

        return page(self, labels, title)

    def __repr__(self) -> str:
        unit = "frames" if self.step == 1 else f"steps of {self.step} frames"
        classes = torch.unique_consecutive(self.target).tolist()
        lines = [
            f"Explanation of a video of {len(self.indices)} frames, {'CLRP' if self.contrastive else 'LRP'}",
            f"  band          {tuple(self.band.shape)}, in {unit}",
            f"  classes       [{few(classes, 8)}]",
            f"  avg-ATR       {self.avg_atr:.2f} of {self.band.shape[1]} {unit}",
        ]
        lines += [f"  {printable(name):<12}  {printable(value)}" for name, value in self.about.items()]
        return "\n".join(lines + [f"  note          {printable(note)}" for note in self.notes])


def joined_tracks(parts: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """The tracks of consecutive parts, joined to one."""
    named = {each.name for each in fields(VideoExplanation)}
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0] if name in named}
