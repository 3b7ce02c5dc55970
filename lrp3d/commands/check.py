"""`lrp3d check`: is relevance faithful on this model and these videos?"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from lrp3d.commands import DONE, UsageError, arguments
from lrp3d.printed import say

if TYPE_CHECKING:
    from lrp3d.commands.arguments import Commands
    from lrp3d.commands.model_options import Chosen


def add_to(commands: Commands) -> None:
    """Add the parser of this command."""
    parser = commands.add_parser(
        "check",
        help="measure whether relevance is faithful on your model and your videos",
        description="Hold CLRP, LRP, gradient x input and random numbers against interventions on your own model and "
        "videos: does removing the frames that they name change the logit, do they depend on the class and on the "
        "weights. Twenty videos or more give useful intervals.",
        epilog="Example: lrp3d check --model TAM2D-R50-f16 --weights tam.safetensors --list val.txt --clips 20",
    )
    parser.add_argument("videos", nargs="*", metavar="VIDEO", help="a video file, a folder of frames, or a tensor file")
    parser.add_argument("--list", type=Path, metavar="F", help="a list of videos instead, as studies take it")
    parser.add_argument("--root", type=Path, metavar="DIR", help="where the list's videos lie (default: beside it)")
    parser.add_argument("--clips", type=arguments.positive, default=20, metavar="N", help="at most (default: 20)")
    arguments.add_options(parser)
    arguments.add_layout(parser)
    parser.add_argument(
        "--target",
        metavar="CLASS|INDEX|label",
        help="the class to explain, or label: the one that the list says (default: the prediction)",
    )
    parser.add_argument("--no-shapley", action="store_true", help="leave out Shapley values, which take longest")
    parser.add_argument("--out", type=Path, metavar="F", help="write all numbers to this file, as json")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print the table and the verdict."""
    import torch

    from lrp3d import study
    from lrp3d.commands import model_options, one_clip
    from lrp3d.commands.explain import check_target
    from lrp3d.commands.labels import find_class
    from lrp3d.commands.one_clip import progress_wanted
    from lrp3d.faithfulness.checking import check
    from lrp3d.files import replacing

    if bool(options.videos) == (options.list is not None):
        raise UsageError("give videos or --list, one of them")
    choice = model_options.choose(options)
    paths, labels = list(options.videos[: options.clips]), []
    if options.list is not None:
        known = getattr(choice.model, "num_classes", None)
        listed = study.read_list(
            options.list,
            labels=choice.labels,
            limit=options.clips,
            num_classes=known if isinstance(known, int) else None,
        )
        root = options.root or (options.list if options.list.is_dir() else options.list.parent)
        paths = [_found(root, item.name, item.places) for item in listed.items]
        labels = [item.label for item in listed.items]
    targets: int | list[int] | None = None
    if options.target == "label":
        targets = [label for label in labels if label is not None]
        if len(targets) < len(paths) or not paths:
            raise UsageError("--target label: nothing says the class of every video; give a --list that does")
    elif options.target is not None:
        targets = find_class(options.target, choice.labels)
        check_target(targets, choice)
    device = next((parameter.device for parameter in choice.model.parameters()), torch.device("cpu"))
    clips = [one_clip.read(path, choice).tensor.to(device) for path in paths]
    found = check(
        choice.model,
        clips,
        targets,
        shapley_values=not options.no_shapley,
        input_range=choice.input_range,
        layout=options.layout,
        progress=progress_wanted(),
    )
    say(*_head(choice), *str(found).split("\n"))
    if options.out is not None:
        said = {"model": choice.name, "weights": choice.weights, "videos": [str(path) for path in paths]}
        with replacing(options.out) as temporary:
            temporary.write_text(json.dumps({**said, **found.to_dict()}, indent=1), encoding="utf-8")
        say(f"wrote {options.out}")
    return DONE


def _head(choice: Chosen) -> list[str]:
    return [f"{choice.name}: {choice.weights}"]


def _found(root: Path, name: str, places: tuple[str, ...]) -> Path:
    """Where a video of the list lies, with or without its suffix."""
    for place in places or (name,):
        path = root / place
        if path.exists():
            return path
        if beside := sorted(path.parent.glob(f"{path.name}.*")):
            return beside[0]
    raise ValueError(f"{name} of the list is not in {root}; say with --root where its videos lie")
