"""PyAV: imported when it is needed, and its frames as arrays."""

from __future__ import annotations

import math
from typing import Any

import numpy as np


def import_av() -> Any:
    """The module; raises ImportError naming the extra where it is not installed."""
    try:
        import av
    except ImportError:
        raise ImportError('reading videos and images needs PyAV: pip install "lrp3d[video]"') from None
    return av


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
