"""Keeps finished parts of a video on the disk, so that a run that was killed continues where it stopped."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import safetensors.torch
from torch import Tensor

from lrp3d.callers import warn
from lrp3d.files import read_saved, replacing
from lrp3d.video.losses import Losses

Part = tuple[dict[str, Tensor], Losses]
"""Tracks, and the frames that were lost in reading."""


class Parts:
    """A folder of finished parts, one file each.

    Args:
        folder: the folder, which is created if it does not exist; None to keep nothing.
        identity: what the numbers depend on.

    Raises:
        ValueError: the folder holds parts of another run.
    """

    def __init__(self, folder: str | os.PathLike[str] | None, identity: dict[str, Any]):
        self.folder: Path | None = None if folder is None else Path(folder)
        if self.folder is None:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        file, facts = self.folder / "run.json", json.loads(json.dumps(identity))
        if file.exists():
            try:
                before = dict(json.loads(file.read_text(encoding="utf-8")))
            except (ValueError, TypeError) as error:
                raise ValueError(
                    f"{file} is damaged, and nothing else says of which run these parts are: delete {self.folder} to "
                    "start anew"
                ) from error
            if before != facts:
                names = [name for name in {**before, **facts} if before.get(name) != facts.get(name)]
                raise ValueError(
                    f"{self.folder} holds parts of another run, which differs in {', '.join(names)}: take another "
                    "folder, or empty it"
                )
            return
        with replacing(file) as partial:
            partial.write_text(json.dumps(facts, indent=1), encoding="utf-8")

    def read(self, number: int) -> Part | None:
        """Returns a finished part, else None; a warning says if the part is damaged and has to be made again."""
        path = self._path(number)
        if path is None or not path.exists():
            return None
        try:
            lost, tensors = read_saved(path, "lost", "part of an explanation")
        except ValueError as error:
            warn(f"{error}; it is made again")
            return None
        try:
            return tensors, Losses.from_dict(json.loads(lost))
        except (ValueError, KeyError, TypeError):
            warn(f"{path} does not say which frames were lost; it is made again")
            return None

    def write(self, number: int, tensors: dict[str, Tensor], lost: Losses) -> None:
        """Write a part; the file is complete or not there."""
        path = self._path(number)
        if path is not None:
            contiguous = {name: x.contiguous() for name, x in tensors.items()}
            with replacing(path) as partial:
                safetensors.torch.save_file(contiguous, partial, {"lost": json.dumps(lost.to_dict())})

    def _path(self, number: int) -> Path | None:
        return None if self.folder is None else self.folder / f"part-{number:06}.safetensors"
