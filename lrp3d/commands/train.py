"""`lrp3d train`: trains a model on the videos of a list."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lrp3d.commands import DONE, UsageError, arguments
from lrp3d.commands.results import write_results
from lrp3d.commands.writable import check_folder
from lrp3d.printed import counted, say

if TYPE_CHECKING:
    import torch

    from lrp3d import models, study
    from lrp3d.models.training_run import Epoch

SHORT_SIDES = (256, 320)  # App. E, for squares of 224
SQUARE = 224


def add_to(commands: arguments.Commands) -> None:
    """Add the parser of this command."""
    parser = commands.add_parser(
        "train",
        help="train a model on the videos of a list",
        description="Train a model on the videos of a list, augmented as in the paper (App. E). Can be killed and "
        "started again: it goes on after the last whole epoch. Under torchrun every process takes its part of a batch.",
        epilog="Example: torchrun --nproc-per-node 8 -m lrp3d train --list train.csv --validation val.csv --root "
        "videos --labels kinetics-400 --model I3D-R50-f8 --weights torchvision-resnet50 --out runs/i3d",
    )
    clips = parser.add_argument_group("clips")
    clips.add_argument("--list", type=arguments.place, required=True, metavar="LIST", help="as in lrp3d study run")
    clips.add_argument("--validation", type=arguments.place, metavar="LIST", help="clips to measure the accuracy on")
    clips.add_argument(
        "--root", type=arguments.place, metavar="DIR", help="where the videos are (default: beside the list)"
    )
    clips.add_argument(
        "--list-labels", type=arguments.place, metavar="F", help="names of the lists' numbers, if not the model's"
    )
    clips.add_argument("--classes", metavar="F", help="keep clips of these classes only, as in lrp3d study run")
    clips.add_argument("--limit", type=arguments.positive, metavar="N", help="at most N clips of each list")
    clips.add_argument(
        "--sampling",
        choices=("uniform", "dense"),
        default="uniform",
        help="a frame of each segment of the video, or frames that follow one another (default: uniform)",
    )
    arguments.add_dense(clips)
    clips.add_argument(
        "--short-side",
        type=_sides,
        metavar="LOW-HIGH",
        help="the shorter side is drawn between these (default: 256-320 for squares of 224, and in proportion)",
    )
    clips.add_argument(
        "--flip",
        choices=("auto", "yes", "no"),
        default="auto",
        help="mirror half of the clips (default: auto, unless a class says left or right)",
    )
    clips.add_argument("--template", metavar="T", help="name of the images in frame folders")
    arguments.add_options(parser, others=False)
    parser.add_argument(
        "--inflate",
        choices=("repeat", "mean"),
        help="how 2D kernels of --weights become 3D: repeated along time, or also divided by the kernel's length "
        "(default: repeat)",
    )
    recipe = parser.add_argument_group("recipe")
    recipe.add_argument("--epochs", type=arguments.positive, default=50, metavar="N", help="default: %(default)s")
    recipe.add_argument(
        "--batch", type=arguments.positive, default=16, metavar="N", help="clips of all processes (default: 16)"
    )
    about = "learning rate at its peak (default: 0.01)"
    recipe.add_argument("--lr", type=arguments.above_zero, default=0.01, metavar="R", help=about)
    about = "epochs of linear increase (default: 0)"
    recipe.add_argument("--warmup", type=arguments.from_zero, default=0.0, metavar="E", help=about)
    about = "default: 0.0005"
    recipe.add_argument("--weight-decay", type=arguments.from_zero, default=5e-4, metavar="D", help=about)
    about = "largest norm of the gradient (default: none)"
    recipe.add_argument("--clip-gradient", type=arguments.above_zero, metavar="G", help=about)
    about = "seed of all random numbers (default: 0)"
    recipe.add_argument("--seed", type=arguments.seed, default=0, metavar="N", help=about)
    recipe.add_argument(
        "--precision",
        choices=("auto", "full", "mixed"),
        default="auto",
        help="mixed is bfloat16 (float16 on older GPUs); auto is mixed on a GPU",
    )
    about = "processes that read clips (default: 2)"
    recipe.add_argument("--workers", type=arguments.count, default=2, metavar="N", help=about)
    parser.add_argument("--out", type=arguments.place, required=True, metavar="DIR", help="folder of the run")
    goes_on = "interrupted: started again, the same command goes on after the last whole epoch"
    parser.set_defaults(run=run, when_interrupted=goes_on)


def _sides(text: str) -> tuple[int, int]:
    low, _, high = text.partition("-")
    sides = arguments.positive(low), arguments.positive(high or low)
    if sides[0] > sides[1]:
        raise argparse.ArgumentTypeError(f"{text!r} is no range LOW-HIGH")
    return sides


def run(options: argparse.Namespace) -> int:
    """Train; returns 0 when the last epoch is done."""
    from lrp3d import models
    from lrp3d.commands import model_options
    from lrp3d.commands.terminal import shows_progress

    if options.model is None:
        raise UsageError("say which model: --model NAME")
    if ":" in options.model:
        raise UsageError("lrp3d train trains the models of lrp3d.models; train your own with lrp3d.models.train")
    _check(options)
    options.size = options.size or SQUARE
    weights = model_options.weights_of(options)
    with _processes(options) as (rank, device):
        model, clips, validation = _model_and_clips(options, weights, rank)
        reported: list[Epoch] = []

        def report(epoch: Epoch) -> None:
            reported.append(epoch)
            _say_epoch(epoch)

        history = models.train(
            model,
            clips,
            options.out,
            _recipe(options),
            validation=validation,
            device=device,
            mixed_precision={"auto": None, "full": False, "mixed": True}[options.precision],
            workers=options.workers,
            facts=_facts(model, clips, validation),
            progress=shows_progress() and not options.quiet,
            report=None if options.quiet else report,
        )
        if rank == 0:
            if not reported:
                _say_epoch(history[-1])
            say(f"wrote {options.out / 'model.safetensors'}")
            facts = {"model": options.model, "weights": str(options.out / "model.safetensors"), "clips": len(clips)}
            write_results(options, {**facts, "epochs": [asdict(epoch) for epoch in history]})
    return DONE


def _say_epoch(epoch: Epoch) -> None:
    scored = "" if epoch.validation is None else f", in validation {100 * epoch.validation:.1f} %"
    say(f"epoch {epoch.epoch + 1}: loss {epoch.loss:.4g}, accuracy {100 * epoch.accuracy:.1f} %{scored}")


def _model_and_clips(
    options: argparse.Namespace, weights: Path | None, rank: int
) -> tuple[models.VideoModel, study.TrainingClips, study.TrainingClips | None]:
    """The model with its initial weights, the clips that it is trained on, and those of the validation list."""
    import torch

    from lrp3d import models
    from lrp3d.commands import model_options
    from lrp3d.commands.training_lists import training_lists

    lists = training_lists(options)
    labels, count = lists.labels, lists.num_classes
    torch.manual_seed(options.seed)
    model = model_options.build(options.model, dict(options.option), count)
    assert isinstance(model, models.VideoModel)
    if weights is not None:
        models.load_checkpoint(model, weights, strict=False, inflate=options.inflate or "repeat")
    model.classes, model.size = labels, options.size
    clips = _clips(options, lists.training, model, labels, train=True)
    model.short_side = clips.reader.short_side
    model.frames_apart = clips.reader.stride if options.sampling == "dense" else None
    validation = None
    if lists.validation is not None:
        validation = _clips(options, lists.validation, model, labels, train=False)
    if rank == 0:
        flips = "mirrored at random" if clips.flip else "not mirrored"
        of_list = f"{counted(len(clips), 'clip')} of {counted(count, 'class')}"
        say(f"{of_list}, {flips}; {options.model}, {weights or 'random weights'}")
        say(*(f"note: {note}" for note in (*lists.notes, *model.notes)))
    return model, clips, validation


def _recipe(options: argparse.Namespace) -> models.Recipe:
    from lrp3d import models

    return models.Recipe(
        epochs=options.epochs,
        batch_size=options.batch,
        learning_rate=options.lr,
        warmup_epochs=options.warmup,
        weight_decay=options.weight_decay,
        clip_gradient=options.clip_gradient,
        seed=options.seed,
    )


def _check(options: argparse.Namespace) -> None:
    """Refuse what cannot be trained before a model is made or a list is read."""
    from lrp3d.commands.devices import device_of

    check_folder(options.out, pictures=False)
    arguments.root_of(options)
    arguments.stride_of(options)
    if options.warmup > options.epochs:
        raise UsageError(
            f"--warmup {options.warmup:g} is longer than the training, which has --epochs {options.epochs}"
        )
    if options.precision == "mixed" and device_of(options.device).type != "cuda":
        raise UsageError("--precision mixed needs a GPU: leave it out")
    if options.inflate is not None and options.weights is None:
        raise UsageError("--inflate says how --weights become 3D: give these, or leave it out")


def _facts(model: Any, clips: study.TrainingClips, validation: study.TrainingClips | None) -> dict[str, Any]:
    """What a run depends on beside its recipe and its model; where the clips lie may change."""
    from lrp3d import study

    def of_list(clips: study.TrainingClips) -> str:
        items = json.dumps([asdict(item) for item in clips.items], default=str)
        return f"{len(clips)} clips ({hashlib.sha256(items.encode()).hexdigest()[:8]})"

    return {
        "list": of_list(clips),
        "validation list": None if validation is None else of_list(validation),
        "classes": list(model.classes),
        "initial weights": study.weights_digest(model),
        "shorter sides": list(clips.short_sides),
        "mirrored": clips.flip,
        **clips.reader.options,
    }


@contextmanager
def _processes(options: argparse.Namespace) -> Iterator[tuple[int, torch.device]]:
    """The number and the device of this process; under torchrun it belongs to a process group until the block ends."""
    import torch
    import torch.distributed as dist

    from lrp3d.commands.devices import device_of, device_of_process

    if int(os.environ.get("WORLD_SIZE", 1)) < 2:
        yield 0, device_of(options.device)
        return
    device = device_of(device_of_process(options.device, int(os.environ.get("LOCAL_RANK", 0))))
    if device.type == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield dist.get_rank(), device
    finally:
        dist.destroy_process_group()


def _clips(
    options: argparse.Namespace, listed: study.VideoList, model: Any, labels: tuple[str, ...], train: bool
) -> study.TrainingClips:
    from lrp3d import study

    frames = options.frames or getattr(model, "frames", None)
    if frames is None:
        raise UsageError(f"--frames: {options.model} takes any number")
    low, high = options.short_side or tuple(round(options.size * side / SQUARE) for side in SHORT_SIDES)
    reader = study.Reader(
        str(arguments.root_of(options).resolve()),
        frames,
        options.sampling,
        arguments.stride_of(options),
        options.size,
        low,
        options.template,
    )
    flip = options.flip == "yes" or (options.flip == "auto" and not study.tells_sides(labels))
    return study.TrainingClips(
        listed.items,
        reader,
        model.mean,
        model.std,
        (low, high),
        flip,
        train,
    )
