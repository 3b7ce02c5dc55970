"""Writes a clip and its relevance as a moving picture."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lrp3d.extras import missing
from lrp3d.figures.colours import import_matplotlib, theme
from lrp3d.figures.folding import folded
from lrp3d.figures.painting import overlay
from lrp3d.figures.values import ArrayLike, array, pixels_of
from lrp3d.filenames import extension
from lrp3d.files import replacing

LINE = 16  # pixels of a line of a caption


def animation(
    pixels: ArrayLike,
    relevance: ArrayLike,
    path: str | Path,
    *,
    fps: float = 4.0,
    smooth: float | None = None,
    quantile: float = 0.995,
    min_height: int = 160,
    captions: Sequence[str] = (),
    curve: ArrayLike | None = None,
) -> Path:
    """Write the clip beside the clip painted with its relevance, as a moving picture.

    Args:
        pixels: uint8 RGB (t, h, w, 3).
        relevance: per pixel, as `overlay` takes it.
        path: a .gif or .mp4 file (MP4 needs PyAV).
        fps: frames per second.
        smooth: as in `overlay`.
        quantile: as in `overlay`.
        min_height: smaller clips are enlarged by a whole number until they are as tall, in pixels.
        captions: text below each frame, such as its number and logit.
        curve: a number (t,) for each frame, such as its relevance, drawn as bars below; the bar of the shown frame is
            marked.

    Returns:
        The path. The file appears when it is complete, or not at all.

    Raises:
        ValueError: the path has another ending, shapes do not fit each other, or ``fps`` is not positive.
        ImportError: matplotlib, or PyAV for MP4, is not installed.

    >>> import tempfile, torch, lrp3d
    >>> pixels = lrp3d.video.draw_clip(frames=3, size=8)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     written = lrp3d.figures.animation(pixels, torch.rand(3, 8, 8), f"{folder}/clip.gif")
    ...     written.name, written.read_bytes()[:6]
    ('clip.gif', b'GIF89a')
    """
    path = Path(path)
    writers = {".gif": _gif, ".mp4": _mp4}
    if extension(path) not in writers:
        raise ValueError(f"an animation is a .gif or .mp4 file, not {path.name}")
    if not fps > 0:
        raise ValueError(f"fps is positive, not {fps}")
    images = pixels_of(pixels)
    painted = overlay(images, relevance, smooth=smooth, quantile=quantile)
    gap = np.full((*images.shape[:2], max(2, images.shape[2] // 40), 3), _bytes_of(theme().paper), np.uint8)
    both = np.concatenate([images, gap, painted], axis=2)
    zoom = math.ceil(min_height / both.shape[1])
    both = both.repeat(zoom, 1).repeat(zoom, 2)
    if captions or curve is not None:
        heights = None if curve is None else array(curve).ravel()
        if len(captions) not in (0, len(images)) or (heights is not None and len(heights) != len(images)):
            raise ValueError(f"captions and curve need one entry for each of {len(images)} frames")
        both = np.concatenate([both, _footer(both.shape[2], len(images), captions, heights)], axis=1)
    content = writers[extension(path)](both, fps)
    with replacing(path) as unfinished:
        unfinished.write_bytes(content)
    return path


def _footer(width: int, count: int, captions: Sequence[str], heights: np.ndarray | None) -> np.ndarray:
    """Draws the panel below every frame: its caption, and the bars of all frames with its own in another colour."""
    import_matplotlib()
    from PIL import Image, ImageDraw  # matplotlib depends on it

    paper = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    captions = [folded(caption, width - 6, 3, paper.textlength) for caption in captions]  # a narrow clip cuts no words
    line = LINE * max((1 + caption.count("\n") for caption in captions), default=0)
    bar_height = 0 if heights is None else 40
    panels = np.empty((count, line + bar_height, width, 3), np.uint8)
    strongest = 0.0 if heights is None else float(np.nan_to_num(np.abs(heights)).max())
    for number in range(count):
        image = Image.new("RGB", (width, line + bar_height), theme().paper)
        draw = ImageDraw.Draw(image)
        if captions:
            for place, words in enumerate(captions[number].split("\n")):
                draw.text((3, 2 + LINE * place), words, fill=theme().ink)
        for frame in range(count if strongest else 0):
            assert heights is not None
            share = float(np.nan_to_num(abs(heights[frame]))) / strongest
            left, right = frame * width / count, max((frame + 1) * width / count - 2, frame * width / count)
            colour = theme().mark if frame == number else theme().inside
            draw.rectangle(
                (left, line + bar_height - 1 - share * (bar_height - 5), right, line + bar_height - 1), fill=colour
            )
        panels[number] = np.asarray(image)
    return panels


def _bytes_of(colour: str) -> list[int]:
    """RGB of a colour by its name or number, from 0 to 255."""
    from matplotlib.colors import to_rgb

    return [round(255 * value) for value in to_rgb(colour)]


def _gif(frames: np.ndarray, fps: float) -> bytes:
    import_matplotlib()
    from PIL import Image  # matplotlib depends on it

    images = [Image.fromarray(frame) for frame in frames]
    buffer = io.BytesIO()
    images[0].save(buffer, "GIF", save_all=True, append_images=images[1:], duration=round(1000 / fps), loop=0)
    return buffer.getvalue()


def _mp4(frames: np.ndarray, fps: float) -> bytes:
    try:
        import av
    except ImportError:
        raise missing("av", "writing MP4") from None
    from fractions import Fraction

    buffer = io.BytesIO()
    # MP4 stores colours for blocks of 2 x 2 pixels, so that an odd side needs one more row.
    frames = np.pad(frames, ((0, 0), (0, frames.shape[1] % 2), (0, frames.shape[2] % 2), (0, 0)), mode="edge")
    with av.open(buffer, "w", format="mp4") as container:
        codec = "libx264" if "libx264" in av.codecs_available else "mpeg4"
        stream: Any = container.add_stream(codec, rate=Fraction(fps).limit_denominator(1000))
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))
    return buffer.getvalue()
