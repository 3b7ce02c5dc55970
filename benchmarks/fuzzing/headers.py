"""Files whose headers are texts, taken apart and put together with other texts: safetensors, npy, archives of torch."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from random import Random

import numpy as np
import torch
from torch import Tensor

from benchmarks.fuzzing.mutations import mutated
from benchmarks.fuzzing.words import mutated_json, mutated_text

_TYPES = {torch.float32: "F32", torch.float16: "F16", torch.uint8: "U8", torch.int64: "I64", torch.float64: "F64"}


def safetensors_of(tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> bytes:
    """A safetensors file whose header has an order: safetensors' own writes metadata in a random one."""
    header: dict[str, object] = {"__metadata__": dict(metadata)} if metadata else {}
    content, end = [], 0
    for name, tensor in tensors.items():
        data = tensor.detach().contiguous().numpy().tobytes()
        shape, start, end = list(tensor.shape), end, end + len(data)
        header[name] = {"dtype": _TYPES[tensor.dtype], "shape": shape, "data_offsets": [start, end]}
        content.append(data)
    return _with_header(json.dumps(header).encode(), b"".join(content))


def _with_header(header: bytes, content: bytes) -> bytes:
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + content


def other_safetensors(data: bytes, rng: Random) -> bytes:
    """Another value, key or word in the header, whose length is right again."""
    length = int.from_bytes(data[:8], "little")
    text = data[8 : 8 + length].decode()
    header = mutated_json(text, rng).encode() if rng.random() < 0.8 else mutated_text(text, rng)
    return _with_header(header, data[8 + length :])


def npy_of(array: np.ndarray) -> bytes:
    """A file of numpy's."""
    memory = io.BytesIO()
    np.save(memory, array)
    return memory.getvalue()


def other_npy(data: bytes, rng: Random) -> bytes:
    """Another word in the header, whose length is right again."""
    length = int.from_bytes(data[8:10], "little")
    header = mutated_text(data[10 : 10 + length].decode().rstrip(), rng)[:60_000]
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    return data[:8] + len(header).to_bytes(2, "little") + header + data[10 + length :]


def other_archive(data: bytes, rng: Random) -> bytes:
    """An archive of torch's in which an entry, most often its pickle, is damaged and its checksum is right."""
    source = zipfile.ZipFile(io.BytesIO(data))
    names = source.namelist()
    pickled = [name for name in names if name.endswith(".pkl")]
    chosen = rng.choice(pickled if pickled and rng.random() < 0.8 else names)
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w") as archive:
        for name in names:
            content = source.read(name)
            archive.writestr(zipfile.ZipInfo(name), mutated(content, rng) if name == chosen else content)
    return memory.getvalue()


def mutated_file(data: bytes, rng: Random, others: list[bytes]) -> bytes:
    """A file of tensors, damaged as its format allows, or anywhere."""
    if rng.random() < 0.6:
        if data.startswith(b"PK"):
            return other_archive(data, rng)
        if data.startswith(b"\x93NUMPY"):
            return other_npy(data, rng)
        if data[8:9] == b"{":
            return other_safetensors(data, rng)
    return mutated(data, rng, others)
