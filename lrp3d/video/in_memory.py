"""Videos that are in memory, or that another library decodes: anything with a length whose items are frames."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from torch import Tensor

from lrp3d.printed import with_article
from lrp3d.video.array_form import as_pixels, require_frames
from lrp3d.video.pixels import Framing
from lrp3d.video.source import Choose, Source, VideoError, chosen_frames, first_line
from lrp3d.video.tensors import as_array


def read_in_memory(video: Any, choose: Choose, framing: Framing) -> Source:
    """The chosen frames of a video in memory or of a decoder; no other frames are read.

    Args:
        video: frames (t, h, w, 3) as a tensor or an array, a sequence of images, or a decoder whose items are
            frames (3, h, w); integers from 0 to 255, or floats from 0 to 1.
        choose: takes the number of frames and returns the indices of those to read.
        framing: makes a frame of the clip from each image.

    Raises:
        VideoError: the video has no length or no frame, or its frames have another shape or type.
    """
    if isinstance(video, (Tensor, np.ndarray)):
        require_frames(video.shape, framing.name)
    try:
        count = len(video)
    except TypeError:
        kind = with_article(type(video).__name__)
        raise VideoError(
            f"{framing.name} is {kind}, and a video is a path, an array (t, h, w, 3), or a sequence of frames"
        ) from None
    if not count:
        raise VideoError(f"{framing.name} has no frame")
    indices = chosen_frames(choose, count, framing.name)
    frames = {index: framing(_frame(video, index, framing.name)) for index in sorted(set(indices))}
    return Source([frames[index] for index in indices], indices, count, [math.nan] * len(indices))


def _frame(video: Any, index: int, name: str) -> np.ndarray:
    """Frame `index`, uint8 (h, w, 3)."""
    try:
        image = video[index]
    except Exception as error:  # a decoder of another library may raise any error
        raise VideoError(f"frame {index} of {name} cannot be read: {first_line(error)}") from None
    if hasattr(image, "convert"):  # an image of Pillow, in any mode
        image = image.convert("RGB")
    array = as_array(image) if isinstance(image, Tensor) else np.asarray(image)
    if array.ndim == 3 and array.shape[0] == 3 and array.shape[-1] != 3:  # (3, h, w), as decoders give them
        array = array.transpose(1, 2, 0)
    if array.ndim != 3 or array.shape[-1] != 3 or 0 in array.shape:
        raise VideoError(f"frame {index} of {name} has shape {array.shape}, and frames are (h, w, 3)")
    # Some storages widen bytes to larger integers.
    if array.dtype.kind in "iu" and array.min() >= 0 and array.max() <= 255:
        array = array.astype(np.uint8)
    return as_pixels(array, name)
