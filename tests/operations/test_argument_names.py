"""Arguments mean the same by whichever of torch's names a forward gives them."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from forwards import D, Net, X, clip, close, twin_relevance

import lrp3d

MATRIX = torch.arange(16.0, dtype=D).reshape(4, 4) / 5 - 1
FORMS = {
    "x.mean(axis=)": (lambda x: x.mean(axis=(3, 4)), lambda x: x.mean((3, 4))),
    "torch.mean(axis=)": (lambda x: torch.mean(x, axis=(3, 4)), lambda x: x.mean((3, 4))),
    "torch.mean(a=)": (lambda x: torch.mean(a=x, axis=2), lambda x: x.mean(2)),
    "torch.mean(input=)": (lambda x: torch.mean(input=x, dim=2), lambda x: x.mean(2)),
    "x.mean(keepdims=)": (lambda x: x.mean((3, 4), keepdims=True), lambda x: x.mean((3, 4), keepdim=True)),
    "x.sum(axis=)": (lambda x: x.sum(axis=(3, 4)), lambda x: x.sum((3, 4))),
    "x.cumsum(axis=)": (lambda x: x.cumsum(axis=2), lambda x: x.cumsum(2)),
    "x.max(axis=)": (lambda x: x.max(axis=3)[0], lambda x: x.max(3)[0]),
    "x.min(axis=)": (lambda x: x.min(axis=3, keepdims=True).values, lambda x: x.min(3, True)[0]),
    "x.amax(axis=)": (lambda x: x.amax(axis=(3, 4), keepdims=True), lambda x: x.amax((3, 4), True)),
    "x.amin(axis=)": (lambda x: x.amin(axis=3), lambda x: x.amin(3)),
    "torch.max(other=)": (lambda x: torch.max(x, other=x.flip(3)), lambda x: torch.maximum(x, x.flip(3))),
    "torch.max(x2=)": (lambda x: torch.max(x1=x, x2=x.flip(3)), lambda x: torch.maximum(x, x.flip(3))),
    "torch.min(other=)": (lambda x: torch.min(x, other=x.flip(3)), lambda x: torch.minimum(x, x.flip(3))),
    "x.topk(axis=)": (lambda x: x.topk(2, axis=2)[0], lambda x: x.topk(2, 2)[0]),
    "x.std(axis=)": (lambda x: x / (x.std(axis=1, keepdims=True) + 1), lambda x: x / (x.std(1, keepdim=True) + 1)),
    "torch.var(axis=)": (lambda x: torch.var(x, axis=(3, 4)), lambda x: x.var((3, 4))),
    "x.logsumexp(axis=)": (lambda x: x.logsumexp(axis=2), lambda x: x.logsumexp(2)),
    "vector_norm(axis=)": (
        lambda x: torch.linalg.vector_norm(x, axis=2, keepdims=True),
        lambda x: torch.linalg.vector_norm(x, dim=2, keepdim=True),
    ),
    "x.softmax(axis=)": (lambda x: x.softmax(axis=2) * x, lambda x: x.softmax(2) * x),
    "torch.cat(axis=)": (lambda x: torch.cat([x, x], axis=3), lambda x: torch.cat([x, x], 3)),
    "torch.concatenate(axis=)": (lambda x: torch.concatenate([x, x], axis=3), lambda x: torch.cat([x, x], 3)),
    "torch.stack(axis=)": (lambda x: torch.stack([x, x], axis=3), lambda x: torch.stack([x, x], 3)),
    "x.squeeze(axis=)": (lambda x: x.mean(2, True).squeeze(axis=2), lambda x: x.mean(2)),
    "torch.add(x1=, x2=)": (lambda x: torch.add(x1=x, x2=x.flip(2)), lambda x: x + x.flip(2)),
    "torch.mul(x2=)": (lambda x: torch.mul(x, x2=2.0), lambda x: x * 2.0),
    "torch.div(other=)": (lambda x: torch.div(x, other=2.0), lambda x: x / 2.0),
    "torch.matmul(input=, other=)": (lambda x: torch.matmul(input=x, other=MATRIX), lambda x: x @ MATRIX),
    "torch.mm(mat2=)": (lambda x: torch.mm(x.flatten(0, 3), mat2=MATRIX), lambda x: x.flatten(0, 3) @ MATRIX),
    "x.mv(vec=)": (lambda x: x.flatten(0, 3).mv(vec=MATRIX[0]), lambda x: x.flatten(0, 3) @ MATRIX[0]),
    "torch.addmv(mat=, vec=)": (
        lambda x: torch.addmv(x.flatten()[:4], mat=MATRIX, vec=x.flatten()[4:8]),
        lambda x: x.flatten()[:4] + MATRIX @ x.flatten()[4:8],
    ),
    "torch.bmm(mat2=)": (
        lambda x: torch.bmm(x.flatten(0, 2), mat2=MATRIX.expand(32, 4, 4)),
        lambda x: x.flatten(0, 2) @ MATRIX,
    ),
    "torch.baddbmm(batch1=, batch2=)": (
        lambda x: torch.baddbmm(MATRIX, batch1=x.flatten(0, 2), batch2=MATRIX.expand(32, 4, 4)),
        lambda x: torch.baddbmm(MATRIX, x.flatten(0, 2), MATRIX.expand(32, 4, 4)),
    ),
    "torch.add(out=None)": (lambda x: torch.add(x, 1.0, out=None), lambda x: x + 1.0),
    "x.mean(numpy's number)": (lambda x: x.mean(np.int64(3)), lambda x: x.mean(3)),
    "x.cumsum(a tensor's number)": (lambda x: x.cumsum(torch.tensor(3)), lambda x: x.cumsum(3)),
    "x.amax(numpy's numbers)": (lambda x: x.amax((np.int64(3), 4)), lambda x: x.amax((3, 4))),
    "x.max(numpy's number)": (lambda x: x.max(np.int64(3))[0], lambda x: x.max(3)[0]),
    "linalg.norm(numpy's number)": (
        lambda x: torch.linalg.norm(x, dim=np.int64(3)),
        lambda x: torch.linalg.norm(x, dim=3),
    ),
    "x.mean(dtype=)": (lambda x: x.float().mean(3, dtype=D), lambda x: x.float().to(D).mean(3)),
    "x.cumsum(dtype=)": (lambda x: x.float().cumsum(3, dtype=D), lambda x: x.float().to(D).cumsum(3)),
    "torch.relu(x=)": (lambda x: torch.relu(x=x), torch.relu),
    "F.relu(input=)": (lambda x: F.relu(input=x), F.relu),
    "F.gelu(input=)": (lambda x: F.gelu(input=x), F.gelu),
    "F.leaky_relu(input=)": (
        lambda x: F.leaky_relu(input=x, negative_slope=0.2),
        lambda x: F.leaky_relu(x, 0.2),
    ),
    "torch.clamp(x=)": (lambda x: torch.clamp(x=x, min=0.0), lambda x: x.clamp(0.0)),
    "torch.layer_norm(cudnn_enable=)": (
        lambda x: torch.layer_norm(x, (4, 4), cudnn_enable=False),
        lambda x: torch.layer_norm(x, (4, 4)),
    ),
    "torch.group_norm(cudnn_enabled=)": (
        lambda x: torch.group_norm(x, 2, cudnn_enabled=False),
        lambda x: torch.group_norm(x, 2),
    ),
}


@pytest.mark.parametrize("name", FORMS)
def test_an_argument_means_the_same_by_each_of_its_names(name):
    form, plain = FORMS[name]
    output, r, wanted = twin_relevance(Net(plain), X)
    again, _, found = twin_relevance(Net(form), X, r)
    close(again, output, 1e-12)
    close(found, wanted, 1e-12)


def test_what_a_user_registers_may_call_its_argument_as_it_likes():
    @lrp3d.register_operation(torch.special.bessel_j0)
    def bessel(signal):
        return lrp3d.operations.passes(torch.special.bessel_j0, signal)

    _, r, found = twin_relevance(Net(lambda x: torch.special.bessel_j0(input=x)), X)
    close(found, r)


def test_arguments_that_a_rule_does_not_take_are_refused_by_name():
    @lrp3d.register_operation(torch.special.bessel_j0)
    def bessel():
        raise AssertionError

    with pytest.raises(lrp3d.UnsupportedOperation, match=r"the forward \(special_bessel_j0\): its rule does not take"):
        twin_relevance(Net(torch.special.bessel_j0), X)


def test_a_rule_of_a_composite_meets_a_function_by_each_of_its_names():
    composite = lrp3d.Composite(operations={torch.mean: lrp3d.rules.Epsilon()})
    _, r, wanted = twin_relevance(Net(lambda x: x.mean(2)), X, None, composite)
    close(twin_relevance(Net(lambda x: x.mean(axis=2)), X, r, composite)[2], wanted)


LEFT_OUT = {
    "conv_transpose1d": (
        lambda x, w: F.conv_transpose1d(x, w),
        lambda x, w: F.conv_transpose1d(x, w, None, 1, 0, 0, 1, 1),
    ),
    "conv1d": (lambda x, w: F.conv1d(x, w), lambda x, w: F.conv1d(x, w, None, 1, 0, 1, 1)),
}


@pytest.mark.parametrize("name", LEFT_OUT)
def test_arguments_that_are_left_out_are_those_of_torch(name):
    short, whole = LEFT_OUT[name]
    signal, weight = clip(2, 4, 6), clip(4, 4, 3) + 0.25
    output, r, wanted = twin_relevance(Net(lambda x: whole(x, weight)), signal)
    again, _, found = twin_relevance(Net(lambda x: short(x, weight)), signal, r)
    close(again, output, 1e-12)
    close(found, wanted, 1e-12)
