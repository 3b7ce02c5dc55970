"""`lrp3d demo`: what this does, without any files."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from lrp3d.commands import DONE, arguments
from lrp3d.commands.explain import check_folder
from lrp3d.extras import missing
from lrp3d.printed import say

if TYPE_CHECKING:
    from lrp3d.commands.model_options import Chosen
    from lrp3d.video import Clip

PRETRAINED = "TAM5-R18-f16-match-d4"  # comes with the package; its clips have an answer
CLIP = 1  # of the task's clips
MODEL = "I3D-R18-f8"  # where a video or anything else of a model is given: seconds, not minutes, on two cores


def add_to(commands: arguments.Commands) -> None:
    """Add the parser of this command."""
    parser = commands.add_parser(
        "demo",
        help="explain a clip whose answer is known, without any files",
        description="Explain a drawn clip with a small trained network that comes with the package, and write pictures "
        f"and a report. With --video, explain that, with a model of the paper (default: {MODEL}).",
        epilog="Example: lrp3d demo --video my.mp4 --out out/demo",
    )
    parser.add_argument("--video", type=Path, metavar="F", help="a video or a folder of frames (default: a drawn clip)")
    arguments.add_options(parser)
    parser.add_argument("--out", type=Path, default=Path("out/demo"), metavar="DIR", help="default: %(default)s")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Explain one clip and write everything about it."""
    from lrp3d import video
    from lrp3d.commands import model_options, one_clip, output_folder, summaries
    from lrp3d.twin.twin import convert

    check_folder(options.out, pictures=False)
    if options.video is None and options.model is None and options.weights is None:
        choice, clip, name = _planted(options.device)
    else:
        options.model = options.model or (None if options.weights else MODEL)
        choice = model_options.choose(options)
        if options.video is None:
            pixels = video.draw_clip(frames=choice.frames, size=choice.size)
            clip, name = video.prepare_clip(pixels, mean=choice.mean, std=choice.std), "a drawn clip"
        else:
            clip, name = one_clip.read(options.video, choice), options.video.name
    how = one_clip.How()
    one = one_clip.explain_clip(clip, name, choice, convert(choice.model, how.composite), None, how)
    say(*summaries.summary(one))
    for path in output_folder.write(one, options.out, summaries.settings(choice, how)):
        say(f"  wrote {path}")
    if undrawn := output_folder.undrawn(one):
        say(f"  not drawn: {', '.join(undrawn)}. {missing('matplotlib', 'drawing')}; then run this again")
    return DONE


def _planted(device: str | None) -> tuple[Chosen, Clip, str]:
    """The trained network and a clip of its task, with the frames that decide among the notes."""
    import torch

    from lrp3d import models, planted, video
    from lrp3d.commands import model_options

    model, facts = models.load_pretrained(PRETRAINED), models.pretrained_facts(PRETRAINED)
    task = planted.Task(**facts["task"])
    found = task.clips([CLIP])
    first, last = (int(frame) + 1 for frame in found.frames[0])
    unknown = torch.full((task.frames,), torch.nan, dtype=torch.float64)
    clip = video.Clip(
        pixels=(found.clips[0].permute(1, 2, 3, 0) * 255).round().to(torch.uint8),
        tensor=planted.normalise(found.clips, model),
        indices=torch.arange(task.frames),
        times=unknown,
        num_video_frames=task.frames,
    )
    choice = model_options.Chosen(
        model=model.to(model_options.device_of(device)).requires_grad_(False),
        name=PRETRAINED,
        weights=f"trained on drawn clips like this one, right on {100 * facts['accuracy']:.1f} % of fresh ones",
        trained=True,
        labels=task.classes,
        frames=task.frames,
        size=task.size,
        mean=tuple(model.mean),
        std=tuple(model.std),
        notes=(
            f"the answer is known: the truth is {task.classes[int(found.labels)]!r}, and frames {first} and {last} "
            "alone decide it (two squares of the same colour or not); "
            f"a network needs {last - first + 1} frames for it",
        ),
    )
    return choice, clip, "a drawn clip"
