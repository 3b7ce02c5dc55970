"""Trees of arguments are gone through as torch's own functions do it."""

from collections import OrderedDict, namedtuple

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils._pytree import tree_flatten, tree_map

from lrp3d.tracing.trees import leaves, mapped

Pair = namedtuple("Pair", "first second")
LEAVES = st.sampled_from([torch.ones(2), torch.float32, None, 3, 0.5, True, "name", slice(1, 2), torch.Size([2]), ...])


def containers(parts):
    return st.one_of(
        st.lists(parts, max_size=3),
        st.lists(parts, max_size=3).map(tuple),
        st.dictionaries(st.sampled_from("zyx"), parts, max_size=3),
        st.dictionaries(st.sampled_from("zyx"), parts, max_size=3).map(OrderedDict),
        st.builds(Pair, parts, parts),
    )


def numbered():
    """A function that gives every leaf it meets the next number, which tells their order."""
    numbers = iter(range(1000))
    return lambda leaf: (next(numbers), id(leaf))


@given(st.recursive(LEAVES, containers, max_leaves=12))
def test_trees_have_the_leaves_and_the_form_that_torch_sees_in_them(tree):
    assert list(map(id, leaves(tree))) == list(map(id, tree_flatten(tree)[0]))
    found, expected = mapped(numbered(), tree), tree_map(numbered(), tree)
    assert found == expected
    assert type(found) is type(expected)
