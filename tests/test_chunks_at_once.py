"""Chunks of frame logits that run at the same time give what they give one by one, and leave nothing behind."""

import sys
import threading
from functools import partial

import pytest
import torch
from test_released_activations import clip, made, with_options
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import lrp3d
from lrp3d.compute.cores import at_once, results_of
from lrp3d.compute.maps import FullyConnected
from lrp3d.compute.terms import Signed
from lrp3d.propagation import chunks
from lrp3d.propagation.clip_relevance import ClipRelevance
from lrp3d.rules import WinnerTakesAll, ZPlus
from lrp3d.steps.factor import Factor
from lrp3d.steps.lazy_relevance import LazyRelevance
from lrp3d.steps.linear import LinearStep
from lrp3d.steps.window_maxima import WindowMaximum
from lrp3d.steps.operands import PreparedOperand
from lrp3d.steps.step import Site, Token

CPU = torch.device("cpu")
D = torch.float64


@pytest.fixture(autouse=True)
def three_threads():
    """As on a computer with three cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    assert torch.get_num_threads() == 3, "as many as before"
    torch.set_num_threads(before)


@pytest.fixture
def large_layers(monkeypatch):
    """Every layer counts as so large that a chunk holds one frame logit."""
    monkeypatch.setattr(chunks, "CPU_BUDGET", 1)


def threads_of_chunks(monkeypatch):
    """The names of the threads in which chunks run from now on."""
    names = []
    chunk = ClipRelevance._chunk
    monkeypatch.setattr(
        ClipRelevance, "_chunk", lambda *args: (names.append(threading.current_thread().name), chunk(*args))[1]
    )
    return names


def assert_same(found, expected):
    for name in ("matrix", "relevance", "layers", "layer_rows"):
        torch.testing.assert_close(getattr(found, name), getattr(expected, name), rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(found.conservation, expected.conservation, rtol=0, atol=1e-10)
    assert [entry[:2] for entry in found.ledger] == [entry[:2] for entry in expected.ledger]
    for entry, other in zip(found.ledger, expected.ledger, strict=True):
        assert entry[2:] == pytest.approx(other[2:], abs=1e-10)


@with_options({}, {"contrastive": False}, {"against": "next"}, {"layers": ["*"]})
def test_the_result_is_the_same(name, options, large_layers, monkeypatch):
    model = made(name)
    expected = lrp3d.explain(model, clip(name).clamp(-1, 1), 1, chunk_size=1, **options)
    names = threads_of_chunks(monkeypatch)
    assert_same(lrp3d.explain(model, clip(name).clamp(-1, 1), 1, **options), expected)
    assert any(name.startswith("lrp3d") for name in names)


def test_layers_of_every_row_are_in_order(large_layers):
    options = {"layers": ["1", "3"], "layer_rows": True}
    assert_same(
        lrp3d.explain(made("plain"), clip(), 1, **options),
        lrp3d.explain(made("plain"), clip(), 1, chunk_size=1, **options),
    )


def fully_connected():
    x, w = torch.rand(4, 8, dtype=D), torch.rand(6, 8, dtype=D)
    step = LinearStep([PreparedOperand(x, Signed(x, nonnegative=True), FullyConnected(), Signed(w))], weighted=True)
    step.site = Site("fc", "linear", torch.Size([4, 6]), D, Token(0))
    step.assign_rule(ZPlus())
    return step, x.shape


def max_pool():
    x = torch.randint(3, (1, 2, 8, 8)).to(D)  # many ties, which are listed only where relevance arrives
    offsets = [(slice(i, None, 2), slice(j, None, 2)) for i in range(2) for j in range(2)]
    step = WindowMaximum(x, nn.functional.max_pool2d(x, 2), offsets)
    step.site = Site("pool", "max_pool2d", torch.Size([1, 2, 4, 4]), D, Token(0))
    step.assign_rule(WinnerTakesAll())
    return step, x.shape


@pytest.fixture
def often_interrupted():
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.parametrize("make", [fully_connected, max_pool])
def test_seeds_that_meet_at_a_step_with_other_factors_do_not_get_what_is_prepared_for_each_other(
    make, often_interrupted
):
    torch.manual_seed(0)
    step, shape = make()
    lazies = [
        LazyRelevance(torch.rand(1, *step.shape, dtype=D), Factor(torch.randint(2, step.shape).to(D))) for _ in range(2)
    ]
    expected = [step.propagate(lazy)[0].tensor(shape) for lazy in lazies]

    def again(i):
        return [step.propagate(lazies[i])[0].tensor(shape) for _ in range(300)]

    for found, wanted in zip(results_of([partial(again, i) for i in range(2)], 2), expected, strict=True):
        for relevance in found:
            torch.testing.assert_close(relevance, wanted, rtol=0, atol=1e-14)


@pytest.mark.parametrize("limit", [{"chunk_size": 1}, {"memory_budget": 1}])
def test_whoever_limits_memory_gets_one_chunk_after_the_other(limit, large_layers, monkeypatch):
    names = threads_of_chunks(monkeypatch)
    lrp3d.explain(made("plain"), clip(), 1, **limit)
    assert set(names) == {threading.current_thread().name}


def test_small_layers_are_explained_all_together(monkeypatch):
    names = threads_of_chunks(monkeypatch)
    lrp3d.explain(made("plain"), clip(), 1)
    assert names == [threading.current_thread().name]


def test_a_mode_of_the_caller_sees_every_operation(large_layers):
    def operations(**options):
        with FlopCounterMode(display=False) as counter:
            lrp3d.explain(made("plain"), clip(), 1, **options)
        return counter.get_total_flops()

    assert operations() == operations(chunk_size=1)


def test_an_error_in_a_chunk_arrives_and_ends_the_others(large_layers, monkeypatch):
    chunk = ClipRelevance._chunk

    def failing(self, seeds, rows):
        if rows.start == 1:
            raise MemoryError("planted")
        return chunk(self, seeds, rows)

    monkeypatch.setattr(ClipRelevance, "_chunk", failing)
    with pytest.raises(MemoryError, match="planted"):
        lrp3d.explain(made("plain"), clip(), 1)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("lrp3d")]


@pytest.mark.parametrize("count", [0, 1, 2, 3, 7])
@pytest.mark.parametrize("workers", [1, 2, 3])
def test_results_come_in_order_and_use_all_cores(count, workers):
    """What is left over runs with all threads of torch, the rest on its share of them."""
    before = torch.get_num_threads()
    threads = list(results_of([lambda i=i: (i, torch.get_num_threads()) for i in range(count)], workers))
    alone = count if workers == 1 else count % workers
    assert threads == [(i, before if i < alone else before // workers) for i in range(count)]


def test_no_more_results_than_needed_wait_to_be_fetched():
    running, most, lock = set(), [], threading.Lock()

    def task(i):
        with lock:
            running.add(i)
            most.append(len(running))

    for i, _ in enumerate(results_of([lambda i=i: task(i) for i in range(12)], 2)):
        with lock:
            running.discard(i)
    assert max(most) <= 4


def test_as_many_run_at_once_as_there_are_cores_up_to_a_limit():
    assert at_once(CPU) == 3
    assert at_once(torch.device("cuda")) == 1
    torch.set_num_threads(16)
    assert at_once(CPU) == 4
    torch.set_num_threads(1)
    assert at_once(CPU) == 1
    torch.set_num_threads(3)


def test_callers_that_overlap_leave_torch_with_as_many_threads_as_the_first_one_found():
    torch.set_num_threads(4)
    one, other = (results_of([torch.get_num_threads] * 4, 2) for _ in range(2))
    assert next(one) == 2
    torch.set_num_threads(2)  # as a thread finds it that begins now
    assert next(other) == 2
    list(one)
    list(other)
    assert torch.get_num_threads() == 4
    torch.set_num_threads(3)
