"""`lrp3d demo`: explains a clip whose answer is known, without any files, and says how right each method is."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from lrp3d.commands import DONE, UsageError, arguments
from lrp3d.commands.results import write_results
from lrp3d.commands.writable import check_folder
from lrp3d.extras import is_installed, missing
from lrp3d.printed import say

if TYPE_CHECKING:
    from torch import Tensor

    from lrp3d.commands.model_options import ModelChoice
    from lrp3d.commands.one_clip import ExplainedClip
    from lrp3d.twin.twin import Twin
    from lrp3d.video import Clip

PRETRAINED = "TAM5-R18-f16-match-d4"  # comes with the package; the answer for its clips is known
CLIP = 2  # of class "same": interventions and LRP find both of its frames, CLRP does not (README, docs/meaning.md)
COMPARED = "methods.png"
SWITCHED = ("interventions", "LRP")  # the further matrices to which the page can switch
MODEL = "I3D-R18-f8"  # for the user's own video or options: takes seconds, not minutes, on two cores


def add_to(commands: arguments.Commands) -> None:
    """Add the parser of this command."""
    parser = commands.add_parser(
        "demo",
        help="explain a clip whose answer is known, without any files",
        description="Explain a drawn clip with a small trained network that comes with the package, hold LRP, "
        "contrastive LRP and interventions against the known answer, and write pictures and a report. "
        f"With --video, explain that, with a model of the paper (default: {MODEL}).",
        epilog="Example: lrp3d demo --video my.mp4 --out out/demo",
    )
    parser.add_argument(
        "--video", type=arguments.place, metavar="F", help="a video or a folder of frames (default: a drawn clip)"
    )
    arguments.add_options(parser)
    parser.add_argument(
        "--out", type=arguments.place, default=Path("out/demo"), metavar="DIR", help="default: %(default)s"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Explain one clip and write everything about it."""
    from lrp3d import planted, video
    from lrp3d.commands import model_options, one_clip, output_folder, summaries
    from lrp3d.twin.twin import convert

    check_folder(options.out, pictures=False)
    deciding: list[int] = []
    if options.video is None and options.model is None and options.weights is None:
        _refuse_options(options)
        choice, clip, name, deciding = _planted_clip(options.device)
    else:
        options.model = options.model or (None if options.weights else MODEL)
        choice = model_options.choose(options)
        if options.video is None:
            pixels = video.draw_clip(frames=choice.frames, size=choice.size)
            clip, name = video.prepare_clip(pixels, mean=choice.mean, std=choice.std), "a drawn clip"
        else:
            clip, name = one_clip.read(options.video, choice), options.video.name
    settings = one_clip.ClipOptions()
    twin = convert(choice.model, settings.composite)
    with _few_threads(bool(deciding)):
        explained = one_clip.explain_clip(clip, name, choice, twin, None, settings)
        methods = _methods(explained, clip, twin) if deciding else {}
    say(*summaries.summary(explained))
    sentences = _verdict(methods, explained, deciding) if deciding else []
    say(*(f"  {'' if number else 'verdict':13} {sentence}" for number, sentence in enumerate(sentences)))
    if not deciding:
        (options.out / COMPARED).unlink(missing_ok=True)  # that of an earlier run shows another network
    elif is_installed("matplotlib"):
        say(f"  wrote {_draw(methods, explained, deciding, sentences, options.out / COMPARED)}")
    explained = replace(
        explained,
        others=tuple((explained.label, name, matrix) for name, matrix in methods.items() if name in SWITCHED),
        notes=(*explained.notes, *([" ".join(sentences)] if sentences else [])),
        deciding=tuple(deciding),
    )
    about = {**summaries.settings(choice, settings), **summaries.origin(options, choice)}
    for path in output_folder.write(explained, options.out, about):
        say(f"  wrote {path}")
    if undrawn := output_folder.missing_pictures(explained):
        names = ", ".join([*[COMPARED] * bool(deciding), *undrawn])
        say(f"  not drawn: {names}. {missing('matplotlib', 'drawing')}; then run this again")
    record = {**summaries.record(explained), "folder": str(options.out)}
    if deciding:
        record["deciding"] = {
            "frames": deciding,  # from 0 on, like columns of the matrix
            "shares": {name: planted.finding(matrix, deciding).share for name, matrix in methods.items()},
            "verdict": " ".join(sentences),
        }
    write_results(options, {**about, "clips": [record]})
    return DONE


def _planted_clip(device: str | None) -> tuple[ModelChoice, Clip, str, list[int]]:
    """The trained network and a clip of its task, with the frames that decide among the notes."""
    import torch

    from lrp3d import models, planted, video
    from lrp3d.commands import model_options
    from lrp3d.commands.devices import device_of

    model, facts = models.load_pretrained(PRETRAINED), models.pretrained_facts(PRETRAINED)
    task = planted.Task(**facts["task"])
    batch = task.clips([CLIP])
    first, last = (int(frame) + 1 for frame in batch.frames[0])
    unknown = torch.full((task.frames,), torch.nan, dtype=torch.float64, device="cpu")
    clip = video.Clip(
        pixels=(batch.clips[0].permute(1, 2, 3, 0) * 255).round().to(torch.uint8),
        tensor=planted.normalise(batch.clips, model),
        indices=torch.arange(task.frames, device="cpu"),
        times=unknown,
        num_video_frames=task.frames,
    )
    choice = model_options.ModelChoice(
        model=model.to(device_of(device)).requires_grad_(False),
        name=PRETRAINED,
        weights=f"trained on drawn clips like this one, right on {100 * facts['accuracy']:.1f} % of fresh ones",
        trained=True,
        random=False,
        labels=task.classes,
        frames=task.frames,
        size=task.size,
        short_side=task.size,
        mean=tuple(model.mean),
        std=tuple(model.std),
        notes=(
            f"the answer is known: it is {task.classes[int(batch.labels)]!r}, as the two red or green squares have the "
            f"same colour or not, and only frames {first} and {last} show them; to compare them, a network has to look "
            f"across {last - first + 1} frames",
        ),
    )
    return choice, clip, "a drawn clip", batch.frames[0].tolist()


def _refuse_options(options: argparse.Namespace) -> None:
    """Refuses options that the drawn clip and its network leave no choice in."""
    names = ("frames", "size", "labels", "option")
    if given := [f"--{name}" for name in names if getattr(options, name) not in (None, [])]:
        raise UsageError(f"{', '.join(given)}: the drawn clip has its own network; say which other with --model")


@contextmanager
def _few_threads(small: bool) -> Iterator[None]:
    """Uses one thread for a small network, whose operations end before a second thread would have started."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1 if small else before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _methods(explained: ExplainedClip, clip: Clip, twin: Twin) -> dict[str, Tensor]:
    """The matrices that are compared with the answer: interventions first, the untrained network last."""
    from lrp3d.explain import explain
    from lrp3d.interventions import intervention_matrix
    from lrp3d.transfer import device_of_model

    contrastive = explained.explanation
    assert contrastive.matrix is not None
    assert contrastive.floor is not None
    device = device_of_model(explained.choice.model)
    tensor = clip.tensor.to(device)
    plain = explain(twin, tensor, explained.target, contrastive=False, floor=3).to("cpu")
    assert plain.matrix is not None
    assert plain.floor is not None
    # Frames are replaced by the mean frame, because a neighbouring frame could show its square a second time.
    measured = intervention_matrix(explained.choice.model, tensor, explained.target, occluder="mean").cpu()
    return {
        "interventions": measured[0],
        "LRP": plain.matrix[0],
        "CLRP": contrastive.matrix[0],
        "untrained LRP": plain.floor[0],
        "untrained CLRP": contrastive.floor[0],
    }


def _verdict(methods: dict[str, Tensor], explained: ExplainedClip, deciding: list[int]) -> list[str]:
    """The sentences about how much of each matrix lies on the frames that decide."""
    from lrp3d import planted

    findings = {name: planted.finding(matrix, deciding) for name, matrix in methods.items()}
    trained = {name: finding for name, finding in findings.items() if not name.startswith("untrained")}
    floors = [f"{planted.percent(findings[f'untrained {name}'].share)} of {name}" for name in ("LRP", "CLRP")]
    assert explained.explanation.frame_relevance is not None
    in_map = planted.finding(explained.explanation.frame_relevance, deciding)
    return [
        planted.verdict(trained),
        f"The same network untrained puts {' and '.join(floors)} on them, because of its architecture alone. Only what "
        "exceeds these shares was learned.",
        f"In CLRP's map of the clip's logit (relevance.png) they have {planted.percent(in_map.share)}.",
    ]


def _draw(
    methods: dict[str, Tensor], explained: ExplainedClip, deciding: list[int], sentences: list[str], path: Path
) -> Path:
    """Draws the matrices beside each other and returns the path of the picture."""
    from lrp3d import figures
    from lrp3d.files import replacing

    path.parent.mkdir(parents=True, exist_ok=True)
    shown = {name[:1].upper() + name[1:]: matrix for name, matrix in methods.items() if name != "untrained LRP"}
    note = (
        f"{explained.choice.name}, {explained.choice.weights}. The class, {explained.label!r}, says whether the "
        "two red or green squares have the same colour; blue ones do not matter. Each matrix has its own scale.\n"
        f"{' '.join(sentences[1:])}"
    )
    figure = figures.side_by_side(explained.pixels, shown, deciding=deciding, title=sentences[0], footnote=note)
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=150)
    return path
