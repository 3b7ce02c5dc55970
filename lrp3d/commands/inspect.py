"""`lrp3d inspect`: every operation of a model with its rule, before anything is explained."""

from __future__ import annotations

import argparse

from lrp3d.commands import DONE, FAILED, arguments
from lrp3d.commands.results import write_results
from lrp3d.printed import say

MODEL = "I3D-R50-f8"  # if none is named


def add_to(commands: arguments.Commands) -> None:
    """Add the parser of this command."""
    parser = commands.add_parser(
        "inspect",
        help="list every operation of a model with its rule, before anything is explained",
        description="List every operation that a model does to a clip, in order, with the rule it gets. "
        "The exit code is 1 if something stands in the way of an explanation.",
        epilog="Example: lrp3d inspect --model my_package.networks:my_model --weights my.pth --frames 16",
    )
    arguments.add_options(parser, default=f"that of --weights, else {MODEL}", labels=False)
    arguments.add_rules(parser)
    arguments.add_layout(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Prints the table of layers and their rules."""
    import torch

    from lrp3d.commands import model_options
    from lrp3d.inspection import inspect
    from lrp3d.layout import laid_out
    from lrp3d.transfer import device_of_model

    if options.model is None and options.weights is None:
        options.model = MODEL
    choice = model_options.choose(options)
    device = device_of_model(choice.model)
    clip = torch.rand(1, len(choice.mean), choice.frames, choice.size, choice.size, device=device)
    inspection = inspect(
        choice.model,
        laid_out(clip, options.layout),
        composite=options.composite,
        contrastive=not options.plain,
        input_range=choice.input_range,
        layout=options.layout,
    )
    of_model = [f"{choice.name}, a clip of {choice.frames} frames of {choice.size} pixels; {choice.weights}"]
    say(*of_model, *(f"note: {note}" for note in choice.notes), *str(inspection).split("\n"))
    rows = [operation._asdict() for operation in inspection]
    about = {"model": choice.name, "weights": choice.weights, "notes": choice.notes}
    write_results(options, {**about, "operations": rows, "problems": inspection.problems})
    return FAILED if inspection.problems else DONE
