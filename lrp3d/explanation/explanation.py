"""What an explanation is: tensors, and everything else that is made from them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import safetensors.torch
import torch
from torch import Tensor

from lrp3d.defaults import SIGMA
from lrp3d.explanation.ledger import Ledger, LedgerEntry
from lrp3d.files import read_saved, replacing
from lrp3d.layout import usual_channel_axis
from lrp3d.metrics.atr import avg_atr, check_sigma, frame_atr, frame_windows, frames_of_columns, max_atr
from lrp3d.metrics.excess_span import ExcessSpan, excess_span

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(eq=False)
class Explanation:
    """The relevance of a batch of clips; `b` clips, `k` classes, `t` frames, `n` frames with a logit.

    Fields that need frame logits are None for images and with `temporal=False`.

    Made by `lrp3d.explain`. Relevance has the unit of the logits, ATR that of `unit`.

    >>> import torch, lrp3d
    >>> model = lrp3d.models.tsn_resnet(18, num_classes=10, width=8).eval()
    >>> found = lrp3d.explain(model, torch.rand(2, 3, 4, 32, 32))
    >>> found.relevance.shape, found.matrix.shape, found.avg_atr.tolist()
    (torch.Size([2, 3, 4, 32, 32]), torch.Size([2, 4, 4]), [1.0, 1.0])
    >>> torch.allclose(found.matrix.sum(-1), found.frame_logits, atol=1e-4)
    True
    """

    logits: Tensor
    """(b, k)."""
    target: Tensor
    """(b,) the explained class."""
    relevance: Tensor | list[Tensor]
    """Relevance for the clip's logit, shaped like the clip (a list for pathways). If contrastive, it is never negative,
    even where the logit and with it `matrix` are: it is what speaks for the class."""
    frame_relevance: Tensor | None
    """(b, t) the relevance summed over each frame, on the clock of the fastest pathway."""
    conservation: Tensor
    """(b,) relative error of the map's sum before its positive part is taken; for a contrast, the larger of the errors
    of its two sides, R and Rbar, so that they cannot cancel."""
    ledger: Ledger
    """Relevance in, out and absorbed by layer, for the clip's logit, summed over clips."""
    frame_logits: Tensor | None = None
    """(b, n) the logit of the explained class for every frame. Their mean is the clip's logit, except for several
    pathways merged as in the paper, where they are sums over the fast frames of a slow frame."""
    matrix: Tensor | None = None
    """(b, n, t) row i is the relevance of all frames for frame logit i, and sums to it; t is n, unless only n of t
    frames have a logit (`positions`). The row of a negative frame logit is negative; if relevance is contrastive, it
    still shows what speaks for the class, as `relevance` does."""
    atr: Tensor | None = None
    """(b, n) action temporal relevance of every frame, in frames, or in the steps that `unit` names."""
    avg_atr: Tensor | None = None
    """(b,) the mean of `atr`, weighted by positive frame logits."""
    max_atr: Tensor | None = None
    """(b,) the maximum of `atr`."""
    static: Tensor | None = None
    """Like the clip: the relevance that would be there if frames stood still where they are mixed; with `dynamic` it
    adds up to `relevance`. This and the next four fields are None without `motion=True`."""
    dynamic: Tensor | None = None
    """Like the clip: the rest of `relevance`, of either sign."""
    static_matrix: Tensor | None = None
    """(b, n, t) the static part of the matrix."""
    dynamic_matrix: Tensor | None = None
    """(b, n, t) the dynamic part of the matrix."""
    motion: Tensor | None = None
    """(b,) the sum of `dynamic` as a share of the sum of `relevance`; 0 for a clip that stands still."""
    layers: dict[str, Tensor] = field(default_factory=dict)
    """By module, the relevance (b, c, t', h', w') at its output for the clip's logit, to which it sums; for a contrast,
    R - Rbar, which sums to zero. Empty without `layers=`. Clips come first: outputs (b t, c, h, w) are given as
    (b, c, t, h, w), and (t, b, c) as (b, t, c). Other shapes are the module's own; `channel_axes` says where their
    channels are."""
    layer_rows: dict[str, Tensor] = field(default_factory=dict)
    """By module, the same relevance (b, n, c, t', h', w') for every row; empty without `layer_rows=True`."""
    channel_axes: dict[str, int] = field(default_factory=dict)
    """By module in `layers`, the axis of its channels, as the layers with weights before it made them."""
    rows_at: str | None = None
    """The module at whose output the rows of the matrix are time steps; None where they are frames with a logit. Row i
    is what flows through time step i there, and `frame_logits` are n times that, so that their mean is what flows
    through all n (see `through_rows`)."""
    where: dict[str, list[int]] | None = None
    """The channels, by module, through which the relevance of maps, matrix and ATR flows; None for all relevance."""
    motion_by_layer: dict[str, Tensor] = field(default_factory=dict)
    """By operation that mixes frames, from the clip upwards, the share (b,) of all relevance that becomes dynamic
    there. Where no rule absorbs relevance, they add up to `motion`. Empty if relevance is contrastive."""
    floor: Tensor | None = None
    """(b, n, t) the matrix of the same network untrained, its rows scaled to those of `matrix`; None without floor."""
    positions: list[int] | None = None
    """The column of each row's own frame if the model answers from n of t frames, where `matrix` is (b, n, t)."""
    sign: Tensor | None = None
    """(b,) for a lone logit (b, 1): -1 where it is negative and the class that it speaks for was explained, so that
    frame logits and matrix are those of the negated logit; else 1. None if no clip is negated."""
    against: Tensor | None = None
    """(b, m) the classes with which the explained class was compared: relevance, frame logits and matrix are those of
    its logit minus the mean of their logits; None without `against=`."""
    contrastive: bool = True
    """Whether relevance is contrastive (CLRP) or plain (LRP)."""
    layout: str = "bcthw"
    """The axes of the clip."""
    sigma: float = SIGMA
    """The share of a row's relevance that an ATR window holds."""
    about: dict[str, str] = field(default_factory=dict)
    """Further notes, such as the model, its weights and the video; they are saved and shown with the rest."""

    # ------------------------------------------------------------------ tensors

    def _tensors(self) -> Iterator[tuple[str, Tensor]]:
        for each in fields(self):
            value = getattr(self, each.name)
            if isinstance(value, Tensor):
                yield each.name, value
            elif each.name == "relevance":
                yield from ((f"relevance.{i}", pathway) for i, pathway in enumerate(value))
            elif each.name in DICTS:
                yield from ((f"{each.name}.{name}", x) for name, x in value.items())

    def to(self, *args: Any, **kwargs: Any) -> Explanation:
        """The same explanation on another device or in another dtype; arguments are those of `torch.Tensor.to`.

        Whole numbers such as `target` keep their dtype. Errors are those of `torch.Tensor.to`.

        >>> import torch, lrp3d
        >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 2)).eval()
        >>> found = lrp3d.explain(model, torch.rand(1, 3, 2, 2)).to("cpu", torch.float64)
        >>> found.relevance.dtype, found.target.dtype
        (torch.float64, torch.int64)
        """

        def move(value: Any) -> Any:
            if isinstance(value, Tensor):
                return (
                    value.to(*args, **kwargs)
                    if value.is_floating_point()
                    else value.to(_device(value, *args, **kwargs))
                )
            if isinstance(value, dict):
                return {name: move(x) for name, x in value.items()}
            return [move(pathway) for pathway in value] if isinstance(value, list) else value

        names = {name.split(".")[0] for name, _ in self._tensors()}
        return replace(self, **{name: move(getattr(self, name)) for name in names})

    def at_sigma(self, sigma: float) -> Explanation:
        """The same explanation with ATR for another share of relevance `sigma`, in (0, 1]; ValueError outside of it.

        An explanation without a matrix has no ATR, and comes back as it is.

        >>> import torch, lrp3d
        >>> model = lrp3d.models.tsn_resnet(18, num_classes=10, width=8).eval()
        >>> found = lrp3d.explain(model, torch.rand(1, 3, 4, 32, 32))
        >>> found.at_sigma(0.5).sigma, found.sigma
        (0.5, 0.975)
        """
        check_sigma(sigma)
        if self.matrix is None or self.frame_logits is None:
            return self
        atr = frame_atr(self.matrix, sigma, self.positions)
        return replace(self, atr=atr, avg_atr=avg_atr(atr, self.frame_logits), max_atr=max_atr(atr), sigma=sigma)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write everything to a safetensors file, whole or not at all; makes the file's folder if it is missing.

        Raises:
            OSError: the file cannot be written.

        >>> import tempfile, torch, lrp3d
        >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 2)).eval()
        >>> found = lrp3d.explain(model, torch.rand(1, 3, 2, 2))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     found.save(f"{folder}/clips/first.safetensors")
        ...     again = lrp3d.Explanation.load(f"{folder}/clips/first.safetensors")
        >>> torch.equal(again.relevance, found.relevance)
        True
        """
        rest: dict[str, Any] = {
            "version": FORMAT,
            "ledger": self.ledger,
            "positions": self.positions,
            "contrastive": self.contrastive,
            "layout": self.layout,
            "where": self.where,
            "rows_at": self.rows_at,
            "channel_axes": self.channel_axes,
            "sigma": self.sigma,
            "about": self.about,
            "order": {name: list(getattr(self, name)) for name in DICTS},
        }
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in self._tensors()}
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        with replacing(Path(path)) as partial:
            safetensors.torch.save_file(tensors, partial, {"lrp3d": json.dumps(rest)})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Explanation:
        """Read what `save` wrote, bit for bit; raises ValueError for any other file.

        Its tensors are on the CPU, wherever they were when they were saved.

        Raises:
            ValueError: the file is no explanation, is damaged, or is of a later form.
            OSError: it cannot be read.

        >>> import tempfile, lrp3d
        >>> with tempfile.NamedTemporaryFile(suffix=".safetensors") as file:
        ...     lrp3d.Explanation.load(file.name)
        Traceback (most recent call last):
            ...
        ValueError: /... is no explanation saved by lrp3d (...)
        """
        text, tensors = read_saved(path, "lrp3d", "explanation")
        try:
            rest = json.loads(text)
            version = rest.pop("version", 1)
            if version > FORMAT:
                raise ValueError(f"form {version} of a later lrp3d; this one reads {FORMAT}: pip install -U lrp3d")
            return cls._of_parts(rest, tensors)
        except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
            raise ValueError(f"{path} is a damaged explanation: {type(error).__name__} ({error})") from error

    @classmethod
    def _of_parts(cls, rest: dict[str, Any], tensors: dict[str, Any]) -> Explanation:
        rest["ledger"] = Ledger(LedgerEntry(*line) for line in rest["ledger"])
        pathways = [tensors.pop(name) for name in sorted(tensors, key=_number) if name.startswith("relevance.")]
        if pathways:
            tensors["relevance"] = pathways
        orders = rest.pop("order", {})  # files of former versions have none
        for group in DICTS:
            named = [name.removeprefix(f"{group}.") for name in tensors if name.startswith(f"{group}.")]
            named.sort(key={name: i for i, name in enumerate(orders.get(group, named))}.__getitem__)
            rest[group] = {name: tensors.pop(f"{group}.{name}") for name in named}
        defaults: dict[str, Any] = {each.name: None for each in fields(cls)}
        defaults |= {"sigma": SIGMA, "about": {}, "channel_axes": {}}
        return cls(**(defaults | tensors | rest))

    @property
    def explained_class(self) -> Tensor:
        """The class (b,) of each clip that is explained: its target, or a side of a lone logit, which has two classes.

        A lone logit speaks for class 1 where it is positive, for class 0 where it is negative; as it is (`target=0`),
        it is explained for class 1.

        >>> import torch, lrp3d
        >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 1, bias=False)).eval()
        >>> x = torch.rand(1, 12) * model[1].weight.detach().sign()
        >>> lrp3d.explain(model, torch.cat([x, -x]), temporal=False).explained_class
        tensor([1, 0])
        """
        if self.logits.shape[1] > 1:
            return self.target
        return torch.ones_like(self.target) if self.sign is None else (self.sign > 0).to(self.target)

    @property
    def through_rows(self) -> Tensor | None:
        """The share (b,) of the explained logit that flows through the rows of the matrix; None without a matrix.

        It is 1 where rows are the logits of frames that the model averages. With `rows_at=`, the rest flows through
        what belongs to no frame (a class token), or around the module.

        >>> import torch, lrp3d
        >>> model = lrp3d.models.i3d_resnet(18, num_classes=10, width=8).eval()
        >>> found = lrp3d.explain(model, torch.rand(1, 3, 8, 32, 32), rows_at="features.layer2")
        >>> found.matrix.shape, bool(torch.isclose(found.through_rows, torch.ones(1)))
        (torch.Size([1, 8, 8]), True)
        """
        if self.frame_logits is None:
            return None
        explained = self.logits.gather(1, self.target[:, None]).squeeze(1)
        if self.against is not None:
            explained = explained - self.logits.gather(1, self.against).mean(1)
        if self.sign is not None:
            explained = explained * self.sign
        return self.frame_logits.mean(1) / explained

    @property
    def segments(self) -> tuple[Tensor, Tensor] | None:
        """First and last frame, each (b, n), of every row's ATR segment, in frames of the clip; None without a matrix.

        These are the paper's windows for partial uniform sampling that vary by frame (Sec. 4.3).

        >>> import torch, lrp3d
        >>> model = lrp3d.models.tsn_resnet(18, num_classes=10, width=8).eval()
        >>> clip = torch.rand(1, 3, 4, 32, 32)
        >>> first, last = lrp3d.explain(model, clip).segments
        >>> first.tolist(), last.tolist()  # every frame uses only itself
        ([[0, 1, 2, 3]], [[0, 1, 2, 3]])
        >>> lrp3d.sampling.partial_uniform_logits(model, clip, (first, last)).logits.shape
        torch.Size([1, 10])
        """
        if self.matrix is None or self.frame_relevance is None:
            return None
        first, last = frame_windows(self.matrix, self.sigma, self.positions)
        return frames_of_columns(first, last, self.frame_relevance.shape[1], self.matrix.shape[-1])

    @property
    def excess(self) -> ExcessSpan | None:
        """The relevance above the floor, and how far apart it lies (`lrp3d.excess_span`); None without a floor.

        >>> import torch, lrp3d
        >>> model = lrp3d.models.tsn_resnet(18, num_classes=10, width=8).eval()
        >>> lrp3d.explain(model, torch.rand(1, 3, 2, 16, 16), floor=True).excess.frames.shape
        torch.Size([1, 2])
        """
        if self.matrix is None or self.floor is None:
            return None
        return excess_span(self.matrix, self.floor)

    def channels(self, layer: str) -> Tensor:
        """The relevance (b, c) of every channel of a layer in `layers`; raises KeyError for any other layer.

        >>> import torch, lrp3d
        >>> model = lrp3d.models.i3d_resnet(18, num_classes=10, width=8).eval()
        >>> clip = torch.rand(1, 3, 8, 32, 32)
        >>> found = lrp3d.explain(model, clip, contrastive=False, layers=["features.layer3"])
        >>> relevance = found.channels("features.layer3")
        >>> relevance.shape, bool(relevance.sum().isclose(found.logits.max()))
        (torch.Size([1, 32]), True)
        """
        if layer not in self.layers:
            raise KeyError(f"layers= did not name {layer!r}; there are {', '.join(self.layers) or 'none'}")
        x, clips = self.layers[layer], len(self.logits)
        axis = self.channel_axes.get(layer, usual_channel_axis(x.dim()))
        by_channel: Tensor = x.sum([i for i in range(1, x.dim()) if i != axis]) if x.dim() > 2 else x
        if len(x) > clips and len(x) % clips == 0:  # frames, or windows of tokens, in the batch
            by_channel = torch.unflatten(by_channel, 0, (clips, -1)).sum(1)
        return by_channel

    # ------------------------------------------------------------------ other tools

    def to_dict(self, maps: bool = False) -> dict[str, Any]:
        """Every field as numbers, texts, lists and dicts, for json (which writes NaN as `NaN`) and the like.

        Args:
            maps: whether to include fields with a value for every pixel or neuron (relevance, static, dynamic, layers),
                which takes much memory.

        >>> import torch, lrp3d
        >>> model = lrp3d.models.tsn_resnet(18, num_classes=10, width=8).eval()
        >>> found = lrp3d.explain(model, torch.rand(1, 3, 4, 32, 32)).to_dict()
        >>> found["atr"], "relevance" in found
        ([[1.0, 1.0, 1.0, 1.0]], False)
        """
        from lrp3d.explanation.tables import values

        return values(self, maps)

    def to_dataframe(self) -> Any:
        """A pandas DataFrame with a row for each cell of the matrices; clips, rows and columns are counted from 0.

        Its columns are clip, target, logit (the clip's), row (the column of the explained frame), column, relevance,
        frame_logit and atr (the row's), and floor, static_matrix and dynamic_matrix if they exist. Without a matrix
        there is a row for each frame: clip, target, logit, frame, relevance.

        Raises:
            ImportError: if pandas is not installed.
            ValueError: if this is an explanation of images.

        Example (pandas is an extra):

            table = explanation.to_dataframe()
            table.groupby(["clip", "column"]).relevance.sum()  # how much every frame contributes to all rows
        """
        from lrp3d.explanation.tables import dataframe

        return dataframe(self)

    def to_xarray(self) -> Any:
        """An xarray Dataset of all tensors but those of layers, with named axes.

        Axes are clip, class, frame, row and column (of the matrix), foil (of `against`), and for maps channel, y and x.
        With several pathways, their names end in the number of the pathway (relevance_0 has frame_0).

        Raises:
            ImportError: if xarray is not installed.

        Example (xarray is an extra):

            found = explanation.to_xarray()
            found.relevance.sum(["channel", "y", "x"]).isel(clip=0).plot()
        """
        from lrp3d.explanation.tables import dataset

        return dataset(self)

    # ------------------------------------------------------------------ people

    @property
    def unit(self) -> str:
        """The unit of columns and of ATR: "frames", or for example "steps of 4 frames" of a strided network.

        >>> import torch, lrp3d
        >>> model = lrp3d.models.i3d_resnet(18, num_classes=10, width=8, temporal_stride=True).eval()
        >>> lrp3d.explain(model, torch.rand(1, 3, 16, 32, 32)).unit
        'steps of 8 frames'
        """
        if self.matrix is None or self.frame_relevance is None:
            return "frames"
        frames, columns = self.frame_relevance.shape[1], self.matrix.shape[-1]
        least, most = frames // columns, -(-frames // columns)
        return "frames" if frames == columns else f"steps of {least}{'' if least == most else f' to {most}'} frames"

    def __repr__(self) -> str:
        from lrp3d.explanation.printed_lines import text_of

        return text_of(self)

    def plot(
        self, clip: int = 0, *, ax: Axes | None = None, title: str | None = None, footnote: str | None = None
    ) -> Figure:
        """Draw one clip: its relevance matrix with each row's ATR window, or its relevance if there is no matrix.

        Args:
            clip: index of the clip in the batch.
            ax: axes to draw into; by default those of a new figure.
            title: text above the picture; by default the class.
            footnote: text below the picture.

        Returns:
            A matplotlib Figure; nothing is shown. Without a matrix it is a bar for each frame's relevance,
            and for images the relevance of every pixel.

        Raises:
            IndexError: if there is no such clip.
            ImportError: if matplotlib is not installed.

        >>> import torch, lrp3d
        >>> model = lrp3d.models.i3d_resnet(18, num_classes=10, width=8).eval()
        >>> lrp3d.explain(model, torch.rand(1, 3, 8, 32, 32)).plot().axes[0].get_ylabel()
        'explained frame i'
        """
        from lrp3d.explanation.display import plot

        return plot(self, clip, ax, title, footnote)

    def _repr_html_(self) -> str:
        """What a notebook shows: the main numbers and the matrix, without matplotlib."""
        from lrp3d.explanation.display import html

        return html(self)


FORMAT = 3
"""The form of saved explanations; it grows when a later one has parts that former versions cannot read."""
DICTS = ("layers", "layer_rows", "motion_by_layer")
"""The fields that are dicts of tensors."""


def _number(name: str) -> int:
    return int(name.rpartition(".")[2]) if name.startswith("relevance.") else -1


def _device(x: Tensor, *args: Any, **kwargs: Any) -> torch.device:
    """Where arguments of `Tensor.to` put a tensor, whatever they say of its type."""
    return x.new_empty(0, dtype=torch.float32).to(*args, **kwargs).device
