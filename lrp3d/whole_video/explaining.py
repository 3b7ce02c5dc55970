"""`explain_video`: a window slides over an untrimmed video, and its rows become one banded matrix."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lrp3d.composites import Composite
from lrp3d.composites.named import name_of
from lrp3d.defaults import SIGMA
from lrp3d.explain import explain
from lrp3d.explanation.explanation import Explanation
from lrp3d.explanation.rows_wording import rows_words
from lrp3d.filenames import last_name
from lrp3d.layout import laid_out
from lrp3d.printed import printable
from lrp3d.progress import bar
from lrp3d.results import LITTLE_FLOWS
from lrp3d.transfer import device_of_model
from lrp3d.twin.digest import network_digest, weights_digest
from lrp3d.twin.ranges import Range
from lrp3d.twin.twin import Twin, twin_of
from lrp3d.values import as_tensor, check_counts
from lrp3d.video import IMAGENET_MEAN, IMAGENET_STD, Clip, Survey, VideoError, read_frames
from lrp3d.video.content import content_digest
from lrp3d.video.losses import Losses
from lrp3d.video.paths import check_path
from lrp3d.video.pixels import black_and_white
from lrp3d.whole_video.parts import Parts
from lrp3d.whole_video.timeline import VideoExplanation, joined_tracks
from lrp3d.whole_video.windows import Window, windows

FRAMES_AT_ONCE = 128  # frames that are read together and whose rows are kept together; at least one window
MOST_THUMBNAILS = 400  # thumbnails on the page of a video
THUMBNAIL = 96  # pixels of the longer side of a thumbnail


def explain_video(
    model: nn.Module,
    path: str | Path,
    target: int | None = None,
    *,
    frames: int | None = None,
    stride: int | None = None,
    every: int = 1,
    folder: str | os.PathLike[str] | None = None,
    contrastive: bool = True,
    sigma: float = SIGMA,
    composite: str | Composite | None = None,
    input_range: Range | None = None,
    layout: str = "bcthw",
    size: int | None = 224,
    short_side: int | None = 256,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    rows_at: str | None = None,
    progress: bool = False,
) -> VideoExplanation:
    """Explain an untrimmed video, however long: a window slides over it, and its rows become one banded matrix.

    Each row is explained in the window in which its frame is nearest to the centre. Memory hardly grows with the video
    (only its tracks and its band, n rows of a window's length, do); time grows with its length.

    Args:
        model: any model that `lrp3d.explain` takes and that has frame logits, or its twin; with `rows_at`, any.
        path: path of the video, as in `lrp3d.video.read_clip`.
        target: the class to explain; None for the class that the model predicts in each window.
        frames: the length of a window; by default the model's `frames`, else 8.
        stride: the number of frames from one window to the next, by default half a window; a multiple of the frames
            that one row of the model stands for.
        every: take every frame of the video (1), every second frame (2), and so on.
        folder: keep finished parts here; a run that was killed continues where it stopped if it is started again
            with the same arguments.
        contrastive: as in `lrp3d.explain`.
        sigma: the share of a row's relevance that its ATR window holds.
        composite: as in `lrp3d.explain`.
        input_range: as in `lrp3d.explain`; by default the model's, or else that of black and white.
        layout: the axes that the model takes.
        size: as in `lrp3d.video.read_clip`.
        short_side: as in `lrp3d.video.read_clip`.
        mean: as in `lrp3d.video.read_clip`; by default the model's `mean`, else ImageNet's.
        std: likewise.
        rows_at: as in `lrp3d.explain`, for models whose frames have no logits.
        progress: show a progress bar on stderr.

    Raises:
        VideoError: the video cannot be read, or has fewer frames than a window.
        NoFrameLogits: the model has no exact frame logits, and `rows_at` names no module.
        TypeError, ValueError: a number of frames is not whole, or not positive.
        ValueError: the stride does not fit, or the folder has parts of another run; and as in `lrp3d.explain`.

    >>> import os, tempfile, numpy as np, lrp3d
    >>> model = lrp3d.models.i3d_resnet(18, num_classes=10, width=8).eval()
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "long.npy")
    ...     np.save(path, lrp3d.video.draw_clip(frames=20, size=32).numpy())
    ...     found = lrp3d.explain_video(model, path, frames=8, stride=4, size=32, short_side=32)
    >>> found.band.shape, found.matrix.shape
    (torch.Size([20, 8]), torch.Size([20, 20]))
    """
    check_path(path)
    name = last_name(path)
    twin = twin_of(model, composite)
    length, hop = _window_numbers(twin.model, frames, stride, every)
    every = int(every)  # which may be one of numpy's
    mean = tuple(getattr(twin.model, "mean", IMAGENET_MEAN) if mean is None else mean)
    std = tuple(getattr(twin.model, "std", IMAGENET_STD) if std is None else std)
    if input_range is None and getattr(twin.model, "input_range", None) is None:
        input_range = black_and_white(mean, std)
    reader = _Reader(Path(path), every, {"size": size, "short_side": short_side, "mean": mean, "std": std})
    count = reader.count()
    if count < length:
        raise VideoError(
            f"{name} has {count} frame{'s' * (count != 1)}{f' with every={every}' if every > 1 else ''}, "
            f"fewer than one window of {length}: take windows of fewer frames, or explain it as one clip"
        )
    explainer = _WindowExplainer(twin, target, contrastive, sigma, input_range, layout, rows_at)
    step = explainer.step(reader.read(0, length), length)
    of_files = {} if folder is None else {"content of the video": content_digest(path), **_digests(twin.model)}
    windowed = {"frames of the video": count, "frames of a row": step, "frames": length, "stride": hop, "every": every}
    parts = Parts(folder, {"video": name} | of_files | windowed | explainer.identity | reader.identity)
    if hop % step:
        raise ValueError(f"a row of this model stands for {step} frames: stride= is a multiple of that, got {hop}")
    count -= count % step
    places = windows(count, length, hop, step)
    windows_per_part = max(1, (FRAMES_AT_ONCE - length) // hop + 1)
    thumbnail_every = -(-count // MOST_THUMBNAILS)
    tracks: list[dict[str, Tensor]] = []
    losses = Losses(name)
    for number in bar(range(-(-len(places) // windows_per_part)), "part", progress):
        done = parts.read(number)
        if done is None:
            chunk = places[number * windows_per_part : (number + 1) * windows_per_part]
            clip = reader.read(chunk[0].start, chunk[-1].start + length)
            part = {**explainer.rows(chunk, clip, length, step), **_frames(chunk, clip, step, thumbnail_every)}
            done = part, clip.losses
            parts.write(number, *done)
        tracks.append(done[0])
        losses |= done[1]
    return VideoExplanation(
        **joined_tracks(tracks),
        contrastive=contrastive,
        sigma=sigma,
        about={"video": name, "model": str(getattr(twin.model, "name", "") or type(model).__name__)}
        | ({} if rows_at is None else {"rows at": rows_at}),
        notes=[*explainer.notes, *map(printable, losses.sentences())],
    )


def _window_numbers(model: nn.Module, frames: int | None, stride: int | None, every: int) -> tuple[int, int]:
    """The length of a window and the number of frames to the next one; raises an error for what cannot be."""
    length = (_number(getattr(model, "frames", None)) or 8) if frames is None else frames
    hop = max(1, length // 2) if stride is None else stride
    check_counts(frames=length, stride=hop, every=every)
    if hop > length:
        raise ValueError(f"stride={hop} leaves frames out between windows of {length}: it is at most that")
    return int(length), int(hop)


def _digests(model: nn.Module) -> dict[str, str]:
    return {"weights": weights_digest(model), "network": network_digest(model)}


@dataclass(frozen=True)
class _Reader:
    """Reads frames of one video, of which only every `every`-th is used.

    Without one survey for all reads, every part would read the whole file once more.
    """

    path: Path
    every: int
    options: dict[str, Any]
    survey: Survey = field(default_factory=Survey)

    @property
    def identity(self) -> dict[str, Any]:
        """What makes frames other frames, by name."""
        return {
            "size": [self.options["size"], self.options["short_side"]],
            "mean and std": [list(self.options["mean"]), list(self.options["std"])],
        }

    def count(self) -> int:
        """The number of frames that are used."""
        first = read_frames(self.path, lambda count: [0], survey=self.survey, **self.options)
        return -(-first.num_video_frames // self.every)

    def read(self, start: int, stop: int) -> Clip:
        """Frames from `start` to before `stop`."""
        numbers = [i * self.every for i in range(start, stop)]

        def choose(count: int) -> list[int]:
            return [min(i, count - 1) for i in numbers]

        return read_frames(self.path, choose, survey=self.survey, **self.options)


@dataclass
class _WindowExplainer:
    """Explains windows, all with the same settings."""

    twin: Twin
    target: int | None
    contrastive: bool
    sigma: float
    input_range: Range | None
    layout: str
    rows_at: str | None = None
    first: Explanation | None = None
    """The explanation of the first window, which says how many frames a row stands for."""

    @property
    def identity(self) -> dict[str, Any]:
        """What makes rows other rows, by name, once the first window is explained."""
        assert self.first is not None
        ends: Any = self.twin.model.input_range if self.input_range is None else self.input_range
        return {
            "layers": [entry.layer for entry in self.first.ledger],
            "composite": name_of(self.twin.composite),
            "rules": repr(self.twin.composite),
            "target": self.target,
            "contrastive": self.contrastive,
            "sigma": self.sigma,
            "input_range": [as_tensor(end).tolist() for end in ends],
            "layout": self.layout,
            **({} if self.rows_at is None else {"rows_at": self.rows_at}),
        }

    @property
    def notes(self) -> list[str]:
        """What was decided about all windows, once the first one is explained."""
        assert self.first is not None
        notes = []
        if (of_classifier := self.first.about.get("classifier")) is not None:
            notes.append(f"the classifier's rule is {of_classifier}")
        if self.rows_at is not None:
            notes.append(f"rows are {rows_words(self.first, [0])} in the first window")
        return notes

    def step(self, clip: Clip, length: int) -> int:
        """The number of frames that a row stands for; raises ValueError if rows cannot be stitched together."""
        self.first = self._window(clip.tensor)
        assert self.first.matrix is not None
        n, columns = self.first.matrix.shape[1:]
        if n != columns or length % n:
            raise ValueError(
                f"a model with {n} frame logits for {columns} columns of {length} frames has rows that cannot be "
                "stitched together: explain its clips one by one"
            )
        return length // n

    def _window(self, tensor: Tensor) -> Explanation:
        device = device_of_model(self.twin.model)
        with warnings.catch_warnings():
            if self.first is not None:  # of which it was said
                warnings.filterwarnings("ignore", LITTLE_FLOWS)
            explanation = explain(
                self.twin,
                laid_out(tensor.to(device), self.layout),
                self.target,
                contrastive=self.contrastive,
                input_range=self.input_range,
                layout=self.layout,
                rows_at=self.rows_at,
            )
        return explanation.at_sigma(self.sigma).to("cpu")

    def rows(self, places: Sequence[Window], clip: Clip, length: int, step: int) -> dict[str, Tensor]:
        """The tracks of the rows that are explained in some windows."""
        tracks: dict[str, list[Tensor]] = {}
        for place in places:
            offset = place.start - places[0].start
            first = self.first if place.start == 0 else None
            explanation = first or self._window(clip.tensor[:, :, offset : offset + length])
            begin = place.start // step
            own = slice(place.rows.start - begin, place.rows.stop - begin)
            logits, target = explanation.logits[0], explanation.target[0]
            if len(logits) == 1 and explanation.sign is not None:
                logits = logits * explanation.sign  # of the class that a negative logit speaks for
            score = logits.softmax(0)[target] if len(logits) > 1 else logits[0].sigmoid()
            assert explanation.matrix is not None
            assert explanation.frame_logits is not None
            assert explanation.atr is not None
            rows = {
                "band": explanation.matrix[0, own],
                "first": torch.full((len(place.rows),), begin, device="cpu"),
                "frame_logits": explanation.frame_logits[0, own],
                "target": explanation.explained_class.expand(len(place.rows)),
                "scores": score.expand(len(place.rows)),
                "atr": explanation.atr[0, own],
            }
            for name, values in rows.items():
                tracks.setdefault(name, []).append(values.clone())
        return {name: torch.cat(values) for name, values in tracks.items()}


def _frames(places: Sequence[Window], clip: Clip, step: int, every: int) -> dict[str, Tensor]:
    """The numbers, times and thumbnails of the frames whose rows are explained in some windows."""
    numbers = torch.arange(places[0].rows.start * step, places[-1].rows.stop * step, device="cpu")
    own = numbers - places[0].start
    is_thumbnail = numbers % every == 0
    pixels = clip.pixels[own[is_thumbnail]].permute(0, 3, 1, 2).float()
    height, width = pixels.shape[2:]
    scale = min(1.0, THUMBNAIL / max(height, width))
    size = max(1, round(height * scale)), max(1, round(width * scale))
    small = (
        F.interpolate(pixels, size, mode="bilinear", antialias=True) if len(pixels) else pixels.new_zeros(0, 3, *size)
    )
    return {
        "indices": clip.indices[own],
        "times": clip.times[own],
        "thumbnails": small.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1),
        "thumbnail_frames": numbers[is_thumbnail],
    }


def _number(value: Any) -> int | None:
    """The number of frames that a model states, or None if it states none."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None
