"""A user's model comes back exactly as it was, whatever happens; a twin is made of the same tensors."""

import functools
import gc
import threading
import weakref

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import lrp3d
from lrp3d.steps.step import Step


def small(seed=0):
    torch.manual_seed(seed)
    features = (nn.Conv3d(3, 4, 3, padding=1), nn.BatchNorm3d(4), nn.ReLU(inplace=True), nn.MaxPool3d((1, 2, 2)))
    model = nn.Sequential(*features, nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Dropout(), nn.Linear(4, 5))
    model[1].running_mean.normal_()
    model[1].running_var.uniform_(0.5, 2)
    return model.eval()


CLIP = torch.randn(2, 3, 4, 6, 6, generator=torch.Generator().manual_seed(0))


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
    with pytest.raises(KeyError, match="boom"):
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


def test_a_twin_shares_every_tensor_and_returns_the_same_outputs():
    model = small()
    twin = lrp3d.convert(model)
    ours = {id(t) for t in [*model.parameters(), *model.buffers()]}
    theirs = {id(t) for t in [*twin.model.parameters(), *twin.model.buffers()]}
    assert ours == theirs
    assert torch.equal(twin(CLIP.clone().requires_grad_()), model(CLIP))
    assert torch.equal(twin(CLIP), model(CLIP))
    with torch.no_grad():
        model[7].bias += 1
    assert torch.equal(twin(CLIP), model(CLIP)), "a twin follows its model's parameters"


def test_a_twin_cannot_be_used_to_change_the_model():
    twin = lrp3d.convert(small())
    for change in (twin.train, twin.double, lambda: twin.to("cpu")):
        with pytest.raises(ValueError, match="twin"):
            change()


def test_explaining_a_twin_equals_explaining_its_model():
    model = small()
    twin = lrp3d.convert(model, "epsilon_plus")
    a, b = lrp3d.explain(twin, CLIP), lrp3d.explain(model, CLIP, composite="epsilon_plus")
    assert torch.equal(a.relevance, b.relevance)


class Holder:
    def __init__(self, module):
        self.module = module


def test_modules_held_anywhere_are_recognised_and_named():
    """Lists, dicts, closures, partials, bound methods, plain objects and shared modules."""

    class Hides(nn.Module):
        def __init__(self):
            super().__init__()
            self.convs = [nn.Conv3d(3, 4, 1), nn.Conv3d(4, 4, 1).eval()]
            self.by_name = {"a": nn.Conv3d(4, 4, 1)}
            hidden = nn.Conv3d(4, 4, 1)
            self.closure = lambda x: hidden(x)
            self.part = functools.partial(lambda conv, x: conv(x), nn.Conv3d(4, 4, 1))
            self.bound = self.step
            self.inner = nn.Conv3d(4, 4, 1)
            self.holder = Holder(nn.Conv3d(4, 4, 1))
            self.shared = self.inner
            self.fc = nn.Linear(4, 5)

        def step(self, x):
            return self.inner(x)

        def forward(self, x):
            for conv in self.convs:
                x = conv(x).relu()
            x = self.closure(self.by_name["a"](x).relu()).relu()
            x = self.holder.module(self.bound(self.part(x).relu()).relu()).relu()
            return self.fc(self.shared(x).relu().mean((2, 3, 4)))

    model = Hides().eval()
    for module in [*model.convs, model.by_name["a"], model.part.args[0], model.holder.module]:
        module.eval()
    rows = [row.name for row in lrp3d.inspect(model, CLIP) if row.operation in ("convolution", "linear")]
    assert rows[:3] == ["convs.0", "convs.1", "by_name.a"]
    assert rows[-3:] == ["holder.module", "inner", "fc"]
    rule = lrp3d.rules.Epsilon()
    flat = lrp3d.Composite(layers={nn.Conv3d: rule})
    rules = [row.rule for row in lrp3d.inspect(model, CLIP, composite=flat) if row.operation == "convolution"]
    assert rules == [str(rule)] * 8, "a rule for a type reaches every module of that type"
    assert lrp3d.explain(model, CLIP, contrastive=False).conservation.max() < 1e-5


def test_user_subclasses_keep_their_own_forward():
    class Twice(nn.Conv3d):
        def forward(self, x):
            return super().forward(F.pad(x, (1, 1))) * 2

    class Quiet(nn.Conv3d):
        pass

    model = nn.Sequential(
        Twice(3, 4, 1), nn.ReLU(), Quiet(4, 4, 1), nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(4, 3)
    )
    model.eval()
    rows = {
        row.name: row for row in lrp3d.inspect(model, CLIP, composite=lrp3d.Composite({nn.Conv3d: lrp3d.rules.Flat()}))
    }
    assert rows["2"].rule == "Flat()"
    assert rows["0.conv3d"].rule == "Flat()"
    explanation = lrp3d.explain(model, CLIP, contrastive=False)
    assert torch.allclose(explanation.logits, model(CLIP))
    assert explanation.conservation.max() < 1e-5


def test_forward_hooks_stay_and_backward_hooks_see_no_relevance():
    model, seen = small(), []
    model[0].register_forward_hook(lambda module, args, out: out * 2)
    model[0].register_full_backward_hook(lambda module, grad_in, grad_out: seen.append(grad_out))
    explanation = lrp3d.explain(model, CLIP, contrastive=False)
    assert torch.allclose(explanation.logits, model(CLIP))
    assert explanation.conservation.max() < 1e-5
    assert not seen


def test_compiled_and_parallel_wrappers_are_looked_through():
    model = small()
    expected = lrp3d.explain(model, CLIP).relevance
    assert torch.equal(lrp3d.explain(nn.DataParallel(model), CLIP).relevance, expected)
    assert torch.equal(lrp3d.explain(torch.compile(model), CLIP).relevance, expected)


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_the_callers_grad_mode_does_not_matter(context):
    model = small()
    expected = lrp3d.explain(model, CLIP)
    with context():
        clip = CLIP * 1
        found = lrp3d.explain(model, clip)
    assert torch.equal(found.relevance, expected.relevance)
    assert torch.equal(found.matrix, expected.matrix)


def test_training_mode_is_refused_by_name():
    model = small()
    model[1].train()
    with pytest.raises(ValueError, match=r"training mode \(1\).*eval\(\)"):
        lrp3d.explain(model, CLIP)
    assert model[1].training


INCEPTION = pytest.param("I3D-Inception", marks=pytest.mark.slow)


@pytest.mark.parametrize("composite", ["paper", "epsilon", "alpha_beta"])
@pytest.mark.parametrize("use", [lrp3d.explain, lrp3d.inspect, lrp3d.intervention_matrix])
@pytest.mark.parametrize("name", ["TAM2D-R18-f8", INCEPTION, "S3D"])
def test_no_step_outlives_its_run(name, use, composite):
    """A step that held its own output would be held by it in turn, through autograd's graph, for good."""
    model = lrp3d.models.build(name, num_classes=3, **({} if "R18" not in name else {"width": 8})).eval()
    clip = torch.rand(1, 3, 8, 32, 32)
    use(lrp3d.convert(model, composite), clip)
    gc.collect()
    assert not [x for x in gc.get_objects() if isinstance(x, Step)]


class Compiled(nn.Module):
    """Three ways in which a part may be compiled."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.fc = nn.Conv3d(3, 4, 3, padding=1), nn.Linear(4, 5)
        self.deep = nn.ModuleList([nn.Sequential(nn.Conv3d(4, 4, 1), nn.ReLU())])
        self.function = torch.relu

    def forward(self, x):
        x = self.function(self.deep[0](self.conv(x)))
        return self.fc(x.mean((3, 4)).transpose(1, 2)).mean(1)


def _compile_it(model):
    model.compile()


def _compile_a_child(model):
    model.conv = torch.compile(model.conv)


def _compile_a_grandchild(model):
    model.deep[0][0] = torch.compile(model.deep[0][0])
    model.deep[0][1].compile()


def _compile_a_function(model):
    model.function = torch.compile(torch.relu)


def _compile_the_forward(model):
    model.forward = torch.compile(model.forward)


@pytest.mark.parametrize(
    "how", [_compile_it, _compile_a_child, _compile_a_grandchild, _compile_a_function, _compile_the_forward]
)
def test_compiled_code_is_explained_as_what_it_was_made_of(how):
    model = Compiled().eval()
    expected = lrp3d.explain(model, CLIP)
    names = [row.name for row in lrp3d.inspect(model, CLIP)]
    how(model)
    found = lrp3d.explain(model, CLIP)  # before it was ever called
    assert torch.equal(found.relevance, expected.relevance)
    assert torch.equal(found.matrix, expected.matrix)
    if how is not _compile_a_function:
        assert [row.name for row in lrp3d.inspect(model, CLIP)] == names


def test_a_class_with_a_compiled_forward_is_explained_too():
    class Decorated(Compiled):
        forward = torch.compile(Compiled.forward)

    expected = lrp3d.explain(Compiled().eval(), CLIP)
    assert torch.equal(lrp3d.explain(Decorated().eval(), CLIP).relevance, expected.relevance)


# --------------------------------------------------------------------------------------------- training mode


class Wrapper(nn.Module):
    """Without parameters, and in training mode."""

    def __init__(self, model, change=lambda self, x: x):
        super().__init__()
        self.model, self.change = model, change

    def forward(self, x):
        return self.change(self, self.model(x))


def _in_a_list():
    model = Compiled()
    model.pools = [nn.MaxPool3d((1, 2, 2))]  # `eval()` does not reach it
    model.function = lambda x: model.pools[0](torch.relu(x))
    return model.eval()


def _pool_left_in_training():
    model = small()
    model[3].train()
    return model


def _still_dropout():
    model = small()
    model[6] = nn.Dropout(0.0)
    return model


HARMLESS = {
    "a pool in a list": _in_a_list,
    "a pool": _pool_left_in_training,
    "dropout that drops nothing": _still_dropout,
    "a wrapper": lambda: Wrapper(small()),
    "a container": lambda: nn.Sequential(small()),
    "a wrapper that asks, and does the same": lambda: Wrapper(small(), lambda self, x: x if self.training else x * 1),
}


@pytest.mark.parametrize("name", HARMLESS)
def test_training_mode_that_changes_nothing_is_no_obstacle(name):
    model = HARMLESS[name]()
    before, random = [module.training for module in model.modules()], torch.get_rng_state()
    found = lrp3d.explain(model, CLIP)
    assert [module.training for module in model.modules()] == before
    assert torch.equal(torch.get_rng_state(), random)
    assert torch.equal(found.relevance, lrp3d.explain(model.eval(), CLIP).relevance)
    assert lrp3d.intervention_matrix(model, CLIP).shape[0] == 2


def _dropout_drops():
    model = small()
    model[6].train()
    return model


GUILTY = {
    "dropout": (_dropout_drops, r"\(6\)"),
    "a head that asks": (
        lambda: Wrapper(small(), lambda self, x: x if self.training else x.softmax(1)),
        "model itself",
    ),
    "a wrapper that drops": (
        lambda: Wrapper(small(), lambda self, x: F.dropout(x, 0.5, self.training)),
        "model itself",
    ),
}


@pytest.mark.parametrize("name", GUILTY)
@pytest.mark.parametrize("use", [lrp3d.explain, lrp3d.inspect, lrp3d.intervention_matrix])
def test_training_mode_that_changes_the_output_is_refused(name, use):
    make, named = GUILTY[name]
    with pytest.raises(ValueError, match=rf"training mode.*{named}.*eval\(\)"):
        use(make(), CLIP)


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
@pytest.mark.parametrize("how", ["values", "memory", "gradient", "frozen", "draws"])
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


def test_a_twin_that_is_converted_again_keeps_its_composite():
    twin = lrp3d.convert(small(), "epsilon")
    assert lrp3d.convert(twin) is twin
    assert lrp3d.convert(twin, "paper").composite != twin.composite


def test_layers_in_training_mode_that_are_never_run_are_no_obstacle():
    model = small()
    model[0].unused = nn.BatchNorm3d(4).train()
    assert torch.equal(lrp3d.explain(model, CLIP).relevance, lrp3d.explain(small(), CLIP).relevance)
    assert model[0].unused.training
