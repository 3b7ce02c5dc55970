"""`lrp3d convert-checkpoint`: turns a known checkpoint into safetensors that say which model they hold."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from lrp3d.commands import DONE, UsageError, arguments
from lrp3d.commands.results import write_results
from lrp3d.printed import say

if TYPE_CHECKING:
    from torch import nn


def add_to(commands: arguments.Commands) -> None:
    """Add the parser of this command."""
    parser = commands.add_parser(
        "convert-checkpoint",
        help="turn a checkpoint into safetensors that say which model they hold",
        description="Turn any checkpoint that lrp3d knows into safetensors with the model's name, arguments, "
        "classes and normalisation. `lrp3d explain --weights OUT` then needs no --model.",
        epilog="Example: lrp3d convert-checkpoint K400-I3D-ResNet-50-f32.pth.tar i3d.safetensors "
        "--model I3D-R50-f32 --labels kinetics.json --trust-pickle",
    )
    parser.add_argument("source", type=arguments.place, metavar="IN", help="the checkpoint to read; never changed")
    parser.add_argument(
        "destination", type=arguments.file_to_write, metavar="OUT", help="the .safetensors file to write"
    )
    about = "name as in the paper, such as I3D-R50-f8; or your own or a library's, as in lrp3d explain"
    parser.add_argument("--model", required=True, metavar="NAME", help=about)
    arguments.add_option(parser)
    parser.add_argument("--labels", type=arguments.place, metavar="F", help="class names to keep with the weights")
    about = "how 2D kernels become 3D: repeated along time, or also divided by the kernel's length (default: repeat)"
    parser.add_argument("--inflate", choices=("repeat", "mean"), default="repeat", help=about)
    about = "unpickle IN if it needs that. A pickle can run any code: only where you trust the source"
    parser.add_argument("--trust-pickle", action="store_true", help=about)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Write the file; if anything fails, nothing is written."""
    from safetensors import safe_open

    from lrp3d import models
    from lrp3d.commands import model_options
    from lrp3d.commands.labels import read_labels
    from lrp3d.integrations import PublicNetwork

    _check_destination(options.source, options.destination)
    arguments = dict(options.option)
    own = ":" in options.model
    model: str | nn.Module = options.model
    if own:
        model = model_options.own_model(options.model, arguments)
        model = model.network if isinstance(model, PublicNetwork) else model
    else:
        model_options.check_name(options.model, arguments)  # report an unknown name before reading a large file
    converted = models.convert_checkpoint(
        options.source,
        options.destination,
        model,
        classes=read_labels(options.labels) if options.labels else (),
        trust_pickle=options.trust_pickle,
        inflate=options.inflate,
        name=options.model,
        **({} if own else arguments),
    )
    with safe_open(options.destination, framework="pt") as file:
        metadata = file.metadata()
    notes = json.loads(metadata.get("notes", "[]"))
    for note in notes:
        say(f"  note: {note}")
    classes = getattr(converted, "num_classes", None)
    classes = classes if isinstance(classes, int) else None
    class_count = "" if classes is None else f"{classes} classes, "
    count = models.count_parameters(converted)
    say(f"wrote {options.destination}: {metadata['model']}, {class_count}{count:,} parameters")
    if not isinstance(converted, models.VideoModel):
        repeated = "".join(f" --option {key}={json.dumps(value)}" for key, value in arguments.items())
        say(f"  use it with --model {options.model}{repeated} --weights {options.destination}")
    facts = {"file": str(options.destination), "model": metadata["model"], "classes": classes, "parameters": count}
    write_results(options, {**facts, "option": arguments, "notes": notes})
    return DONE


def _check_destination(source: Path, destination: Path) -> None:
    """Refuse a destination that cannot be written, before a large file is read."""
    if destination.suffix != ".safetensors":
        raise UsageError(f"OUT is a .safetensors file, not {destination.name}")
    if destination.exists() and source.exists() and destination.samefile(source):
        raise UsageError("OUT is IN, which is never changed")
