"""In-place operations: nothing is overwritten; later reads of a changed tensor are redirected to its new value.

An activation may still be needed for relevance, and a parameter or buffer belongs to the user's model.
"""

from __future__ import annotations

from collections.abc import Iterable, MutableMapping

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils.weak import WeakTensorKeyDictionary


class Memory:
    """Which tensor stands for which since something was changed in place, and which memory belongs to the model.

    Args:
        own: the parameters and buffers of the user's model.
    """

    def __init__(self, own: Iterable[Tensor]):
        self._own = {_address(tensor) for tensor in own if tensor.layout == torch.strided}
        self._substitutes: MutableMapping[Tensor, Tensor] = WeakTensorKeyDictionary()
        self._stale: dict[int, StorageWeakRef] = {}

    def replace(self, old: Tensor, new: Tensor) -> None:
        """Redirects later reads of `old` to `new`; other views of the memory of `old` are stale from now on."""
        if old is new:
            return
        if _address(new) != _address(old):
            self._stale[_address(old)] = StorageWeakRef(old.untyped_storage())
        self._substitutes[old] = new

    def latest(self, x: Tensor) -> Tensor:
        """The tensor that `x` stands for now: itself, if it was not changed in place."""
        while (new := self._substitutes.get(x)) is not None:
            x = new
        return x

    def is_stale(self, x: Tensor) -> bool:
        """Whether the memory of `x` was changed through another view of it."""
        if not self._stale or x.layout != torch.strided or x in self._substitutes:
            return False
        reference = self._stale.get(_address(x))
        return reference is not None and not reference.expired()

    def is_own(self, x: Tensor) -> bool:
        """Whether `x` lies in memory of the user's model."""
        return x.layout == torch.strided and _address(x) in self._own


def _address(x: Tensor) -> int:
    """The same number for all tensors that share memory."""
    address: int = x.untyped_storage()._cdata
    return address
