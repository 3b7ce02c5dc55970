"""Builds networks of public libraries by name, such as `torchvision:r3d_18`."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Iterable
from typing import Any

import torch

from lrp3d.extras import install_command, is_installed
from lrp3d.integrations.wrappers import PublicNetwork
from lrp3d.suggestions import did_you_mean, names_near

__all__ = ["SOURCES", "network", "source_of"]

SOURCES = {
    "torchvision": "torchvision",
    "pytorchvideo": "pytorchvideo",
    "timm": "timm",
    "hf": "transformers",
    "mmaction": "mmaction",
    "mmaction2": "mmaction",
}
"""The prefixes before the colon, and the package that each needs."""


def network(name: str, **options: Any) -> PublicNetwork:
    """A network of a public library, unchanged and with random weights, that takes clips.

    Args:
        name: `torchvision:r3d_18`, `pytorchvideo:slow_r50`, `timm:resnet18` (a network of images, which sees every
            frame alone), `hf:VideoMAEForVideoClassification` or `hf:FOLDER` (which loads the weights in that folder),
            `mmaction:config.py`.
        options: further arguments of the library's builder; `num_classes` works whatever the library calls it.

    Returns:
        A module in evaluation mode with logits (b, k) for clips (b, 3, t, h, w). Its `network` is the library's own
        module, and takes the library's checkpoints (`lrp3d.models.load_checkpoint(made.network, path)`); `mean`, `std`,
        `frames`, `frames_apart`, `size` and `short_side` say which clips it expects. Nothing is downloaded.

    Raises:
        ImportError: the library is not installed; the message says how to install it.
        ValueError: there is no such library or network, or it does not take these options.

    >>> import lrp3d
    >>> lrp3d.integrations.network("torchvison:r3d_18")
    Traceback (most recent call last):
    ValueError: 'torchvison:r3d_18' names no library: expected torchvision, pytorchvideo, timm, hf, mmaction or
    mmaction2 before the colon; did you mean torchvision?
    """
    source = source_of(name)
    before, _, rest = name.partition(":")
    if source is None or not rest:
        prefixes = f"{', '.join(list(SOURCES)[:-1])} or {list(SOURCES)[-1]}"
        raise ValueError(
            f"{name!r} names no library: expected {prefixes} before the colon{did_you_mean(before, SOURCES)}"
        )
    package = SOURCES[source]
    if not is_installed(package):
        raise ImportError(f"{name} needs {package}, which is not installed: {install_command(package)}", name=package)
    try:
        builder = importlib.import_module(f"lrp3d.integrations.from_{package}")
        model: PublicNetwork = builder.build(rest, options)
    except ImportError as error:  # a package that the library itself needs is missing
        raise ImportError(f"{name} cannot be built: {error}", name=error.name) from error
    except RuntimeError as error:
        if "operator torchvision::" not in str(error):
            raise
        raise ImportError(
            f"torchvision is installed and does not fit torch {torch.__version__} ({error}): install the torchvision "
            "of this torch",
            name="torchvision",
        ) from error
    return model.eval()


def source_of(name: str) -> str | None:
    """The prefix before the colon if it is one of `SOURCES`, else None.

    >>> source_of("timm:resnet18"), source_of("networks:Net")
    ('timm', None)
    """
    before, colon, _ = name.partition(":")
    return before if colon and before in SOURCES else None


def check_name(name: str, available: Iterable[str], library: str) -> None:
    """Raise ValueError if the library has no network of that name."""
    names = list(available)
    if name not in names:
        raise ValueError(f"{library} has no network {name!r}{names_near(name, names)}")


def built(builder: Callable[..., Any], name: str, options: dict[str, Any], **renamed: str) -> Any:
    """The network that a library's builder makes; arguments that it does not take become a ValueError.

    Args:
        builder: the function of the library.
        name: the name of the network, for the error.
        options: the arguments of the builder.
        renamed: the library's names for arguments of ours, as in num_classes="model_num_class".
    """
    arguments = {renamed.get(key, key): value for key, value in options.items()}
    try:
        inspect.signature(builder).bind(**arguments)
        return builder(**arguments)
    except TypeError as error:
        raise ValueError(f"{name} is not built with {', '.join(options) or 'these arguments'}: {error}") from error
