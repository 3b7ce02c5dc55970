"""Videos that the tests encode, damage and read back: every frame has its number written into it."""

from fractions import Fraction

from pathlib import Path

import av
import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file


SMALL = {"size": None, "short_side": None}


def frame_numbers(clip):
    """Read the number that `numbered_frames` wrote into each frame."""
    bits = clip.pixels[:, 4, 4::8].float().mean(-1) > 128
    return (bits[:, :6] * 2 ** torch.arange(6)).sum(-1).tolist()


def numbered_frames(count, height=48, width=64):
    """Frames with their number in binary, black and white blocks, over a pattern that moves."""
    pattern = np.random.default_rng(0).integers(60, 200, (height // 8, width // 8, 3)).repeat(8, 0).repeat(8, 1)
    for number in range(count):
        frame = np.roll(pattern, number, 1).astype(np.uint8)
        for bit in range(6):
            frame[:8, 8 * bit : 8 * bit + 8] = 255 * (number >> bit & 1)
        yield frame


def encode(path, images, codec="libx264", pixels="yuv420p", gop=10, b_frames=2, stamps=None, **options):
    images = list(images)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options=options)
        stream.height, stream.width = images[0].shape[:2] if images else (48, 64)
        stream.pix_fmt = pixels
        stream.codec_context.gop_size, stream.codec_context.max_b_frames = gop, b_frames
        for number, image in enumerate(images):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            if stamps:
                frame.pts, frame.time_base = stamps[number], Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def damage(path, packets):
    """Overwrite the data of some packets, in the order of the file, but not their headers."""
    with av.open(str(path)) as container:
        places = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    data = bytearray(path.read_bytes())
    noise = np.random.default_rng(0)
    for number in packets:
        start, size = places[number]
        data[start + 4 : start + size] = noise.bytes(size - 4)
    path.write_bytes(data)
    return path


def write_image(path, image):
    """JPEG or PNG, with PyAV's own encoders."""
    codec, pixels = ("png", "rgb24") if path.suffix == ".png" else ("mjpeg", "yuvj444p")
    encoder = av.CodecContext.create(codec, "w")
    encoder.height, encoder.width = image.shape[:2]
    encoder.pix_fmt, encoder.time_base = pixels, Fraction(1, 25)
    frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format=pixels)
    path.write_bytes(b"".join(bytes(packet) for packet in [*encoder.encode(frame), *encoder.encode(None)]))


def save(path, frames):
    if path.suffix == ".npy":
        np.save(path, frames.numpy())
    elif path.suffix == ".safetensors":
        save_file({"pixels": frames}, path)
    else:
        torch.save(frames, path)
    return path


def frames_in(folder: Path, *names: str) -> Path:
    folder.mkdir()
    for name in names:
        Image.new("RGB", (32, 32)).save(folder / name)
    return folder
