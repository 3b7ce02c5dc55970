"""In-place operations: nothing is overwritten, and later reads of a changed tensor get its new value.

An activation may still be needed for relevance, and a parameter or buffer belongs to the user's model. So writes are
only noted: every tensor of the model has a `Place` in a `Block` of memory, a block lists the writes that were made to
it, in order, and a tensor that is read gets the writes that it has not seen yet, through whichever view they were made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, MutableMapping
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils.weak import WeakTensorKeyDictionary

from lrp3d.tracing.trees import leaves, mapped


class Write(NamedTuple):
    """The value that was written, and where: a view of the block's map, None if that is not known."""

    view: Tensor | None
    value: Tensor


class Block:
    """One block of the model's memory, and the writes to it.

    Args:
        x: a tensor in this block.
    """

    def __init__(self, x: Tensor):
        storage = x.untyped_storage()
        self.first: StorageWeakRef = StorageWeakRef(storage)
        """A weak reference to the memory that the block was at first."""
        self.map: Tensor = torch.empty(storage.nbytes() // x.element_size(), dtype=x.dtype, device="meta")
        """Memory without values; its views say where tensors lie."""
        self.writes: list[Write] = []

    def place(self, x: Tensor) -> Place:
        """The place of a tensor that is a view of the memory that the block was at first."""
        if x.dtype != self.map.dtype:
            return Place(self, None)
        return Place(self, self.map.as_strided(x.size(), x.stride(), x.storage_offset()))


class Place(NamedTuple):
    """Where a tensor lies: in which block, and as which view of its map; None if the view is not known."""

    block: Block
    view: Tensor | None


class Current(NamedTuple):
    """The value of a tensor after some of the writes to its block; None stands for the tensor itself."""

    value: Tensor | None
    writes: int


class WrittenMemory:
    """Where tensors lie, what was written to them, and which memory belongs to the model.

    Args:
        own: the parameters and buffers of the user's model.
    """

    def __init__(self, own: Iterable[Tensor]):
        self._own = {_address(tensor) for tensor in own if tensor.layout == torch.strided}
        self._blocks: dict[int, Block] = {}
        self._places: MutableMapping[Tensor, Place] = WeakTensorKeyDictionary()
        """The places of tensors that were computed anew, so that their own memory is not that of their place."""
        self._currents: MutableMapping[Tensor, Current] = WeakTensorKeyDictionary()

    def forget(self) -> None:
        """Forgets all writes, which nothing needs after the forward."""
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
        """The current value of `x`: `x` itself if nothing was written to it.

        Args:
            x: a tensor that the model has.
            rewritten: returns what a value (first argument) at a view (second argument) is after a write.
        """
        place = self._place(x)
        if place is None:
            return x
        current, count = self._currents.get(x, Current(None, 0))
        value = x if current is None else current
        writes = place.block.writes
        if count < len(writes):
            for write in writes[count:]:
                value = rewritten(value, place.view, write)
            self._currents[x] = Current(None if value is x else value, len(writes))
        return value

    def write(self, old: Tensor, value: Tensor) -> Tensor:
        """Redirects later reads of `old` to `value`; returns another tensor at the place of `old`.

        It must be another one, because the block keeps `value`, and only as long as a tensor in the block is alive.
        """
        before = self._currents.get(old, Current(None, 0)).value
        if _address(value) == _address(old if before is None else before):  # unsqueeze_ and the like change no value
            place = self._place(value) or self._new_place(value)
            self._places[old] = place
        else:
            place = self._place(old) or self._new_place(old)
            place.block.writes.append(Write(place.view, value))
        with torch.enable_grad():
            other = value.view_as(value)
        self._places[other] = place
        for x in (old, other):
            self._currents[x] = Current(value, len(place.block.writes))
        return other

    def follow(self, function: Any, moves: bool, arguments: Any, values: Any, out: Any) -> None:
        """Notes the places of results of a function that are views of tensors that were computed anew.

        The function itself, applied to the places of the model's own tensors, says what is a view. Tensors that were
        computed anew may have other strides, so that a view of the model's tensor is a copy of them.

        Args:
            function: the function, None if it is not known.
            moves: whether it only moves values, and so may make views.
            arguments: its arguments, as the model gave them.
            values: the current values of the arguments.
            out: what the function returned.
        """
        if not self._blocks:
            return
        by_address, views = self._places_of(arguments, values)
        results = [x for x in leaves(out) if isinstance(x, Tensor) and x.layout == torch.strided]
        if not by_address or not (moves or any(_address(x) in by_address for x in results)):
            return
        stand = _without_values(function, arguments, views, len(results))
        for result, view in zip(results, stand, strict=True):
            if result in self._places:
                continue
            place, value = by_address.get(_address(result), (None, None))
            if view is not None:
                blocks = [each.block for each, _ in by_address.values() if _address(each.block.map) == _address(view)]
                if blocks:
                    self._stand(result, Place(blocks[0], view))
                elif place is not None:  # a copy in the model
                    self._stand(result, Block(result).place(result))
            elif place is not None and value is not None:
                self._stand(result, place if _lies_like(result, value) else Place(place.block, None))

    def _places_of(
        self, arguments: Any, values: Any
    ) -> tuple[dict[int, tuple[Place, Tensor]], dict[int, Tensor | None]]:
        """The places of arguments that have one: by the address of their current value, with that value; and by id."""
        by_address: dict[int, tuple[Place, Tensor]] = {}
        views: dict[int, Tensor | None] = {}
        for x, value in zip(leaves(arguments), leaves(values), strict=True):
            if isinstance(x, Tensor) and (x is not value or x in self._places) and (place := self._place(x)):
                by_address[_address(value)] = place, value
                views[id(x)] = place.view
        return by_address, views

    def _stand(self, x: Tensor, place: Place) -> None:
        self._places[x] = place
        self._currents[x] = Current(None, len(place.block.writes))

    def is_itself(self, target: Tensor, index: Any, value: Any) -> bool:
        """Whether `value` lies at `target[index]` already, as in the last step of `target[index] += 1`."""
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
        """The place of `x`, None if its block was never written to."""
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


def _without_values(
    function: Any, arguments: Any, views: dict[int, Tensor | None], results: int
) -> list[Tensor | None]:
    """Results of a function that gets maps instead of some arguments; None for those that are not known."""
    nothing: list[Tensor | None] = [None] * results
    if function is None or any(view is None for view in views.values()):
        return nothing
    try:
        args, kwargs = mapped(lambda x: views.get(id(x), x), arguments)
        with torch._C.DisableTorchFunction(), torch.no_grad():
            tensors = [x for x in leaves(function(*args, **kwargs)) if isinstance(x, Tensor)]
    except (RuntimeError, TypeError, ValueError, NotImplementedError):  # it does not run without values
        return nothing
    return list(tensors) if len(tensors) == results else nothing


def _is_plain(index: Any) -> bool:
    """Whether the index makes a view."""
    return index is None or (isinstance(index, int | slice | type(...)) and not isinstance(index, bool))
