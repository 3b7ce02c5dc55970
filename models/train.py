"""Training: SGD with a cosine schedule, resumable after every epoch without changing the outcome."""

from __future__ import annotations

import pickle
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, DistributedSampler

from lrp3d.starting import check_start

from .base import VideoModel
from .files import Source
from .processes import process, summed, wait
from .recipe import Recipe, recipe_from
from .saving import save_checkpoint
from .training_run import Epoch, TrainingRun, autocast_type
from .wording import first_line

Sample = tuple[Tensor, int]
Samples = Dataset[Sample] | Sequence[Sample]


class VideoClips(Dataset[Sample]):
    """Clips sampled from videos, normalised as a model expects them.

    Args:
        videos: the pixels (c, t, h, w) of each video, uint8 or in [0, 1], or a function that returns them.
        labels: a class for each video.
        model: the model whose `mean` and `std` normalise the clips.
        sample: takes the number of frames of a video and returns the indices of the clip's frames, such as
            `lambda length: lrp3d.sampling.uniform_indices(length, 8, train=True)`.
        augment: applied to the clip before normalisation.

    Raises:
        ValueError: the numbers of videos and labels differ.

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
        self.mean: Tensor = torch.tensor(model.mean, device="cpu").view(-1, 1, 1, 1)
        self.std: Tensor = torch.tensor(model.std, device="cpu").view(-1, 1, 1, 1)

    def __len__(self) -> int:
        return len(self.videos)

    def __getitem__(self, index: int) -> Sample:
        video = self.videos[index]
        pixels = video if isinstance(video, Tensor) else video()
        clip = pixels[:, torch.as_tensor(self.sample(pixels.shape[1]), device="cpu")]
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
    facts: Mapping[str, Any] | None = None,
    report: Callable[[Epoch], object] | None = None,
    **options: Any,
) -> list[Epoch]:
    """Train a model, or continue where an earlier call with the same folder and recipe was stopped.

    After every epoch `folder/training.pt` is replaced. A run that is killed loses at most the current epoch, and when
    it is continued, it ends with the weights that it would have had without the interruption. At the end,
    `folder/model.safetensors` has the model for `load_model`. The model is trained in place and left in evaluation
    mode.

    In a process group of torch.distributed (torchrun) every process calls this with the same arguments and trains on
    its part of each batch. Gradients are averaged, batch norms have the statistics of their process, and the first
    process writes the files. If clips do not divide evenly, some are repeated.

    Args:
        model: from `lrp3d.models`, on any device.
        data: normalised clips (c, t, h, w) with their classes; see `VideoClips`.
        folder: the folder of the run; it is created if it does not exist.
        recipe: how to train; its fields can also be given as `options`.
        validation: clips to measure the accuracy on after every epoch.
        device: the device of the training; by default that of the model.
        mixed_precision: use bfloat16, or float16 with loss scaling if the GPU does not have it; by default only on
            a GPU.
        workers: processes that load clips. If they are not forked (Windows, macOS, Python 3.14), a script that sets
            more than 0 has to guard its code by ``if __name__ == "__main__"``.
        progress: show a progress bar if tqdm is installed.
        facts: what else the run depends on, by name, such as its list of clips (numbers, texts and lists of them); a
            run in the folder with other facts is refused.
        report: called with the results of every epoch after it was saved, by the first process alone.

    Returns:
        The history, one entry for each epoch, including those of earlier calls.

    Raises:
        ValueError: the folder has a run with another recipe, model or other facts, there is no data, mixed precision is
            requested without a GPU, or a batch does not divide among the processes.
        RuntimeError: no process of `workers` could start, as in a script without a guard.
        TypeError: the data cannot be sent to processes that are not forked.
        FloatingPointError: the loss is not finite; the last complete epoch is kept.

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
    check_start("clips were to be loaded", workers, "load")
    place = torch.device(device) if device is not None else next(model.parameters()).device
    rank, world = process()
    if recipe.batch_size % world:
        raise ValueError(f"a batch of {recipe.batch_size} clips does not divide among {world} processes")
    run = TrainingRun(model.to(place), recipe, Path(folder), autocast_type(place, mixed_precision), facts)
    run.resume()
    for epoch in range(len(run.history), recipe.epochs):
        with _seeded(recipe.seed, epoch, place, rank):
            loader = _loader(data, recipe.batch_size // world, workers, shuffle=True, part=_part(data, recipe, epoch))
            batches = _bar(_Started(loader), f"epoch {epoch + 1}/{recipe.epochs}", progress and rank == 0)
            loss, accuracy = run.epoch(epoch, batches, len(loader))
        score = None
        if validation is not None:
            score = _accuracy(model, validation, max(1, recipe.batch_size // world), workers)
        run.history.append(Epoch(epoch, loss, accuracy, score))
        run.keep()
        if report is not None and rank == 0:
            report(run.history[-1])
    model.eval()
    if rank == 0:
        save_checkpoint(model, Path(folder) / "model.safetensors")
    wait()
    return run.history


def evaluate(model: nn.Module, data: Samples, batch_size: int = 16, *, workers: int = 0) -> float:
    """The share of clips whose largest logit is that of their class; the model's mode is restored.

    In a process group each process evaluates its part of the clips, and all return the share of all clips.

    >>> evaluate(nn.Flatten(), [(torch.tensor([[0.0, 1.0]]), 1), (torch.tensor([[0.0, 1.0]]), 0)])
    0.5
    """
    check_start("clips were to be loaded", workers, "load")
    return _accuracy(model, data, batch_size, workers)


def _accuracy(model: nn.Module, data: Samples, batch_size: int, workers: int) -> float:
    place = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    training = model.training
    model.eval()
    rank, world = process()
    own_part = cast(Dataset[Sample], data)
    if world > 1:
        own_part = torch.utils.data.Subset(own_part, range(rank, len(cast(Sized, data)), world))
    counts = torch.zeros(2, dtype=torch.long, device=place)
    try:
        with torch.inference_mode():
            for clips, labels in _Started(_loader(own_part, batch_size, workers, shuffle=False)):
                counts[0] += (model(clips.to(place)).argmax(1) == labels.to(place)).sum()
                counts[1] += len(labels)
    finally:
        model.train(training)
    correct, total = summed(counts).tolist()
    return float(correct / max(total, 1))


def _part(data: Samples, recipe: Recipe, epoch: int) -> DistributedSampler[Any] | None:
    """The clips of this process in this epoch; None if there is only one process."""
    rank, world = process()
    if world == 1:
        return None
    sampler: DistributedSampler[Any] = DistributedSampler(
        cast(Dataset[Sample], data), world, rank, shuffle=True, seed=recipe.seed
    )
    sampler.set_epoch(epoch)
    return sampler


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


class _Started:
    """The batches of a loader, which says in one sentence why its processes cannot be given or read the clips.

    Raises:
        TypeError: something in the data, such as a lambda, cannot be sent to another process.
        Exception: as in a process that failed, without its traceback.
    """

    def __init__(self, loader: DataLoader[Any]):
        self.loader = loader

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[Any]:
        try:
            batches = iter(self.loader)
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            if "pickle" not in str(error):
                raise
            raise TypeError(
                f"the clips cannot be sent to the processes that load them (workers={self.loader.num_workers}): "
                f"{first_line(error)}; where processes are not forked, put functions at the top of a module in the "
                "place of lambdas and of functions inside of others, or load in this process with workers=0"
            ) from error
        return _without_tracebacks(batches)


_TRACEBACK = "Original Traceback"  # begins what torch adds to the message of an error in another process


def _without_tracebacks(batches: Iterator[Any]) -> Iterator[Any]:
    """The same batches; of an error in another process only its message is told."""
    try:
        yield from batches
    except Exception as error:
        if _TRACEBACK not in str(error):
            raise
        last = str(error).replace("\\n", "\n").strip().splitlines()[-1]  # some errors of lrp3d are one line
        message = last.partition(": ")[2] or last
        raise type(error)(message) from error  # torch has made it of a text alone as well


@contextmanager
def _seeded(seed: int, epoch: int, device: torch.device, rank: int = 0) -> Iterator[None]:
    """Inside this block, random numbers depend only on seed, epoch and process; the caller's states are restored."""
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


def _bar(batches: _Started, label: str, show: bool) -> Iterable[Any]:
    if not show:
        return batches
    try:
        from tqdm.auto import tqdm
    except ImportError:
        return batches
    shown: Iterable[Any] = tqdm(batches, label, leave=False)
    return shown
