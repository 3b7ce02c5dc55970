"""A run of training and its file `training.pt`: kept after every epoch, and continued from there."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
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
from .processes import process, summed, wait
from .recipe import Recipe


@dataclass(frozen=True)
class Epoch:
    """What one epoch came to: mean loss and accuracy in training, accuracy in validation if there is one."""

    epoch: int
    loss: float
    accuracy: float
    validation: float | None = None


class TrainingRun:
    """Everything that has to survive when the process is killed: model, optimiser, loss scaling and history."""

    def __init__(self, model: VideoModel, recipe: Recipe, folder: Path, autocast: torch.dtype | None):
        self.model = model
        self.network: nn.Module = model
        """What is called: with several processes, the model with averaged gradients."""
        self.recipe = recipe
        self.path = folder / "training.pt"
        self.device = next(model.parameters()).device
        self.autocast = autocast
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=autocast is torch.float16)
        self.optimizer = torch.optim.SGD(
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
        """What must not change between the parts of a run."""
        made = [self.model.builder, self.model.arguments]
        return json.dumps([asdict(self.recipe), made, str(self.autocast)], sort_keys=True)

    def resume(self) -> None:
        """Continue from the file of an earlier call, or begin one."""
        rank, world = process()
        exists = self.path.exists()
        wait()  # before the first process writes
        if not exists:
            self.keep()  # the weights it starts from belong to a run, too
            wait()
        if exists or rank:
            self._read()
        if world > 1:
            devices = [self.device.index] if self.device.type == "cuda" else None
            self.network = DistributedDataParallel(self.model, device_ids=devices)

    def _read(self) -> None:
        saved = torch.load(self.path, map_location=self.device, weights_only=True)
        if saved["identity"] != self.identity:
            raise ValueError(
                f"{self.path.parent} holds a run with another recipe or model; use another folder\n"
                f"  there: {saved['identity']}\n  here:  {self.identity}"
            )
        self.model.load_state_dict(saved["model"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.scaler.load_state_dict(saved["scaler"])
        self.history = [Epoch(**epoch) for epoch in saved["history"]]

    def keep(self) -> None:
        """Save all that an epoch changes. Random numbers need no saving: each epoch has its own seed."""
        if process()[0]:
            return
        with replacing(self.path) as temporary:
            torch.save(
                {
                    "identity": self.identity,
                    "model": self.model.state_dict(),
                    "optimizer": self.optimizer.state_dict(),
                    "scaler": self.scaler.state_dict(),
                    "history": [asdict(epoch) for epoch in self.history],
                },
                temporary,
            )

    def epoch(self, epoch: int, batches: Iterable[tuple[Tensor, Tensor]], steps: int) -> tuple[float, float]:
        """One pass: mean loss and accuracy over the clips seen."""
        self.network.train()
        loss_sum = torch.zeros((), dtype=torch.float64, device=self.device)
        correct = torch.zeros((), dtype=torch.long, device=self.device)
        clip_count = 0
        for step, (clips, labels) in enumerate(batches):
            rate = self.recipe.learning_rate_at(epoch + (step + 0.5) / steps)  # never quite zero
            for group in self.optimizer.param_groups:
                group["lr"] = rate
            clips = clips.to(self.device, non_blocking=True)
            labels = labels.to(self.device, non_blocking=True)
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
            raise FloatingPointError(f"the loss of epoch {epoch + 1} is {mean}; try a lower learning rate")
        return mean, totals[1] / totals[2]

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
    """The type of mixed precision on a device, None for full precision; by default it is used on a GPU only.

    Raises:
        ValueError: mixed precision is wanted on a device that is no GPU.
    """
    if device.type != "cuda":
        if wanted:  # oneDNN's bfloat16 backward can abort the whole process
            raise ValueError(f"mixed precision needs a GPU, the model is on {device}")
        return None
    if wanted is False:
        return None
    return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
