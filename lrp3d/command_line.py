"""The command line: `lrp3d demo` and its kin."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import torch
from torch import Tensor

from lrp3d import figures, models, video
from lrp3d.explain import explain
from lrp3d.explanation import Explanation

RANDOM_WEIGHTS = "weights are random: this shows how the architecture spreads relevance, not what a model learned"
TOP = 3


def main(arguments: list[str] | None = None) -> int:
    """Run a command; returns the exit code (0 done, 1 failed, 2 wrong usage)."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        return options.run(options)
    except (ValueError, ImportError, OSError, NotImplementedError) as error:
        print(f"lrp3d: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("lrp3d: interrupted", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="lrp3d", description="How much of the clip did my network really use? Relevance of frames for video CNNs."
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    demo = commands.add_parser(
        "demo",
        help="explain a clip with a model of the paper, without any files",
        description="Explain a clip and write pictures of it. Example: lrp3d demo --video my.mp4 --out out/demo",
    )
    demo.add_argument("--video", type=Path, help="a video file or a folder of frames; default: a clip is drawn")
    demo.add_argument("--model", default="I3D-R50-f8", help="the paper's name of the model (default: %(default)s)")
    demo.add_argument("--out", type=Path, default=Path("out/demo"), help="folder for the pictures (default: %(default)s)")
    demo.set_defaults(run=_demo)
    return parser


def _demo(options: argparse.Namespace) -> int:
    """Explain one clip with random weights: top classes, conservation, pictures."""
    torch.manual_seed(0)
    model = models.build(options.model, num_classes=400).eval()
    frames = model.frames or 8
    if options.video is None:
        pixels = video.draw_clip(frames=frames, size=224)
        clip, name = video.prepare_clip(pixels, mean=model.mean, std=model.std), "a drawn clip"
    else:
        clip = video.read_clip(options.video, frames=frames, mean=model.mean, std=model.std)
        name = options.video.name
    started = time.perf_counter()
    explanation = explain(model, clip.tensor)
    seconds = time.perf_counter() - started
    options.out.mkdir(parents=True, exist_ok=True)
    explanation.save(options.out / "explanation.safetensors")
    print(f"{options.model} (random weights) on {name}: {frames} frames explained in {seconds:.1f} s")
    for score, index in zip(*explanation.logits[0].softmax(0).topk(TOP), strict=True):
        print(f"  class {int(index):3d}  {100 * float(score):5.1f} %")
    print(repr(explanation))
    for path in _pictures(explanation, clip.pixels, f"{options.model} on {name}", options.out):
        print(f"wrote {path}")
    return 0


def _pictures(explanation: Explanation, pixels: Tensor, title: str, folder: Path) -> list[Path]:
    """The frames with their relevance on top, and the clip at a glance with its matrix."""
    assert explanation.frame_logits is not None
    assert explanation.matrix is not None
    assert explanation.atr is not None
    assert isinstance(explanation.relevance, Tensor)
    target = f"{title}, class {int(explanation.target[0])}"
    pictures = {
        "relevance.png": figures.overlay_strip(pixels, explanation.relevance[0], title=target, footnote=RANDOM_WEIGHTS),
        "matrix.png": figures.clip_summary(
            pixels, explanation.frame_logits[0], explanation.matrix[0], explanation.atr[0], title=target,
            footnote=RANDOM_WEIGHTS,
        ),
    }  # fmt: skip
    for name, figure in pictures.items():
        figure.savefig(folder / name, dpi=150)
    return [folder / name for name in pictures]
