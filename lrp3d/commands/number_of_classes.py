"""How many classes the model of a command has, and whether a list that names classes can mean these."""

from __future__ import annotations

from collections.abc import Sequence

from lrp3d.commands import UsageError
from lrp3d.commands.model_options import ModelChoice
from lrp3d.defaults import LAYOUT
from lrp3d.layout import laid_out
from lrp3d.outputs import logits_of
from lrp3d.study.listing.lists import VideoList
from lrp3d.study.running.reader import normalised
from lrp3d.transfer import device_of_model
from lrp3d.twin.twin import convert
from lrp3d.video import draw_clip


def number_of_classes(choice: ModelChoice, layout: str = LAYOUT) -> int | None:
    """The number of the model's classes, of which a lone logit has two, 0 and 1; else as `number_of_logits`."""
    logits = number_of_logits(choice, layout)
    return 2 if logits == 1 else logits


def number_of_logits(choice: ModelChoice, layout: str = LAYOUT) -> int | None:
    """The number of the model's logits; None for a model that cannot be run, whose error comes when it explains.

    A model that does not state its number is run once, on a drawn clip.
    """
    stated = getattr(choice.model, "num_classes", None)
    if isinstance(stated, int):
        return stated
    device = device_of_model(choice.model)
    frames = draw_clip(choice.frames, choice.size)[None].to(device)
    try:
        clip = laid_out(normalised(frames, choice.mean, choice.std), layout)
        return int(logits_of(convert(choice.model).run(clip), None).shape[1])
    except Exception:  # an error of the user's own code, of any type
        return None


def check_classes(choice: ModelChoice, indices: Sequence[int], layout: str, option: str = "--target") -> None:
    """Refuses classes that the model does not have, and any of a lone logit, whose sign says what is explained.

    Args:
        choice: the model.
        indices: the classes; the model is asked for its number of logits if there are any.
        layout: the layout of the model's clips.
        option: the option that named the classes.

    Raises:
        UsageError: there is no such class, or no choice among classes.
    """
    logits = number_of_logits(choice, layout) if indices else None
    for index in indices:
        if logits == 1:
            refuse_of_lone_logit(f"{option} {index}")
        if index < 0 or (logits is not None and index >= logits):
            upper = "" if logits is None else f" to {logits - 1}"
            raise UsageError(f"{option} {index}: classes go from 0{upper}")


def refuse_of_lone_logit(given: str) -> None:
    """Raises UsageError for an option that asks for a class of a lone logit."""
    raise UsageError(
        f"{given}: the model has one logit, which is explained for the class that its sign says (1 where it is "
        "positive, else 0): leave the option out"
    )


def labels_note(labels: int, classes: int | None) -> tuple[str, ...]:
    """What is said of labels that name fewer classes than the model has; None stands for nobody knows how many.

    Raises:
        ValueError: there are more labels than classes.
    """
    if classes is None:
        return ()
    if labels > classes:
        raise ValueError(f"{labels} labels do not fit a model of {classes} classes")
    return (f"the labels name {labels} of {classes} classes: are they the model's?",) if 0 < labels < classes else ()


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
