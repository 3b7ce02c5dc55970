"""Reused memory is never memory in use: runs, threads and copies of a twin have their own, and it does not grow."""

import copy
import pickle
import threading

import torch

import lrp3d
from lrp3d.compute import buffers


def _large(value):
    tensor = buffers.empty((600, 600), torch.zeros(1))
    return tensor.fill_(value)


def test_memory_is_used_again_only_when_no_view_of_it_is_left():
    with buffers.reused():
        first = _large(1.0)
        place, view = first.data_ptr(), first[10:20]
        del first
        second = _large(2.0)
        assert second.data_ptr() != place
        assert bool((view == 1).all())
        del view
        assert _large(3.0).data_ptr() == place
        assert bool((second == 2).all())
    assert bool((second == 2).all())  # what is kept outlives the block


def test_memory_is_not_kept_after_the_outermost_block():
    with buffers.reused(), buffers.reused():
        _large(1.0)
        assert buffers._current.get().blocks
    assert buffers._current.get() is None


def test_freed_memory_is_returned_to_the_system_while_a_pool_grows_and_never_when_it_is_used_again(monkeypatch):
    returned = []
    monkeypatch.setattr(buffers, "_trim", returned.append)
    memory = buffers.Memory()
    values = buffers.GROWTH // 4 // 2  # of 4 bytes, half of what a pool may grow by
    for grows in (True, False):
        returned.clear()
        with buffers.reused(memory):
            first = buffers.empty((values,), torch.zeros(1))
            assert not returned
            second = buffers.empty((values,), torch.zeros(1))
            assert returned == [0] * grows
            assert first.data_ptr() != second.data_ptr()
            del first, second


def test_a_twins_memory_is_used_again_by_the_next_run_and_does_not_grow():
    memory = buffers.Memory()
    places, kept = [], []
    for sizes in ((600, 900), (600, 900), (600,)):
        with buffers.reused(memory):
            tensors = [buffers.empty((size, 600), torch.zeros(1)) for size in sizes]
            places.append([tensor.data_ptr() for tensor in tensors])
            del tensors
        (pool,) = memory._idle
        kept.append(sum(len(blocks) for blocks in pool.blocks.values()))
        assert not pool.derived
    assert places[0] == places[1]
    assert kept == [2, 2, 1]  # a smaller clip lets go of what it did not need


def test_runs_at_the_same_time_do_not_share_memory():
    memory = buffers.Memory()
    with buffers.reused(memory):
        one = _large(1.0)

        def other():
            with buffers.reused(memory):
                return _large(2.0)

        another = threading.Thread(target=lambda: found.append(other()))
        found = []
        another.start()
        another.join()
        assert bool((one == 1).all())
        assert bool((found[0] == 2).all())


def test_a_copied_twin_has_memory_of_its_own():
    memory = buffers.Memory()
    with buffers.reused(memory):
        _large(1.0)
    assert not copy.deepcopy(memory)._idle
    assert not pickle.loads(pickle.dumps(memory))._idle


def test_an_explanation_stays_as_it_is_when_the_twin_explains_another_clip():
    torch.manual_seed(0)
    twin = lrp3d.convert(lrp3d.models.i3d_resnet(18, num_classes=4, width=16).eval())
    clips = torch.rand(2, 1, 3, 8, 112, 112)
    first = lrp3d.explain(twin, clips[0], 0)
    before = first.relevance.clone()
    lrp3d.explain(twin, clips[1], 1)
    assert torch.equal(first.relevance, before)


def test_what_is_made_of_a_weight_is_made_once():
    made = []
    weight = torch.ones(2)
    with buffers.reused():
        for _ in range(2):
            buffers.derived("double", [weight], lambda: made.append(1) or weight * 2)
        buffers.derived("double", [weight.clone()], lambda: made.append(1) or weight * 2)
    assert len(made) == 2
