"""In-place operations: nothing is overwritten; whoever reads what was changed gets its new value.

An activation may still be needed for relevance, and a parameter or buffer belongs to the user's model. So memory is
only remembered: every tensor of the model stands at a `Place` in a `Block`, a block has the writes that were made to
it, in order, and a tensor that is read gets those that it has not seen yet, through whichever view they were made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, MutableMapping
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._pytree import tree_flatten, tree_map
from torch.utils.weak import WeakTensorKeyDictionary


class Write(NamedTuple):
    """What was written, and where: a view of the block's map, None where that is not known."""

    to: Tensor | None
    value: Tensor


class Block:
    """One block of the model's memory, and the writes to it.

    Args:
        x: a tensor that stands in it.
    """

    def __init__(self, x: Tensor):
        storage = x.untyped_storage()
        self.first = StorageWeakRef(storage)
        """A weak reference to the memory that it held at first."""
        self.map = torch.empty(storage.nbytes() // x.element_size(), dtype=x.dtype, device="meta")
        """Memory without values, of which views say where tensors stand."""
        self.writes: list[Write] = []

    def place(self, x: Tensor) -> Place:
        """Where a tensor stands that is a view of what the block held at first."""
        if x.dtype != self.map.dtype:
            return Place(self, None)
        return Place(self, self.map.as_strided(x.size(), x.stride(), x.storage_offset()))


class Place(NamedTuple):
    """Where a tensor stands: in which block, and as which view of its map; None where that is not known."""

    block: Block
    view: Tensor | None


class Current(NamedTuple):
    """What a tensor is after some of the writes to its block; None: itself."""

    value: Tensor | None
    writes: int


class Memory:
    """Where tensors stand and what was written to them, and which memory belongs to the model.

    Args:
        own: the parameters and buffers of the user's model.
    """

    def __init__(self, own: Iterable[Tensor]):
        self._own = {_address(tensor) for tensor in own if tensor.layout == torch.strided}
        self._blocks: dict[int, Block] = {}
        self._places: MutableMapping[Tensor, Place] = WeakTensorKeyDictionary()
        """Of tensors that do not lie where they stand, as they were computed anew."""
        self._currents: MutableMapping[Tensor, Current] = WeakTensorKeyDictionary()

    def forget(self) -> None:
        """The forward is over, and what was written is kept for it no longer."""
        self._blocks.clear()
        self._places.clear()
        self._currents.clear()

    def is_own(self, x: Tensor) -> bool:
        """Whether `x` lies in memory of the user's model."""
        return x.layout == torch.strided and _address(x) in self._own

    def is_written(self, x: Tensor) -> bool:
        """Whether something was written to the block of `x`."""
        return self._place(x) is not None

    def latest(self, x: Tensor, rewritten: Callable[[Tensor, Tensor | None, Write], Tensor]) -> Tensor:
        """What `x` is now: itself, if nothing was written to it.

        Args:
            x: a tensor as the model has it.
            rewritten: what a value (the first argument) that stands at a view (the second) is after a write.
        """
        place = self._place(x)
        if place is None:
            return x
        current, seen = self._currents.get(x, Current(None, 0))
        value = x if current is None else current
        writes = place.block.writes
        if seen < len(writes):
            for write in writes[seen:]:
                value = rewritten(value, place.view, write)
            self._currents[x] = Current(None if value is x else value, len(writes))
        return value

    def write(self, to: Tensor, value: Tensor) -> Tensor:
        """From now on `to` is `value`; returns another tensor that stands where `to` does.

        It is another, as the block keeps `value`, and not longer than something that stands in it is alive.
        """
        before = self._currents.get(to, Current(None, 0)).value
        if _address(value) == _address(to if before is None else before):  # unsqueeze_ and its kin change no value
            place = self._place(value) or self._new_place(value)
            self._places[to] = place
        else:
            place = self._place(to) or self._new_place(to)
            place.block.writes.append(Write(place.view, value))
        with torch.enable_grad():
            other = value.view_as(value)
        self._places[other] = place
        for x in (to, other):
            self._currents[x] = Current(value, len(place.block.writes))
        return other

    def follow(self, function: Any, moves: bool, given: Any, values: Any, out: Any) -> None:
        """Says where the results of a function stand that are views of tensors that were computed anew.

        What is a view is told by the function itself, from where the model's own tensors stand: what was computed anew
        may lie otherwise, so that a view of the one is a copy of the other.

        Args:
            function: the function, None if it is not known.
            moves: it only moves values, and so may make views.
            given: its arguments, as the model gave them.
            values: what they are now.
            out: what the function returned.
        """
        if not self._blocks:
            return
        anew: dict[int, tuple[Place, Tensor]] = {}
        views: dict[int, Tensor | None] = {}
        for x, value in zip(tree_flatten(given)[0], tree_flatten(values)[0], strict=True):
            if isinstance(x, Tensor) and (x is not value or x in self._places) and (place := self._place(x)):
                anew[_address(value)] = place, value
                views[id(x)] = place.view
        results = [x for x in tree_flatten(out)[0] if isinstance(x, Tensor) and x.layout == torch.strided]
        if not anew or not (moves or any(_address(x) in anew for x in results)):
            return
        stand = _without_values(function, given, views, len(results))
        for result, view in zip(results, stand, strict=True):
            if result in self._places:
                continue
            place, value = anew.get(_address(result), (None, None))
            if view is not None:
                blocks = [each.block for each, _ in anew.values() if _address(each.block.map) == _address(view)]
                if blocks:
                    self._stand(result, Place(blocks[0], view))
                elif place is not None:  # a copy in the model
                    self._stand(result, Block(result).place(result))
            elif place is not None and value is not None:
                self._stand(result, place if _lies_like(result, value) else Place(place.block, None))

    def _stand(self, x: Tensor, place: Place) -> None:
        self._places[x] = place
        self._currents[x] = Current(None, len(place.block.writes))

    def is_itself(self, target: Tensor, index: Any, value: Any) -> bool:
        """Whether `value` is what stands at `target[index]` already, as in the last step of `target[index] += 1`."""
        plain = index if isinstance(index, tuple) else (index,)
        if not isinstance(value, Tensor) or not all(map(_is_plain, plain)):
            return False
        source, destination = self._place(value), self._place(target)
        if (
            source is None
            or destination is None
            or source.block is not destination.block
            or source.view is None
            or destination.view is None
        ):
            return False
        return _lies_like(destination.view[index], source.view)

    def _place(self, x: Tensor) -> Place | None:
        """Where `x` stands, None if its block was never written to."""
        if not self._blocks or x.layout != torch.strided:
            return None
        if (place := self._places.get(x)) is not None:
            return place
        block = self._blocks.get(_address(x))
        return None if block is None or block.first.expired() else block.place(x)

    def _new_place(self, x: Tensor) -> Place:
        self._blocks = {address: block for address, block in self._blocks.items() if not block.first.expired()}
        block = self._blocks[_address(x)] = Block(x)
        return block.place(x)


def _address(x: Tensor) -> int:
    """The same number for all tensors that share memory."""
    address: int = x.untyped_storage()._cdata
    return address


def _lies_like(a: Tensor, b: Tensor) -> bool:
    """Whether two views of one memory are the same."""
    return a.shape == b.shape and a.stride() == b.stride() and a.storage_offset() == b.storage_offset()


def _without_values(function: Any, given: Any, views: dict[int, Tensor | None], results: int) -> list[Tensor | None]:
    """What a function makes of maps in place of some of its arguments; None where that is not known."""
    nothing: list[Tensor | None] = [None] * results
    if function is None or any(view is None for view in views.values()):
        return nothing
    try:
        args, kwargs = tree_map(lambda x: views.get(id(x), x), given)
        with torch._C.DisableTorchFunction(), torch.no_grad():
            made = [x for x in tree_flatten(function(*args, **kwargs))[0] if isinstance(x, Tensor)]
    except (RuntimeError, TypeError, ValueError, NotImplementedError):  # it does not run without values
        return nothing
    return list(made) if len(made) == results else nothing


def _is_plain(index: Any) -> bool:
    """Whether it makes a view."""
    return index is None or (isinstance(index, int | slice | type(...)) and not isinstance(index, bool))
