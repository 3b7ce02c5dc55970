"""Which frames a model sees: uniform and dense sampling, and the paper's partial uniform sampling (Sec. 4.3).

Letters: ``b`` clips, ``n`` rows (frames that have a logit), ``c t h w`` a clip, ``k`` classes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from lrp3d.values import check_counts, colour_of, real_numbers

__all__ = [
    "PartialLogits",
    "dense_indices",
    "partial_uniform",
    "partial_uniform_logits",
    "uniform_indices",
    "window_bounds",
]

Bound = Sequence[int] | Tensor
Window = int | Sequence[float] | Tensor | tuple[Bound, Bound]

CPU_BUDGET, GPU_BUDGET = 2**26, 2**29
"""Bytes of windowed clips that go through a model at once; a GPU gains from more of them."""


def uniform_indices(
    num_video_frames: int,
    frames: int,
    train: bool = False,
    generator: torch.Generator | None = None,
) -> Tensor:
    """One frame of each of ``frames`` equal segments of a video: the centre one, in training a random one.

    Args:
        num_video_frames: length of the video, at least 1. A video shorter than ``frames`` repeats frames,
            each about equally often.
        frames: number of frames to take, at least 1.
        train: draw the frame of each segment at random.
        generator: source of randomness, on the CPU.

    Returns:
        Frame indices (frames,), int64, never decreasing, from 0 to num_video_frames - 1.

    Raises:
        TypeError: a number is not whole.
        ValueError: a number is not positive.

    Source: paper, Sec. 4.1 and App. E.

    >>> uniform_indices(100, 4)
    tensor([12, 37, 62, 87])
    >>> uniform_indices(3, 5)
    tensor([0, 0, 1, 2, 2])
    """
    check_counts(num_video_frames=num_video_frames, frames=frames)
    segment = torch.arange(frames, device="cpu")
    if not train:
        return (2 * segment + 1) * num_video_frames // (2 * frames)
    first = segment * num_video_frames // frames
    length = ((segment + 1) * num_video_frames // frames - first).clamp(min=1)
    return first + (torch.rand(frames, generator=generator, dtype=torch.float64, device="cpu") * length).long()


def dense_indices(
    num_video_frames: int,
    frames: int,
    stride: int = 1,
    train: bool = False,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Consecutive frames with distance ``stride``: the clip in the centre of the video, or in training a random one.

    Args:
        num_video_frames: length of the video, at least 1. A video shorter than the clip is taken from its
            first frame on, and its last frame is held to the end.
        frames: number of frames to take, at least 1.
        stride: distance between frames, at least 1.
        train: draw the first frame at random.
        generator: source of randomness, on the CPU.

    Returns:
        Frame indices (frames,), int64, never decreasing, from 0 to num_video_frames - 1.

    Raises:
        TypeError: a number is not whole.
        ValueError: a number is not positive.

    Source: paper, App. B.

    >>> dense_indices(100, 4, stride=2)
    tensor([46, 48, 50, 52])
    >>> dense_indices(3, 5)
    tensor([0, 1, 2, 2, 2])
    """
    check_counts(num_video_frames=num_video_frames, frames=frames, stride=stride)
    room = max(num_video_frames - 1 - (frames - 1) * stride, 0)
    start = int(torch.randint(room + 1, (), generator=generator, device="cpu")) if train else room // 2
    return (start + stride * torch.arange(frames, device="cpu")).clamp(max=num_video_frames - 1)


def check_sampling(sampling: str, stride: int) -> None:
    """Checks how frames are sampled: a stride belongs to dense sampling, and would change nothing in uniform sampling.

    Raises:
        TypeError: the stride is not a whole number.
        ValueError: the sampling is unknown, or it does not have this stride.
    """
    if sampling not in ("uniform", "dense"):
        raise ValueError(f'sampling must be "uniform" or "dense", got {sampling!r}')
    check_counts(stride=stride)
    if sampling == "uniform" and stride > 1:
        raise ValueError(
            f"stride={stride} is the distance between frames in dense sampling, and uniform sampling spreads them over "
            'the video: give sampling="dense", or leave the stride out'
        )


def window_bounds(
    frames: int, window: Window, rows: int | None = None, own: tuple[Tensor, Tensor] | None = None
) -> tuple[Tensor, Tensor]:
    """First and last frame of the window that each row of a model may see.

    Args:
        frames: number of frames of the clip, t.
        window: in frames of the clip, one of
            - a size for all rows, at least 1;
            - a size for each row, (n,) or (b, n), such as frame ATR. NaN is the whole clip, a fraction is
              rounded up. The ATR of a model with temporal stride counts rows: multiply it by t / n before;
            - the bounds themselves, a tuple (left, right) of (n,) or (b, n), both ends included, such as the
              paper's, the segments [l, r] of each frame's ATR: `Explanation.segments`.
        rows: number of rows n, a divisor of ``frames``; row i stands for the i-th block of t / n frames. By
            default every frame is a row.
        own: first and last frame (n,), (n,) that each row stands for, if these are not equal blocks (as for a model
            that averages the logits of only some frames).

    Returns:
        Two int64 tensors (n,) or (b, n). A window lies around the row's own frames; if it cannot be symmetric, it has
        one frame more after them (paper, Fig. 5b). At the ends of the clip it is shifted, not cut. A size larger than
        the clip means the clip, and one smaller than the row's own block means the block.

    Raises:
        ValueError: a size is below 1, bounds lie outside the clip or exclude the row's own frames, or a shape is wrong.

    Source: paper, Sec. 4.3, l <= i <= r.

    >>> left, right = window_bounds(6, 4)
    >>> left.tolist(), right.tolist()
    ([0, 0, 1, 2, 2, 2], [3, 3, 4, 5, 5, 5])
    """
    rows = frames if rows is None else rows
    check_counts(frames=frames, rows=rows)
    if own is None:
        if frames % rows:
            raise ValueError(f"{frames} frames do not divide into {rows} rows of equal length")
        starts = torch.arange(0, frames, frames // rows, device="cpu")
        own = starts, starts + frames // rows - 1
    first, last = (_frame_numbers(end) for end in own)
    if first.shape != (rows,) or last.shape != (rows,):
        raise ValueError(
            f"own must be the first and the last frame of each of {rows} rows, got shapes {tuple(first.shape)} and "
            f"{tuple(last.shape)}"
        )
    if isinstance(window, tuple):
        return _checked_bounds(window, first, last, frames)
    size = _window_sizes(window, last - first + 1, frames)
    first, block = first.to(size.device), (last - first + 1).to(size.device)
    left = torch.minimum((first - (size - block) // 2).clamp(min=0), frames - size)
    return left, left + size - 1


def _window_sizes(window: int | Sequence[float] | Tensor, block: Tensor, frames: int) -> Tensor:
    """Sizes (..., n), whole numbers from the row's own block (n,) to the clip."""
    rows = len(block)
    sizes = real_numbers(window, "window must be a number of frames, or one for each row").to(torch.float64)
    sizes = sizes.nan_to_num(nan=frames, posinf=frames)
    if sizes.ndim not in (0, 1, 2) or (sizes.ndim and sizes.shape[-1] != rows):
        raise ValueError(f"window must be one size, or (n,) or (b, n) of {rows} rows, got shape {tuple(sizes.shape)}")
    if bool((sizes < 1).any()):
        raise ValueError(f"window must be at least 1 frame, got {sizes.min().item():g}")
    whole = sizes.ceil().long().clamp(max=frames).expand(*sizes.shape[:-1], rows)
    return torch.maximum(whole, block.to(whole.device))


def _checked_bounds(window: tuple[Bound, ...], first: Tensor, last: Tensor, frames: int) -> tuple[Tensor, Tensor]:
    """The given bounds; raises ValueError unless they lie in the clip and around each row's own frames."""
    if len(window) != 2:
        raise ValueError(f"window must be (left, right) if it is a tuple, got {len(window)} values: sizes are a list")
    left, right = (_frame_numbers(bound) for bound in window)
    if left.shape != right.shape or left.ndim not in (1, 2) or left.shape[-1] != len(first):
        raise ValueError(
            f"bounds must be (n,) or (b, n) of {len(first)} rows, got shapes {tuple(left.shape)} and "
            f"{tuple(right.shape)}"
        )
    first, last = first.to(left.device), last.to(left.device)
    if not bool(((left >= 0) & (left <= first) & (last <= right) & (right < frames)).all()):
        raise ValueError(f"bounds must hold each row's own frames and stay in 0..{frames - 1}")
    return left, right


def _frame_numbers(bound: Bound) -> Tensor:
    """The numbers of frames as int64; raises TypeError or ValueError for what is not whole."""
    numbers = real_numbers(bound, "bounds must be numbers of frames")
    if numbers.is_floating_point() and not bool((numbers == numbers.round()).all()):
        raise ValueError(f"bounds must be whole numbers of frames, got {numbers.tolist()}")
    return numbers.long()


def partial_uniform(
    clip: Tensor,
    window: Window,
    *,
    layout: str = "bcthw",
    fill: str = "edge",
    value: float | Sequence[float] | Tensor = 0.0,
    rows: int | None = None,
) -> Tensor:
    """The clip once per row, each showing only the frames in that row's window.

    Args:
        clip: clips (b, c, t, h, w).
        window: a size, sizes or bounds in frames, as in `window_bounds`.
        layout: the clip's axes, clips first, such as "bcthw" or "btchw".
        fill: the frames outside the window: "edge" repeats the window's end frames, "blank" means empty frames.
        value: the value of empty frames after normalisation, one for all or one per channel.
        rows: number of rows n, by default t; see `window_bounds`.

    Returns:
        Windowed clips (b, n, c, t, h, w), or with the axes after n as in ``layout``.

    Raises:
        ValueError: an unknown layout or fill, a clip without five axes, or as `window_bounds`.

    Source: paper, Sec. 4.3 and Fig. 5b.

    >>> clip = torch.arange(5.0).view(1, 1, 5, 1, 1)
    >>> partial_uniform(clip, 3).view(5, 5)
    tensor([[0., 1., 2., 2., 2.],
            [0., 1., 2., 2., 2.],
            [1., 1., 2., 3., 3.],
            [2., 2., 2., 3., 4.],
            [2., 2., 2., 3., 4.]])
    """
    left, right = _clip_bounds(clip, window, layout, rows)
    owner = torch.arange(len(clip), device=clip.device).repeat_interleave(left.shape[-1])
    windowed = _show_windows(clip, owner, left.flatten(), right.flatten(), layout, fill, value)
    return torch.unflatten(windowed, 0, left.shape)


def _require_clip(clip: Tensor, layout: str) -> None:
    if sorted(layout) != sorted("bcthw") or layout[0] != "b":
        raise ValueError(f'layout must be an order of the letters "bcthw", b first, got {layout!r}')
    if clip.ndim != 5:
        raise ValueError(f"clip must have the five axes {layout}, got shape {tuple(clip.shape)}")


def _clip_bounds(
    clip: Tensor, window: Window, layout: str, rows: int | None, own: tuple[Tensor, Tensor] | None = None
) -> tuple[Tensor, Tensor]:
    """The bounds (b, n) of every row of every clip, on the clip's device."""
    _require_clip(clip, layout)
    left, right = (bound.to(clip.device) for bound in window_bounds(clip.shape[layout.index("t")], window, rows, own))
    if left.ndim == 2 and len(left) != len(clip):
        raise ValueError(f"windows of {len(left)} clips do not fit {len(clip)} clips")
    return left.expand(len(clip), -1), right.expand(len(clip), -1)


def _show_windows(
    clip: Tensor,
    owner: Tensor,
    left: Tensor,
    right: Tensor,
    layout: str,
    fill: str,
    value: float | Sequence[float] | Tensor,
) -> Tensor:
    """The clips ``owner`` (p,), each with its own window left..right (p,): one gather of whole frames."""
    if fill not in ("edge", "blank"):
        raise ValueError(f'fill must be "edge" or "blank", got {fill!r}')
    blank = _blank(value, clip, layout)  # checked whether it is used or not
    time = layout.index("t")
    frame = torch.arange(clip.shape[time], device=clip.device).expand(len(owner), -1)
    nearest = torch.maximum(torch.minimum(frame, right.unsqueeze(-1)), left.unsqueeze(-1))
    frames_shown = clip.movedim(time, 1)[owner.unsqueeze(-1), nearest].movedim(1, time)
    if fill == "edge":
        return frames_shown
    axes = [-1 if axis == "t" else 1 for axis in layout[1:]]
    return torch.where((frame == nearest).view(len(owner), *axes), frames_shown, blank)


def _blank(value: float | Sequence[float] | Tensor, clip: Tensor, layout: str) -> Tensor:
    """The value of empty frames, shaped to broadcast over clips of this layout."""
    colour = colour_of(value, clip.shape[layout.index("c")])
    blank = colour.to(clip)
    if not torch.equal(blank.to(colour), colour) and not clip.is_floating_point():
        raise ValueError(f"value must be that of pixels of the clip's type, {clip.dtype}, got {colour.tolist()}")
    return blank.view([-1 if axis == "c" else 1 for axis in layout])


class PartialLogits(NamedTuple):
    """A model's logits if each frame's prediction sees only its own window.

    Made by `partial_uniform_logits`.

    >>> found = PartialLogits(torch.zeros(1, 5), torch.zeros(1, 8, 5))
    >>> found.logits.shape, found.frame_logits.shape
    (torch.Size([1, 5]), torch.Size([1, 8, 5]))
    """

    logits: Tensor
    """Clip logits (b, k), the average of the kept frame predictions."""
    frame_logits: Tensor
    """Kept frame logits (b, n, k): row i comes from the clip that shows window i."""


@torch.no_grad()
def partial_uniform_logits(
    model: nn.Module,
    clip: Tensor,
    window: Window,
    *,
    layout: str = "bcthw",
    fill: str = "edge",
    value: float | Sequence[float] | Tensor = 0.0,
    own: tuple[Tensor, Tensor] | None = None,
    chunk_size: int | None = None,
    frame_logits: Callable[[Tensor], Tensor] | None = None,
) -> PartialLogits:
    """A model's logits if every frame's prediction sees only its own window of the clip.

    Args:
        model: video model, used in the mode it is in (``model.eval()`` is the caller's).
        clip: clips (b, c, t, h, w).
        window: a size, sizes or bounds in frames, as in `window_bounds`; `Explanation.segments` gives the
            paper's windows that vary by frame, the segments [l, r] of their ATR.
        layout: the clip's axes, clips first.
        fill: the frames outside the window, "edge" or "blank".
        value: the value of empty frames after normalisation, one for all or one per channel.
        own: as in `window_bounds`.
        chunk_size: windowed clips per forward pass; by default what fits 64 MiB of input on a CPU, 512
            elsewhere. The result does not depend on it, beyond rounding.
        frame_logits: clips -> frame logits (b, n, k); by default ``model.frame_logits``.

    Returns:
        `PartialLogits`: clip logits (b, k) and frame logits (b, n, k). A window as long as the clip gives the model's
        own logits. One additional forward pass of one clip finds the number of rows n of the model.

    Raises:
        ValueError: the model has no frame logits, or frame logits of another shape, or the chunk size is below 1; and
            as for `partial_uniform`.

    Source: paper, Sec. 4.3 and Fig. 6.

    >>> class Brightness(nn.Module):
    ...     def frame_logits(self, clip):
    ...         return clip.mean((3, 4)).cumsum(2).transpose(1, 2)
    >>> clip = torch.tensor([1.0, 2.0, 3.0]).view(1, 1, 3, 1, 1)
    >>> partial_uniform_logits(Brightness(), clip, 1).frame_logits.flatten()
    tensor([1., 4., 9.])
    """
    predict = frame_logits if frame_logits is not None else getattr(model, "frame_logits", None)
    if predict is None:
        raise ValueError(f"{type(model).__name__} has no frame_logits: pass frame_logits=, clip -> (b, n, k)")
    _require_clip(clip, layout)
    rows = _predict_frames(predict, clip[:1]).shape[1]
    left, right = _clip_bounds(clip, window, layout, rows, own)
    row = torch.arange(rows, device=clip.device).repeat(len(clip))
    owner = torch.arange(len(clip), device=clip.device).repeat_interleave(rows)
    if chunk_size is None:
        budget = CPU_BUDGET if clip.device.type == "cpu" else GPU_BUDGET
        chunk_size = max(1, budget // (clip[0].numel() * clip.element_size()))
    check_counts(chunk_size=chunk_size)
    chunks = []
    windows = torch.stack([owner, row, left.flatten(), right.flatten()])
    for clip_numbers, row_numbers, first, last in zip(*(part.split(chunk_size) for part in windows), strict=True):
        answers = _predict_frames(predict, _show_windows(clip, clip_numbers, first, last, layout, fill, value))
        chunks.append(answers[torch.arange(len(row_numbers), device=answers.device), row_numbers.to(answers.device)])
    answers = torch.cat(chunks).unflatten(0, (len(clip), rows))
    return PartialLogits(answers.mean(1), answers)


def _predict_frames(predict: Callable[[Tensor], Tensor], clips: Tensor) -> Tensor:
    answers = predict(clips)
    if answers.ndim != 3 or len(answers) != len(clips):
        raise ValueError(f"frame logits of {len(clips)} clips must be (b, n, k), got shape {tuple(answers.shape)}")
    return answers
