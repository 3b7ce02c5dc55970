"""`lrp3d convert-checkpoint`: any known checkpoint as safetensors that say which model they hold."""

from __future__ import annotations

import argparse
from pathlib import Path

from lrp3d import models
from lrp3d.commands import DONE, UsageError, chosen
from lrp3d.commands.labels import read_labels
from lrp3d.printed import say


def add_to(commands: argparse._SubParsersAction) -> None:
    """Add the parser of this command."""
    parser = commands.add_parser(
        "convert-checkpoint",
        help="turn a checkpoint into safetensors that say which model they hold",
        description="Turn any checkpoint that lrp3d knows into safetensors with the model's name, making, "
        "classes and normalisation. `lrp3d explain --weights OUT` then needs no --model.",
        epilog="Example: lrp3d convert-checkpoint K400-I3D-ResNet-50-f32.pth.tar i3d.safetensors "
        "--model I3D-R50-f32 --labels kinetics.json --trust-pickle",
    )
    parser.add_argument("source", type=Path, metavar="IN", help="the checkpoint to read; never changed")
    parser.add_argument("destination", type=Path, metavar="OUT", help="the .safetensors file to write")
    parser.add_argument("--model", required=True, metavar="NAME", help="name as in the paper, such as I3D-R50-f8")
    parser.add_argument(
        "--option", action="append", default=[], metavar="KEY=VALUE", type=chosen.key_and_value,
        help="further argument of the model's builder, such as kernel_size=5; may be repeated",
    )  # fmt: skip
    parser.add_argument("--labels", type=Path, metavar="F", help="class names to keep with the weights")
    parser.add_argument(
        "--inflate", choices=("repeat", "mean"), default="repeat",
        help="how 2D kernels become 3D: repeated along time, or also divided by its length (default: repeat)",
    )  # fmt: skip
    parser.add_argument(
        "--trust-pickle", action="store_true",
        help="unpickle IN if it needs that. A pickle can run any code: only where you trust the source",
    )  # fmt: skip
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Write the file, whole or not at all."""
    if options.destination.suffix != ".safetensors":
        raise UsageError(f"OUT is a .safetensors file, not {options.destination.name}")
    if options.destination.exists() and options.destination.samefile(options.source):
        raise UsageError("OUT is IN, which is never changed")
    arguments = dict(options.option)
    chosen.build(options.model, arguments, 1)  # an unknown name is told before a large file is read
    model = models.convert_checkpoint(
        options.source,
        options.destination,
        options.model,
        classes=read_labels(options.labels) if options.labels else (),
        trust_pickle=options.trust_pickle,
        inflate=options.inflate,
        **arguments,
    )
    count = models.count_parameters(model)
    say(f"wrote {options.destination}: {model.name}, {model.num_classes} classes, {count:,} parameters")
    return DONE
