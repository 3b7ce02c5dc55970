"""What a forward draws or counts, it draws and counts in a copy: the caller's generators and the model stay."""

import array
import collections
import random
import time
import types
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from torch import nn

import lrp3d

CLIP = torch.rand(2, 3, 4, 6, 6, generator=torch.Generator().manual_seed(0))
USES = [lrp3d.explain, lrp3d.inspect, lrp3d.frame_logits, lrp3d.intervention_matrix]


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.fc = nn.Conv3d(3, 4, 3, padding=1), nn.Linear(4, 5)

    def meet(self):
        """What the forward does besides."""

    def forward(self, x):
        self.meet()
        return self.fc(self.conv(x).relu().mean((3, 4)).transpose(1, 2)).mean(1)


class Draws(Net):
    def meet(self):
        torch.rand(3), torch.randn(2), random.random(), np.random.rand(2)


def generators():
    kind, keys, *rest = np.random.get_state()
    return torch.get_rng_state().tolist(), random.getstate(), (kind, keys.tolist(), *rest)


@pytest.mark.parametrize("use", USES)
def test_the_callers_random_numbers_do_not_depend_on_what_a_forward_draws(use):
    model, before = Draws().eval(), generators()
    use(model, CLIP)
    assert generators() == before


def test_nor_on_what_a_forward_draws_before_it_fails():
    class Fails(Draws):
        def forward(self, x):
            super().forward(x)
            raise KeyError("boom")

    model, before = Fails().eval(), generators()
    with pytest.raises(lrp3d.ModelError):
        lrp3d.explain(model, CLIP)
    assert generators() == before


class Counts(Net):
    """Everything a forward may count in."""

    def __init__(self):
        super().__init__()
        self.tensor, self.array, self.list = torch.zeros(2), np.zeros(2), [0, [0]]
        self.by_name, self.object, self.tuple = {"n": 0}, types.SimpleNamespace(n=0), (torch.zeros(1), [0])
        self.bytes, self.numbers, self.counter = bytearray(2), array.array("i", [0]), collections.Counter()
        self.default, self.queue, self.tensors = collections.defaultdict(int), collections.deque([0]), [torch.zeros(1)]
        self.state = Mine()
        self.register_buffer("buffer", torch.zeros(2))

    def meet(self):
        self.tensor += 1
        self.tensor[0] = 7
        self.tensor.add_(1)
        torch.add(self.tensor, 1, out=self.tensor)
        self.tensor.numpy()[1] = 9
        self.tensor.data.mul_(2)
        self.array += 1
        self.list[0] += 1
        self.list[1].append(1)
        self.by_name["n"] += 1
        self.object.n += 1
        self.tuple[0].add_(1)
        self.tuple[1].append(1)
        self.bytes[0] = 1
        self.numbers.append(1)
        self.counter.update("ab")
        self.default["a"] += 1
        self.queue.append(1)
        self.tensors[0] += 1
        self.state.n += 1
        self.buffer += 1


class Mine:
    def __init__(self):
        self.n = 0


def plain(x):
    """Everything of a module as Python's own values."""
    if isinstance(x, (torch.Tensor, np.ndarray, array.array)):
        return x.tolist()
    if isinstance(x, (dict, types.SimpleNamespace, Mine)):
        return {key: plain(value) for key, value in (x if isinstance(x, dict) else vars(x)).items()}
    return [plain(value) for value in x] if isinstance(x, (list, tuple, bytearray, collections.deque)) else x


@pytest.mark.parametrize("use", USES)
def test_what_a_forward_counts_in_is_never_the_models_own(use):
    model = Counts().eval()
    names = [name for name in vars(model) if not name.startswith("_")]
    before = {name: plain(getattr(model, name)) for name in [*names, "buffer"]}
    use(model, CLIP)
    assert {name: plain(getattr(model, name)) for name in before} == before
    model(CLIP)
    assert all(plain(getattr(model, name)) != was for name, was in before.items() if name != "training")


def test_generators_that_a_model_holds_are_kept_too():
    class Own(Net):
        def __init__(self):
            super().__init__()
            self.torch, self.numpy = torch.Generator().manual_seed(1), np.random.default_rng(1)
            self.python, self.old = random.Random(1), np.random.RandomState(1)

        def meet(self):
            torch.rand(2, generator=self.torch), self.numpy.random(), self.python.random(), self.old.rand()

    model, same = Own().eval(), Own().eval()
    lrp3d.explain(model, CLIP)
    assert torch.equal(model.torch.get_state(), same.torch.get_state())
    assert model.numpy.random() == same.numpy.random()
    assert model.python.random() == same.python.random()
    assert model.old.rand() == same.old.rand()


def test_a_mark_that_is_compared_by_identity_stays_itself():
    class Compares(Net):
        def __init__(self):
            super().__init__()
            self.mode = MARK

        def meet(self):
            assert self.mode is MARK

    lrp3d.explain(Compares().eval(), CLIP)


class _Mark:
    pass


MARK = _Mark()


class DropsOut(Net):
    def meet(self):
        self.factor = torch.rand(())

    def forward(self, x):
        self.meet()
        factor = self.factor
        time.sleep(0.005)  # another thread has its turn
        return self.fc(torch.nn.functional.dropout(self.conv(x), 0.5).relu().mean((2, 3, 4))) * (
            factor + torch.rand(())
        )


def test_runs_with_seeds_in_several_threads_are_those_of_one_thread():
    model, before = DropsOut().eval(), generators()
    twin = lrp3d.convert(model)

    def explained(seed):
        return lrp3d.explain(twin, CLIP, 0, seed=seed, temporal=False)

    alone = [explained(seed) for seed in range(3)]
    with ThreadPoolExecutor(3) as pool:
        for found, wanted in zip(pool.map(explained, [0, 1, 2] * 3), alone * 3, strict=True):
            assert torch.equal(found.logits, wanted.logits)
            assert torch.equal(found.relevance, wanted.relevance)
    assert generators() == before


@pytest.mark.parametrize("options", [{"seed": 5}, {"floor": True}])
def test_a_seed_is_for_the_generators_that_are_kept_and_for_no_other(options, monkeypatch):
    monkeypatch.setattr(torch, "manual_seed", lambda seed: pytest.fail("this seeds all GPUs"))
    lrp3d.explain(Draws().eval(), CLIP, 0, **options)


def test_a_model_that_was_made_in_inference_mode_may_draw_as_well():
    with torch.inference_mode():
        model = Draws().eval()
        model.register_buffer("seen", torch.zeros(()))
    found = lrp3d.explain(model, CLIP, 0)
    assert found.conservation.max() < 1e-5
    assert lrp3d.intervention_matrix(model, CLIP, 0).isfinite().all()
