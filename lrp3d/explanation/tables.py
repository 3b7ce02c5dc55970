"""An explanation as plain values, as a table, and as labelled arrays, for other tools to read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from lrp3d.extras import is_installed, missing
from lrp3d.layout import Layout

if TYPE_CHECKING:
    from lrp3d.explanation.explanation import Explanation

MAPS = frozenset({"relevance", "static", "dynamic", "layers", "layer_rows"})
"""The fields that have a value for every pixel or neuron."""
AXES: dict[str, tuple[str, ...]] = {
    "logits": ("clip", "class"),
    "target": ("clip",),
    "sign": ("clip",),
    "against": ("clip", "foil"),
    "frame_relevance": ("clip", "frame"),
    "conservation": ("clip",),
    "frame_logits": ("clip", "row"),
    "matrix": ("clip", "row", "column"),
    "static_matrix": ("clip", "row", "column"),
    "dynamic_matrix": ("clip", "row", "column"),
    "floor": ("clip", "row", "column"),
    "atr": ("clip", "row"),
    "avg_atr": ("clip",),
    "max_atr": ("clip",),
    "motion": ("clip",),
}
"""The names of the axes of tensors."""
LETTERS = {"b": "clip", "c": "channel", "t": "frame", "h": "y", "w": "x"}


def values(explanation: Explanation, maps: bool) -> dict[str, Any]:
    """Every field as numbers, texts, lists and dicts; the fields in `MAPS` only if `maps` is set."""
    fields_by_name = {each.name: getattr(explanation, each.name) for each in fields(explanation)}
    fields_by_name["ledger"] = [{**entry._asdict(), "absorbed": entry.absorbed} for entry in explanation.ledger]
    return {name: plain(value) for name, value in fields_by_name.items() if maps or name not in MAPS}


def plain(value: Any) -> Any:
    """Turns tensors into lists, also inside lists and dicts."""
    if isinstance(value, Tensor):
        return value.detach().tolist()
    if isinstance(value, Mapping):
        return {name: plain(item) for name, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def columns(explanation: Explanation) -> dict[str, list[Any]]:
    """A table by its columns: a row for each cell of the matrices, or for each frame if there is no matrix."""
    target = explanation.target.cpu()
    logit = explanation.logits.detach().cpu().gather(1, target[:, None])[:, 0]
    shaped = explanation.frame_relevance if explanation.matrix is None else explanation.matrix
    if shaped is None:
        raise ValueError("an explanation of images has no frames to make a table of; see to_xarray and relevance")
    places = torch.cartesian_prod(*(torch.arange(size, device="cpu") for size in shaped.shape)).unbind(1)
    clip = places[0]
    table: dict[str, Tensor] = {"clip": clip, "target": target[clip], "logit": logit[clip]}
    if explanation.matrix is None:
        return {name: x.tolist() for name, x in {**table, "frame": places[1], "relevance": shaped.flatten()}.items()}
    row = places[1]
    per_row = {"frame_logit": explanation.frame_logits, "atr": explanation.atr}
    own = row if explanation.positions is None else torch.tensor(explanation.positions, device="cpu")[row]
    table |= {"row": own, "column": places[2], "relevance": shaped.flatten()}
    table |= {name: x.detach().cpu()[clip, row] for name, x in per_row.items() if x is not None}
    for name in ("floor", "static_matrix", "dynamic_matrix"):
        if (x := getattr(explanation, name)) is not None:
            table[name] = x.flatten()
    return {name: x.detach().tolist() for name, x in table.items()}


def dataframe(explanation: Explanation) -> Any:
    """The table as a pandas DataFrame; raises ImportError without pandas."""
    if not is_installed("pandas"):
        raise missing("pandas", "a DataFrame")
    import pandas

    return pandas.DataFrame(columns(explanation))


def variables(explanation: Explanation) -> dict[str, tuple[tuple[str, ...], Any]]:
    """Every tensor with the names of its axes."""
    arrays: dict[str, tuple[tuple[str, ...], Any]] = {}
    for name, axes in AXES.items():
        if (x := getattr(explanation, name)) is not None:
            arrays[name] = axes, x.numpy(force=True)
    pathways = explanation.relevance if isinstance(explanation.relevance, list) else [explanation.relevance]
    maps: dict[str, Tensor | None] = {"static": explanation.static, "dynamic": explanation.dynamic}
    several = len(pathways) > 1
    maps |= {f"relevance_{i}" if several else "relevance": x for i, x in enumerate(pathways)}
    for name, x in maps.items():
        if x is not None:
            arrays[name] = _axes(explanation.layout, x, name.partition("_")[2]), x.numpy(force=True)
    return arrays


def _axes(layout: str, x: Tensor, pathway: str) -> tuple[str, ...]:
    """The names of a map's axes, joined where several letters are one axis; each pathway has names of its own."""
    axes = Layout(layout)
    groups = axes.groups if len(axes.groups) == x.dim() else Layout.of_images(x.dim()).groups
    names = ["_".join(LETTERS.get(letter, letter) for letter in group) for group in groups]
    return tuple(f"{name}_{pathway}" if pathway and name != "clip" else name for name in names)


def dataset(explanation: Explanation) -> Any:
    """The tensors as an xarray Dataset; raises ImportError without xarray."""
    if not is_installed("xarray"):
        raise missing("xarray", "a Dataset")
    import xarray

    settings = {"contrastive": int(explanation.contrastive), "sigma": explanation.sigma, "unit": explanation.unit}
    return xarray.Dataset(variables(explanation), attrs={**settings, **explanation.about})
