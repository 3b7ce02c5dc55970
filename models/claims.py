"""Finds out what a pickled checkpoint claims, without running its code or allocating the memory that it requests.

torch allocates as much memory for a storage as the pickle says, before it checks whether the file has so many bytes.
Here the pickle is first read with stand-ins for everything that it names.
"""

from __future__ import annotations

import io
import math
import pickle
import pickletools
import re
import warnings
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import torch

from .wording import first_line, shown

_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_ALLOCATES = re.compile(r"(builtins|__builtin__)\.(bytearray|bytes)|torch(\.\w+)*\.\w*(Tensor|Storage)")
_HARMLESS = re.compile(r"torch\..*|collections\.(OrderedDict|Counter)|_codecs\.encode")


class Damaged(ValueError):
    """A file starts like a checkpoint but is not one; the message continues a sentence that starts with its name."""


@dataclass
class Claims:
    """The names that a pickle uses, and the memory that it requests."""

    storages: dict[str, int] = field(default_factory=dict)
    """The bytes of each stored tensor by its key."""
    names: list[str] = field(default_factory=list)
    """The classes and functions that the pickle calls."""
    most: int = 0
    """The bytes of the largest object made by a call."""

    @property
    def foreign(self) -> tuple[str, ...]:
        """The names that the pickle calls and that no state dict needs."""
        return tuple(dict.fromkeys(name for name in self.names if not _HARMLESS.fullmatch(name)))


def check_zip(path: Path) -> Claims:
    """Check an archive of torch.save.

    Raises:
        Damaged: it is not such an archive, is damaged, or claims more than it holds.
    """
    size = path.stat().st_size
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            pickled = _pickle_of(entries)
            if sum(entry.file_size for entry in entries) > size:
                raise Damaged("is compressed or claims more than it holds; torch.save does neither")
            wrong = next((entry.filename for entry in entries if entry.CRC and not _is_whole(archive, entry)), None)
            if wrong is not None:
                raise Damaged(f"is damaged: the bytes of {shown(wrong)} do not match their checksum; copy it again")
            claims = read_claims(archive.read(pickled))
    except Damaged:
        raise
    except Exception as error:  # for a damaged entry, zipfile may raise any error
        raise Damaged(f"is not a complete checkpoint: {first_line(error)}; copy it again") from error
    folder = pickled.filename.removesuffix("data.pkl")
    sizes = {entry.filename: entry.file_size for entry in entries}
    for key, claimed in claims.storages.items():
        stored = sizes.get(f"{folder}data/{key}")
        if stored != claimed:
            holds = "nothing" if stored is None else f"{stored:,} bytes"
            raise Damaged(f"claims {claimed:,} bytes for tensor {shown(key)} and holds {holds} of it; copy it again")
    _check_calls(claims, size)
    return claims


def check_pickles(path: Path) -> Claims:
    """Check a file of one pickle, or of torch's first format: five pickles, and then the tensors.

    Raises:
        Damaged: it is neither, ends too early, or claims more than it holds.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        first = _next_pickle(file)
        if _number(first) != _LEGACY_MAGIC:
            return Claims(names=_names_in(first))
        for _ in ("protocol", "system"):
            _next_pickle(file)
        claims = read_claims(_next_pickle(file))
        _next_pickle(file)  # the keys of the tensors, which follow
        left = size - file.tell()
    claimed = sum(claims.storages.values())
    if claimed > left:
        raise Damaged(
            f"is not a complete checkpoint: claims {claimed:,} bytes of tensors and holds {left:,}; copy it again"
        )
    _check_calls(claims, size)
    return claims


def read_claims(pickled: bytes) -> Claims:
    """The claims of a pickle.

    Raises:
        Damaged: it is not a pickle, or is incomplete.
    """
    _scan(io.BytesIO(pickled), len(pickled))
    claims = Claims()
    try:
        _Reader(pickled, claims).load()
    except Exception as error:  # a damaged pickle may raise any error
        raise Damaged(f"is not a complete checkpoint: {first_line(error)}; copy it again") from error
    return claims


def _check_calls(claims: Claims, size: int) -> None:
    if claims.most > size:
        raise Damaged(f"asks for {claims.most:,} bytes of memory and holds {size:,}")


def _pickle_of(entries: Iterable[zipfile.ZipInfo]) -> zipfile.ZipInfo:
    names = {entry.filename: entry for entry in entries}
    pickled = next((entry for name, entry in names.items() if re.fullmatch(r"[^/]*/data\.pkl", name)), None)
    if pickled is None:
        examples = ", ".join(repr(name) for name in list(names)[:3]) or "nothing"
        arrays = names and all(name.endswith(".npy") for name in names)
        archive = "an archive of numpy arrays (npz)" if arrays else "a zip archive"
        raise Damaged(f"is {archive}, no checkpoint: it holds {examples}; unpack it if a checkpoint is among them")
    if pickled.filename.replace("data.pkl", "constants.pkl") in names:
        raise Damaged("is a TorchScript archive, which is a program: save the state dict of the model it came from")
    return pickled


def _is_whole(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bool:
    with archive.open(entry) as file:
        try:
            while file.read(1 << 20):
                pass
        except zipfile.BadZipFile:
            return False
    return True


def _next_pickle(file: BinaryIO) -> bytes:
    start = file.tell()
    _scan(file, None)
    end = file.tell()
    file.seek(start)
    return file.read(end - start)


def _scan(file: BinaryIO, size: int | None) -> None:
    """Check that all instructions of a pickle are there, and that no memo number is larger than the pickle is long."""
    count = 0
    try:
        for instruction, argument, _ in pickletools.genops(file):
            count += 1
            if "PUT" in instruction.name and isinstance(argument, int) and argument > count + 256:
                raise Damaged("is not a complete checkpoint: its pickle is damaged; copy it again")
    except Damaged:
        raise
    except Exception as error:  # a ValueError for an incomplete pickle, or any error that a damaged argument raises
        raise Damaged("is not a complete checkpoint: it is no pickle, or its end is missing; copy it again") from error


def _number(pickled: bytes) -> int | None:
    values = [argument for _, argument, _ in pickletools.genops(pickled) if isinstance(argument, int)]
    return values[-1] if values else None


def _names_in(pickled: bytes) -> list[str]:
    """The names that a pickle calls, as far as they appear in it literally."""
    names: list[str] = []
    strings: list[str] = []
    for instruction, argument, _ in pickletools.genops(pickled):
        if instruction.name in ("GLOBAL", "INST"):
            names.append(str(argument).replace(" ", "."))
        elif instruction.name == "STACK_GLOBAL":
            names.append(".".join(strings[-2:]))
        elif isinstance(argument, str):
            strings.append(argument)
    return names


class _StandIn:
    """Replaces every object that a pickle makes, and does nothing."""

    def __init__(self, *args: Any, **kwargs: Any):
        pass

    def _nothing(self, *args: Any, **kwargs: Any) -> None:
        pass

    __setstate__ = __setitem__ = append = extend = add = update = _nothing


class _Reader(pickle.Unpickler):
    """Reads a pickle with stand-ins for everything that it names: nothing is imported, called or allocated."""

    def __init__(self, pickled: bytes, claims: Claims):
        super().__init__(io.BytesIO(pickled), encoding="latin1")
        self.claims = claims

    def find_class(self, module: str, name: str) -> Any:
        """Returns a class of stand-ins that remembers the name."""
        full = f"{module}.{name}"
        self.claims.names.append(full)
        claims = self.claims

        class Named(_StandIn):
            named = full

            def __init__(self, *args: Any, **kwargs: Any):
                if _ALLOCATES.fullmatch(full):
                    claims.most = max(claims.most, _requested_bytes(args))

        return Named

    def persistent_load(self, pid: Any) -> _StandIn:
        """Notes the size of a tensor's values, of which the pickle has only the type, the key and the number."""
        kind, storage, key, _, number = pid[:5]
        if kind != "storage" or not isinstance(number, int) or number < 0:
            raise Damaged("its tensors are described wrongly")
        size = number * _item_size(getattr(storage, "named", ""))
        self.claims.storages[str(key)] = max(size, self.claims.storages.get(str(key), 0))
        return _StandIn()


def _requested_bytes(args: Any) -> int:
    numbers = [value for value in args if isinstance(value, int)]
    return math.prod(numbers) if numbers else 0


def _item_size(storage: str) -> int:
    """The bytes of one item of torch's storage class with this name."""
    name = storage.rpartition(".")[2]
    if name == "UntypedStorage":
        return 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns of its own storage classes
        dtype = getattr(getattr(torch, name, None), "dtype", None)
    if not storage.startswith("torch.") or not isinstance(dtype, torch.dtype):
        raise Damaged(f"its tensors are of the unknown kind {storage!r}")
    return dtype.itemsize
