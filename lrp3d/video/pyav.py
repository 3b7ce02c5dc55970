"""PyAV: imported when it is needed, and its frames as arrays."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from lrp3d.extras import missing


def import_av() -> Any:
    """The module; raises ImportError naming the command that installs it where it is not there."""
    try:
        import av
    except ImportError:
        raise missing("av", "reading videos and images") from None
    return av


def open_input(source: Any, **options: Any) -> Any:
    """An open container; titles and tags that are no UTF-8 do not keep it from being read, whatever the PyAV."""
    av = import_av()
    try:
        return av.open(source, metadata_errors="ignore", **options)
    except TypeError as error:
        if "metadata_errors" not in str(error):
            raise
        return av.open(source, **options)  # PyAV from 19 on has no such argument: it never fails for them


def to_array(frame: Any) -> np.ndarray:
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
