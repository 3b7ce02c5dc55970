"""Small videos and images, encoded on the spot; the same bytes each time with the same FFmpeg."""

from __future__ import annotations

import io
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import av
import numpy as np

import lrp3d

VIDEOS = (  # container, codec, pixels
    ("mp4", "libx264", "yuv420p"),
    ("mov", "mpeg4", "yuv420p"),
    ("matroska", "libx264", "yuv420p"),
    ("webm", "libvpx", "yuv420p"),
    ("matroska", "ffv1", "yuv420p"),
    ("avi", "mpeg4", "yuv420p"),
    ("avi", "mjpeg", "yuvj420p"),
    ("mpegts", "mpeg2video", "yuv420p"),
    ("mpeg", "mpeg2video", "yuv420p"),
    ("flv", "flv", "yuv420p"),
    ("nut", "rawvideo", "rgb24"),
    ("asf", "wmv2", "yuv420p"),
    ("mxf", "mpeg2video", "yuv420p"),
    ("ivf", "libvpx", "yuv420p"),
    ("ogg", "libvpx", "yuv420p"),
    ("gif", "gif", "rgb8"),
    ("apng", "apng", "rgb24"),
    ("yuv4mpegpipe", "rawvideo", "yuv420p"),
    ("h264", "libx264", "yuv420p"),
)
IMAGES = (
    *(("png", "png", "rgb24"), ("jpg", "mjpeg", "yuvj420p"), ("bmp", "bmp", "bgr24")),
    *(("webp", "libwebp", "yuv420p"), ("tif", "tiff", "rgb24"), ("ppm", "ppm", "rgb24")),
)
# No HEVC: what x265 writes differs from run to run, and a case has to come again from its seed.
_OPTIONS = {
    "libvpx": {"deadline": "good", "cpu-used": "5"},  # quick
    # Nothing that looks ahead, in a thread that may come first or second.
    "libx264": {"x264-params": "threads=1:rc-lookahead=0:sync-lookahead=0:mbtree=0:bframes=0"},
}


def videos(frames: int = 12, size: int = 32) -> Iterator[tuple[str, bytes]]:
    """A drawn clip in every container and codec that this FFmpeg can write: suffix and bytes."""
    images = lrp3d.video.draw_clip(frames, size).numpy()
    for container, codec, pixels in VIDEOS:
        try:
            yield f"{container}.{codec}", _encoded(images, container, codec, pixels)
        except (av.error.FFmpegError, ValueError):  # this build has not got it
            continue


def _encoded(images: np.ndarray, container: str, codec: str, pixels: str) -> bytes:
    memory = io.BytesIO()
    with av.open(memory, "w", format=container, options={"fflags": "bitexact"}) as output:
        stream = output.add_stream(codec, rate=25, options=_OPTIONS.get(codec, {}))
        stream.height, stream.width = images.shape[1:3]
        stream.pix_fmt = pixels
        stream.codec_context.gop_size = 4
        stream.codec_context.thread_count = 1
        for image in images:
            output.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        output.mux(stream.encode())
    return memory.getvalue()


def images(count: int = 5, size: int = 24) -> Iterator[tuple[str, tuple[bytes, ...]]]:
    """Frames of a drawn clip in every format that this FFmpeg can write: suffix and the bytes of each."""
    drawn = lrp3d.video.draw_clip(count, size).numpy()
    for suffix, codec, pixels in IMAGES:
        try:
            yield suffix, tuple(_image(image, codec, pixels) for image in drawn)
        except (av.error.FFmpegError, ValueError):
            continue


def _image(image: np.ndarray, codec: str, pixels: str) -> bytes:
    context: Any = av.CodecContext.create(codec, "w")
    context.height, context.width = image.shape[:2]
    context.pix_fmt, context.time_base, context.thread_count = pixels, Fraction(1, 25), 1
    frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format=pixels)
    frame.pts = 0
    return b"".join(bytes(packet) for packet in (*context.encode(frame), *context.encode(None)))
