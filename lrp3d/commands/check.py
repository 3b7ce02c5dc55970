"""`lrp3d check`: is relevance faithful on this model and these videos?"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from lrp3d.commands import DONE, arguments
from lrp3d.commands.listed_videos import add_videos, listed_videos, targets
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
    add_videos(parser, most=20)
    arguments.add_options(parser)
    arguments.add_layout(parser)
    parser.add_argument("--no-shapley", action="store_true", help="leave out Shapley values, which take longest")
    parser.add_argument("--out", type=Path, metavar="F", help="write all numbers to this file, as json")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print the table and the verdict."""
    import torch

    from lrp3d.commands import model_options, one_clip
    from lrp3d.commands.one_clip import progress_wanted
    from lrp3d.faithfulness.checking import check
    from lrp3d.files import replacing

    choice = model_options.choose(options)
    videos = listed_videos(options, choice)
    device = next((parameter.device for parameter in choice.model.parameters()), torch.device("cpu"))
    clips = [one_clip.read(path, choice).tensor.to(device) for path in videos.paths]
    found = check(
        choice.model,
        clips,
        targets(options, videos, choice),
        shapley_values=not options.no_shapley,
        input_range=choice.input_range,
        layout=options.layout,
        progress=progress_wanted(),
    )
    say(*_head(choice), *str(found).split("\n"))
    if options.out is not None:
        said = {"model": choice.name, "weights": choice.weights, "videos": [str(path) for path in videos.paths]}
        with replacing(options.out) as temporary:
            temporary.write_text(json.dumps({**said, **found.to_dict()}, indent=1), encoding="utf-8")
        say(f"wrote {options.out}")
    return DONE


def _head(choice: Chosen) -> list[str]:
    return [f"{choice.name}: {choice.weights}"]
