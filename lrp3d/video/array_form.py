"""The form that frames have in an array, and what to do with an array of another form."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lrp3d.video.source import VideoError

FORM = "RGB frames (t, h, w, 3) with t >= 1, uint8 from 0 to 255 or floats from 0 to 1"
"""What an array of frames is, for messages."""


def require_frames(shape: Sequence[int], name: str) -> None:
    """Refuse an array that is not frames (t, h, w, 3); the message says which axis to move, add or drop.

    Raises:
        VideoError: the shape is another one.

    >>> try:
    ...     require_frames((3, 20, 64, 64), "clip.npy")
    ... except VideoError as error:
    ...     print(str(error).partition(": ")[2])
    move axis 0 to the end, as numpy.moveaxis(array, 0, -1) does
    """
    shape = tuple(shape)
    if len(shape) == 4 and shape[-1] == 3 and 0 not in shape:
        return
    advice = "" if 0 in shape else _advice_on_shape(shape)
    raise VideoError(f"{name} has the shape {shape}, and frames are (t, h, w, 3) with t >= 1{advice}")


def _advice_on_shape(shape: tuple[int, ...]) -> str:
    if len(shape) == 5:
        return ": leave out the batch axis, as array[0] does" if shape[0] == 1 else ": give the frames of one clip"
    if len(shape) == 3:
        if shape[-1] == 3:
            return ": it is one image, and array[None] is a clip of one frame"
        return ": give grey frames three equal channels, as numpy.stack([array] * 3, -1) does"
    if len(shape) != 4:
        return ""
    if shape[-1] == 4:
        return ": leave out the fourth channel, as array[..., :3] does"
    if shape[-1] == 1:
        return ": give grey frames three equal channels, as array.repeat(3, -1) does in numpy"
    colours = next((axis for axis in (1, 0) if shape[axis] == 3), None)
    return "" if colours is None else f": move axis {colours} to the end, as numpy.moveaxis(array, {colours}, -1) does"


def as_pixels(frame: np.ndarray, name: str) -> np.ndarray:
    """A frame in uint8; raises VideoError for floats beyond 0 to 1 and for other types."""
    return frame if frame.dtype == np.uint8 else _float_pixels(frame, name)


def _float_pixels(values: np.ndarray, name: str) -> np.ndarray:
    kind = values.dtype.kind
    expected = "pixels are uint8 from 0 to 255, or floats from 0 to 1 that are not normalised yet"
    if kind not in "fiub":
        raise VideoError(f"{name} holds {values.dtype}: {expected}")
    low, high = values.min(), values.max()
    if kind != "f" or not (low >= 0 and high <= 1):
        raise VideoError(f"{name} holds {values.dtype} from {low:g} to {high:g}: {expected}{_advice(kind, low, high)}")
    pixels: np.ndarray = np.rint(values * 255).astype(np.uint8)
    return pixels


def _advice(kind: str, low: float, high: float) -> str:
    if kind == "b":
        return "; multiply them by 255 and save them as uint8"
    if not (np.isfinite(low) and np.isfinite(high)):
        return "; some values are no finite numbers"
    if low < 0:
        return "; save them as they are before a mean is subtracted" if kind == "f" else ""
    if high <= 255:
        return "; save them as uint8" if kind != "f" else "; divide them by 255, or save them as uint8"
    return ""
