"""From any source to a clip that a model can take."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lrp3d.callers import warn
from lrp3d.filenames import extension
from lrp3d.printed import printable
from lrp3d.sampling import check_sampling, dense_indices, uniform_indices
from lrp3d.values import check_counts
from lrp3d.video.files import Survey, read_video
from lrp3d.video.folders import read_folder, template_pattern
from lrp3d.video.in_memory import read_in_memory
from lrp3d.video.losses import Losses
from lrp3d.video.other_files import refuse_other_arrays
from lrp3d.video.paths import check_path, require_place
from lrp3d.video.pixels import Colour, Framing, check_normalisation, normalize, require_clip_memory, stack_frames
from lrp3d.video.source import Choose, ClipWarning, LostFramesWarning, Source, VideoError, repeats
from lrp3d.video.tensors import TENSOR_SUFFIXES, read_tensor

IMAGENET_MEAN = (0.485, 0.456, 0.406)


IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Clip:
    """Frames of a video: as pixels to be shown, and as the tensor that a model takes.

    Made by `read_clip`, `read_frames` and `prepare_clip`.

    >>> import lrp3d
    >>> clip = prepare_clip(lrp3d.video.draw_clip(frames=4, size=32), fps=2)
    >>> clip.pixels.shape, clip.tensor.shape, clip.times.tolist()
    (torch.Size([4, 32, 32, 3]), torch.Size([1, 3, 4, 32, 32]), [0.0, 0.5, 1.0, 1.5])
    """

    pixels: Tensor
    """uint8 RGB (t, h, w, 3), after resizing and cropping."""
    tensor: Tensor
    """float32 (1, 3, t, h, w), normalised."""
    indices: Tensor
    """The number of each frame in the video, from 0, int64 (t,); a frame that replaces another keeps its own number."""
    times: Tensor
    """The time of each frame in seconds, float64 (t,); NaN if the source does not say."""
    num_video_frames: int
    """The number of frames of the source."""
    fps: float | None = None
    """Frames per second on average; None if the source does not say."""
    lost: tuple[str, ...] = ()
    """Sentences about missing or damaged frames; empty if there are none."""
    notes: tuple[str, ...] = ()
    """Sentences about decisions, such as which of several series of images is read."""
    losses: Losses = field(default_factory=lambda: Losses(""))
    """What `lost` says, by the numbers of frames, for several reads of one video."""


def read_clip(
    path: str | Path,
    frames: int = 8,
    sampling: str = "uniform",
    *,
    stride: int = 1,
    size: int | None = 224,
    short_side: int | None = 256,
    mean: Colour = IMAGENET_MEAN,
    std: Colour = IMAGENET_STD,
    template: str | None = None,
    train: bool = False,
    place: tuple[float, float] = (0.5, 0.5),
) -> Clip:
    """Read the frames of a video that a model wants, resized, cropped and normalised.

    Args:
        path: a local video file; a folder of images; a template of image files such as ``frames/img_%05d.jpg``;
            or a tensor file (.pt, .npy, .safetensors) of RGB frames (t, h, w, 3), uint8 or floats from 0 to
            1.
        frames: number of frames t. A shorter video repeats frames and says so.
        sampling: "uniform" or "dense", by frame number (see `lrp3d.sampling`); `Clip.times` has the seconds.
        stride: distance between frames, for dense sampling.
        size: side of the square cut from the centre, in pixels; None keeps the whole frame.
        short_side: length in pixels to which the shorter side is resized first; None keeps it.
        mean: subtracted from each channel, of pixels from 0 to 1; one number, or one per channel.
        std: by which each channel is then divided; one number, or one per channel.
        template: name of the images in a folder, such as ``img_%05d.jpg`` or ``img_{:05}.jpg``. Without it, all images
            are read in the order of the numbers in their names; among several series, those named ``img_``.
        train: draw frames at random: one of each segment, or, in dense sampling, the first frame of the clip.
        place: where the square is cut, down and across, from 0 (the first place it can have) to 1 (the last).

    Returns:
        `Clip`. Damaged frames are replaced by the nearest one that decodes. Losses are listed in `Clip.lost` and in a
        `LostFramesWarning`, decisions in `Clip.notes` and in a `ClipWarning`. A picture that stands still in a moving
        video counts as a loss: that is what damage looks like that was there when the video was encoded. Frames are
        rotated as the metadata says.

    Raises:
        VideoError: there is no such file, it is not a video, no frame decodes, frames are smaller than ``size``, or
            the clip does not fit into memory.
        ValueError: the sampling is unknown or has no stride, a size is not positive, the place is outside of the frame,
            mean or std have another number of channels, or a template is given and the path is no folder.
        TypeError: a number is not whole.
        ImportError: PyAV is needed but not installed.

    Source: paper, App. E (uniform sampling, shorter side, crop).

    >>> import os, tempfile, numpy as np, lrp3d
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "clip.npy")
    ...     np.save(path, lrp3d.video.draw_clip(frames=40, size=48).numpy())
    ...     clip = lrp3d.video.read_clip(path, frames=4, short_side=32, size=32)
    >>> clip.tensor.shape, clip.indices.tolist()
    (torch.Size([1, 3, 4, 32, 32]), [5, 15, 25, 35])
    """
    _check_options(frames, sampling, stride, size, short_side)
    check_normalisation(mean=mean, std=std)
    if len(place) != 2 or not all(0 <= coordinate <= 1 for coordinate in place):
        raise ValueError(f"place is two numbers from 0 to 1, not {place}")
    side = size or short_side or 1
    require_clip_memory(frames, side, side)
    path, template = locate(path, template)
    choose = _frame_chooser(frames, sampling, stride, train)
    source = _read_source(path, template, choose, Framing(frames, size, short_side, path.name, place))
    source.losses = source.losses.and_of_all(repeats(frames, _reach(frames, sampling, stride), source.count, path.name))
    _warn_of(source)
    return _clip(source, path.name, mean, std)


def sample_clip(
    video: Any,
    frames: int = 8,
    sampling: str = "uniform",
    *,
    stride: int = 1,
    size: int | None = 224,
    short_side: int | None = 256,
    mean: Colour = IMAGENET_MEAN,
    std: Colour = IMAGENET_STD,
    name: str = "the video",
) -> Clip:
    """Take the frames that a model wants from a video that is in memory, as `read_clip` does from a file.

    Args:
        video: frames (t, h, w, 3) as a tensor or an array, a sequence of Pillow images, or a decoder of another
            library whose items are frames (3, h, w); integers from 0 to 255, or floats from 0 to 1.
        frames: as in `read_clip`.
        sampling: as in `read_clip`.
        stride: as in `read_clip`.
        size: as in `read_clip`.
        short_side: as in `read_clip`.
        mean: as in `read_clip`.
        std: as in `read_clip`.
        name: the name of the video in errors and warnings.

    Returns:
        `Clip`. A shorter video repeats frames: a `LostFramesWarning` and `Clip.lost` say so.

    Raises:
        VideoError: it is not a video, or its frames have another shape or type.
        ValueError: as in `read_clip`.

    >>> import lrp3d
    >>> clip = lrp3d.video.sample_clip(lrp3d.video.draw_clip(frames=40, size=48), frames=4, short_side=32, size=32)
    >>> clip.tensor.shape, clip.indices.tolist()
    (torch.Size([1, 3, 4, 32, 32]), [5, 15, 25, 35])
    """
    _check_options(frames, sampling, stride, size, short_side)
    check_normalisation(mean=mean, std=std)
    framing = Framing(frames, size, short_side, name)
    source = read_in_memory(video, _frame_chooser(frames, sampling, stride), framing)
    source.notes += framing.note()
    source.losses = source.losses.and_of_all(repeats(frames, _reach(frames, sampling, stride), source.count, name))
    _warn_of(source)
    return _clip(source, name, mean, std)


def _warn_of(source: Source) -> None:
    """Warns of decisions that were made, and of frames that are missing."""
    for sentences, kind in ((source.notes, ClipWarning), (source.losses.sentences(), LostFramesWarning)):
        for sentence in sentences:
            warn(printable(sentence), kind)


def _frame_chooser(frames: int, sampling: str, stride: int, train: bool = False) -> Choose:
    """A function that takes the number of frames of a video and returns the indices of a clip's frames."""
    if sampling == "uniform":
        return lambda count: uniform_indices(count, frames, train).tolist()
    return lambda count: dense_indices(count, frames, stride, train).tolist()


def _reach(frames: int, sampling: str, stride: int) -> int:
    """The number of frames from the first to the last frame of a clip, both included."""
    return frames if sampling == "uniform" else (frames - 1) * stride + 1


def read_frames(
    path: str | Path,
    choose: Choose,
    *,
    size: int | None = 224,
    short_side: int | None = 256,
    mean: Colour = IMAGENET_MEAN,
    std: Colour = IMAGENET_STD,
    survey: Survey | None = None,
) -> Clip:
    """Read any frames of a video, as `read_clip` reads those of a clip, but without warnings: see `Clip.lost`.

    Args:
        path: as in `read_clip`.
        choose: takes the number of frames and returns the indices of those to read, at least one.
        size: as in `read_clip`.
        short_side: as in `read_clip`.
        mean: as in `read_clip`.
        std: as in `read_clip`.
        survey: what former reads of the same video file have found of its packets; give the same one to each. Folders
            and saved tensors have no packets, and leave it empty.

    Returns:
        `Clip` of the chosen frames, in the order in which they were chosen.

    Raises:
        VideoError: as in `read_clip`, or the video does not have the chosen frames.
        ValueError: as in `read_clip`, or the survey is of another file.

    >>> import os, tempfile, numpy as np, lrp3d
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "clip.npy")
    ...     np.save(path, lrp3d.video.draw_clip(frames=40, size=32).numpy())
    ...     last = lrp3d.video.read_frames(path, lambda count: [count - 2, count - 1], short_side=32, size=32)
    >>> last.indices.tolist()
    [38, 39]
    """
    _check_options(1, "uniform", 1, size, short_side)
    check_normalisation(mean=mean, std=std)
    path, template = locate(path, None)
    source = _read_source(path, template, choose, Framing(1, size, short_side, path.name), survey)
    require_clip_memory(len(source.images), *source.images[0].shape[:2])
    return _clip(source, path.name, mean, std)


def _read_source(
    path: Path, template: str | None, choose: Choose, framing: Framing, survey: Survey | None = None
) -> Source:
    """Reads the chosen frames from any kind of source."""
    try:
        if path.is_dir():
            source = read_folder(path, template, choose, framing)
        elif extension(path) in TENSOR_SUFFIXES:
            source = read_tensor(path, choose, framing)
        else:
            refuse_other_arrays(path)
            source = read_video(path, choose, framing, survey)
    except OSError as error:  # the disk fails, or the folder may not be read
        raise VideoError(f"{path.name} cannot be read: {error.strerror or error}") from None
    source.notes += framing.note()
    return source


def _clip(source: Source, name: str, mean: Colour, std: Colour) -> Clip:
    """The clip of the frames that were read, normalised."""
    lost, notes = tuple(map(printable, source.losses.sentences())), tuple(map(printable, source.notes))
    pixels = stack_frames(source.images, name)
    return Clip(
        pixels=pixels,
        tensor=normalize(pixels, mean, std),
        indices=torch.tensor(source.indices, device="cpu"),
        times=torch.tensor(source.times, dtype=torch.float64, device="cpu"),
        num_video_frames=source.count,
        fps=source.fps,
        lost=lost,
        notes=notes,
        losses=source.losses,
    )


def locate(path: str | Path, template: str | None) -> tuple[Path, str | None]:
    """An existing file or folder, and the template of a folder's images, which may be the end of the path."""
    check_path(path)
    if not os.fspath(path):
        raise VideoError("a video is a path, and this one is empty")
    place = Path(path)
    if place.name in ("", ".."):  # the path is the current folder, or the one above
        place = path = place.resolve()
    # An existing file is meant itself, even if its name looks like a template.
    if not os.path.exists(place) and template_pattern(place.name) and place.parent.is_dir():
        if template not in (None, place.name):
            raise ValueError(f"the path ends in the template {place.name}, and {template=} is another: give one")
        return place.parent, place.name
    require_place(path)
    if template is not None and not place.is_dir():
        raise ValueError(f"template is for folders of images, and {printable(place.name)} is a file: leave it out")
    return place, template


def prepare_clip(
    pixels: Tensor,
    *,
    size: int | None = None,
    short_side: int | None = None,
    mean: Colour = IMAGENET_MEAN,
    std: Colour = IMAGENET_STD,
    fps: float | None = None,
) -> Clip:
    """Make a clip of frames that are already in memory.

    Args:
        pixels: uint8 RGB (t, h, w, 3).
        size: side of the square cut from the centre, in pixels; None keeps the whole frame.
        short_side: length in pixels to which the shorter side is resized first; None keeps it.
        mean: subtracted from each channel, of pixels from 0 to 1; one number, or one per channel.
        std: by which each channel is then divided; one number, or one per channel.
        fps: frames per second, if known.

    Returns:
        `Clip` of all the frames.

    Raises:
        VideoError: pixels have another shape or type, or are smaller than ``size``.
        ValueError: as in `read_clip`, or ``fps`` is no positive number.

    >>> import lrp3d
    >>> lrp3d.video.prepare_clip(lrp3d.video.draw_clip(frames=4, size=32)).tensor.shape
    torch.Size([1, 3, 4, 32, 32])
    """
    if pixels.dtype != torch.uint8 or pixels.ndim != 4 or pixels.shape[-1] != 3 or 0 in pixels.shape:
        raise VideoError(f"pixels are uint8 (t, h, w, 3), not {pixels.dtype} {tuple(pixels.shape)}")
    _check_options(len(pixels), "uniform", 1, size, short_side)
    check_normalisation(mean=mean, std=std)
    if fps is not None and not 0 <= fps < math.inf:  # 0 is how some libraries say that they do not know
        raise ValueError(f"fps is a positive number, not {fps}")
    framing = Framing(len(pixels), size, short_side, "the clip")
    cropped = stack_frames([framing(image) for image in pixels.numpy(force=True)], "the clip")
    number = torch.arange(len(pixels), device="cpu")
    times = number.double() / fps if fps else torch.full((len(pixels),), torch.nan, dtype=torch.double, device="cpu")
    return Clip(cropped, normalize(cropped, mean, std), number, times, len(pixels), fps)


def _check_options(frames: int, sampling: str, stride: int, size: int | None, short_side: int | None) -> None:
    check_sampling(sampling, stride)
    check_counts(frames=frames, size=size, short_side=short_side)
    if size is not None and short_side is not None and size > short_side:
        raise ValueError(f"a square of {size} pixels does not fit a shorter side of {short_side}")
