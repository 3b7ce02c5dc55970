"""What surrounds a model (autograd functions, sparse buffers, hooks of profilers, inference mode) changes no number."""

import copy
import pickle

import numpy as np
import pytest
import torch
from torch import nn

import lrp3d

CLIP = torch.rand(2, 3, 4, 12, 12, generator=torch.Generator().manual_seed(0))


class Net(nn.Module):
    """A small network; `before` and `inside` are done to the clip and to its features."""

    def __init__(self, before=None, inside=None, **buffers):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.fc = nn.Conv3d(3, 4, 3, padding=1), nn.Linear(4, 5)
        self.before, self.inside = before, inside
        for name, value in buffers.items():
            self.register_buffer(name, value)
        self.eval()

    def forward(self, x):
        x = self.conv(x if self.before is None else self.before(x))
        return self.fc((x if self.inside is None else self.inside(x)).relu().mean((2, 3, 4)))


class Straight(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.view_as(x)

    @staticmethod
    def backward(ctx, gradient):
        return gradient


@pytest.mark.parametrize("place", ["before", "inside"])
def test_a_model_with_an_autograd_function_of_its_own_is_measured(place):
    net = Net(**{place: Straight.apply})
    expected = lrp3d.intervention_matrix(Net(), CLIP)
    found = lrp3d.intervention_matrix(net, CLIP)
    assert found.shape in (expected.shape, (2, 1, 4))
    torch.testing.assert_close(found.mean(1), expected.mean(1))
    with pytest.raises(lrp3d.UnsupportedOperation, match="custom autograd Function"):
        lrp3d.explain(net, CLIP)
    with pytest.raises(lrp3d.UnsupportedOperation, match="custom autograd Function"):
        lrp3d.check(net, CLIP, shapley_values=False)


def test_a_backward_hook_for_all_modules_is_named():
    handle = nn.modules.module.register_module_full_backward_hook(lambda module, inputs, outputs: None)
    try:
        with pytest.raises(lrp3d.UnsupportedOperation, match=r"a backward hook for all modules .* handle\.remove\(\)"):
            lrp3d.explain(Net(), CLIP)
        assert lrp3d.intervention_matrix(Net(), CLIP).isfinite().all()
    finally:
        handle.remove()


OTHER_LAYOUTS = {
    "sparse": lambda: torch.eye(4).to_sparse(),
    "compressed": lambda: torch.eye(4).to_sparse_csr(),
    "mkldnn": lambda: torch.eye(4).to_mkldnn(),
    "nested": lambda: torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]),
}


@pytest.mark.parametrize("layout", OTHER_LAYOUTS)
def test_a_tensor_of_another_layout_that_a_model_holds_changes_nothing(layout):
    if layout == "mkldnn" and not torch.backends.mkldnn.is_available():
        pytest.skip("this torch has no mkldnn")
    net = Net(held=OTHER_LAYOUTS[layout]())
    assert torch.equal(lrp3d.explain(net, CLIP).matrix, lrp3d.explain(Net(), CLIP).matrix)
    assert torch.equal(lrp3d.intervention_matrix(net, CLIP), lrp3d.intervention_matrix(Net(), CLIP))
    assert lrp3d.inspect(net, CLIP).problems == []
    assert torch.equal(lrp3d.frame_logits(net, CLIP), lrp3d.frame_logits(Net(), CLIP))


def test_a_model_that_was_made_in_inference_mode_is_checked():
    with torch.inference_mode():
        net = Net()
    found = lrp3d.check(net, CLIP, shapley_values=False)
    expected = lrp3d.check(Net(), CLIP, shapley_values=False)
    torch.testing.assert_close(found.values, expected.values, equal_nan=True)
    assert all(parameter.is_inference() for parameter in net.parameters())


def test_a_twin_is_copied_without_the_floors_that_it_has_seen():
    twin = lrp3d.convert(Net())
    found = lrp3d.explain(twin, CLIP, output=lambda logits: logits, floor=True)
    for other in (pickle.loads(pickle.dumps(twin)), copy.deepcopy(twin)):
        again = lrp3d.explain(other, CLIP, floor=True)
        assert torch.equal(again.matrix, found.matrix)
        assert torch.equal(again.floor, found.floor)


def test_a_program_that_was_taken_apart_is_named_as_one():
    program = torch.export.unflatten(torch.export.export(Net(), (CLIP,)))
    with pytest.raises(lrp3d.UnsupportedOperation, match="exported program; pass the module that it was made from"):
        lrp3d.explain(program, CLIP)


def test_a_layer_without_values_is_named():
    net = Net()
    net.fc.to("meta")
    with pytest.raises(lrp3d.ModelError, match=r"parameters of the model \(fc\.weight, .* are on the device meta"):
        lrp3d.explain(net, CLIP)


class OnGraph(Net):
    """Its channels are the nodes of a graph, whose matrix may be sparse."""

    def forward(self, x):
        x = self.conv(x).relu().mean((2, 3, 4))
        return self.fc(self.multiplied(x))


PRODUCTS = {
    "@": lambda net, x: (net.held @ x.T).T,
    "torch.sparse.mm": lambda net, x: torch.sparse.mm(net.held, x.T).T,
    "matmul": lambda net, x: torch.matmul(net.held, x.T).T,
}


@pytest.mark.parametrize("layout", ["sparse", "compressed"])
@pytest.mark.parametrize("product", PRODUCTS)
def test_a_sparse_matrix_multiplies_as_a_dense_one(product, layout):
    matrix = torch.tensor([[1.0, 0.5, 0, 0], [0, 1, -0.5, 0], [0, 0, 1, 0.2], [0.3, 0, 0, 1]])
    made = {"sparse": torch.Tensor.to_sparse, "compressed": torch.Tensor.to_sparse_csr}[layout](matrix)
    found, wanted = OnGraph(held=made), OnGraph(held=matrix)
    found.multiplied = lambda x: PRODUCTS[product](found, x)
    wanted.multiplied = lambda x: PRODUCTS["@"](wanted, x)
    for contrastive in (True, False):
        options = {"temporal": False, "contrastive": contrastive}
        torch.testing.assert_close(
            lrp3d.explain(found, CLIP, **options).relevance, lrp3d.explain(wanted, CLIP, **options).relevance
        )
    assert lrp3d.intervention_matrix(found, CLIP).isfinite().all()


def test_a_layer_with_a_sparse_weight_is_that_layer():
    net, pruned = Net(), Net()
    with torch.no_grad():
        net.fc.weight[net.fc.weight.abs() < 0.2] = 0
    pruned.fc.weight = nn.Parameter(net.fc.weight.detach().to_sparse_csr(), requires_grad=False)
    pruned.fc.bias = net.fc.bias
    torch.testing.assert_close(lrp3d.explain(pruned, CLIP).matrix, lrp3d.explain(net, CLIP).matrix)


def test_a_nested_clip_is_told_what_to_be():
    with pytest.raises(ValueError, match=r"got a nested tensor: pass clips of one shape, torch\.stack"):
        lrp3d.explain(Net(), torch.nested.nested_tensor(list(CLIP)))


@pytest.mark.parametrize("wanted", ["explain", "a twin", "intervention_matrix", "inspect", "convert"])
def test_a_compiled_program_breaks_off_where_it_calls_lrp3d(wanted):
    net = Net()
    twin = lrp3d.convert(net)
    programs = {
        "explain": lambda: lrp3d.explain(net, CLIP).matrix,
        "a twin": lambda: lrp3d.explain(twin, CLIP).matrix,
        "intervention_matrix": lambda: lrp3d.intervention_matrix(net, CLIP),
        "inspect": lambda: torch.tensor(len(lrp3d.inspect(net, CLIP))),
        "convert": lambda: lrp3d.explain(lrp3d.convert(net), CLIP).matrix,
    }
    assert torch.equal(torch.compile(programs[wanted], backend="eager")(), programs[wanted]())


def test_numbers_of_numpy_are_numbers():
    found = lrp3d.explain(Net(), CLIP, seed=np.int64(5), floor=np.int64(1), tolerance=np.float32(0.25))
    wanted = lrp3d.explain(Net(), CLIP, seed=5, floor=1, tolerance=0.25)
    assert torch.equal(found.floor, wanted.floor)
    assert torch.equal(found.matrix, wanted.matrix)
    assert found.about == wanted.about


def test_a_file_of_a_later_version_says_so(tmp_path, monkeypatch):
    explanation = lrp3d.explain(Net(), CLIP)
    monkeypatch.setattr("lrp3d.explanation.explanation.FORMAT", 9)
    explanation.save(tmp_path / "later.safetensors")
    monkeypatch.undo()
    with pytest.raises(ValueError, match=r"form 9 of a later lrp3d; this one reads 3: pip install -U lrp3d"):
        lrp3d.Explanation.load(tmp_path / "later.safetensors")
