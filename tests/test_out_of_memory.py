"""Memory that runs out is told from a model that cannot run, in whatever words a library reports it."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

import lrp3d
from lrp3d.out_of_memory import is_out_of_memory
from lrp3d.propagation import chunks

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
