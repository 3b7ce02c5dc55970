"""The base of every video model of this package, which averages one logit per frame and class."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from inspect import signature
from itertools import islice
from types import NoneType
from typing import Any, ParamSpec, TypeVar, get_args, get_type_hints

from torch import Tensor, nn

Channels = tuple[float, ...]

IMAGENET: tuple[Channels, Channels] = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
UNIT_RANGE: tuple[Channels, Channels] = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))

_LARGEST = 65504.0  # of float16, because models also run in it


def normalisation(statistics: tuple[Channels, Channels], in_channels: int) -> tuple[Channels, Channels]:
    """Mean and deviation per channel; if inputs are not RGB, every channel gets the average over RGB."""
    if in_channels == 3:
        return statistics
    mean, std = (round(sum(values) / len(values), 6) for values in statistics)
    return (mean,) * in_channels, (std,) * in_channels


def check_statistics(mean: object, std: object, channels: int | None = None) -> None:
    """Refuse statistics that cannot normalise: (pixel - mean) / std must be a number for black and for white.

    Raises:
        ValueError: the statistics cannot be used; the message says why.
    """
    for name, values in (("mean", mean), ("std", std)):
        if not isinstance(values, (list, tuple)) or not values or not all(map(_is_number, values)):
            raise ValueError(f"{name} must be numbers, one per channel, got {repr(values)[:100]}")
    assert isinstance(mean, (list, tuple))
    assert isinstance(std, (list, tuple))
    if len(mean) != len(std) or (channels is not None and len(mean) != channels):
        expected = f", for {channels} channels" if channels is not None else ""
        raise ValueError(f"mean has {len(mean)} values and std {len(std)}{expected}: there must be one per channel")
    if not all(deviation > 0 for deviation in std):
        raise ValueError(f"std must be above 0 in every channel, got {repr(std)[:100]}")
    if any(abs((pixel - m) / s) > _LARGEST for m, s in zip(mean, std, strict=True) for pixel in (0.0, 1.0)):
        raise ValueError(f"mean {repr(mean)[:100]} and std {repr(std)[:100]} put pixels beyond all numbers of float16")


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < _LARGEST


def check_at_least(minimum: int, **values: int) -> None:
    """Raise ValueError naming the first argument below `minimum`."""
    for name, value in values.items():
        if value < minimum:
            raise ValueError(f"{name} must be at least {minimum}, got {value}")


def check_depth(depth: int, depths: tuple[int, ...], family: str) -> None:
    """Raise ValueError for a depth that a family does not have."""
    if depth not in depths:
        raise ValueError(f"{family} has depths {', '.join(map(str, depths))}, got {depth}")


def check_clip(clip: Tensor, in_channels: int, what: str = "clip") -> None:
    """Raise ValueError for a tensor that is not (b, c, t, h, w) with the expected number of channels."""
    if clip.dim() != 5:
        raise ValueError(f"{what} must be (b, c, t, h, w), got shape {tuple(clip.shape)}")
    if clip.shape[1] != in_channels:
        raise ValueError(f"{what} must have {in_channels} channels in axis 1, got shape {tuple(clip.shape)}")


class VideoModel(nn.Module):
    """A backbone that keeps time, a classifier for every frame, and the mean over frames as last operation.

    Subclasses build `self.features`, which maps a clip (b, c, t, h, w) to (b, d, t', h', w').

    Attributes:
        name: the paper's name of the model, if it has one.
        num_classes: `k`.
        in_channels: channels of the clip.
        frames: frames of the clips for which the model is meant, None if unknown.
        fixed_frames: whether clips of another length are refused.
        size: the side in pixels of the frames that the model was trained on, None if unknown.
        short_side: to how many pixels the shorter side of a video was resized before frames were cut out of it, None if
            unknown; of a range, the least, with which a trained model is evaluated.
        frames_apart: how far apart the frames of a clip were in training, in frames of the video; None if they were
            taken from all over the video, or if it is unknown.
        frame_multiple: the number of frames must be a multiple of this.
        output_frames: how many evenly spaced frames have a logit (Fig. 10 of the paper), None for all.
        mean: the normalisation that the weights expect, one value per channel: (pixel - mean) / std, pixels in [0, 1].
        std: see `mean`.
        classes: names of the classes, if the checkpoint has them.
        builder: the function that made the model.
        arguments: the arguments of that call, so that a checkpoint can repeat it.
        notes: sentences about decisions that were made when the weights were loaded.

    >>> import torch, lrp3d
    >>> model = lrp3d.models.tsn_resnet(18, num_classes=10, width=8).eval()
    >>> clip = torch.rand(2, 3, 4, 32, 32)
    >>> isinstance(model, VideoModel), model(clip).shape, model.frame_logits(clip).shape
    (True, torch.Size([2, 10]), torch.Size([2, 4, 10]))
    """

    features: nn.Module
    name: str = ""
    frames: int | None = None
    fixed_frames: bool = False
    size: int | None = None
    short_side: int | None = None
    frames_apart: int | None = None
    frame_multiple: int = 1
    output_frames: int | None = None
    classes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    builder: str = ""
    arguments: dict[str, Any]

    def __init__(
        self,
        num_classes: int,
        feature_channels: int,
        *,
        statistics: tuple[Channels, Channels],
        in_channels: int = 3,
        dropout: float = 0.5,
        output_frames: int | str | None = None,
    ):
        super().__init__()
        check_at_least(1, num_classes=num_classes, in_channels=in_channels)
        self.arguments = {}
        self.num_classes = num_classes
        self.in_channels = in_channels
        self.mean: tuple[float, ...]
        self.std: tuple[float, ...]
        self.mean, self.std = normalisation(statistics, in_channels)
        self.output_frames = _answering(output_frames)
        self.dropout: nn.Module = nn.Dropout(dropout)
        self.fc: nn.Linear = nn.Linear(feature_channels, num_classes)

    @property
    def stems(self) -> tuple[nn.Module, ...]:
        """The convolutions that read the clip."""
        return tuple(islice((module for module in self.modules() if isinstance(module, nn.Conv3d)), 1))

    @property
    def input_range(self) -> tuple[Channels, Channels]:
        """Lowest and highest valid input per channel: the normalised values of black and white."""
        return (
            tuple((0.0 - mean) / std for mean, std in zip(self.mean, self.std, strict=True)),
            tuple((1.0 - mean) / std for mean, std in zip(self.mean, self.std, strict=True)),
        )

    def check(self, clip: Tensor) -> None:
        """Raise a ValueError that says what this model expects, if `clip` is something else."""
        check_clip(clip, self.in_channels)
        frames = clip.shape[2]
        if self.fixed_frames and frames != self.frames:
            raise ValueError(f"{self.name} was built for {self.frames} frames, got a clip of {frames}")
        if frames < 1 or frames % self.frame_multiple:
            raise ValueError(
                f"{self.name} with temporal stride needs a multiple of {self.frame_multiple} frames, got {frames}"
            )

    def output_positions(self, frames: int) -> range:
        """Which of `frames` classified frames are averaged: the centres of `output_frames` equal segments.

        >>> from lrp3d.models import tam_resnet
        >>> list(tam_resnet(18, 10, frames=16, output_frames=4).output_positions(16))
        [2, 6, 10, 14]
        """
        wanted = frames if self.output_frames is None else self.output_frames
        if frames % wanted:
            raise ValueError(f"{wanted} output frames cannot be evenly spaced over {frames} classified frames")
        step = frames // wanted
        return range(step // 2, frames, step)

    def pool(self, features: Tensor) -> Tensor:
        """Average over space: (b, d, t, h, w) to (b, d, t)."""
        return features.mean((3, 4))

    def frame_logits(self, clip: Tensor) -> Tensor:
        """The logits of every frame that has them, (b, n, k); their mean over n is the model's output.

        Raises:
            ValueError: the clip has the wrong number of axes, channels or frames.
        """
        self.check(clip)
        x = self.pool(self.features(clip))
        positions = self.output_positions(x.shape[2])
        if len(positions) < x.shape[2]:
            x = x[:, :, positions.start :: positions.step]
        logits: Tensor = self.fc(self.dropout(x.transpose(1, 2)))
        return logits

    def forward(self, clip: Tensor) -> Tensor:
        """Logits (b, k) of a clip (b, c, t, h, w): the mean of its frame logits."""
        return self.frame_logits(clip).mean(1)

    def extra_repr(self) -> str:
        """The text that `print(model)` shows: name, frames and classes."""
        frames = self.frames if self.frames is not None else "any"
        return f"{self.name}, frames={frames}, classes={self.num_classes}"


Arguments = ParamSpec("Arguments")
Model = TypeVar("Model", bound=VideoModel)
BUILDERS: dict[str, Callable[..., VideoModel]] = {}


def builder(make: Callable[Arguments, Model]) -> Callable[Arguments, Model]:
    """Register a builder; the models that it makes remember the builder and its arguments."""
    parameters = signature(make)

    @wraps(make)
    def remember(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Model:
        model = make(*args, **kwargs)
        bound = parameters.bind(*args, **kwargs)
        bound.apply_defaults()
        model.builder, model.arguments = make.__name__, dict(bound.arguments)
        return model

    BUILDERS[make.__name__] = remember
    return remember


_KINDS = {int: "a whole number", float: "a number", bool: "true or false", str: "a text", NoneType: "null"}


def expected_kind(make: Callable[..., VideoModel], name: str, value: object) -> str:
    """What an argument of a builder has to be, in words; empty if the value is that.

    >>> from lrp3d.models import tam_resnet
    >>> expected_kind(tam_resnet, "width", "abc"), expected_kind(tam_resnet, "dropout", 1)
    ('a whole number', '')
    """
    hint = get_type_hints(make)[name]
    kinds = get_args(hint) or (hint,)
    taken = (*kinds, int) if float in kinds else kinds
    # for Python True is a whole number
    fits = isinstance(value, taken) and (not isinstance(value, bool) or bool in kinds)
    return "" if fits else " or ".join(_KINDS[kind] for kind in kinds)


def _answering(output_frames: int | str | None) -> int | None:
    if output_frames is None or output_frames == "all":
        return None
    if not isinstance(output_frames, int) or output_frames < 1:
        raise ValueError(f"output_frames must be a positive number or 'all', got {output_frames!r}")
    return output_frames
