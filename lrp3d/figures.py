"""Pictures of an explanation. Each function takes plain tensors or arrays and returns a matplotlib Figure.

Matplotlib (``pip install "lrp3d[plot]"``) is imported when a picture is drawn, its global state is left
alone and nothing is shown. Relevance that has both signs gets a diverging map centred on 0, all else a
sequential one. In both lighter means more, so that a picture reads the same in grey.

Letters: ``n`` frames with a logit, ``t h w`` frames, height and width of the clip; pixels are uint8 RGB (t,
h, w, 3).
"""

from __future__ import annotations

import io
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure

__all__ = ["animation", "atr_windows", "clip_summary", "matrix_heatmap", "overlay", "overlay_strip"]

ArrayLike: TypeAlias = "Tensor | np.ndarray | Sequence[Any]"

SEQUENTIAL = "magma"
LOGITS = "cividis"
# Blue against, yellow for; lightness grows all the way from one end to the other.
DIVERGING = ("#06124a", "#2f58a8", "#999999", "#f0b541", "#fff8c4")
WINDOW = "#1f4e79"
SMALL, NORMAL, LARGE = 7, 8.5, 10  # points


def matrix_heatmap(
    matrix: ArrayLike,
    *,
    ax: Axes | None = None,
    title: str | None = None,
    footnote: str | None = None,
    label: str = "relevance (logit)",
    windows: tuple[ArrayLike, ArrayLike] | None = None,
) -> Figure:
    """Draw a temporal relevance matrix: how much each frame contributes to the logit of each frame.

    Args:
        matrix: relevance (n, t), or (1, n, t).
        ax: axes to draw into; by default those of a new figure.
        title: what stands above.
        footnote: what stands below, such as "weights are random".
        label: what the colours mean, with its unit.
        windows: first and last frame (n,), (n,) of each row's ATR window, to be framed.

    Returns:
        The figure.

    Raises:
        ValueError: a matrix of another shape.
        ImportError: matplotlib is not installed.

    Source: paper, Fig. 2.

    >>> figure = matrix_heatmap(torch.eye(4), title="a frame sees itself", footnote="drawn by hand")
    >>> [axes.get_ylabel() for axes in figure.axes]
    ['explained frame i', 'relevance (logit)']
    """
    values = _matrix(matrix)
    figure, axes = _canvas(ax, 4.6, 3.9)
    image = axes.imshow(values, interpolation="nearest", **_scale(values))
    _colour_bar(image, label, ax=axes, shrink=0.85)
    _frame_axes(axes, *values.shape)
    if windows is not None:
        _outline(axes, *(_array(bound).ravel() for bound in windows))
    _write(axes, title, footnote)
    if ax is None:
        _fit(figure)
    return figure


def clip_summary(
    pixels: ArrayLike,
    frame_logits: ArrayLike,
    matrix: ArrayLike,
    atr: ArrayLike | None = None,
    *,
    title: str | None = None,
    footnote: str | None = None,
    columns: int | None = None,
    windows: tuple[ArrayLike, ArrayLike] | None = None,
) -> Figure:
    """Draw a clip at a glance: its frames, a colour bar of the logit under each, and the relevance matrix.

    Args:
        pixels: uint8 RGB (t, h, w, 3).
        frame_logits: logits (n,) of the explained class; n divides t, and row i stands for its block of
        frames.
        matrix: relevance (n, t).
        atr: frame ATR (n,) in frames, written beside the logits.
        title: what stands above, such as the class.
        footnote: what stands below, such as "weights are random".
        columns: frames in a row; by default 4, or 8 for more than 16 frames.
        windows: first and last frame of each row's ATR window, to be framed in the matrix.

    Returns:
        The figure.

    Raises:
        ValueError: shapes that do not belong together.
        ImportError: matplotlib is not installed.

    Source: paper, Fig. 16.

    >>> figure = clip_summary(np.zeros((8, 24, 32, 3), np.uint8), torch.rand(8), torch.eye(8), torch.ones(8))
    >>> len(figure.axes)
    4
    """
    _import_matplotlib()
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    images, logits, values = _pixels(pixels), _array(frame_logits).ravel(), _matrix(matrix)
    if len(logits) != len(values) or len(images) % len(logits):
        raise ValueError(f"{len(logits)} logits do not fit {len(images)} frames and a matrix {values.shape}")
    block = len(images) // len(logits)
    columns = min(columns or (4 if len(images) <= 16 else 8), len(images))
    left, strip, right = _summary_axes(images, columns)
    colours = ScalarMappable(Normalize(*_limits(logits)), LOGITS)
    captions = [_caption(number, logits, atr, block) for number in range(len(images))]
    bars = [colours.to_rgba(logits[number // block]) for number in range(len(images))]
    _frame_grid(left, images, captions, columns, bars)
    left.set_xlabel("frame: logit" + ("" if atr is None else " · ATR (frames)"), fontsize=NORMAL)
    _colour_bar(colours, "frame logit", cax=strip, orientation="horizontal")
    matrix_heatmap(values, ax=right, windows=windows)
    _write(left, title, None)
    _write(strip, None, footnote)
    return left.figure.figure


def _summary_axes(images: np.ndarray, columns: int) -> tuple[Axes, Axes, Axes]:
    """Axes of the frames, of the colours under them and of the matrix beside them, laid out in inches.

    Frames and matrix have proportions of their own, so that no layout engine finds this.
    """
    lines = math.ceil(len(images) / columns)
    wide, tall = max(1.1 * columns, 2.4), 1.1 / 1.05 * lines * _pitch(images, True)
    side = min(max(tall, 2.6), 4.4)
    body = max(tall + 0.75, side + 0.35)
    width, height = wide + 1.0 + 1.27 * side + 0.15, 0.4 + body + 0.36
    figure = _figure(width, height)
    figure.set_layout_engine("none")

    def place(x: float, top: float, w: float, h: float) -> Axes:
        return figure.add_axes((x / width, 1 - (top + h) / height, w / width, h / height))

    frames = place(0.1, 0.4, wide, tall)
    strip = place(0.1 + 0.2 * wide, 0.4 + tall + 0.33, 0.6 * wide, 0.11)
    return frames, strip, place(wide + 0.85, 0.4, 1.27 * side, side)


def overlay_strip(
    pixels: ArrayLike,
    relevance: ArrayLike,
    *,
    title: str | None = None,
    footnote: str | None = None,
    columns: int = 8,
    smooth: float = 2.0,
    quantile: float = 0.995,
    label: str = "relevance",
    show_frames: bool = True,
    ax: Axes | None = None,
) -> Figure:
    """Draw a clip's frames with their relevance on top, all to one scale.

    Args:
        pixels: uint8 RGB (t, h, w, 3).
        relevance: per pixel, (t, h, w), (c, t, h, w) or (1, c, t, h, w); colour channels are summed.
        title: what stands above.
        footnote: what stands below, such as "weights are random".
        columns: frames in a row.
        smooth: standard deviation in pixels of the Gaussian that smooths relevance; 0 shows it as it is.
        quantile: the share of absolute relevance values at which the colours end.
        label: what the colours mean.
        show_frames: also draw each frame as it is, above.
        ax: axes to draw into; by default those of a new figure.

    Returns:
        The figure. Under each frame stand its number and its share of the clip's absolute relevance.

    Raises:
        ValueError: shapes that do not belong together.
        ImportError: matplotlib is not installed.

    >>> figure = overlay_strip(np.zeros((8, 24, 32, 3), np.uint8), torch.rand(3, 8, 24, 32))
    >>> figure.axes[1].get_ylabel()
    'relevance'
    """
    _import_matplotlib()
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    images = _pixels(pixels)
    summed = _pixel_relevance(relevance, images)
    limit = _limit(_smooth(summed, smooth), quantile)
    painted = overlay(images, summed, smooth=smooth, quantile=quantile)
    shares = np.abs(summed).sum((1, 2)) / max(np.abs(summed).sum(), np.finfo(np.float64).tiny)
    columns = min(columns, len(images))
    lines = math.ceil(len(images) / columns)
    tall = 1.15 * images.shape[1] / images.shape[2] * (1 + show_frames) + 0.26
    figure, axes = _canvas(ax, max(columns * 1.15 + 1.0, 3.6), max(lines * tall + 0.8, 2.0))
    captions = [f"{number} · {100 * share:.0f} %" for number, share in enumerate(shares, 1)]
    if show_frames:
        painted = np.concatenate([images, painted], axis=1)
    _frame_grid(axes, painted, captions, columns)
    below = "frame · share of the clip's relevance"
    axes.set_xlabel(below if columns > 2 else below.replace("of ", "of\n"), fontsize=NORMAL)
    signed = bool(summed.min() < 0)
    colours = ScalarMappable(Normalize(-limit if signed else 0, limit), _colormap(signed))
    _colour_bar(colours, label, ax=axes, extend="both" if signed else "max", shrink=0.8, aspect=25)
    _write(axes, title, footnote)
    if ax is None:
        _fit(figure)
    return figure


def overlay(pixels: ArrayLike, relevance: ArrayLike, *, smooth: float = 2.0, quantile: float = 0.995) -> np.ndarray:
    """Paint relevance over frames: a grey picture, and the more colour the more relevance.

    Args:
        pixels: uint8 RGB (t, h, w, 3).
        relevance: per pixel, (t, h, w), (c, t, h, w) or (1, c, t, h, w); colour channels are summed.
        smooth: standard deviation in pixels of the Gaussian that smooths relevance; 0 takes it as it is.
        quantile: the share of absolute relevance values of the clip at which the colours end, so that a few
            hot pixels do not leave the rest dark.

    Returns:
        uint8 RGB (t, h, w, 3).

    Raises:
        ValueError: shapes that do not belong together.
        ImportError: matplotlib is not installed.

    >>> overlay(np.full((1, 2, 2, 3), 200, np.uint8), torch.zeros(1, 2, 2))[0, 0, 0].tolist()
    [110, 110, 110]
    """
    images = _pixels(pixels)
    values = _smooth(_pixel_relevance(relevance, images), smooth)
    strength = np.clip(values / _limit(values, quantile), -1, 1)
    signed = bool(values.min() < 0)
    grey = images.astype(np.float64) @ np.array([0.299, 0.587, 0.114]) / 255
    # Room is left for the colours: above the grey where relevance lightens only, on both sides where it is
    # signed.
    grey = 0.3 + 0.35 * grey if signed else 0.55 * grey
    colour = _colormap(signed)((strength + 1) / 2 if signed else strength)[..., :3]
    # The square root shows what is weak; nothing is painted where there is nothing.
    weight = np.sqrt(np.abs(strength))[..., None] * 0.9
    return np.rint(255 * ((1 - weight) * grey[..., None] + weight * colour)).astype(np.uint8)


def atr_windows(
    atr: ArrayLike,
    matrix: ArrayLike,
    *,
    windows: tuple[ArrayLike, ArrayLike] | None = None,
    frame_logits: ArrayLike | None = None,
    pixels: ArrayLike | None = None,
    ax: Axes | None = None,
    title: str | None = None,
    footnote: str | None = None,
) -> Figure:
    """Draw over the clip the window of frames that each frame's logit rests on.

    Args:
        atr: frame ATR (n,) in frames; NaN draws no window.
        matrix: relevance (n, n), from which the window's place is taken: of the segments of length ATR around
            frame i, the one that holds most.
        windows: first and last frame (n,), (n,) of each window, if they are known already.
        frame_logits: logits (n,); windows of frames that weigh nothing in avg-ATR are drawn hollow, and
            avg-ATR is written below.
        pixels: uint8 RGB (t, h, w, 3), drawn small along the top.
        ax: axes to draw into; by default those of a new figure.
        title: what stands above.
        footnote: what stands below, such as "weights are random".

    Returns:
        The figure.

    Raises:
        ValueError: shapes that do not belong together.
        ImportError: matplotlib is not installed.

    Source: paper, Fig. 5a.

    >>> figure = atr_windows(torch.ones(4), torch.eye(4))
    >>> figure.axes[0].get_xlabel()
    'frame j'
    """
    lengths, values = _array(atr).ravel(), _matrix(matrix)
    if values.shape != (len(lengths), len(lengths)):
        raise ValueError(f"{len(lengths)} ATR values need a square matrix of that size, not {values.shape}")
    rows = len(lengths)
    first, last = _heaviest_windows(lengths, values) if windows is None else map(_array, windows)
    logits = None if frame_logits is None else _array(frame_logits).ravel()
    images = None if pixels is None else _pixels(pixels)
    if images is not None and len(images) % rows:
        raise ValueError(f"{len(images)} frames do not divide into {rows} rows")
    tall = 0.2 * rows + 1.5 if images is None else 0.2 * rows + 1.5 + 0.3 * images.shape[1] / images.shape[2]
    figure, axes = _canvas(ax, max(4.5, 0.34 * rows + 1.6), max(2.6, tall))
    for i in np.flatnonzero(~np.isnan(lengths)).tolist():
        weighs = logits is None or logits[i] > 0
        _window_bar(axes, i, first[i], last[i], hollow=not weighs)
        axes.text(last[i] + 1.65, i + 1, f"{lengths[i]:g}", va="center", fontsize=SMALL, color=WINDOW)
    axes.plot(np.arange(rows) + 1, np.arange(rows) + 1, "s", color="black", markersize=3)
    axes.set_xlim(0.4, rows + 1 + 0.04 * rows)
    axes.set_ylim(rows + 0.6, 0.4)
    axes.set_xticks(_ticks(rows))
    axes.set_yticks(_ticks(rows))
    axes.tick_params(labelsize=SMALL)
    axes.spines[["top", "right"]].set_visible(False)
    average = "" if logits is None else f" (avg-ATR {_average(lengths, logits):.1f} frames)"
    axes.set_xlabel(f"frame j{average}", fontsize=NORMAL)
    axes.set_ylabel("explained frame i", fontsize=NORMAL)
    _write(axes, title, footnote)
    if images is not None:
        figure.draw_without_rendering()  # the layout decides how wide a column is
        tall = _thumbnails(axes, images, rows)
        axes.set_title(title or "", fontsize=LARGE, pad=tall + 6)
    return figure


def _window_bar(ax: Axes, row: int, first: float, last: float, hollow: bool) -> None:
    face = "none" if hollow else "#a9c7e0"
    ax.barh(row + 1, last - first + 1, left=first + 0.5, height=0.72, facecolor=face, edgecolor=WINDOW)


def animation(
    pixels: ArrayLike,
    relevance: ArrayLike,
    path: str | Path,
    *,
    fps: float = 4.0,
    smooth: float = 2.0,
    quantile: float = 0.995,
    min_height: int = 160,
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

    Returns:
        The path. The file appears when it is complete, or not at all.

    Raises:
        ValueError: another ending, shapes that do not belong together, or ``fps`` that is not positive.
        ImportError: matplotlib, or PyAV for MP4, is not installed.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     written = animation(np.zeros((3, 8, 8, 3), np.uint8), torch.rand(3, 8, 8), f"{folder}/clip.gif")
    ...     written.name, written.read_bytes()[:6]
    ('clip.gif', b'GIF89a')
    """
    path = Path(path)
    writers = {".gif": _gif, ".mp4": _mp4}
    if path.suffix.lower() not in writers:
        raise ValueError(f"an animation is a .gif or .mp4 file, not {path.name}")
    if not fps > 0:
        raise ValueError(f"fps is positive, not {fps}")
    images = _pixels(pixels)
    painted = overlay(images, relevance, smooth=smooth, quantile=quantile)
    gap = np.full((*images.shape[:2], max(2, images.shape[2] // 40), 3), 255, np.uint8)
    both = np.concatenate([images, gap, painted], axis=2)
    zoom = math.ceil(min_height / both.shape[1])
    both = both.repeat(zoom, 1).repeat(zoom, 2)
    content = writers[path.suffix.lower()](both, fps)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        unfinished.write_bytes(content)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    return path


def _gif(frames: np.ndarray, fps: float) -> bytes:
    _import_matplotlib()
    from PIL import Image  # matplotlib depends on it

    images = [Image.fromarray(frame) for frame in frames]
    buffer = io.BytesIO()
    images[0].save(buffer, "GIF", save_all=True, append_images=images[1:], duration=round(1000 / fps), loop=0)
    return buffer.getvalue()


def _mp4(frames: np.ndarray, fps: float) -> bytes:
    try:
        import av
    except ImportError:
        raise ImportError('writing MP4 needs PyAV: pip install "lrp3d[video]"') from None
    from fractions import Fraction

    buffer = io.BytesIO()
    # Colours are stored for 2 x 2 pixels: an odd side gets one more row.
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


# What comes in


def _array(values: ArrayLike) -> np.ndarray:
    if isinstance(values, Tensor):
        return values.detach().to("cpu", torch.float64).numpy()
    return np.asarray(values, dtype=np.float64)


def _matrix(matrix: ArrayLike) -> np.ndarray:
    values = _array(matrix)
    if values.ndim == 3 and len(values) == 1:
        values = values[0]
    if values.ndim != 2 or 0 in values.shape:
        raise ValueError(f"a relevance matrix is (n, t), not {values.shape}: draw one clip at a time")
    return values


def _pixels(pixels: ArrayLike) -> np.ndarray:
    images = pixels.numpy(force=True) if isinstance(pixels, Tensor) else np.asarray(pixels)
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] != 3 or 0 in images.shape:
        raise ValueError(f"pixels are uint8 (t, h, w, 3), not {images.dtype} {images.shape}")
    return images


def _pixel_relevance(relevance: ArrayLike, images: np.ndarray) -> np.ndarray:
    """Relevance (t, h, w), colour channels summed."""
    values = _array(relevance)
    if values.ndim == 5 and len(values) == 1:
        values = values[0]
    if values.ndim == 4:
        values = values.sum(0)
    if values.shape != images.shape[:3]:
        raise ValueError(
            f"relevance is (t, h, w), (c, t, h, w) or (1, c, t, h, w) of frames {images.shape[:3]}, "
            f"not {tuple(np.shape(relevance))}"
        )
    if not np.isfinite(values).all():
        raise ValueError("relevance holds NaN or infinity, which no colour stands for")
    return values


def _smooth(values: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian blur within each frame (t, h, w); at the edges only what lies inside is averaged."""
    if sigma <= 0:
        return values
    reach = math.ceil(3 * sigma)
    kernel = torch.exp(-0.5 * (torch.arange(-reach, reach + 1, dtype=torch.float64) / sigma) ** 2)
    stacked = torch.from_numpy(np.stack([values, np.ones_like(values)])).flatten(0, 1).unsqueeze(1)
    blurred = F.conv2d(stacked, kernel.view(1, 1, -1, 1), padding=(reach, 0))
    blurred = F.conv2d(blurred, kernel.view(1, 1, 1, -1), padding=(0, reach)).squeeze(1)
    total, inside = blurred.unflatten(0, (2, -1))
    return (total / inside).numpy()


def _limit(values: np.ndarray, quantile: float) -> float:
    """Where the colours end: robust against a few hot pixels, never 0."""
    magnitude = np.abs(values)
    limit = float(np.quantile(magnitude, quantile)) or float(magnitude.max())
    return limit if limit > 0 else 1.0


def _limits(values: np.ndarray) -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _heaviest_windows(lengths: np.ndarray, matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of the segments of each row's length around its own frame, the one that holds most."""
    rows = len(lengths)
    prefix = np.pad((matrix * np.sign(matrix.sum(1, keepdims=True))).clip(0).cumsum(1), ((0, 0), (1, 0)))
    first, last = np.zeros(rows, int), np.full(rows, rows - 1)
    for i in np.flatnonzero(~np.isnan(lengths)).tolist():
        length = int(lengths[i])
        starts = np.arange(max(0, i - length + 1), min(i, rows - length) + 1)
        first[i] = starts[np.argmax(prefix[i, starts + length] - prefix[i, starts])]
        last[i] = first[i] + length - 1
    return first, last


def _average(lengths: np.ndarray, logits: np.ndarray) -> float:
    weights = np.where(np.isnan(lengths), 0, logits.clip(0))
    return float((weights * np.nan_to_num(lengths)).sum() / weights.sum()) if weights.sum() else math.nan


# How it is drawn


def _import_matplotlib() -> None:
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise ImportError('drawing needs matplotlib: pip install "lrp3d[plot]"') from None


def _figure(width: float, height: float) -> Figure:
    _import_matplotlib()
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=150, layout="compressed")


def _canvas(ax: Axes | None, width: float, height: float) -> tuple[Figure, Axes]:
    """The axes to draw into and their figure; new ones of this size in inches if there are none."""
    if ax is None:
        figure = _figure(width, height)
        return figure, figure.add_subplot()
    return ax.figure.figure, ax


def _write(ax: Axes, title: str | None, footnote: str | None) -> None:
    """A title above the axes, and a footnote under their label."""
    if title:
        ax.set_title(title, fontsize=LARGE)
    if footnote:
        ax.annotate(
            footnote, (0, 0), xycoords=(ax.transAxes, ax.xaxis.label), xytext=(0, -5),
            textcoords="offset points", va="top", fontsize=SMALL, color="#555555",
        )  # fmt: skip


def _fit(figure: Figure, margin: float = 0.06) -> None:
    """Cut off what is empty: frames keep their proportions, so that a guess at the size leaves gaps."""
    for _ in range(2):
        figure.draw_without_rendering()
        box = figure.get_tightbbox()
        figure.set_size_inches(box.width + 2 * margin, box.height + 2 * margin)


def _colormap(signed: bool) -> Colormap:
    _import_matplotlib()
    from matplotlib import colormaps
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("relevance", DIVERGING) if signed else colormaps[SEQUENTIAL]


def _scale(values: np.ndarray) -> dict[str, Any]:
    """Colours and their limits: centred on 0 where there are both signs, from 0 on where there is one."""
    known = values[np.isfinite(values)]
    low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 0.0)
    if low < 0:
        bound = max(-low, high)
        return {"cmap": _colormap(signed=True), "vmin": -bound, "vmax": bound}
    return {"cmap": _colormap(signed=False), "vmin": 0.0, "vmax": high or 1.0}


def _ticks(count: int) -> np.ndarray:
    """Frame numbers, from 1, that leave room for each other."""
    step = 1 if count <= 10 else 2 if count <= 20 else 4 if count <= 40 else 10 * math.ceil(count / 100)
    ticks = np.arange(0, count + 1, step)
    ticks[0] = 1
    return np.unique(ticks)


def _colour_bar(colours: ScalarMappable, label: str, **where: Any) -> None:
    place = where.get("ax") or where["cax"]
    bar = place.figure.figure.colorbar(colours, **where)
    bar.set_label(label, fontsize=NORMAL)
    bar.ax.tick_params(labelsize=SMALL)


def _frame_axes(ax: Axes, rows: int, columns: int) -> None:
    """Axes of a matrix whose rows and columns are frames, counted from 1."""
    ax.set_xticks(_ticks(columns) - 1, [str(tick) for tick in _ticks(columns)])
    ax.set_yticks(_ticks(rows) - 1, [str(tick) for tick in _ticks(rows)])
    ax.set_xlabel("frame j that contributes", fontsize=NORMAL)
    ax.set_ylabel("explained frame i", fontsize=NORMAL)
    ax.tick_params(labelsize=SMALL)


def _outline(ax: Axes, first: np.ndarray, last: np.ndarray) -> None:
    from matplotlib.patches import Rectangle

    for i, (left, right) in enumerate(zip(first, last, strict=True)):
        # White on black shows on every colour.
        for colour, width in (("black", 1.8), ("white", 0.9)):
            corner = (left - 0.5, i - 0.5)
            ax.add_patch(Rectangle(corner, right - left + 1, 1, fill=False, edgecolor=colour, linewidth=width))


def _caption(number: int, logits: np.ndarray, atr: ArrayLike | None, block: int) -> str:
    row = number // block
    text = f"{number + 1}: {logits[row]:.1f}"
    if atr is None:
        return text
    length = _array(atr).ravel()[row]
    return f"{text} · –" if math.isnan(length) else f"{text} · {length:g}"


def _pitch(images: np.ndarray, bars: bool) -> float:
    """How far lines of frames are apart, in widths of a frame: the frame, its bar and its caption."""
    return images.shape[1] / images.shape[2] + (0.31 if bars else 0.24)


def _frame_grid(
    ax: Axes,
    images: np.ndarray,
    captions: Sequence[str],
    columns: int,
    bars: Sequence[Any] | None = None,
) -> None:
    """Frames in lines of ``columns``, one unit wide and not stretched, each with what stands under it."""
    from matplotlib.patches import Rectangle

    height = images.shape[1] / images.shape[2]
    below, pitch = 0.09 if bars else 0.02, _pitch(images, bars is not None)
    for number, image in enumerate(images):
        x, y = number % columns * 1.05, number // columns * pitch
        ax.imshow(image, extent=(x, x + 1, y + height, y), interpolation="antialiased", aspect="equal")
        if bars:
            ax.add_patch(Rectangle((x, y + height + 0.01), 1, below, facecolor=bars[number], linewidth=0))
        ax.text(x + 0.5, y + height + below + 0.03, captions[number], fontsize=SMALL, ha="center", va="top")
    lines = math.ceil(len(images) / columns)
    ax.set_xlim(-0.02, columns * 1.05 - 0.03)
    ax.set_ylim(lines * pitch, -0.02)
    ax.set_xticks([])
    ax.set_yticks([])
    ax.spines[:].set_visible(False)


def _thumbnails(ax: Axes, images: np.ndarray, rows: int) -> float:
    """Above each column the frame in the middle of its block, as wide as the column up to 40 points.

    Returns how tall they are, in points.
    """
    from matplotlib.offsetbox import AnnotationBbox, OffsetImage

    figure = ax.figure.figure
    low, high = ax.get_xlim()
    points = 72 * ax.get_window_extent().width / figure.dpi / (high - low)
    block = len(images) // rows
    zoom = min(0.92 * points, 40) / images.shape[2]
    for row in range(rows):
        image = OffsetImage(images[row * block + block // 2], zoom=zoom)
        place = (row + 1, ax.get_ylim()[1])
        ax.add_artist(AnnotationBbox(image, place, box_alignment=(0.5, 0), frameon=False, pad=0.1))
    return zoom * images.shape[1]
