"""Logs numbers and pictures of an explanation to TensorBoard or Weights & Biases, neither of which is imported."""

from __future__ import annotations

import math
from typing import Any

from lrp3d.explanation.explanation import Explanation
from lrp3d.explanation.wording import own_logit
from lrp3d.extras import is_installed, missing

__all__ = ["numbers", "track"]


def numbers(explanation: Explanation, clip: int = 0) -> dict[str, float]:
    """The main numbers of one clip: logit, avg-ATR, max-ATR, conservation, motion and the share above the floor.

    Numbers that the explanation does not have, or that are NaN, are left out.

    >>> import torch, lrp3d
    >>> model = lrp3d.models.tsn_resnet(18, num_classes=10, width=8).eval()
    >>> found = numbers(lrp3d.explain(model, torch.rand(1, 3, 4, 32, 32)))
    >>> sorted(found), found["max_atr"]
    (['avg_atr', 'conservation', 'logit', 'max_atr'], 1.0)
    """
    excess = explanation.excess
    values: dict[str, Any] = {
        "logit": own_logit(explanation, clip),
        "conservation": explanation.conservation[clip],
        "avg_atr": None if explanation.avg_atr is None else explanation.avg_atr[clip],
        "max_atr": None if explanation.max_atr is None else explanation.max_atr[clip],
        "motion": None if explanation.motion is None else explanation.motion[clip],
        "above_floor": None if excess is None else excess.share[clip],
    }
    floats = {name: float(value) for name, value in values.items() if value is not None}
    return {name: value for name, value in floats.items() if math.isfinite(value)}


def track(
    tracker: Any,
    explanation: Explanation,
    *,
    name: str = "explanation",
    step: int | None = None,
    clip: int = 0,
    picture: bool = True,
) -> None:
    """Log one clip of an explanation: its numbers, and a picture of its matrix.

    Args:
        tracker: a `SummaryWriter` of TensorBoard, or a run of Weights & Biases (`wandb.init(mode="offline")` sends
            nothing).
        explanation: what to log.
        name: the prefix of the numbers' names, as in explanation/avg_atr.
        step: the step of the training.
        clip: the number of the clip in the batch.
        picture: whether to draw the matrix, which needs matplotlib.

    Raises:
        TypeError: the tracker is neither of them.
        ImportError: a picture is requested and matplotlib is not installed.

    With TensorBoard the tracker is `torch.utils.tensorboard.SummaryWriter("runs")`. Neither tool comes with lrp3d, so
    something that has the methods of a writer stands for it here:

    >>> import torch, lrp3d
    >>> class Writer:
    ...     def add_scalar(self, name, value, step):
    ...         print(name, step)
    ...     def add_figure(self, name, figure, step):
    ...         pass
    >>> model = lrp3d.models.tsn_resnet(18, num_classes=10, width=8).eval()
    >>> lrp3d.integrations.track(Writer(), lrp3d.explain(model, torch.rand(1, 3, 4, 32, 32)), step=7, picture=False)
    explanation/logit 7
    explanation/conservation 7
    explanation/avg_atr 7
    explanation/max_atr 7
    """
    tensorboard = hasattr(tracker, "add_scalar") and hasattr(tracker, "add_figure")
    if not tensorboard and not callable(getattr(tracker, "log", None)):
        raise TypeError(
            "the tracker is a SummaryWriter of TensorBoard or a run of Weights & Biases, "
            f"not of type {type(tracker).__name__}"
        )
    if picture and not is_installed("matplotlib"):
        raise missing("matplotlib", "a picture")
    scalars = {f"{name}/{key}": value for key, value in numbers(explanation, clip).items()}
    figure = explanation.plot(clip) if picture else None
    if tensorboard:
        for key, value in scalars.items():
            tracker.add_scalar(key, value, step)
        if figure is not None:
            tracker.add_figure(f"{name}/matrix", figure, step)
        return
    logged: dict[str, Any] = dict(scalars)
    if figure is not None:
        import wandb

        logged[f"{name}/matrix"] = wandb.Image(figure)
    tracker.log(logged, step=step)
