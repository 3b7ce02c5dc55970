"""Training: SGD with a cosine schedule, resumable after every epoch without changing the outcome."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, Dataset, DistributedSampler

from lrp3d.files import replacing

from .base import VideoModel, at_least
from .files import Source
from .saving import save_checkpoint

Sample = tuple[Tensor, int]
Samples = Dataset[Sample] | Sequence[Sample]


@dataclass(frozen=True)
class Recipe:
    """How to train; two runs of the same recipe on the same data and machine end with the same weights.

    Args:
        epochs: passes over the data.
        batch_size: clips per step, of all processes together.
        learning_rate: at its peak, after the warm-up; it ends at zero (Loshchilov & Hutter 2017).
        momentum: Nesterov's.
        weight_decay: of every parameter.
        warmup_epochs: epochs of linear increase from zero; may be a fraction.
        clip_gradient: largest norm of the gradient, None for no limit.
        seed: of shuffling, augmentation and dropout.
    """

    epochs: int = 50
    batch_size: int = 16
    learning_rate: float = 0.01
    momentum: float = 0.9
    weight_decay: float = 5e-4
    warmup_epochs: float = 0.0
    clip_gradient: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        at_least(1, epochs=self.epochs, batch_size=self.batch_size)
        if self.learning_rate <= 0:
            raise ValueError(f"learning_rate must be positive, got {self.learning_rate}")
        if not 0 <= self.warmup_epochs <= self.epochs:
            raise ValueError(f"warmup_epochs must be between 0 and {self.epochs}, got {self.warmup_epochs}")

    def learning_rate_at(self, epoch: float) -> float:
        """The learning rate after `epoch` epochs, fractions included.

        >>> recipe = Recipe(epochs=4, learning_rate=1.0, warmup_epochs=2)
        >>> [round(recipe.learning_rate_at(epoch), 2) for epoch in range(5)]
        [0.0, 0.5, 1.0, 0.5, 0.0]
        """
        if epoch < self.warmup_epochs:
            return self.learning_rate * epoch / self.warmup_epochs
        rest = self.epochs - self.warmup_epochs
        done = (epoch - self.warmup_epochs) / rest if rest else 1.0
        return self.learning_rate * (1 + math.cos(math.pi * done)) / 2


@dataclass(frozen=True)
class Epoch:
    """What one epoch came to: mean loss and accuracy in training, accuracy in validation if there is one."""

    epoch: int
    loss: float
    accuracy: float
    validation: float | None = None


class VideoClips(Dataset[Sample]):
    """Clips sampled from videos, normalised as a model expects them.

    Args:
        videos: for each video its pixels (c, t, h, w), uint8 or in [0, 1], or a function that returns them.
        labels: a class for each video.
        model: whose `mean` and `std` to use.
        sample: from the number of frames of a video to the indices of the clip's, such as
            `lambda length: lrp3d.sampling.uniform_indices(length, 8, train=True)`.
        augment: applied to the clip before normalisation.

    Raises:
        ValueError: different numbers of videos and labels.

    >>> from lrp3d.models import tsn_resnet
    >>> clips = VideoClips([torch.zeros(3, 30, 8, 8)], [1], tsn_resnet(18, 2, width=8), lambda n: [0, n // 2])
    >>> clips[0][0].shape
    torch.Size([3, 2, 8, 8])
    """

    def __init__(
        self,
        videos: Sequence[Tensor | Callable[[], Tensor]],
        labels: Sequence[int],
        model: VideoModel,
        sample: Callable[[int], Iterable[int] | Tensor],
        augment: Callable[[Tensor], Tensor] | None = None,
    ):
        if len(videos) != len(labels):
            raise ValueError(f"{len(videos)} videos have {len(labels)} labels")
        self.videos = videos
        self.labels = labels
        self.sample = sample
        self.augment = augment
        self.mean: Tensor = torch.tensor(model.mean).view(-1, 1, 1, 1)
        self.std: Tensor = torch.tensor(model.std).view(-1, 1, 1, 1)

    def __len__(self) -> int:
        return len(self.videos)

    def __getitem__(self, index: int) -> Sample:
        video = self.videos[index]
        pixels = video if isinstance(video, Tensor) else video()
        clip = pixels[:, torch.as_tensor(self.sample(pixels.shape[1]))]
        clip = clip.float() / 255 if clip.dtype == torch.uint8 else clip.float()
        if self.augment is not None:
            clip = self.augment(clip)
        return (clip - self.mean) / self.std, self.labels[index]


def train(
    model: VideoModel,
    data: Samples,
    folder: Source,
    recipe: Recipe | None = None,
    *,
    validation: Samples | None = None,
    device: torch.device | str | None = None,
    mixed_precision: bool | None = None,
    workers: int = 0,
    progress: bool = True,
    **options: Any,
) -> list[Epoch]:
    """Train a model, or go on where an earlier call with the same folder and recipe was stopped.

    After every epoch `folder/training.pt` is replaced: a run that is killed loses at most the epoch it was
    in, and a run that goes on ends with the weights it would have had. At the end
    `folder/model.safetensors` holds the model for `load_model`. The model is trained in place and left in
    evaluation mode.

    In a process group of torch.distributed (torchrun) every process calls this with the same arguments and trains on
    its part of each batch. Gradients are averaged, batch norms have the statistics of their process, and the first
    process writes. Where clips do not divide evenly, some are repeated.

    Args:
        model: from `lrp3d.models`, on any device.
        data: clips (c, t, h, w), normalised, with their class; see `VideoClips`.
        folder: where the run is kept; made if need be.
        recipe: how to train; `options` are its fields, as a shorter way.
        validation: clips to measure the accuracy on after every epoch.
        device: where to train; default is where the model is.
        mixed_precision: bfloat16, or float16 with loss scaling where the GPU lacks it; default is on a GPU
            only.
        workers: processes that load clips.
        progress: show a bar, if tqdm is installed.

    Returns:
        The history, one entry for each epoch, those of earlier calls included.

    Raises:
        ValueError: the folder holds a run with another recipe or model, there is no data, mixed precision
            was asked for without a GPU, or a batch does not divide among the processes.
        FloatingPointError: the loss is not finite; the last whole epoch is kept.

    >>> import tempfile
    >>> from lrp3d.models import tsn_resnet
    >>> clips = [(torch.randn(3, 2, 16, 16), label) for label in (0, 1)]
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     history = train(tsn_resnet(18, 2, width=8), clips, folder, epochs=2, batch_size=2)
    >>> len(history)
    2
    """
    recipe = recipe_from(recipe, options)
    samples = len(cast(Sized, data))
    if samples == 0:
        raise ValueError("there are no clips to train on")
    place = torch.device(device) if device is not None else next(model.parameters()).device
    rank, world = _process()
    if recipe.batch_size % world:
        raise ValueError(f"a batch of {recipe.batch_size} clips does not divide among {world} processes")
    run = _Run(model.to(place), recipe, Path(folder), _autocast_dtype(place, mixed_precision))
    run.resume()
    for epoch in range(len(run.history), recipe.epochs):
        with _seeded(recipe.seed, epoch, place, rank):
            loader = _loader(data, recipe.batch_size // world, workers, shuffle=True, part=_part(data, recipe, epoch))
            batches = _bar(loader, f"epoch {epoch + 1}/{recipe.epochs}", progress and rank == 0)
            loss, accuracy = run.epoch(epoch, batches, len(loader))
        score = None
        if validation is not None:
            score = evaluate(model, validation, max(1, recipe.batch_size // world), workers=workers)
        run.history.append(Epoch(epoch, loss, accuracy, score))
        run.keep()
    model.eval()
    if rank == 0:
        save_checkpoint(model, Path(folder) / "model.safetensors")
    _wait()
    return run.history


def evaluate(model: nn.Module, data: Samples, batch_size: int = 16, *, workers: int = 0) -> float:
    """Share of clips whose largest logit is that of their class; the model's mode is restored.

    In a process group each process looks at its part of the clips, and all get the share of all.

    >>> evaluate(nn.Flatten(), [(torch.tensor([[0.0, 1.0]]), 1), (torch.tensor([[0.0, 1.0]]), 0)])
    0.5
    """
    place = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    training = model.training
    model.eval()
    rank, world = _process()
    mine = cast(Dataset[Sample], data)
    if world > 1:
        mine = torch.utils.data.Subset(mine, range(rank, len(cast(Sized, data)), world))
    counts = torch.zeros(2, dtype=torch.long, device=place)
    try:
        with torch.inference_mode():
            for clips, labels in _loader(mine, batch_size, workers, shuffle=False):
                counts[0] += (model(clips.to(place)).argmax(1) == labels.to(place)).sum()
                counts[1] += len(labels)
    finally:
        model.train(training)
    correct, total = _summed(counts).tolist()
    return float(correct / max(total, 1))


def recipe_from(recipe: Recipe | None, options: dict[str, Any]) -> Recipe:
    """A recipe given as such or by its fields.

    Raises:
        ValueError: both, or a field that recipes do not have.
    """
    names = [field.name for field in fields(Recipe)]
    unknown = sorted(set(options) - set(names))
    if unknown:
        raise ValueError(f"a recipe has {', '.join(names)}, not {', '.join(unknown)}")
    if recipe is not None and options:
        raise ValueError(f"give a recipe or its fields ({', '.join(options)}), not both")
    return recipe or Recipe(**options)


def _process() -> tuple[int, int]:
    """This process and how many there are, of torch.distributed's group; (0, 1) without one."""
    return (dist.get_rank(), dist.get_world_size()) if dist.is_available() and dist.is_initialized() else (0, 1)


def _summed(values: Tensor) -> Tensor:
    """Over all processes."""
    if _process()[1] > 1:
        dist.all_reduce(values)
    return values


def _wait() -> None:
    if _process()[1] > 1:
        dist.barrier()


def _part(data: Samples, recipe: Recipe, epoch: int) -> DistributedSampler[Any] | None:
    """The clips of this process in this epoch; None where there is but one process."""
    rank, world = _process()
    if world == 1:
        return None
    sampler: DistributedSampler[Any] = DistributedSampler(
        cast(Dataset[Sample], data), world, rank, shuffle=True, seed=recipe.seed
    )
    sampler.set_epoch(epoch)
    return sampler


class _Run:
    """Everything that has to survive a kill: model, optimiser, loss scaling and history."""

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
        rank, world = _process()
        begun = self.path.exists()
        _wait()  # before the first process writes
        if not begun:
            self.keep()  # the weights it starts from belong to a run, too
            _wait()
        if begun or rank:
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
        if _process()[0]:
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
        seen = 0
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
            seen += len(labels)
        everywhere = _summed(torch.stack([loss_sum, correct.double(), loss_sum.new_tensor(seen)])).tolist()
        mean = everywhere[0] / everywhere[2]
        if not math.isfinite(mean):
            raise FloatingPointError(f"the loss of epoch {epoch + 1} is {mean}; try a lower learning rate")
        return mean, everywhere[1] / everywhere[2]

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


def _autocast_dtype(device: torch.device, wanted: bool | None) -> torch.dtype | None:
    if device.type != "cuda":
        if wanted:  # oneDNN's bfloat16 backward can abort the whole process
            raise ValueError(f"mixed precision needs a GPU, the model is on {device}")
        return None
    if wanted is False:
        return None
    return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16


def _loader(
    data: Samples, batch_size: int, workers: int, shuffle: bool, part: DistributedSampler[Any] | None = None
) -> DataLoader[Any]:
    return DataLoader(
        cast(Dataset[Sample], data),
        batch_size,
        shuffle=shuffle and part is None,
        sampler=part,
        num_workers=workers,
        pin_memory=torch.cuda.is_available(),
    )


@contextmanager
def _seeded(seed: int, epoch: int, device: torch.device, rank: int = 0) -> Iterator[None]:
    """Random numbers that depend on seed, epoch and process only; the caller's are given back afterwards."""
    own = int(np.random.SeedSequence([seed, epoch, *([rank] if rank else [])]).generate_state(1)[0])
    python, numpy = random.getstate(), np.random.get_state()
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        torch.manual_seed(own)
        random.seed(own)
        np.random.seed(own)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)


def _bar(batches: DataLoader[Any], label: str, show: bool) -> Iterable[Any]:
    if not show:
        return batches
    try:
        from tqdm.auto import tqdm
    except ImportError:
        return batches
    shown: Iterable[Any] = tqdm(batches, label, leave=False)
    return shown
