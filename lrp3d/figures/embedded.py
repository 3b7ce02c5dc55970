"""Pictures as addresses that hold them, so that a page needs no other file."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL.Image import Image


def data_address(content: bytes, kind: str = "png") -> str:
    """The address of a picture, from the bytes of its file.

    >>> data_address(b"abc")
    'data:image/png;base64,YWJj'
    """
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def address_of(image: Image, kind: str, **options: Any) -> str:
    """The address of an image of Pillow, written as "png" or "jpeg", with Pillow's options for that kind."""
    buffer = io.BytesIO()
    image.save(buffer, kind.upper(), **options)
    return data_address(buffer.getvalue(), kind)
