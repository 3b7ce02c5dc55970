"""A user's model comes back exactly as it was, whatever happens, and nothing of a run outlives it."""

import gc
import threading
import time
from concurrent.futures import ThreadPoolExecutor
import weakref

import pytest
import torch
from torch import nn
from small_models import CLIP, small

import lrp3d
from lrp3d.steps.step import Step


def snapshot(model):
    """Everything of a model that a careless tool could change."""
    state = {"rng": torch.get_rng_state(), "classes": [type(m) for m in model.modules()]}
    for name, module in model.named_modules():
        for key, value in vars(module).items():
            if key in ("_parameters", "_buffers"):
                state |= {(name, key, k): (id(v), None if v is None else v.clone()) for k, v in value.items()}
            elif key.endswith(("_hooks", "_hooks_with_kwargs", "_always_called")):
                state[name, key] = list(value.items())
            elif key == "_modules":
                state[name, key] = {k: id(m) for k, m in value.items()}
            else:
                state[name, key] = value
    for name, parameter in model.named_parameters():
        state["requires_grad", name] = parameter.requires_grad
        state["grad", name] = None if parameter.grad is None else parameter.grad.clone()
    return state


def assert_same(a, b):
    assert a.keys() == b.keys()
    for key, value in a.items():
        if isinstance(value, torch.Tensor):
            assert torch.equal(value, b[key]), key
        elif isinstance(value, tuple) and len(value) == 2 and isinstance(value[1], torch.Tensor):
            assert value[0] == b[key][0], key
            assert torch.equal(value[1], b[key][1]), key
        else:
            assert value == b[key], key


@pytest.mark.parametrize("frozen", [False, True])
def test_explaining_leaves_no_trace(frozen):
    model = small().requires_grad_(not frozen)
    if not frozen:
        model(CLIP).sum().backward()  # so that there are gradients to keep
    model[0].register_forward_hook(lambda module, args, out: None)
    model[0].register_full_backward_hook(lambda module, grad_in, grad_out: None)
    before, clip = snapshot(model), CLIP.clone()
    lrp3d.explain(model, clip)
    lrp3d.inspect(model, clip)
    assert_same(before, snapshot(model))
    assert torch.equal(clip, CLIP)


@pytest.mark.parametrize("where", [0, 3, 7])
def test_an_exception_on_the_way_leaves_no_trace(where):
    class Breaks(nn.Module):
        def forward(self, x):
            raise KeyError("boom")

    model = small()
    model.insert(where, Breaks().eval())
    before = snapshot(model)
    with pytest.raises(lrp3d.ModelError, match="KeyError: 'boom'"):
        lrp3d.explain(model, CLIP)
    assert_same(before, snapshot(model))
    lrp3d.explain(small(), CLIP)  # and nothing is left behind for the next


def test_state_that_a_forward_keeps_is_kept_by_the_copy():
    class Counts(nn.Module):
        def __init__(self):
            super().__init__()
            self.calls, self.log, self.conv = 0, [], nn.Conv3d(3, 4, 1)
            self.register_buffer("seen", torch.zeros(1))
            self.fc = nn.Linear(4, 5)

        def forward(self, x):
            self.calls += 1
            self.seen += 1
            self.seen[0] = 7
            self.log.append(x)
            return self.fc(self.conv(x).relu().mean((2, 3, 4)))

    model = Counts().eval()
    lrp3d.explain(model, CLIP)
    assert (model.calls, model.log, model.seen.item()) == (0, [], 0.0)


def test_a_pathway_list_is_not_changed_by_a_model_that_writes_into_it():
    class Writes(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.fc = nn.Conv3d(3, 4, 1), nn.Linear(8, 5)

        def forward(self, pathways):
            for i, x in enumerate(pathways):
                pathways[i] = self.stem(x).relu().mean((2, 3, 4))
            return self.fc(torch.cat(pathways, 1))

    pathways = [CLIP[:, :, ::2].clone(), CLIP.clone()]
    lrp3d.explain(Writes().eval(), pathways)
    assert [x.dim() for x in pathways] == [5, 5]


def test_two_threads_explain_the_same_model_at_once():
    model = small()
    expected = [lrp3d.explain(model, CLIP, target).relevance for target in range(5)]
    found, errors = {}, []

    def work(target):
        try:
            for _ in range(5):
                found[target] = lrp3d.explain(model, CLIP, target).relevance
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(target,)) for target in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    for target in range(5):
        torch.testing.assert_close(found[target], expected[target])


def test_threads_that_explain_a_model_with_buffers_leave_them_as_they_were():
    class Stream(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.fc = nn.Conv3d(3, 4, 3, padding=1), nn.Linear(4, 5)
            self.register_buffer("last", torch.zeros(4))

        def forward(self, x):
            before = self.last.clone()
            time.sleep(0.005)  # another thread has its turn
            self.last.copy_(self.conv(x).mean((0, 2, 3, 4)).detach())
            self.kept = self.last + before
            return self.fc(self.conv(x).relu().mean((2, 3, 4)) * self.kept.sigmoid())

    model = Stream().eval()
    twin, wanted = lrp3d.convert(model), lrp3d.explain(model, CLIP, 0, temporal=False)
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda one: lrp3d.explain(one, CLIP, 0, temporal=False), [model, twin] * 4):
            assert torch.equal(found.relevance, wanted.relevance)
    assert not model.last.any()
    assert not hasattr(model, "kept")


def test_nothing_is_kept_after_the_call():
    model = small()
    explanation = lrp3d.explain(model, CLIP)
    gc.collect()
    before = sum(isinstance(x, torch.Tensor) for x in gc.get_objects())
    for _ in range(3):
        explanation = lrp3d.explain(model, CLIP)
    gc.collect()
    assert sum(isinstance(x, torch.Tensor) for x in gc.get_objects()) <= before
    assert not any(isinstance(x, Step) for x in gc.get_objects())
    assert not explanation.relevance.requires_grad
    twin = lrp3d.convert(model)
    clip = CLIP.clone().requires_grad_()
    output = twin(clip)
    node = weakref.ref(output.grad_fn)
    del output
    assert node() is None, "the graph of a run dies with its output, without the garbage collector"


DEEP = [pytest.param(name, marks=pytest.mark.slow) for name in ("I3D-Inception", "S3D")]
USES = [(lrp3d.explain, "paper"), (lrp3d.explain, "epsilon"), (lrp3d.explain, "alpha_beta")]
USES += [(lrp3d.inspect, "paper"), (lrp3d.intervention_matrix, "paper")]


@pytest.mark.parametrize(("use", "composite"), USES)
@pytest.mark.parametrize("name", ["TAM2D-R18-f8", *DEEP])
def test_no_step_outlives_its_run(name, use, composite):
    """A step that held its own output would be held by it in turn, through autograd's graph, for good."""
    model = lrp3d.models.build(name, num_classes=3, **({} if "R18" not in name else {"width": 8})).eval()
    clip = torch.rand(1, 3, 8, 32, 32)
    use(lrp3d.convert(model, composite), clip)
    gc.collect()
    assert not [x for x in gc.get_objects() if isinstance(x, Step)]


class Careless(nn.Module):
    """Changes what it holds while it runs."""

    def __init__(self, how):
        super().__init__()
        self.conv, self.fc, self.how = nn.Conv3d(3, 4, 3, padding=1), nn.Linear(4, 5), how
        self.register_buffer("seen", torch.zeros(2))
        self.count, self.free = torch.zeros(3), torch.zeros(3)

    def forward(self, x):
        if self.how == "values":
            self.seen += 1
            self.count += 1
        elif self.how == "values, unnoticed":  # torch counts no change
            self.seen.data += 1
            self.count.data += 1
        elif self.how == "memory":
            self.count.data = torch.ones(7)
            self.free.set_(torch.ones(2))
        elif self.how == "gradient":
            self.fc.weight.grad = torch.ones_like(self.fc.weight)
        elif self.how == "frozen":
            self.fc.weight.requires_grad_(False)
        elif self.how == "draws":
            torch.rand(1)
        return self.fc(self.conv(x).relu().mean((2, 3, 4)))


def gradient_input(model, clip):
    return lrp3d.check(model, clip[:1], methods=["gradient x input"], shapley_values=False)


@pytest.mark.filterwarnings("ignore:'random")
@pytest.mark.parametrize("how", ["values", "values, unnoticed", "memory", "gradient", "frozen", "draws"])
@pytest.mark.parametrize(
    "use",
    [lrp3d.explain, lrp3d.intervention_matrix, lrp3d.inspect, lambda m, x: lrp3d.convert(m)(x), gradient_input],
    ids=["explain", "interventions", "inspect", "call of a twin", "check"],
)
def test_what_a_careless_forward_changes_is_put_right(how, use):
    torch.manual_seed(0)
    model = Careless(how).eval()
    had = {"random": torch.get_rng_state(), "weight": model.fc.weight.clone(), "count": model.count.clone()}
    use(model, CLIP)
    assert torch.equal(torch.get_rng_state(), had["random"])
    assert torch.equal(model.fc.weight, had["weight"])
    assert model.fc.weight.requires_grad
    assert model.fc.weight.grad is None
    assert torch.equal(model.count, had["count"])
    assert torch.equal(model.free, torch.zeros(3))
    assert torch.equal(model.seen, torch.zeros(2))
