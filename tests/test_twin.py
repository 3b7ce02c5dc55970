"""A twin is made of the model's own tensors, knows its modules by name and computes what the model does."""

import functools
import pickle

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.optim.swa_utils import AveragedModel
from small_models import CLIP, small

import lrp3d


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


def test_what_convert_and_inspect_return_has_a_public_name():
    assert type(lrp3d.convert(small())) is lrp3d.Twin
    assert type(lrp3d.inspect(small(), CLIP)) is lrp3d.Inspection


def test_an_inspection_is_a_list_that_knows_its_problems_whoever_makes_it():
    rows = lrp3d.inspect(small(), CLIP)
    again = lrp3d.Inspection(rows, ["nothing"])
    assert (list(again), again.problems, rows.problems, lrp3d.Inspection().problems) == (rows, ["nothing"], [], [])
    kept = pickle.loads(pickle.dumps(again))
    assert (kept, kept.problems) == (again, again.problems)


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


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_the_callers_grad_mode_does_not_matter(context):
    model = small()
    expected = lrp3d.explain(model, CLIP)
    with context():
        clip = CLIP * 1
        found = lrp3d.explain(model, clip)
    assert torch.equal(found.relevance, expected.relevance)
    assert torch.equal(found.matrix, expected.matrix)


def test_a_twin_that_is_converted_again_keeps_its_composite():
    twin = lrp3d.convert(small(), "epsilon")
    assert lrp3d.convert(twin) is twin
    assert lrp3d.convert(twin, "paper").composite != twin.composite


class Wraps(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner(x)


@pytest.mark.parametrize("wrap", [nn.DataParallel, AveragedModel, lambda twin: torch.compile(twin, backend="eager")])
def test_a_wrapped_twin_is_the_twin(wrap):
    twin = lrp3d.convert(small())
    wanted, found = lrp3d.explain(twin, CLIP, 0), lrp3d.explain(wrap(twin), CLIP, 0)
    torch.testing.assert_close(found.matrix, wanted.matrix)
    torch.testing.assert_close(found.relevance, wanted.relevance)


def test_a_twin_inside_of_another_model_is_refused():
    with pytest.raises(lrp3d.ModelError, match="make that model of plain modules"):
        lrp3d.explain(Wraps(lrp3d.convert(small())).eval(), CLIP, 0)


def test_an_explanation_inside_of_an_explained_forward_is_refused():
    class Explains(Wraps):
        def forward(self, x):
            lrp3d.explain(self.inner, x, 0)
            return self.inner(x)

    with pytest.raises(lrp3d.ModelError, match="explain the inner one outside of its forward"):
        lrp3d.explain(Explains(small()).eval(), CLIP, 0)


def test_what_has_no_rule_is_named_before_the_contrast_that_it_hides():
    """Without the scripted classifier, the last layers are those of a residual block, which have no contrast."""

    class Residual(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = nn.Conv3d(3, 4, 3, padding=1), nn.Conv3d(4, 4, 3, padding=1)
            self.fc = torch.jit.script(nn.Linear(4, 3))

        def forward(self, x):
            x = self.one(x).relu()
            return self.fc((x + self.two(x)).relu().mean((2, 3, 4)))

    with pytest.raises(lrp3d.UnsupportedOperation, match=r"fc.*script"):
        lrp3d.explain(Residual().eval(), CLIP, 0)
    assert any("fc" in problem for problem in lrp3d.inspect(Residual().eval(), CLIP).problems)


def test_weights_that_are_nan_are_an_error_even_where_logits_are_finite():
    model = small()
    model[7].weight.data[2] = torch.nan
    with pytest.raises(ValueError, match=r"relevance is NaN or infinite.*so is a weight of 7 \(as in"):
        lrp3d.explain(model, CLIP, 0, output=lambda logits: logits[:, :2])


@pytest.mark.parametrize("composite", ["epsilon", "paper"])
def test_relevance_that_grows_to_far_more_than_the_logit_says_where(composite, recwarn):
    """A feature of one ten-thousandth that is the difference of a mean and a bias of one."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 1), nn.Linear(1, 2, bias=False)).double().eval()
    model[1].weight.data.fill_(1 / 12)
    model[1].bias.data.fill_(1e-4 - 1)
    model[2].weight.data.copy_(torch.tensor([[1e4], [5e3]]))
    lrp3d.explain(model, torch.ones(1, 3, 2, 2).double(), 0, composite=composite, contrastive=False)
    said = [str(warning.message) for warning in recwarn if "grows" in str(warning.message)]
    if composite == "paper":
        assert not said
    else:
        assert "to 1e+04 times the logit, first behind '1' (Epsilon" in said[0]
        assert "such as 'paper'" in said[0]


@pytest.mark.parametrize("temporal", [True, False])
def test_relevance_that_grows_beyond_all_numbers_says_where_and_what_to_take(temporal):
    class Deep(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.convs = nn.Sequential(nn.Conv3d(3, 8, 1), *[nn.Conv3d(8, 8, 3, padding=1) for _ in range(30)])
            self.fc = nn.Linear(8, 4)

        def forward(self, x):
            return self.fc(self.convs(x).mean((2, 3, 4)))

    rule = lrp3d.Composite(layers={nn.Conv3d: lrp3d.rules.AlphaBeta(1000, 999)})
    said = r"beyond all numbers of float32, first behind 'convs\.\d+' \(Alpha.*'paper', or explain in float64"
    model, clip = Deep().eval(), torch.rand(1, 3, 4, 6, 6)
    with pytest.raises(ValueError, match=said):
        lrp3d.explain(model, clip, 0, composite=rule, contrastive=False, temporal=temporal)
    found = lrp3d.explain(model.double(), clip.double(), 0, composite=rule, contrastive=False, temporal=temporal)
    assert found.relevance.isfinite().all()
