"""Builds transformers' networks that classify videos or images, from a class, a configuration or a local folder."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

from lrp3d.integrations.networks import check_name
from lrp3d.integrations.processing import of_transformers
from lrp3d.integrations.wrappers import PerFrame, PublicNetwork, TimeFirst
from lrp3d.printed import listed, opening

IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
NORMALISED: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "VideoMAE": IMAGENET,
    "Timesformer": ((0.45,) * 3, (0.225,) * 3),
    "Vivit": ((0.5,) * 3, (0.5,) * 3),
}
"""Of the classes that say so nowhere in their configuration."""
VIDEO, IMAGE = "ForVideoClassification", "ForImageClassification"


def build(name: str, options: dict[str, Any]) -> PublicNetwork:
    """A network of transformers.

    `name` is a class (`VideoMAEForVideoClassification`, random weights), a configuration file, a folder that
    `save_pretrained` wrote, or the name of a model that the hub's cache holds already.
    """
    transformers: Any = importlib.import_module("transformers")
    if Path(name).exists() or "/" in name:
        return _load_saved(transformers, name, options)
    check_name(name, _classes(transformers), "transformers")
    kind = getattr(transformers, name)
    config = _with_changes(kind.config_class(), f"hf:{name}", options)
    return _wrap(kind(config), name, config, {})


def _classes(transformers: Any) -> list[str]:
    return [name for name in dir(transformers) if name.endswith((VIDEO, IMAGE)) and not name.startswith("Auto")]


def _load_saved(transformers: Any, place: str, options: dict[str, Any]) -> PublicNetwork:
    """The network that a file or folder describes, with the weights of the folder; nothing is downloaded."""
    try:
        config = transformers.AutoConfig.from_pretrained(place, local_files_only=True)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"hf:{place} is neither a class, a configuration, a folder nor in the cache of downloaded models: download "
            f"it first (hf download {place}), or give a folder ({opening(error)})"
        ) from error
    name = (getattr(config, "architectures", None) or [""])[0]
    if not name.endswith((VIDEO, IMAGE)) or not hasattr(transformers, name):
        raise ValueError(f"hf:{place} describes {name or 'no network'}, which does not classify videos or images")
    kind = getattr(transformers, name)
    if Path(place).is_file():
        return _wrap(kind(_with_changes(config, f"hf:{place}", options)), name, config, {})
    if options:
        raise ValueError(f"hf:{place} says all about its network: {', '.join(options)} cannot be changed")
    network, loading_info = kind.from_pretrained(place, local_files_only=True, output_loading_info=True)
    if loading_info["missing_keys"]:
        lacking = listed(sorted(loading_info["missing_keys"]), 3)
        raise ValueError(f"the weights of hf:{place} lack {lacking}: they were trained for another task")
    return _wrap(network, name, config, _preprocessing(place), f"weights of {place}")


def _with_changes(config: Any, name: str, options: dict[str, Any]) -> Any:
    """Changes some entries of a configuration; raises ValueError for entries that it does not have."""
    for key, value in options.items():
        entry = "num_labels" if key == "num_classes" else key
        if not hasattr(config, entry):
            raise ValueError(f"{name} is not built with {key}: its configuration has no such entry")
        setattr(config, entry, value)
    return config


def _preprocessing(place: str) -> dict[str, Any]:
    """The settings for pixels that are stored beside the weights; empty if there are none."""
    files = [Path(place) / name for name in ("video_preprocessor_config.json", "preprocessor_config.json")]
    file = next((file for file in files if file.is_file()), None)
    read: dict[str, Any] = {} if file is None else json.loads(file.read_text(encoding="utf-8"))
    return read


def _wrap(network: Any, name: str, config: Any, pixels: dict[str, Any], weights: str = "") -> PublicNetwork:
    size = getattr(config, "image_size", None) or getattr(config, "crop_size", None) or 224
    size = size if isinstance(size, int) else size[-1]
    usual = NORMALISED.get(name.removesuffix(VIDEO))
    stated = of_transformers(pixels, size)
    mean, std, notes = stated.mean, stated.std, stated.notes
    if usual and (mean is None or std is None):
        (mean, std), notes = usual, (*notes, f"nothing states mean and std: those usual for {name} are used")
    names = [config.id2label[number] for number in sorted(config.id2label)]
    video = name.endswith(VIDEO)
    frames = getattr(config, "num_frames", None) or getattr(config, "frames_per_clip", None) if video else None
    return (TimeFirst if video else PerFrame)(
        network,
        frames=frames,
        fixed_frames=frames is not None,
        size=size,
        short_side=stated.short_side,
        mean=mean,
        std=std,
        notes=notes,
        classes=() if names[:1] == ["LABEL_0"] else names,
        weights=weights,
    )
