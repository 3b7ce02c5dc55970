"""Memory that runs out is told from a model that cannot run, in whatever words a library reports it."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

import lrp3d
from lrp3d.out_of_memory import is_out_of_memory
from lrp3d.propagation import chunks
from lrp3d.propagation.clip_relevance import ClipRelevance

FULL = {
    "CUDA out of memory. Tried to allocate 2.00 GiB.": torch.OutOfMemoryError,
    "CUDA error: out of memory": RuntimeError,
    "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`": RuntimeError,
    "cuDNN error: CUDNN_STATUS_ALLOC_FAILED": RuntimeError,
    "GET was unable to find an engine to execute this computation": RuntimeError,
    "MPS backend out of memory (MPS allocated: 1 GB)": RuntimeError,
    "DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes": RuntimeError,
    "": MemoryError,
}
OTHERS = {"shape '[2, 3]' is invalid for input of size 5": RuntimeError, "out of memory": ValueError}


class Failing(nn.Module):
    def __init__(self, error):
        super().__init__()
        self.error, self.fc = error, nn.Linear(3, 2)

    def forward(self, clip):
        raise self.error


@pytest.mark.parametrize("message", FULL)
@pytest.mark.parametrize("ask", [lrp3d.explain, lrp3d.intervention_matrix], ids=lambda ask: ask.__name__)
def test_an_error_of_full_memory_reaches_the_caller_as_it_is(ask, message):
    error = FULL[message](message)
    assert is_out_of_memory(error)
    with pytest.raises(type(error)) as raised:
        ask(Failing(error).eval(), torch.rand(1, 3, 4, 8, 8))
    assert raised.value is error


@pytest.mark.parametrize("message", OTHERS)
def test_other_errors_are_no_lack_of_memory(message):
    assert not is_out_of_memory(OTHERS[message](message))


def test_chunks_on_a_gpu_leave_room_for_what_steps_keep_and_count_what_torch_holds_unused(monkeypatch):
    model, clip = lrp3d.models.i3d_resnet(18, num_classes=5, width=8).eval(), torch.rand(1, 3, 8, 32, 32)
    record = lrp3d.convert(model).record((clip,))
    output = SimpleNamespace(device=SimpleNamespace(type="cuda"), dtype=torch.float32)
    sizes = [step.shape.numel() * 4 for step in record.tracer.steps]
    needed = sum(sizes) + 3.5 * chunks.IN_FLIGHT_ON_GPU * max(sizes)
    free = int(needed / chunks.SPARED) - 1000
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free, 2 * free))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 3000)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 2000)
    assert chunks.seeds_at_once(SimpleNamespace(tracer=record.tracer, output=output), 8, None, None) == 3


@pytest.fixture
def room_for(monkeypatch):
    """Memory that runs out where more frame logits than a number are explained at once; returns what was tried."""
    tried = []
    chunk = ClipRelevance._chunk

    def limited(most):
        def counted(self, seeds, rows, **more):
            size = len(range(*rows.indices(seeds.logits.shape[1])))
            tried.append(size)
            if size > most:
                raise torch.OutOfMemoryError("CUDA out of memory.")
            return chunk(self, seeds, rows, **more)

        monkeypatch.setattr(ClipRelevance, "_chunk", counted)
        return tried

    return limited


@pytest.fixture
def whole():
    torch.manual_seed(0)
    model = lrp3d.models.build("TAM2D-R18-f8", num_classes=5, width=4).eval()
    clip = torch.rand(1, 3, 8, 16, 16)
    return model, clip, lrp3d.explain(model, clip)


def test_where_memory_runs_out_half_as_many_frame_logits_are_explained_at_once(room_for, whole):
    model, clip, wanted = whole
    tried = room_for(3)
    with pytest.warns(UserWarning, match="memory ran out with [84] frame logits .* chunk_size=[42]") as warned:
        found = lrp3d.explain(model, clip)
    assert tried == [8, 4, 2, 2, 2, 2]
    assert [w.filename for w in warned] == [__file__] * 2, "the warning belongs to the line that called"
    torch.testing.assert_close(found.matrix, wanted.matrix)
    torch.testing.assert_close(found.relevance, wanted.relevance)
    assert [entry.layer for entry in found.ledger] == [entry.layer for entry in wanted.ledger]


def test_a_twin_remembers_how_many_fit(room_for, whole):
    model, clip, wanted = whole
    twin = lrp3d.convert(model)
    tried = room_for(3)
    with pytest.warns(UserWarning, match="memory ran out"):
        lrp3d.explain(twin, clip)
    tried.clear()
    torch.testing.assert_close(lrp3d.explain(twin, clip).matrix, wanted.matrix)
    assert tried == [2] * 4
    tried.clear()
    lrp3d.explain(twin, clip, motion=True)  # of another kind, of which nothing is known
    assert not tried


@pytest.mark.parametrize("given", [{"chunk_size": 8}, {"memory_budget": 2**40}])
def test_what_the_caller_chose_is_not_changed_where_memory_runs_out(given, room_for, whole):
    model, clip, _ = whole
    tried = room_for(3)
    with pytest.raises(torch.OutOfMemoryError):
        lrp3d.explain(model, clip, **given)
    assert tried == [8]


def test_where_one_frame_logit_does_not_fit_the_error_is_that_of_torch(room_for, whole):
    model, clip, _ = whole
    tried = room_for(0)
    with pytest.warns(UserWarning, match="memory ran out"), pytest.raises(torch.OutOfMemoryError, match="CUDA"):
        lrp3d.explain(model, clip)
    assert tried == [8, 4, 2, 1]
