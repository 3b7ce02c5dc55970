"""What a video holds, as a short name: other videos may have its file name and its number of frames."""

from __future__ import annotations

import hashlib
from pathlib import Path

from lrp3d.video.clip import locate
from lrp3d.video.folders import list_images


def content_digest(path: str | Path) -> str:
    """Hashes the bytes of a video file, or the names and the bytes of the images that are its frames.

    Args:
        path: as in `read_clip`.

    Raises:
        VideoError: there is no such video.
        OSError: it cannot be read.
    """
    place, template = locate(path, None)
    if not place.is_dir():
        return _digest_of_file(place).hexdigest()[:16]
    digest = hashlib.sha256()
    for image in list_images(place, template)[0]:
        digest.update(f"{image.name} {_digest_of_file(image).hexdigest()}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()[:16]


def _digest_of_file(path: Path) -> hashlib._Hash:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest
