"""Compiled and wrapped models are explained as the models that they were made of."""

import pytest
import torch
from torch import nn
from small_models import CLIP, Parts, small

import lrp3d
from lrp3d.twin.given import original_code


def test_compiled_and_parallel_wrappers_are_looked_through():
    model = small()
    expected = lrp3d.explain(model, CLIP).relevance
    assert torch.equal(lrp3d.explain(nn.DataParallel(model), CLIP).relevance, expected)
    assert torch.equal(lrp3d.explain(torch.compile(model), CLIP).relevance, expected)


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
    model = Parts().eval()
    expected = lrp3d.explain(model, CLIP)
    names = [row.name for row in lrp3d.inspect(model, CLIP)]
    how(model)
    found = lrp3d.explain(model, CLIP)  # before it was ever called
    assert torch.equal(found.relevance, expected.relevance)
    assert torch.equal(found.matrix, expected.matrix)
    if how is not _compile_a_function:
        assert [row.name for row in lrp3d.inspect(model, CLIP)] == names


def test_a_class_with_a_compiled_forward_is_explained_too():
    class Decorated(Parts):
        forward = torch.compile(Parts.forward)

    expected = lrp3d.explain(Parts().eval(), CLIP)
    assert torch.equal(lrp3d.explain(Decorated().eval(), CLIP).relevance, expected.relevance)


def test_a_compiled_function_that_a_forward_calls_is_not_compiled_for_an_explanation():
    compiled = []

    def backend(graph, inputs):
        compiled.append(graph)
        return graph.forward

    twice = torch.compile(lambda x: x.relu() * 2, backend=backend)  # no attribute of the model, but a global name

    class Calls(nn.Module):
        def __init__(self, function):
            super().__init__()
            torch.manual_seed(0)
            self.conv, self.fc = nn.Conv3d(3, 4, 3), nn.Linear(4, 3)
            self.call = [function]

        def forward(self, x):
            return self.fc(self.call[0](self.conv(x)).mean((2, 3, 4)))

    expected = lrp3d.explain(Calls(lambda x: x.relu() * 2).eval(), CLIP)

    class CallsGlobal(Calls):
        def forward(self, x):
            return self.fc(twice(self.conv(x)).mean((2, 3, 4)))

    model = CallsGlobal(None).eval()
    found = lrp3d.explain(model, CLIP)
    assert not compiled
    assert torch.equal(found.matrix, expected.matrix)
    model(CLIP)
    assert compiled  # as soon as the caller runs the model


def test_after_explanations_in_several_threads_compiled_code_is_compiled_again():
    import torch._dynamo

    first, second = original_code(), original_code()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    second.__exit__(None, None, None)
    compiled = []

    def backend(graph, inputs):
        compiled.append(graph)
        return graph.forward

    torch.compile(lambda x: x.relu() * 3, backend=backend)(CLIP)
    assert compiled


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
@pytest.mark.parametrize("static", [False, True])
def test_quantised_models_are_refused_with_the_layers_that_are(static):
    quantisation = torch.ao.quantization
    model = nn.Sequential(quantisation.QuantStub(), nn.Conv3d(3, 4, 3), nn.Flatten(), nn.Linear(4, 2)).eval()
    model.append(quantisation.DeQuantStub())
    clip = torch.rand(1, 3, 3, 3, 3)
    if static:
        model.qconfig = quantisation.get_default_qconfig("x86")
        prepared = quantisation.prepare(model)
        prepared(clip)
        quantised, names = quantisation.convert(prepared), "0, 1, 3"
    else:
        quantised, names = quantisation.quantize_dynamic(model, {nn.Linear}, dtype=torch.qint8), "3"
    said = rf"the model: has quantised layers \({names}(, 4)?\), which compute with integers; pass the module"
    with pytest.raises(lrp3d.UnsupportedOperation, match=said):
        lrp3d.explain(quantised, clip, 0)
