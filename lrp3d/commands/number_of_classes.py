"""How many classes the model of a command has, and whether a list that names classes can mean these."""

from __future__ import annotations

import torch

from lrp3d.commands import UsageError
from lrp3d.commands.model_options import ModelChoice
from lrp3d.defaults import LAYOUT
from lrp3d.layout import laid_out
from lrp3d.metrics.atr import class_logits
from lrp3d.outputs import logits_of
from lrp3d.study.listing.lists import VideoList
from lrp3d.study.running.reader import normalised
from lrp3d.twin.twin import convert
from lrp3d.video import draw_clip


def number_of_classes(choice: ModelChoice, layout: str = LAYOUT) -> int | None:
    """The number of the model's classes; None for a model that cannot be run, whose error comes when it explains.

    A lone logit has two classes, 0 and 1. A model that does not state its number is run once, on a drawn clip.
    """
    stated = getattr(choice.model, "num_classes", None)
    if isinstance(stated, int):
        return 2 if stated == 1 else stated
    device = next((parameter.device for parameter in choice.model.parameters()), torch.device("cpu"))
    frames = draw_clip(choice.frames, choice.size)[None].to(device)
    try:
        clip = laid_out(normalised(frames, choice.mean, choice.std), layout)
        return int(class_logits(logits_of(convert(choice.model).run(clip), None)).shape[1])
    except Exception:  # an error of the user's own code, of any type
        return None


def check_names(listed: VideoList, choice: ModelChoice, num_classes: int | None) -> None:
    """Refuses names that the alphabet alone numbers, where trained weights give the numbers a meaning.

    Raises:
        UsageError: the list names other than all of the classes of a model with trained weights, and no labels were
            given.
    """
    if listed.alphabetical and choice.trained and num_classes not in (None, len(listed.labels)):
        raise UsageError(
            f"the list names {len(listed.labels)} classes, and the model has {num_classes}: "
            "give --labels to say which is which"
        )
