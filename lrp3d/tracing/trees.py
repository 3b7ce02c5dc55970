"""Arguments and results of operations as trees: tensors and other leaves in tuples, lists and dicts, however deep.

These do what torch's own functions of the same purpose do, and leave every other kind of container to them. They are
needed for every operation of a forward, and torch's take as long as a small layer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_map

from lrp3d.steps.step import Token

_LEAVES = frozenset({Tensor, nn.Parameter, Token, type(None), bool, int, float, str, torch.dtype, torch.device})


def leaves(*trees: Any) -> list[Any]:
    """All leaves of some trees, in order.

    >>> leaves((1, [2, {"a": 3}]), 4)
    [1, 2, 3, 4]
    """
    found: list[Any] = []
    for tree in trees:
        _collect(tree, found)
    return found


def _collect(tree: Any, found: list[Any]) -> None:
    kind = type(tree)
    if kind in _LEAVES:
        found.append(tree)
    elif kind is tuple or kind is list:
        for part in tree:
            _collect(part, found)
    elif kind is dict:
        for part in tree.values():
            _collect(part, found)
    else:
        found += tree_flatten(tree)[0]


def mapped(function: Callable[[Any], Any], tree: Any) -> Any:
    """A tree of the same form, with `function(leaf)` in place of every leaf.

    >>> mapped(lambda x: 2 * x, (1, [2, {"a": 3}]))
    (2, [4, {'a': 6}])
    """
    kind = type(tree)
    if kind in _LEAVES:
        return function(tree)
    if kind is tuple:
        return tuple([mapped(function, part) for part in tree])
    if kind is list:
        return [mapped(function, part) for part in tree]
    if kind is dict:
        return {name: mapped(function, part) for name, part in tree.items()}
    return tree_map(function, tree)
