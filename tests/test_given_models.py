"""What may be given as a model: whatever was compiled of one works, and everything else is told what it is."""

import functools
import warnings

import pytest
import torch
from small_models import CLIP, Parts, small
from torch import nn

import lrp3d

pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")


@pytest.mark.parametrize(
    "made",
    [
        lambda model: torch.compile(torch.compile(model)),
        lambda model: torch.compile(torch.compile(torch.compile(model))),
        lambda model: torch.compile(model.forward),
        lambda model: torch.compile(torch.compile(model.forward)),
        lambda model: nn.DataParallel(torch.compile(nn.DataParallel(model))),
        torch.optim.swa_utils.AveragedModel,
        lambda model: functools.partial(functools.partial(model)),
        lambda model: functools.partial(torch.compile(model.forward)),
    ],
    ids=["twice", "three times", "forward", "forward twice", "parallel", "averaged", "partial", "partial of a forward"],
)
def test_a_model_is_explained_through_any_number_of_wrappers(made):
    model = Parts().eval()
    found, expected = lrp3d.explain(made(model), CLIP), lrp3d.explain(model, CLIP)
    assert torch.equal(found.relevance, expected.relevance)
    assert torch.equal(found.matrix, expected.matrix)


def test_a_compiled_forward_is_not_taken_for_a_model_with_hooks():
    model = Parts().eval()
    model.register_forward_hook(lambda module, inputs, output: output * 2)
    with pytest.raises(TypeError, match="the method forward of Parts; pass the model itself"):
        lrp3d.explain(torch.compile(model.forward), CLIP)


def doubled(model):
    @functools.wraps(model.forward)
    def forward(x):
        return model(x) * 2

    return forward


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (lambda model: lambda x: model(x), "a lambda; write it as the forward of a module"),
        (lambda model: torch.compile(lambda x: model(x)), "a lambda; write it as the forward of a module"),
        (doubled, "the function forward; write it as the forward of a module"),
        (lambda model: small, "the function small; .*if it makes a model, pass what it returns"),
        (lambda model: model.forward, "the method forward of Parts; pass the model itself"),
        (lambda model: functools.partial(model, flag=True), "a functools.partial with arguments; pass a module whose"),
        (lambda model: torch.jit.trace(torch.relu, CLIP), "a ScriptFunction, which is a program of torch.jit; pass"),
        (lambda model: torch.export.export(small(), (CLIP,)), "an ExportedProgram; pass the module that was exported"),
        (lambda model: Parts, r"the class Parts; pass a model, Parts\(\.\.\.\)"),
        (lambda model: model.state_dict(), "OrderedDict, as a state dict is; make the model"),
        (lambda model: "I3D-R50-f8", r"str; a model of the paper is lrp3d\.models\.build"),
        (lambda model: None, "NoneType$"),
    ],
)
@pytest.mark.parametrize("use", [lrp3d.explain, lrp3d.intervention_matrix, lambda model, clip: lrp3d.convert(model)])
def test_what_is_no_model_is_told_what_it_is_and_what_to_do(made, said, use):
    with pytest.raises(TypeError, match=f"model must be a torch.nn.Module, got {said}") as caught:
        use(made(Parts().eval()), CLIP)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "made",
    [
        torch.jit.script,
        lambda model: torch.jit.trace(model, CLIP),
        lambda model: torch.jit.freeze(torch.jit.script(model)),
        lambda model: torch.export.export(model, (CLIP,)).module(),
    ],
    ids=["scripted", "traced", "frozen", "exported"],
)
def test_a_program_is_refused_as_one_and_measured(made):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = made(small())
    for model, name in ((program, "the model"), (nn.Sequential(program), "0")):
        said = f"{name}: is .* program; pass the module that it was made from"
        with pytest.raises(lrp3d.UnsupportedOperation, match=said) as caught:
            lrp3d.explain(model, CLIP)
        assert len(caught.value.operations) == 1 or name == "0"
        assert not any("custom autograd" in line for line in caught.value.operations)
    if isinstance(program, torch.jit.ScriptModule):  # an exported one takes batches of one size only
        assert lrp3d.intervention_matrix(program, CLIP).shape[2] == 4


def test_the_mode_of_a_scripted_child_stays_the_users():
    child = torch.jit.script(nn.ReLU()).train()
    lrp3d.intervention_matrix(nn.Sequential(child, *small()), CLIP)
    assert child.training


def test_a_model_whose_parameters_have_no_values_is_told_so():
    with torch.device("meta"):
        model = nn.Sequential(nn.Conv3d(3, 2, 1), nn.Flatten(), nn.Linear(16, 2)).eval()
    for use in (lrp3d.explain, lrp3d.inspect, lrp3d.intervention_matrix):
        with pytest.raises(ValueError, match=r"the model's parameters \(0\.weight, \.\.\.\) are on the device meta"):
            use(model, torch.rand(1, 3, 2, 2, 2))


def test_a_model_that_takes_no_empty_batch_says_so_without_torchs_source_code():
    class Unflattens(nn.Module):
        def forward(self, x):
            return x.transpose(1, 2).flatten(0, 1).mean((2, 3)).unflatten(0, (len(x), -1)).mean(1)

    with pytest.raises(lrp3d.ModelError, match=r"is ambiguous$"):
        lrp3d.explain(Unflattens().eval(), torch.rand(0, 3, 4, 4, 4))


def test_lazy_modules_are_told_to_run_first():
    model = nn.Sequential(nn.LazyConv3d(4, 3), nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.LazyLinear(5)).eval()
    for use in (lrp3d.explain, lrp3d.intervention_matrix):
        with pytest.raises(ValueError, match=r"parameters without a shape \(0.weight, ...\)"):
            use(model, CLIP)


def test_names_inside_of_a_wrapper_are_those_of_the_model():
    model = nn.DataParallel(Parts().eval())
    name = next(name for name, module in model.named_modules() if isinstance(module, nn.Conv3d))
    assert name.startswith("module.")
    with pytest.raises(ValueError, match=f"inside of the wrapper: '{name.removeprefix('module.')}'"):
        lrp3d.explain(model, CLIP, layers=[name])


def test_a_program_for_another_number_of_clips_says_that_it_could_not_run():
    program = torch.export.export(Parts().eval(), (torch.cat([CLIP, CLIP]),)).module()
    with pytest.raises(lrp3d.ModelError, match=r"could not run on an input of shape \("):
        lrp3d.intervention_matrix(program, torch.cat([CLIP, CLIP]))
