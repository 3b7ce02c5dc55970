"""Refuses a folder for results that could not be written, before any work is done."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from lrp3d.commands import UsageError
from lrp3d.extras import is_installed, missing


def check_folder(folder: Path | None, pictures: bool = True) -> None:
    """Refuse before any work what would fail after it: a folder that cannot be made, or a missing matplotlib."""
    if folder is None:
        return
    if pictures and not is_installed("matplotlib"):
        raise missing("matplotlib", "what --out writes")
    place = next((place for place in (folder, *folder.parents) if os.path.lexists(place)), Path())
    if not place.is_dir():
        raise UsageError(f"--out {folder} cannot be made: {place} is not a folder")
    if not os.access(place, os.W_OK | os.X_OK):
        raise UsageError(f"--out {folder} cannot be made: you may not write to {place}")
    try:  # some folders, such as /proc, allow what they then refuse
        os.rmdir(tempfile.mkdtemp(prefix=".", dir=place))
    except OSError as error:
        raise UsageError(f"--out {folder} cannot be made: {place}: {error.strerror}") from None
