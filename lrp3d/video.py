"""From a video file, a folder of frames or a tensor file to a clip that a model can take.

Decoding is PyAV's (``pip install "lrp3d[video]"``) and touches only the frames that are needed. Resizing is
torch's, bilinear with antialiasing, whatever the source: it gives what Pillow gives, with which most models
were trained, and does not depend on the FFmpeg that PyAV was built with.

Letters: ``t h w`` frames, height and width of a clip; pixels are uint8 RGB (t, h, w, 3).
"""

from __future__ import annotations

import io
import math
import os
import re
import warnings
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from lrp3d.sampling import dense_indices, uniform_indices

__all__ = ["Clip", "LostFramesWarning", "VideoError", "draw_clip", "prepare_clip", "read_clip"]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm"}
TENSOR_SUFFIXES = {".pt", ".pth", ".npy", ".safetensors"}


class VideoError(ValueError):
    """A source from which no clip can be read; the message says why in one sentence."""


class LostFramesWarning(UserWarning):
    """A clip was read, but not all of what was asked for; `Clip.lost` says what is missing."""


@dataclass(frozen=True)
class Clip:
    """Frames of a video, as they are seen and as a model takes them."""

    pixels: Tensor
    """uint8 RGB (t, h, w, 3), after resizing and cropping."""
    tensor: Tensor
    """float32 (1, 3, t, h, w), normalised."""
    indices: Tensor
    """Number of each frame in the video, from 0, int64 (t,); one that stands in for another has its own."""
    times: Tensor
    """When each frame is shown, in seconds, float64 (t,); NaN where the source does not say."""
    num_video_frames: int
    """How many frames the source holds."""
    fps: float | None = None
    """Frames per second on average; None where the source does not say."""
    lost: tuple[str, ...] = ()
    """What is missing or damaged, a sentence each; empty where nothing is."""


def read_clip(
    path: str | Path,
    frames: int = 8,
    sampling: str = "uniform",
    *,
    stride: int = 1,
    size: int | None = 224,
    short_side: int | None = 256,
    mean: Sequence[float] = IMAGENET_MEAN,
    std: Sequence[float] = IMAGENET_STD,
    template: str | None = None,
) -> Clip:
    """Read the frames of a video that a model wants, resized, cropped and normalised.

    Args:
        path: a video file; a folder of images; a template of image files such as ``frames/img_%05d.jpg``;
            or a tensor file (.pt, .npy, .safetensors) of RGB frames (t, h, w, 3), uint8 or floats from 0 to
            1.
        frames: number of frames t. A shorter video repeats frames and says so.
        sampling: "uniform" or "dense", by frame number (see `lrp3d.sampling`); `Clip.times` tells the
        seconds.
        stride: distance between frames, for dense sampling.
        size: side of the square cut from the centre, in pixels; None keeps the whole frame.
        short_side: length in pixels to which the shorter side is resized first; None keeps it.
        mean: subtracted from each channel, of pixels from 0 to 1.
        std: by which each channel is divided then.
        template: name of the images in a folder, such as ``img_%05d.jpg`` or ``img_{:05}.jpg``; without it,
            all images in the order of the numbers in their names.

    Returns:
        `Clip`. Damaged frames are replaced by the nearest one that decodes; what was lost is in `Clip.lost`
        and in a `LostFramesWarning`. A picture that stands still in a moving video is said too: that is how
        damage looks which was encoded with the video. Rotation metadata is obeyed.

    Raises:
        VideoError: nothing there, nothing in it that is a video, no frame that decodes, frames that are smaller
            than ``size``, or more than memory holds.
        ValueError: an unknown sampling, or sizes that are not positive.
        ImportError: PyAV is needed and not installed.

    Source: paper, App. E (uniform sampling, shorter side, crop).

    >>> import os, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "clip.npy")
    ...     np.save(path, draw_clip(frames=40, size=48).numpy())
    ...     clip = read_clip(path, frames=4, short_side=32, size=32)
    >>> clip.tensor.shape, clip.indices.tolist()
    (torch.Size([1, 3, 4, 32, 32]), [5, 15, 25, 35])
    """
    _check_options(frames, sampling, stride, size, short_side)
    _check_memory(frames, size or short_side or 1)
    path = Path(path)
    # A file on the disk is that file, even if its name looks like a template.
    if not path.exists() and _template_pattern(path.name):
        path, template = path.parent, path.name
    if not path.exists():
        raise VideoError(f"there is no file or folder {path}")

    def choose(count: int) -> list[int]:
        if sampling == "uniform":
            return uniform_indices(count, frames).tolist()
        return dense_indices(count, frames, stride).tolist()

    if path.is_dir():
        source = _read_folder(path, template, choose)
    elif path.suffix.lower() in TENSOR_SUFFIXES:
        source = _read_tensor(path, choose)
    else:
        source = _read_video(path, choose)
    if source.count < frames:
        source.lost.append(f"{path.name} has {source.count} frames and {frames} were asked for: frames repeat")
    for sentence in source.lost:
        warnings.warn(sentence, LostFramesWarning, stacklevel=2)
    pixels = _resize_and_crop(source.images, size, short_side, path.name)
    return Clip(
        pixels=pixels,
        tensor=_normalize(pixels, mean, std),
        indices=torch.tensor(source.indices),
        times=torch.tensor(source.times, dtype=torch.float64),
        num_video_frames=source.count,
        fps=source.fps,
        lost=tuple(source.lost),
    )


def _check_options(frames: int, sampling: str, stride: int, size: int | None, short_side: int | None) -> None:
    if sampling not in ("uniform", "dense"):
        raise ValueError(f'sampling is "uniform" or "dense", not {sampling!r}')
    numbers = {"frames": frames, "stride": stride, "size": size, "short_side": short_side}
    for name, number in numbers.items():
        if number is not None and number < 1:
            raise ValueError(f"{name} is at least 1, not {number}")
    if size is not None and short_side is not None and size > short_side:
        raise ValueError(f"a square of {size} pixels does not fit a shorter side of {short_side}")


def _check_memory(frames: int, side: int) -> None:
    """Refuse what cannot be held: the clip's pixels, and three times as many floats while they are normalised."""
    needed = frames * side**2 * 3 * (1 + 3 * 4)
    try:
        there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # not every system says
        return
    if needed > there:
        raise VideoError(
            f"{frames} frames of {side} x {side} pixels take {needed / 2**30:,.0f} GiB to read, and this machine has "
            f"{there / 2**30:,.0f}: ask for fewer frames"
        )


def prepare_clip(
    pixels: Tensor,
    *,
    size: int | None = None,
    short_side: int | None = None,
    mean: Sequence[float] = IMAGENET_MEAN,
    std: Sequence[float] = IMAGENET_STD,
    fps: float | None = None,
) -> Clip:
    """Make a clip of frames that are in memory already.

    Args:
        pixels: uint8 RGB (t, h, w, 3).
        size: side of the square cut from the centre, in pixels; None keeps the whole frame.
        short_side: length in pixels to which the shorter side is resized first; None keeps it.
        mean: subtracted from each channel, of pixels from 0 to 1.
        std: by which each channel is divided then.
        fps: frames per second, if known.

    Returns:
        `Clip` of all the frames.

    Raises:
        VideoError: pixels of another shape or type, or smaller than ``size``.

    >>> prepare_clip(draw_clip(frames=4, size=32)).tensor.shape
    torch.Size([1, 3, 4, 32, 32])
    """
    if pixels.dtype != torch.uint8 or pixels.ndim != 4 or pixels.shape[-1] != 3 or 0 in pixels.shape:
        raise VideoError(f"pixels are uint8 (t, h, w, 3), not {pixels.dtype} {tuple(pixels.shape)}")
    _check_options(len(pixels), "uniform", 1, size, short_side)
    cropped = _resize_and_crop(list(pixels.numpy(force=True)), size, short_side, "the clip")
    number = torch.arange(len(pixels))
    times = number / fps if fps else torch.full((len(pixels),), torch.nan)
    return Clip(cropped, _normalize(cropped, mean, std), number, times.double(), len(pixels), fps)


def _resize_and_crop(images: list[np.ndarray], size: int | None, short_side: int | None, name: str) -> Tensor:
    """One frame at a time: a video may change its resolution on the way."""
    done: dict[int, Tensor] = {}  # frames of a short video repeat
    for image in images:
        if id(image) not in done:
            done[id(image)] = _crop(_resize(torch.from_numpy(np.ascontiguousarray(image)), short_side), size)
    frames = [done[id(image)] for image in images]
    shapes = {tuple(frame.shape[:2]) for frame in frames}
    if size is not None and min(min(shape) for shape in shapes) < size:
        smallest = min(shapes)
        raise VideoError(f"{name} has frames of {smallest[1]} x {smallest[0]} pixels, less than the {size} asked for")
    if len(shapes) > 1:
        raise VideoError(f"{name} has frames of different sizes: give a size to crop them to")
    return torch.stack(frames)


def _resize(image: Tensor, short_side: int | None) -> Tensor:
    """Image (h, w, 3) with the given shorter side and the same proportions."""
    height, width = image.shape[:2]
    if short_side is None or min(height, width) == short_side:
        return image
    shape = [max(1, side * short_side // min(height, width)) for side in (height, width)]
    planes = image.permute(2, 0, 1).unsqueeze(0)
    resized = F.interpolate(planes, shape, mode="bilinear", align_corners=False, antialias=True)
    return resized[0].permute(1, 2, 0)


def _crop(image: Tensor, size: int | None) -> Tensor:
    if size is None:
        return image
    top, left = (max(0, (side - size) // 2) for side in image.shape[:2])
    return image[top : top + size, left : left + size]


def _normalize(pixels: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    scaled = pixels.float() / 255
    return ((scaled - torch.tensor(mean)) / torch.tensor(std)).permute(3, 0, 1, 2).unsqueeze(0).contiguous()


Choose = Callable[[int], list[int]]


@dataclass
class _Source:
    """What every kind of source gives: the chosen images (h, w, 3) and what is known about them."""

    images: list[np.ndarray]
    indices: list[int]
    count: int
    times: list[float]
    fps: float | None = None
    lost: list[str] = field(default_factory=list)


def _stand_ins(asked: list[int], shown: list[int], name: str) -> list[str]:
    """The sentence about frames that had to be replaced."""
    pairs = sorted({(a, s) for a, s in zip(asked, shown, strict=True) if a != s})
    if not pairs:
        return []
    told = ", ".join(f"{a} by {s}" for a, s in pairs[:8]) + (", ..." if len(pairs) > 8 else "")
    return [f"{len(pairs)} of the frames asked for do not decode in {name} and were replaced: {told}"]


# Tensor files


def _read_tensor(path: Path, choose: Choose) -> _Source:
    try:
        stored = _load_tensor(path)
    except VideoError:
        raise
    except Exception as error:  # Each of the three formats has errors of its own.
        raise VideoError(f"{path.name} cannot be read as a tensor: {_first_line(error)}") from None
    if stored.ndim != 4 or stored.shape[-1] != 3 or 0 in stored.shape:
        raise VideoError(f"{path.name} holds {tuple(stored.shape)}, and frames are (t, h, w, 3) with t >= 1")
    indices = choose(len(stored))
    picked = np.asarray(stored[indices])
    if picked.dtype != np.uint8:
        picked = _float_pixels(picked, path.name)
    return _Source(list(picked), indices, len(stored), [math.nan] * len(indices))


def _load_tensor(path: Path) -> np.ndarray:
    """The one array in a file; nothing in it is executed."""
    if path.suffix.lower() == ".npy":
        return np.load(path, mmap_mode="r", allow_pickle=False)
    if path.suffix.lower() == ".safetensors":
        from safetensors.torch import load_file

        stored: Any = load_file(path)
    else:
        stored = torch.load(path, map_location="cpu", weights_only=True)
    if isinstance(stored, dict):
        tensors = {key: value for key, value in stored.items() if isinstance(value, Tensor)}
        if len(tensors) != 1:
            raise VideoError(f"{path.name} holds {len(tensors)} tensors, and a clip is one: {', '.join(tensors)}")
        (stored,) = tensors.values()
    if not isinstance(stored, Tensor):
        raise VideoError(f"{path.name} holds a {type(stored).__name__}, not a tensor")
    return (stored if stored.dtype == torch.uint8 else stored.float()).numpy(force=True)


def _float_pixels(values: np.ndarray, name: str) -> np.ndarray:
    if values.dtype.kind != "f" or not (values.min() >= 0 and values.max() <= 1):
        raise VideoError(
            f"{name} holds {values.dtype} from {values.min():g} to {values.max():g}: pixels are uint8, or "
            "floats from 0 to 1 that are not normalised yet"
        )
    return np.rint(values * 255).astype(np.uint8)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


# Folders of images


def _template_pattern(template: str) -> re.Pattern | None:
    """What ``img_%05d.jpg`` or ``img_{:05}.jpg`` matches; None for a name without a number."""
    parts = re.split(r"%0?(\d*)d|\{:0?(\d*)d?\}", template)
    if len(parts) != 4:
        return None
    before, percent, brace, after = parts
    digits = percent or brace or "1"
    return re.compile(f"{re.escape(before)}(\\d{{{digits},}}){re.escape(after)}")


def _read_folder(folder: Path, template: str | None, choose: Choose) -> _Source:
    av = _import_av()
    files, lost = _list_images(folder, template)
    asked = choose(len(files))
    read: dict[int, np.ndarray | None] = {}

    def image(index: int) -> np.ndarray | None:
        if index not in read:
            read[index] = _read_image(av, files[index])
        return read[index]

    shown = []
    for wanted in asked:
        nearest = sorted(range(len(files)), key=lambda index: (abs(index - wanted), index))
        index = next((index for index in nearest if image(index) is not None), None)
        if index is None:
            raise VideoError(f"no image in {folder.name} decodes")
        shown.append(index)
    images = [found for index in shown if (found := image(index)) is not None]
    lost += _stand_ins(asked, shown, folder.name)
    return _Source(images, shown, len(files), [math.nan] * len(shown), lost=lost)


def _list_images(folder: Path, template: str | None) -> tuple[list[Path], list[str]]:
    """The frames of a folder in order, and the sentence about numbers that are missing."""
    if template is None:
        files = [file for file in folder.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES]
        if not files:
            raise VideoError(f"there are no images in {folder}")
        by_number = [[int(part) if part.isdigit() else part for part in re.split(r"(\d+)", f.name)] for f in files]
        return [file for _, file in sorted(zip(by_number, files, strict=True))], []
    pattern = _template_pattern(template)
    if pattern is None:
        raise VideoError(f"{template} names no frame number: a template is like img_%05d.jpg or img_{{:05}}.jpg")
    matches = [(match, file) for file in folder.iterdir() if (match := pattern.fullmatch(file.name))]
    if not matches:
        raise VideoError(f"there are no images {template} in {folder}")
    numbered = {int(match.group(1)): file for match, file in matches}
    missing = sorted(set(range(min(numbered), max(numbered))) - set(numbered))
    told = ", ".join(map(str, missing[:8])) + (", ..." if len(missing) > 8 else "")
    lost = [f"{folder.name} has no frame {told}: its neighbours follow each other"] if missing else []
    return [numbered[number] for number in sorted(numbered)], lost


def _read_image(av: Any, file: Path) -> np.ndarray | None:
    """The image, or None if it does not decode."""
    try:
        # From memory, so that a % in a name is not a template to FFmpeg.
        with av.open(io.BytesIO(file.read_bytes()), metadata_errors="ignore") as container:
            stream = container.streams.video[0]
            stream.codec_context.options = {"err_detect": "explode"}
            frame = next(iter(container.decode(stream)), None)
            return None if frame is None or frame.is_corrupt else _to_array(frame)
    except (av.error.FFmpegError, OSError, ValueError, IndexError):
        return None


# Video files


def _import_av() -> Any:
    try:
        import av
    except ImportError:
        raise ImportError('reading videos and images needs PyAV: pip install "lrp3d[video]"') from None
    return av


def _to_array(frame: Any) -> np.ndarray:
    """RGB pixels the way up that the metadata asks for."""
    return np.rot90(frame.to_ndarray(format="rgb24"), round(_rotation(frame) / 90))


def _rotation(frame: Any) -> float:
    """Degrees against the clock by which the frame is to be turned."""
    if hasattr(frame, "rotation"):
        return frame.rotation
    # PyAV before 13 hands over the matrix only, nine integers of which the first two are cosine and sine.
    matrix = frame.side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return 0.0
    cosine, sine = np.frombuffer(bytes(matrix), np.int32)[:2].tolist()
    return -math.degrees(math.atan2(sine, cosine))


@dataclass
class _Timeline:
    """When the frames of a stream are shown, known from its packets alone: nothing is decoded for this."""

    stamps: list[int | None]
    """One for each frame, in the order of presentation, in units of ``unit``."""
    sizes: list[int]
    """How many bytes each frame takes, in the same order."""
    keys: list[int]
    """Those of the key frames, at which decoding can start."""
    unit: Fraction
    reliable: bool
    """Whether a frame can be recognised by its stamp."""

    @property
    def times(self) -> list[float]:
        return [math.nan if stamp is None else float(stamp * self.unit) for stamp in self.stamps]


def _still_frames(sizes: list[int], fps: float) -> np.ndarray:
    """Where half a second takes next to no data, in a video that otherwise moves: bool (frames,).

    Damage that was encoded with the picture is sound to a decoder. What gives it away is that the recording
    stood still until it recovered.
    """
    half = max(2, round(fps / 4))
    padded = np.pad(np.asarray(sizes), half, mode="edge")
    around = np.median(np.lib.stride_tricks.sliding_window_view(padded, 2 * half + 1), axis=-1)
    return around < 0.02 * np.median(sizes)


@dataclass
class _Decoded:
    """A frame that decoded, its number, and whether damage precedes it since the last key frame."""

    index: int
    frame: Any
    after_damage: bool


def _read_video(path: Path, choose: Choose) -> _Source:
    av = _import_av()
    with _opened(av, path) as stream:
        fps = stream.average_rate
        announced = stream.frames
        timeline = _timeline(av, stream)
        if not timeline.stamps:
            raise VideoError(f"{path.name} has a video stream without a single frame")
        asked = choose(len(timeline.stamps))
        found = _decode_by_seeking(av, stream, timeline, asked) if timeline.reliable else None
    if found is None:
        with _opened(av, path) as stream:
            found = _decode_from_the_start(av, stream, timeline, asked)
    if not found:
        raise VideoError(f"no frame of {path.name} decodes")
    picked = [found[index] for index in asked]
    shown = [decoded.index for decoded in picked]
    lost = _stand_ins(asked, shown, path.name)
    if announced > len(timeline.stamps):
        lost.append(f"{path.name} announces {announced} frames and holds {len(timeline.stamps)}")
    still = _still_frames(timeline.sizes, float(fps or 25))
    frozen = [index for index in sorted(set(shown)) if still[index]]
    if frozen:
        told = ", ".join(map(str, frozen))
        lost.append(f"the picture of {path.name} stands still around frames {told}, as after damage in a recording")
    damaged = sorted({decoded.index for decoded in picked if decoded.after_damage})
    if damaged:
        lost.append(f"frames {', '.join(map(str, damaged))} of {path.name} follow damaged data and may be wrong")
    times = timeline.times
    return _Source(
        images=_arrays(av, picked, path.name),
        indices=shown,
        count=len(timeline.stamps),
        times=[times[index] for index in shown],
        fps=float(fps) if fps else None,
        lost=lost,
    )


def _arrays(av: Any, picked: list[_Decoded], name: str) -> list[np.ndarray]:
    try:
        return [_to_array(decoded.frame) for decoded in picked]
    except (av.error.FFmpegError, ValueError) as error:
        raise VideoError(f"the frames of {name} cannot be converted to RGB: {_first_line(error)}") from None


@contextmanager
def _opened(av: Any, path: Path) -> Iterator[Any]:
    """The video stream of an open file."""
    try:
        container = av.open(str(path), metadata_errors="ignore")
    except (av.error.FFmpegError, OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or _first_line(error)
        raise VideoError(f"{path.name} cannot be opened as a video: {reason}") from None
    with container:
        streams = [stream for stream in container.streams.video if not _is_cover(stream)]
        if not streams:
            kinds = ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"
            raise VideoError(f"{path.name} has no video stream (it holds {kinds})")
        if streams[0].codec_context is None:
            raise VideoError(f"{path.name} is in a video format that this build of PyAV cannot decode")
        yield streams[0]


def _is_cover(stream: Any) -> bool:
    """Whether a stream is the picture on a piece of music."""
    return "attached_pic" in str(getattr(stream, "disposition", ""))


def _packets(av: Any, stream: Any) -> Iterator[Any]:
    """The packets of a stream, up to where the file breaks off."""
    packets = stream.container.demux(stream)
    while True:
        try:
            packet = next(packets)
        except (StopIteration, av.error.FFmpegError):
            return
        yield packet


def _timeline(av: Any, stream: Any) -> _Timeline:
    shown = [packet for packet in _packets(av, stream) if packet.size and not packet.is_discard]
    stamps = [packet.pts for packet in shown]
    known = [stamp for stamp in stamps if stamp is not None]
    # AVI stores the order of decoding only, so that with B-frames the stamps are a guess.
    guessed = "avi" in stream.container.format.name and getattr(stream.codec_context, "has_b_frames", True)
    complete = len(set(known)) == len(stamps)
    keys = sorted(packet.pts for packet in shown if packet.is_keyframe and packet.pts is not None)
    if len(known) == len(stamps):
        shown.sort(key=lambda packet: packet.pts)
    return _Timeline(
        stamps=[packet.pts for packet in shown],
        sizes=[packet.size for packet in shown],
        keys=keys,
        unit=stream.time_base,
        reliable=complete and not guessed and bool(keys),
    )


def _decoded_frames(av: Any, stream: Any) -> Iterator[tuple[Any | None, bool]]:
    """The frames in the order of presentation, and whether damage precedes each since the last key frame.

    A frame that is lost is None. Frames that refer to it do decode, with wrong pixels where they copy from
    it.
    """
    damaged = False
    for packet in _packets(av, stream):
        try:
            frames = packet.decode()
        except av.error.FFmpegError:
            damaged = True
            yield None, damaged
            continue
        for frame in frames:
            damaged = frame.is_corrupt or (damaged and not frame.key_frame)
            yield (None if frame.is_corrupt else frame), damaged


def _decode_by_seeking(av: Any, stream: Any, timeline: _Timeline, asked: list[int]) -> dict[int, _Decoded] | None:
    """The frames asked for, each from the key frame before it; None if any is lost or out of order."""
    found: dict[int, _Decoded] = {}
    frames: Iterator[tuple[Any, bool]] = iter(())
    position: float = -math.inf
    for index in sorted(set(asked)):
        stamp = timeline.stamps[index]
        assert stamp is not None  # A reliable timeline knows them all.
        key = timeline.keys[max(0, bisect_right(timeline.keys, stamp) - 1)]
        if key > position:
            try:
                stream.container.seek(key, stream=stream)
            except av.error.FFmpegError:
                return None
            frames, position = _decoded_frames(av, stream), -math.inf
        hit = _frame_at(frames, position, stamp)
        if hit is None:
            return None
        found[index], position = _Decoded(index, *hit), stamp
    return found


def _frame_at(frames: Iterator[tuple[Any, bool]], position: float, stamp: int) -> tuple[Any, bool] | None:
    """Decode on from ``position`` to the frame of this stamp; None if it does not come, or not in order."""
    for frame, damaged in frames:
        if frame is None:
            continue
        if frame.pts is None or frame.pts <= position:
            return None
        position = frame.pts
        if position >= stamp:
            return (frame, damaged) if position == stamp else None
    return None


def _decode_from_the_start(av: Any, stream: Any, timeline: _Timeline, asked: list[int]) -> dict[int, _Decoded]:
    """For each frame asked for the nearest that decodes; the earlier of two. Empty if none does."""
    nearest: dict[int, _Decoded] = {}
    last = len(timeline.stamps) - 1
    for count, (frame, damaged) in enumerate(_decoded_frames(av, stream)):
        if frame is None:
            continue
        index = count
        if timeline.reliable and frame.pts is not None:
            index = bisect_left(timeline.stamps, frame.pts)
        decoded = _Decoded(min(index, last), frame, damaged)
        for wanted in asked:
            if wanted not in nearest or abs(decoded.index - wanted) < abs(nearest[wanted].index - wanted):
                nearest[wanted] = decoded
        if decoded.index >= max(asked):
            break
    return nearest


# A clip for where there is no video


def draw_clip(frames: int = 16, size: int = 112, seed: int = 0) -> Tensor:
    """Draw a clip of a disc, a square and a ring that move, bounce off the walls and pass over one another.

    Args:
        frames: number of frames t.
        size: height and width in pixels.
        seed: decides colours, places and velocities; the same seed draws the same clip on every machine.

    Returns:
        uint8 RGB (t, h, w, 3).

    Raises:
        ValueError: a number that is not positive.

    >>> draw_clip(frames=4, size=32).shape
    torch.Size([4, 32, 32, 3])
    """
    for name, number in (("frames", frames), ("size", size)):
        if number < 1:
            raise ValueError(f"{name} is at least 1, not {number}")
    generator = torch.Generator().manual_seed(seed)
    axis = (torch.arange(size, dtype=torch.float64) + 0.5) / size
    picture = _background(axis, frames, torch.rand(2, 3, generator=generator, dtype=torch.float64))
    radii = torch.tensor([0.14, 0.11, 0.16], dtype=torch.float64)
    places = _bounce(frames, radii, generator)
    for kind, radius in enumerate(radii):
        hue = torch.rand(3, generator=generator, dtype=torch.float64)
        # The brightest channel full and the darkest empty: a shape stands out from the muted background.
        colour = (hue - hue.min()) / (hue.max() - hue.min()).clamp(min=1e-6)
        x, y = (axis - places[:, kind, dim, None] for dim in range(2))
        cover = _cover(kind, x.unsqueeze(-2), y.unsqueeze(-1), float(radius), size).unsqueeze(-1)
        picture = picture + cover * (colour - picture)
    return (picture * 255).round().to(torch.uint8)


def _background(axis: Tensor, frames: int, corners: Tensor) -> Tensor:
    """A muted slope from one colour to another, (t, h, w, 3)."""
    slope = ((axis.unsqueeze(0) + axis.unsqueeze(1)) / 2).unsqueeze(-1)
    return (0.25 + 0.3 * (corners[0] + slope * (corners[1] - corners[0]))).expand(frames, -1, -1, -1)


def _bounce(frames: int, radii: Tensor, generator: torch.Generator) -> Tensor:
    """Centres (t, shapes, 2) that move straight and are reflected at the walls."""
    start = torch.rand(len(radii), 2, generator=generator, dtype=torch.float64)
    angle = 2 * math.pi * torch.rand(len(radii), generator=generator, dtype=torch.float64)
    heading = torch.stack([angle.cos(), angle.sin()], -1)
    # 1.2 widths in a clip, however many frames it has.
    travelled = start + 1.2 / frames * torch.arange(frames, dtype=torch.float64).view(-1, 1, 1) * heading
    folded = 1 - (travelled % 2 - 1).abs()
    room = radii.unsqueeze(-1)
    return room + folded * (1 - 2 * room)


def _cover(kind: int, x: Tensor, y: Tensor, radius: float, size: int) -> Tensor:
    """How much of each pixel a disc (0), a square (1) or a ring (2) covers, from 0 to 1."""
    if kind == 1:
        inside = radius - torch.maximum(x.abs(), y.abs())
    else:
        distance = (x.square() + y.square()).sqrt()
        inside = radius - distance if kind == 0 else 0.3 * radius - (distance - 0.7 * radius).abs()
    return (inside * size + 0.5).clamp(0, 1)
