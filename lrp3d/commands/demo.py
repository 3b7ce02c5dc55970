"""`lrp3d demo`: what this does, without any files."""

from __future__ import annotations

import argparse
from pathlib import Path

from lrp3d import video
from lrp3d.commands import DONE, chosen, explained, told, written
from lrp3d.commands.explain import check_folder
from lrp3d.twin import convert


def add_to(commands: argparse._SubParsersAction) -> None:
    """Add the parser of this command."""
    parser = commands.add_parser(
        "demo",
        help="explain a clip with a model of the paper, without any files",
        description="Explain a clip with a model of the paper, and write pictures and a report. No files and "
        "no network are needed.",
        epilog="Example: lrp3d demo --video my.mp4 --out out/demo",
    )
    parser.add_argument("--video", type=Path, metavar="F", help="a video or a folder of frames (default: a drawn clip)")
    chosen.add_options(parser, default="I3D-R50-f8")
    parser.add_argument("--out", type=Path, default=Path("out/demo"), metavar="DIR", help="default: %(default)s")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Explain one clip and write everything about it."""
    check_folder(options.out)
    choice = chosen.choose(options)
    if options.video is None:
        pixels = video.draw_clip(frames=choice.frames, size=choice.size)
        clip, name = video.prepare_clip(pixels, mean=choice.mean, std=choice.std), "a drawn clip"
    else:
        clip, name = explained.read(options.video, choice), options.video.name
    how = explained.How()
    one = explained.explain_clip(clip, name, choice, convert(choice.model, how.composite), None, how)
    print(told.summary(one), flush=True)
    for path in written.write(one, options.out, told.settings(choice, how)):
        print(f"  wrote {path}", flush=True)
    return DONE
