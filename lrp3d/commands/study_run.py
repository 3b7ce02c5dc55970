"""`lrp3d study run`: a record of every clip of a list, or of a process's part of it."""

from __future__ import annotations

import argparse
import os
import platform
import sys
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lrp3d.commands import DONE, FAILED, UsageError, arguments
from lrp3d.commands.results import write_results
from lrp3d.commands.termination import ends_in_order
from lrp3d.commands.writable import check_folder
from lrp3d.defaults import CENTRED, SEGMENT, SIGMA, TIME_VARIANTS, TIMEOUT
from lrp3d.printed import counted, say

if TYPE_CHECKING:
    import torch

    from lrp3d import study
    from lrp3d.commands.model_options import ModelChoice

MOST_WORKERS = 8  # more of them would only wait for the disk
GPU_BATCH = 4


def add_to(steps: arguments.Commands) -> None:
    """Add the parser of this step."""
    parser = steps.add_parser(
        "run",
        help="make a record of every clip",
        description="Explain every clip of a list that has no record yet. Can be killed and started again at any "
        "time; under torchrun or SLURM every process takes its part. Clips that fail are noted in OUT/errors.jsonl.",
        epilog="Example: torchrun --nproc-per-node 8 -m lrp3d study run --list val.csv --root videos --labels "
        "kinetics.json --model I3D-R50-f8 --weights i3d.safetensors --out studies/i3d",
    )
    clips = parser.add_argument_group("clips")
    about = (
        "Kinetics' csv, Something-Something's json, Moments in Time's csv, lines of path and label (videos or "
        "folders of frames), or a folder with a folder for every class"
    )
    clips.add_argument("--list", type=arguments.place, required=True, metavar="LIST", help=about)
    clips.add_argument(
        "--root", type=arguments.place, metavar="DIR", help="where the videos are (default: beside the list)"
    )
    clips.add_argument("--dataset", metavar="NAME", help="the data set's name in reports (default: the list's)")
    clips.add_argument(
        "--list-labels",
        type=arguments.place,
        metavar="F",
        help="class names that the list's numbers stand for, if they are not the model's classes",
    )
    about = (
        "keep clips of these classes only: mini-kinetics or mini-ssv2, or names in a text or json file, FILE:KEY for "
        "one of several lists in it"
    )
    clips.add_argument("--classes", metavar="F", help=about)
    clips.add_argument("--limit", type=arguments.positive, metavar="N", help="at most N clips, spread over the list")
    arguments.add_sampling(clips)
    arguments.add_dense(clips)
    clips.add_argument("--template", metavar="T", help="name of the images in frame folders, such as img_{:05}.jpg")
    arguments.add_options(parser)
    arguments.add_rules(parser)
    arguments.add_merge(parser)
    arguments.add_rows_at(parser)
    arguments.add_layout(parser)
    parser.add_argument(
        "--target", choices=("prediction", "label"), default="prediction", help="the class that is explained"
    )
    arguments.add_sigma(parser)
    about = (
        f"also predict by partial uniform sampling with these windows: frames, {SEGMENT} (the segment of each frame's "
        f"ATR, as in the paper) or {CENTRED} (of that length, around the frame); each costs a forward pass for every "
        "frame"
    )
    parser.add_argument("--windows", type=_windows, default=(), metavar="N,...", help=about)
    about = "with --windows: also with empty (black) images outside of the windows, the paper's control"
    parser.add_argument("--empty", action="store_true", help=about)
    about = (
        f"also explain and classify each clip with its time changed: {', '.join(TIME_VARIANTS)}; each costs about four "
        "explanations, as its motion is measured too"
    )
    parser.add_argument("--time", type=_time, default=(), metavar="HOW,...", help=about)
    parser.add_argument("--keep-relevance", action="store_true", help="store each clip's map (large)")
    parser.add_argument("--out", type=arguments.place, required=True, metavar="DIR", help="where records go")
    speed = parser.add_argument_group("speed")
    about = f"clips explained together (default: one on a CPU, {GPU_BATCH} on a GPU); halved where memory runs out"
    speed.add_argument("--batch", type=arguments.positive, metavar="N", help=about)
    about = f"processes that read ahead (default: one on a CPU, up to {MOST_WORKERS} for each GPU)"
    speed.add_argument("--workers", type=arguments.count, metavar="N", help=about)
    about = "seconds a process may take to read a clip before it counts as failed (default: %(default)g)"
    speed.add_argument("--timeout", type=_seconds, default=TIMEOUT, metavar="S", help=about)
    speed.add_argument(
        "--shard", type=_shard, metavar="I/N", help="take part I of N, from 0 (default: as torchrun says)"
    )
    goes_on = "interrupted: started again, the same command goes on with the clips that have no record yet"
    parser.set_defaults(run=run, when_interrupted=goes_on)


def _time(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(part.strip() for part in text.split(",")))
    if wrong := [name for name in names if name not in TIME_VARIANTS]:
        raise argparse.ArgumentTypeError(f"{wrong[0]!r} is not one of {', '.join(TIME_VARIANTS)}")
    return names


def _windows(text: str) -> tuple[int | str, ...]:
    parts = [part.strip() for part in text.split(",")]
    return tuple(part if part in (SEGMENT, CENTRED) else _window_size(part) for part in parts)


def _window_size(text: str) -> int:
    try:
        return arguments.positive(text)
    except argparse.ArgumentTypeError as error:
        raise argparse.ArgumentTypeError(f"{error}, {SEGMENT} or {CENTRED}") from None


def _seconds(text: str) -> float:
    seconds = arguments.above_zero(text)
    if seconds > threading.TIMEOUT_MAX:
        raise argparse.ArgumentTypeError(
            f"{text!r} is more seconds than can be waited for: {threading.TIMEOUT_MAX:.0f}"
        )
    return seconds


def _shard(text: str) -> study.Shard:
    from lrp3d import study

    try:
        return study.Shard.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _options(choice: ModelChoice, given: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Returns the options of the model's builder: those given, and those that a file of weights says."""
    from lrp3d.models.base import VideoModel
    from lrp3d.models.zoo import built_otherwise

    stored = built_otherwise(choice.model) if isinstance(choice.model, VideoModel) else {}
    return {**stored, **dict(given)}


def run(options: argparse.Namespace) -> int:
    """Make the records of a shard; returns 1 if it has no record at all."""
    import torch

    from lrp3d import models, study
    from lrp3d.commands import model_options
    from lrp3d.commands.devices import device_of_process
    from lrp3d.commands.many_frames import ManyFrames

    if not options.out.is_dir():  # a study that is there is asked by `check_writable`
        check_folder(options.out, pictures=False)
    root = arguments.root_of(options)
    stride = arguments.stride_of(options)
    if options.empty and not options.windows:
        raise UsageError("--empty goes with --windows: empty images replace the frames outside of the windows")
    shard = options.shard or study.Shard.from_environment()
    options.device = device_of_process(options.device, shard.local_rank)
    choice = model_options.choose(options)
    if shard.rank == 0:
        ManyFrames(choice).say()
    _check_windows(options.windows, choice)
    clips = _clips(options, choice)
    by_label = options.target == "label"
    if by_label and any(item.label is None for item in clips.items):
        raise UsageError("--target label: the list does not say the class of every clip")
    explainer, reader = _explainer(options, choice), _reader(options, choice, root, stride)
    config = study.configuration(
        explainer,
        reader,
        dataset=options.dataset or options.list.resolve().stem,
        model=choice.name,
        options=_options(choice, options.option),
        trained=_trained(choice),
        explain_labels=by_label,
        keep_relevance=options.keep_relevance,
        temporal_convolutions=models.count_temporal_convolutions(choice.model),
    )
    about = {
        "weights": choice.weights,
        "notes": choice.notes,
        "torch": torch.__version__,
        "machine": platform.machine(),
    }
    study_folder = study.create(options.out, config, clips, about)
    _say(choice, study_folder, shard, clips.notes, options.quiet)
    with ends_in_order("run it again to continue"):
        outcome = study.run(
            study_folder,
            explainer,
            reader,
            shard,
            workers=_workers(shard, explainer.device) if options.workers is None else options.workers,
            timeout=options.timeout,
            batch_size=options.batch or (GPU_BATCH if explainer.device.type == "cuda" else 1),
            explain_labels=by_label,
            keep_relevance=options.keep_relevance,
            show_progress=shard.rank == 0,
        )
    return _report_outcome(options, choice, study_folder, shard, outcome)


def _explainer(options: argparse.Namespace, choice: ModelChoice) -> study.Explainer:
    """What explains a clip, with the options of the command."""
    from lrp3d import study

    return study.Explainer(
        choice.model,
        composite=options.composite,
        contrastive=not options.plain,
        input_range=choice.input_range,
        mean=choice.mean,
        std=choice.std,
        sigma=SIGMA if options.sigma is None else options.sigma,
        windows=options.windows,
        empty=options.empty,
        time=options.time,
        merge=options.merge,
        layout=options.layout,
        rows_at=options.rows_at,
    )


def _reader(options: argparse.Namespace, choice: ModelChoice, root: Path, stride: int) -> study.Reader:
    """What reads a clip, with the options of the command."""
    from lrp3d import study

    return study.Reader(
        str(root.resolve()),
        frames=choice.frames,
        sampling=options.sampling,
        stride=stride,
        size=choice.size,
        short_side=choice.short_side,
        template=options.template,
    )


def _report_outcome(
    options: argparse.Namespace,
    choice: ModelChoice,
    study_folder: study.Study,
    shard: study.Shard,
    outcome: study.Outcome,
) -> int:
    """Say what became of the clips, and return the exit code."""
    where = f": see {options.out / 'errors.jsonl'}" if outcome.failed else ""
    root = arguments.root_of(options)
    why = f" (the first: {outcome.first_unread}; the root is {root})" if outcome.first_unread else ""
    say(f"{outcome}{where}{why}")
    if outcome.noted:
        of = "this clip" if outcome.noted == 1 else f"{outcome.noted} clips"
        say(f"  note: {outcome.first_note} (the records of {of} have notes)")
    counts = {name: getattr(outcome, name) for name in ("explained", "before", "failed", "broken", "noted")}
    facts = {"study": str(options.out), "hash": study_folder.hash, "model": choice.name, "weights": choice.weights}
    write_results(options, {**facts, "shard": [shard.rank, shard.world], **counts})
    if outcome.failed and not (outcome.explained or outcome.before):
        return FAILED
    # Broken videos are part of a data set and no failure; a clip on which the model fails is one. Under torchrun, a
    # process that fails would end all others.
    return FAILED if outcome.broken and shard.said_by != "torchrun" else DONE


def _check_windows(windows: Sequence[int | str], choice: ModelChoice) -> None:
    """Refuse windows that are longer than the clip, which would be the whole clip under another name."""
    longer = [window for window in windows if isinstance(window, int) and window > choice.frames]
    if longer:
        raise UsageError(
            f"--windows {longer[0]}: a window is a part of the clip, and clips of {choice.name} have {choice.frames} "
            f"frames: give numbers from 1 to {choice.frames}"
        )


def _trained(choice: ModelChoice) -> bool | None:
    """Whether the weights were trained; None for a model of one's own, which may load some by itself."""
    from lrp3d.integrations import PublicNetwork

    own = ":" in choice.name and not isinstance(choice.model, PublicNetwork)
    return None if own and not choice.trained else choice.trained


def _clips(options: argparse.Namespace, choice: ModelChoice) -> study.VideoList:
    """The list, with the model's own numbers of classes."""
    from lrp3d import study
    from lrp3d.commands.labels import classes_to_keep, read_labels
    from lrp3d.commands.number_of_classes import check_names, labels_note, number_of_classes
    from lrp3d.study.listing.class_names import Labels
    from lrp3d.video.folders import template_pattern

    if options.template is not None and template_pattern(options.template) is None:
        like = "it is like img_%05d.jpg or img_{:05}.jpg"
        raise UsageError(f"--template {options.template} names no frame number: {like}")
    list_labels = read_labels(options.list_labels) if options.list_labels else Labels()
    classes = classes_to_keep(options.classes)
    num_classes = number_of_classes(choice, options.layout)
    clips = study.read_list(
        options.list,
        labels=choice.labels,
        list_labels=list_labels,
        classes=classes,
        limit=options.limit,
        num_classes=num_classes,
    )
    clips = replace(clips, notes=(*list_labels.notes, *clips.notes))
    greatest = max((item.label for item in clips.items if item.label is not None), default=-1)
    if num_classes is not None and greatest >= num_classes:
        beyond = next(item for item in clips.items if item.label == greatest)
        raise UsageError(
            f"the list has classes up to {greatest} (of {beyond.name}), and the model {num_classes} classes, from 0 to "
            f"{num_classes - 1}: give a list of the model's classes, or --list-labels and --labels, by whose names "
            "numbers of one become those of the other"
        )
    check_names(clips, choice, num_classes)
    few_labels = labels_note(len(choice.labels), num_classes)
    return replace(clips, notes=(*clips.notes, *few_labels))


def _workers(shard: study.Shard, device: torch.device) -> int:
    """The number of reading processes: one on a CPU, which the model needs itself, and several to keep a GPU busy."""
    if device.type != "cuda":
        return 1
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(MOST_WORKERS, cores // max(1, shard.local_world)))


def _say(choice: ModelChoice, study_folder: study.Study, shard: study.Shard, notes: Sequence[str], quiet: bool) -> None:
    part = f", shard {shard.rank} of {shard.world} ({shard.said_by})" if shard.world > 1 else ""
    dataset = study_folder.config["dataset"]
    say(f"{counted(len(study_folder.items), 'clip')} of {dataset}, {choice.name}, hash {study_folder.hash}{part}")
    if shard.rank == 0 and not quiet:
        for note in (choice.weights, *choice.notes, *notes):
            say(f"  {'note' if choice.trained else 'NOTE'}: {note}", stream=sys.stderr)
