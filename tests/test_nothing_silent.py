"""Nothing is passed over: what has no rule is named, with what to do, before anything is explained."""

import warnings

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

import lrp3d

CLIP = torch.randn(2, 3, 4, 6, 6, generator=torch.Generator().manual_seed(0))


class Foreign(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x * 2

    @staticmethod
    def backward(ctx, g):
        return g * 2


class ShiftInPlace(torch.autograd.Function):
    """As TSM shifts frames in place, to save memory."""

    @staticmethod
    def forward(ctx, x):
        x.data[:, :1, :-1] = x.data[:, :1, 1:].clone()
        return x

    @staticmethod
    def backward(ctx, g):
        return g


class Body(nn.Module):
    """Convolution, something, classifier of every frame."""

    def __init__(self, something):
        super().__init__()
        self.conv, self.fc = nn.Conv3d(3, 4, 3, padding=1), nn.Linear(4, 5)
        self.something = something

    def forward(self, x):
        return self.logits(self.something(F.relu(self.conv(x))))

    def logits(self, x):
        return self.fc(x.mean((3, 4)).transpose(1, 2)).mean(1)


def without_grad(x):
    with torch.no_grad():
        return F.relu(x)


def in_inference_mode(x):
    with torch.inference_mode():
        x = F.relu(x)
    return x.clone()


def filtered(x):
    """A global filter network (Rao et al. 2021, arXiv:2107.00645)."""
    spectrum = torch.fft.rfft2(x)
    return torch.fft.irfft2(torch.ones(4, dtype=spectrum.dtype) * spectrum[..., :4], s=x.shape[-2:])


SILENT_ELSEWHERE = {
    "detach": (lambda x: x.detach(), "detach"),
    "no_grad": (without_grad, "no_grad"),
    "shift in place": (ShiftInPlace.apply, "custom autograd Function"),
    "inference_mode": (in_inference_mode, "no_grad"),
    "numpy": (lambda x: torch.from_numpy(x.detach().numpy()), "does not descend"),
    "foreign Function": (Foreign.apply, "ForeignBackward"),
    "checkpoint": (lambda x: checkpoint(F.relu, x, use_reentrant=True), "pass use_reentrant=False"),
    "scripted": (torch.jit.script(nn.Sequential(nn.Conv3d(4, 4, 1), nn.ReLU()).eval()), "TorchScript"),
    "softmax": (lambda x: x.softmax(1), "in the middle of a network .* composite='attnlrp'"),
    "log_softmax": (lambda x: x.log_softmax(1), "at the end of a network only"),
    "spectrum": (lambda x: torch.fft.rfft(x, dim=2).abs(), r"fft_rfft\): .*complex numbers"),
    "filter in frequency": (filtered, r"fft_irfft2\): .*complex numbers"),
    "exp": (torch.exp, "register_operation"),
    "log": (lambda x: (x + 4).log(), "torch.logsumexp"),
    "active dropout": (lambda x: F.dropout(x, 0.5), "eval|differs"),
    "logcumsumexp": (lambda x: x.logcumsumexp(2), "logcumsumexp"),
    "expanded view of what is changed in place": (lambda x: (x[:, :1].expand_as(x), x.mul_(0.5))[0], "in-place"),
}


@pytest.mark.parametrize("name", SILENT_ELSEWHERE)
def test_what_has_no_rule_is_named_and_refused(name):
    something, word = SILENT_ELSEWHERE[name]
    model = Body(something).eval()
    with pytest.raises(lrp3d.UnsupportedOperation, match=word) as refused:
        lrp3d.explain(model, CLIP)
    assert len(refused.value.operations) >= 1
    inspection = lrp3d.inspect(model, CLIP)
    assert inspection.problems
    assert "Cannot be explained" in str(inspection)


@pytest.mark.parametrize("name", [name for name in SILENT_ELSEWHERE if name != "active dropout"])
def test_what_has_no_rule_does_no_harm_inside_a_gate(name):
    """No relevance goes into a gate, so nothing there is refused."""
    something, _ = SILENT_ELSEWHERE[name]

    def gated(x):
        return x * torch.sigmoid(something(x * 1).mean((1, 2, 3, 4), keepdim=True))

    explanation = lrp3d.explain(Body(gated).eval(), CLIP, contrastive=False)
    assert explanation.conservation.max() < 1e-4


TRANSFORMS = {
    "vmap": torch.vmap(lambda z: z * z),
    "grad": torch.func.grad(lambda z: (z**3).sum()),
    "vjp": lambda x: torch.func.vjp(lambda z: z * z, x)[1](torch.ones_like(x))[0],
    "jacrev": torch.func.jacrev(lambda z: (z**3).sum()),
}


@pytest.mark.parametrize("name", TRANSFORMS)
def test_a_summand_made_by_a_transform_of_torch_func_is_no_constant(name):
    """Inside of a transform the signal is another tensor, of which nothing is known."""
    with pytest.raises(lrp3d.UnsupportedOperation, match=r"through a transform of torch\.func"):
        lrp3d.explain(Body(lambda x: x + TRANSFORMS[name](x)).eval(), CLIP)
    assert lrp3d.intervention_matrix(Body(lambda x: x + TRANSFORMS[name](x)).eval(), CLIP).shape == (2, 1, 4)
    of_constants = TRANSFORMS[name](torch.rand(2, 4, 4, 6, 6))
    assert lrp3d.explain(Body(lambda x: x + of_constants).eval(), CLIP, contrastive=False).conservation.max() < 1e-4


@pytest.mark.parametrize("constants", [(), ("something",)])
def test_a_forward_that_takes_gradients_is_refused_in_one_sentence(constants):
    class Gradient(nn.Module):
        def forward(self, x):
            z = x.detach().clone().requires_grad_()
            return x + torch.autograd.grad((z**3).sum(), z)[0]

    with pytest.raises(lrp3d.UnsupportedOperation, match="takes gradients inside the forward") as refused:
        lrp3d.explain(Body(Gradient()).eval(), CLIP, constants=constants)
    assert "constants=" not in str(refused.value)


def test_gradients_that_a_forward_takes_where_nobody_sees_it_are_refused_as_well():
    """As in compiled code or a library that leaves torch's overrides out: the graph's own nodes are asked."""

    class Hidden(Body):
        def forward(self, x):
            features = self.conv(x)
            with torch._C.DisableTorchFunction(), torch.enable_grad():
                torch.autograd.grad(features.sum(), x)
            return self.logits(features)

    with pytest.raises(lrp3d.UnsupportedOperation, match="takes gradients inside the forward"):
        lrp3d.explain(Hidden(nn.Identity()).eval(), CLIP)


def test_all_problems_are_named_at_once():
    class Two(Body):
        def forward(self, x):
            return self.logits(torch.exp(self.conv(x)).logcumsumexp(2).softmax(1))

    with pytest.raises(lrp3d.UnsupportedOperation) as refused:
        lrp3d.explain(Two(None).eval(), CLIP)
    assert len(refused.value.operations) == 3
    for word in ("exp", "logcumsumexp", "softmax"):
        assert any(word in line for line in refused.value.operations)


def test_a_problem_is_named_by_the_module_it_is_in():
    class Cumulated(nn.Module):
        def forward(self, x):
            return x.logcumsumexp(2)

    class Hidden(nn.Module):
        def forward(self, x):
            return Foreign.apply(x)

    for module in (Cumulated(), Hidden()):
        model = Body(nn.Sequential(nn.ReLU(), module)).eval()
        with pytest.raises(lrp3d.UnsupportedOperation, match=r"something\.1"):
            lrp3d.explain(model, CLIP)


def test_an_output_that_does_not_come_from_the_clip_is_refused():
    class Constant(nn.Module):
        def forward(self, x):
            return torch.ones(len(x), 5)

    with pytest.raises(lrp3d.UnsupportedOperation, match="does not descend"):
        lrp3d.explain(Constant().eval(), CLIP)


def test_the_twin_refuses_in_plain_autograd_too():
    twin = lrp3d.convert(Body(torch.exp).eval())
    with pytest.raises(lrp3d.UnsupportedOperation, match="exp"):
        twin(CLIP.clone().requires_grad_())


def test_inspection_lists_every_operation_in_order_with_its_rule():
    rows = lrp3d.inspect(Body(lambda x: F.max_pool3d(x, 2)).eval(), CLIP)
    assert [(row.name, row.operation) for row in rows] == [
        ("conv", "convolution"),
        ("relu", "relu"),
        ("max_pool3d", "max_pool3d"),
        ("mean", "mean"),
        ("transpose", "transpose"),
        ("fc", "linear"),
        ("mean_1", "mean"),
    ]
    rules = [row.rule.split("(")[0] for row in rows]
    assert rules == ["ZBeta", "Identity", "WinnerTakesAll", "ZPlus", "moves values", "Contrastive", "Epsilon"]
    assert not rows.problems
    assert not rows.unsupported


def test_a_registered_layer_replaces_a_hidden_forward():
    class Hidden(nn.Module):
        def forward(self, x):
            return Foreign.apply(x)

    lrp3d.register_layer(Hidden, lambda layer, x: x * 2)
    assert lrp3d.explain(Body(Hidden()).eval(), CLIP).conservation.max() < 1e-4


def test_a_registered_operation_is_met_in_a_forward():
    def hard_tanh_like(x):
        return torch.arctan(x)

    with pytest.raises(lrp3d.UnsupportedOperation, match="arctan"):
        lrp3d.explain(Body(hard_tanh_like).eval(), CLIP)

    @lrp3d.register_operation([torch.arctan, torch.Tensor.arctan])
    def arctan(x):
        return lrp3d.operations.passes(torch.arctan, x)

    assert lrp3d.explain(Body(hard_tanh_like).eval(), CLIP).conservation.max() < 1e-4


@pytest.mark.parametrize("wrong", [3, "conv", int])
def test_only_layer_types_and_functions_can_be_registered(wrong):
    with pytest.raises(TypeError):
        lrp3d.register_layer([wrong] if not isinstance(wrong, str) else [7], lambda layer, x: x)
    with pytest.raises(TypeError):
        lrp3d.register_operation([3], lambda x: x)


def test_complex_numbers_are_named_once_by_each_function_and_never_called_invisible():
    with pytest.raises(lrp3d.UnsupportedOperation) as refused:
        lrp3d.explain(Body(filtered).eval(), CLIP)
    assert all("complex numbers" in line for line in refused.value.operations)
    assert "not visible" not in str(refused.value)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x.take(torch.arange(x.numel())).view(x.shape),
        lambda x: F.interpolate(x, size=(4, 9, 9), mode="nearest-exact"),
        lambda x: x.unfold(3, 2, 1).mean(-1),
    ],
    ids=["take", "nearest-exact", "unfold"],
)
def test_torch_warns_of_nothing_where_several_seeds_go_through_it(function):
    class Moved(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.conv, self.fc = nn.Conv3d(3, 4, 3, padding=1), nn.Linear(4, 3)

        def forward(self, x):
            return self.fc(function(self.conv(x)).relu().mean((3, 4)).transpose(1, 2)).mean(1)

    clip = torch.rand(1, 3, 4, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = lrp3d.explain(Moved().double().eval(), clip, 0, input_range=(0, 1), chunk_size=4)
    alone = lrp3d.explain(Moved().double().eval(), clip, 0, input_range=(0, 1), chunk_size=1)
    torch.testing.assert_close(found.matrix, alone.matrix)
    assert float(found.conservation) < 1e-12
