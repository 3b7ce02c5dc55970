"""Code of clones, imported unchanged: without downloads of weights, and with what it expects of other packages.

Two files are read with a line mended (`mended_file`): one is no Python as it was published, and one takes whole numbers
only.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import torch
from torch import Tensor, nn


class Built(NamedTuple):
    """A network, and clips that it takes."""

    net: nn.Module
    frames: int
    sides: tuple[int, ...]


@contextlib.contextmanager
def without_weights() -> Iterator[None]:
    """Nothing is downloaded, and what would be loaded stays as it was drawn."""
    import torch.hub
    import torch.utils.model_zoo
    from torchvision.models._api import WeightsEnum

    def nothing(*args: object, **kwargs: object) -> None:
        return None

    def empty(*args: object, **kwargs: object) -> dict[str, Tensor]:
        return {}

    with (
        mock.patch.object(nn.Module, "load_state_dict", nothing),
        mock.patch.object(torch.hub, "load_state_dict_from_url", empty),
        mock.patch.object(torch.utils.model_zoo, "load_url", empty),
        mock.patch.object(WeightsEnum, "get_state_dict", empty),
    ):
        yield


def imported(path: str) -> Any:
    """A module of a clone, also where a folder without `__init__` has the name of a package that is installed."""
    first, folder = path.partition(".")[0], Path(sys.path[0])
    if (folder / first).is_dir() and not (folder / first / "__init__.py").exists():
        package = types.ModuleType(first)
        package.__path__ = [str(folder / first)]
        sys.modules[first] = package
    return importlib.import_module(path)


def mended_file(path: str, line: str, mended: str) -> Any:
    """A module of a clone with one piece of its text replaced."""
    file = Path(sys.path[0], *path.split(".")).with_suffix(".py")
    text = file.read_text()
    if line not in text:
        raise ValueError(f"{file.name} no longer has the text that is mended: {line}")
    module = sys.modules[path] = types.ModuleType(path)
    exec(compile(text.replace(line, mended), str(file), "exec"), module.__dict__)
    return module


def prepare(repository: str) -> None:
    """Supply what a clone expects of other packages, or of torch, and these no longer have."""
    if repository == "VMZ":
        imported("torchvision.datasets").Kinetics400 = torch.utils.data.Dataset
    if repository == "SlowFast":  # functions of an unreleased pytorchvideo, for training only
        imported("pytorchvideo.layers.distributed").__getattr__ = lambda name: None
        losses = sys.modules["pytorchvideo.losses"] = types.ModuleType("pytorchvideo.losses")
        losses.__path__ = []
        sys.modules["pytorchvideo.losses.soft_target_cross_entropy"] = losses
        vars(losses)["SoftTargetCrossEntropyLoss"] = nn.CrossEntropyLoss
        for name in ("detectron2", "detectron2.layers"):  # for detection only
            vars(sys.modules.setdefault(name, types.ModuleType(name)))["ROIAlign"] = None
    if repository == "GSM":  # which reads files beside its code
        yaml = imported("yaml")
        load = yaml.load
        yaml.load = lambda file, loader=yaml.SafeLoader: load(file, loader)
        vars(torch.cuda)["FloatTensor"] = torch.FloatTensor
        os.chdir(sys.path[0])
    if repository == "PAN-PyTorch":  # the axis of distances moved in torch 1.10
        vars(nn)["PairwiseDistance"] = lambda p: lambda a, b: torch.norm(a - b + 1e-6, p, 1)
