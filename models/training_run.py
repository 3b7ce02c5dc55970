"""A run of training, which is saved in `training.pt` after every epoch and can be continued from there."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from lrp3d.files import replacing

from .base import VideoModel
from .files import CheckpointError, read_checkpoint
from .making import RUN
from .processes import process, summed, wait
from .recipe import Recipe
from .wording import first_line, shown


@dataclass(frozen=True)
class Epoch:
    """The results of one epoch: mean loss and accuracy in training, and accuracy in validation if there is one."""

    epoch: int
    loss: float
    accuracy: float
    validation: float | None = None


class TrainingRun:
    """Everything that must survive if the process is killed: model, optimiser, loss scaling and history."""

    def __init__(
        self,
        model: VideoModel,
        recipe: Recipe,
        folder: Path,
        autocast: torch.dtype | None,
        facts: Mapping[str, Any] | None = None,
    ):
        self.model = model
        self.network: nn.Module = model
        """The module that is called; with several processes, it averages gradients."""
        self.recipe = recipe
        self.facts: dict[str, Any] = dict(facts or {})
        """What else the run depends on, by name: its clips, how they are drawn."""
        self.path: Path = folder / "training.pt"
        self.device: torch.device = next(model.parameters()).device
        self.autocast = autocast
        self.scaler: torch.amp.GradScaler = torch.amp.GradScaler(self.device.type, enabled=autocast is torch.float16)
        self.optimizer: torch.optim.SGD = torch.optim.SGD(
            model.parameters(),
            recipe.learning_rate,
            recipe.momentum,
            weight_decay=recipe.weight_decay,
            nesterov=recipe.momentum > 0,
        )
        self.history: list[Epoch] = []
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def identity(self) -> str:
        """The facts that must not change when a run is continued."""
        made = [self.model.builder, self.model.arguments]
        facts = [self.facts] if self.facts else []
        return json.dumps([asdict(self.recipe), made, str(self.autocast), *facts], sort_keys=True)

    def resume(self) -> None:
        """Continue from the file of an earlier call, or write the first one."""
        rank, world = process()
        exists = self.path.exists()
        wait()  # before the first process writes
        if not exists:
            self.keep()  # the initial weights are part of a run
            wait()
        if exists or rank:
            self._read()
        if world > 1:
            devices = [self.device.index] if self.device.type == "cuda" else None
            self.network = DistributedDataParallel(self.model, device_ids=devices)

    def _differences(self, identity: str) -> str:
        """What another run's facts have different from those of this run."""
        there, here = (_named(json.loads(text)) for text in (identity, self.identity))
        names = [name for name in {**there, **here} if there.get(name) != here.get(name)]
        return ", ".join(f"{name} {there.get(name)} there and {here.get(name)} here" for name in names)

    def _read(self) -> None:
        saved = self._saved()
        if saved["identity"] != self.identity:
            differences = self._differences(saved["identity"])
            raise ValueError(
                f"{self.path.parent} holds a run with another recipe, model or data ({differences}): start the "
                "same command as before to go on with it, or use another folder"
            )
        self.model.load_state_dict(saved["model"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.scaler.load_state_dict(saved["scaler"])
        self.history = [Epoch(**epoch) for epoch in saved["history"]]

    def _saved(self) -> Mapping[str, Any]:
        """What the file of an earlier call holds; raises ValueError if it is none."""
        try:
            saved = read_checkpoint(self.path).state
        except CheckpointError as error:
            why = first_line(error).removeprefix(f"{self.path.name} ").partition("; ")[0]
            raise ValueError(
                f"{self.path} is damaged or no state of a training ({why}): put back a copy of it, or delete it to "
                "train anew"
            ) from error
        if missing := [key for key in RUN if key not in saved]:
            held = shown(", ".join(map(str, list(saved)[:3])), 100) or "nothing"
            raise ValueError(
                f"{self.path} is another kind of checkpoint, not the state of a training (it holds {held}, and no "
                f"{missing[0]}): move it away, or use another folder"
            )
        return saved

    def keep(self) -> None:
        """Save everything that an epoch changes, except states of random numbers: each epoch has its own seed."""
        if process()[0]:
            return
        content = io.BytesIO()  # of a full disk, torch says only that a file has another length than it should
        torch.save(
            {
                "identity": self.identity,
                "model": self.model.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "scaler": self.scaler.state_dict(),
                "history": [asdict(epoch) for epoch in self.history],
            },
            content,
        )
        with replacing(self.path) as temporary:
            temporary.write_bytes(content.getbuffer())

    def epoch(self, epoch: int, batches: Iterable[tuple[Tensor, Tensor]], steps: int) -> tuple[float, float]:
        """Train for one epoch; returns the mean loss and the accuracy over its clips."""
        self.network.train()
        exact = torch.float32 if self.device.type == "mps" else torch.float64  # MPS has no float64
        loss_sum = torch.zeros((), dtype=exact, device=self.device)
        correct = torch.zeros((), dtype=torch.long, device=self.device)
        clip_count = 0
        for step, (clips, labels) in enumerate(batches):
            rate = self.recipe.learning_rate_at(epoch + (step + 0.5) / steps)  # so that the rate is never exactly zero
            for group in self.optimizer.param_groups:
                group["lr"] = rate
            # MPS would read memory of the host that is gone by then.
            clips, labels = (x.to(self.device, non_blocking=self.device.type != "mps") for x in (clips, labels))
            with self._precision():
                logits = self.network(clips)
                loss = F.cross_entropy(logits.float(), labels)
            self._step(loss)
            loss_sum += loss.detach() * len(labels)
            correct += (logits.argmax(1) == labels).sum()
            clip_count += len(labels)
        totals = summed(torch.stack([loss_sum, correct.double(), loss_sum.new_tensor(clip_count)])).tolist()
        mean = totals[0] / totals[2]
        if not math.isfinite(mean):
            raise self._diverged(f"the loss of epoch {epoch + 1} is {mean}")
        values = [x for x in self.model.state_dict().values() if x.is_floating_point()]
        if not bool(torch.stack([x.isfinite().all() for x in values]).all()):  # the last step may have been too far
            raise self._diverged(f"weights are no numbers after epoch {epoch + 1}")
        return mean, totals[1] / totals[2]

    def _diverged(self, how: str) -> FloatingPointError:
        return FloatingPointError(
            f"the training has diverged: {how}; start anew in another folder with a learning rate below "
            f"{self.recipe.learning_rate:g}"
        )

    def _precision(self) -> AbstractContextManager[Any]:
        if self.autocast is None:
            return nullcontext()
        return torch.autocast(self.device.type, self.autocast)

    def _step(self, loss: Tensor) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()
        if self.recipe.clip_gradient is not None:
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.clip_gradient)
        self.scaler.step(self.optimizer)
        self.scaler.update()


def autocast_type(device: torch.device, wanted: bool | None) -> torch.dtype | None:
    """The type of mixed precision on a device; None for full precision, the default on devices other than GPUs.

    Raises:
        ValueError: mixed precision is requested on a device that is not a GPU.
    """
    if device.type != "cuda":
        if wanted:  # the bfloat16 backward of oneDNN can abort the whole process
            raise ValueError(f"mixed precision needs a GPU, the model is on {device}")
        return None
    if wanted is False:
        return None
    return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16


def _named(identity: Sequence[Any]) -> dict[str, Any]:
    """The facts of a run by name, as an error names them."""
    recipe, (builder, arguments), autocast, *facts = identity
    return {**recipe, "model": builder, **arguments, "mixed precision": autocast, **(facts[0] if facts else {})}
