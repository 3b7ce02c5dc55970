"""Maxima and choices hand relevance to what won."""

import einops
import pytest
import reference
import torch
import torch.nn.functional as F
from forwards import D, Net, X, close, relevance, twin_relevance
from torch import nn

import lrp3d

MAXIMA = {
    "amax": (lambda x: x.amax((3, 4)), [4, 4]),
    "amax keepdim": (lambda x: torch.amax(x, (3, 4), keepdim=True), [4, 4]),
    "max over an axis": (lambda x: x.max(4)[0].max(3)[0], None),
    "torch.max values": (lambda x: torch.max(x, dim=4).values, None),
    "max keepdim": (lambda x: torch.max(x, 4, keepdim=True)[0], None),
    "adaptive": (lambda x: F.adaptive_max_pool3d(x, (4, 1, 1)), [4, 4]),
    "reduce": (lambda x: einops.reduce(x, "b c t h w -> b c t", "max"), [4, 4]),
}


@pytest.mark.parametrize("name", MAXIMA)
def test_maxima_over_axes_share_among_ties(name):
    function, over = MAXIMA[name]
    _, r, found = twin_relevance(Net(function), X)
    if over:
        windows = [[[i] for i in range(4)], [list(range(4))], [list(range(4))]]
        close(found, reference.max_relevance(X, r.reshape(2, 4, 4, 1, 1), windows))
    else:
        close(found.sum(), r.sum())
        assert bool((found[X.amax(4, keepdim=True) > X] == 0).all())


def test_the_maximum_of_everything():
    x = torch.tensor([[1.0, 5, 5, 2]], dtype=D)
    close(relevance(lambda x: x.max(), x, torch.tensor(4.0, dtype=D)), x.new_tensor([[0.0, 2, 2, 0]]))


def test_where_the_clip_decides_a_choice_of_the_signal_or_a_constant_is_an_activation():
    def in_steps(x):
        mask = torch.zeros_like(x, dtype=torch.bool)
        mask |= ~(x > 0)
        return x.masked_fill(mask.view(x.shape), 0.0)

    for function in (
        lambda x: torch.where(x > 0, x, 0.0),
        lambda x: torch.where(x > 0, x, torch.zeros_like(x)),
        lambda x: x.where(x > 0, torch.zeros((), dtype=D)),
        lambda x: x.masked_fill(x <= 0, 0.0),
        lambda x: torch.masked_fill(x, ~(x > 0), -1.0),
        lambda x: x.clone().masked_fill_(~(x > 0), 0.0),
        in_steps,
    ):
        _, r, found = twin_relevance(Net(function), X)
        close(found, r)


def test_a_mask_of_the_models_own_that_the_clip_changes_is_decided_by_the_clip():
    class Remembers(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("mask", torch.zeros(X.shape, dtype=torch.bool))

        def forward(self, x):
            self.mask |= x <= 0
            return x.masked_fill(self.mask, 0.0)

    model = Remembers()
    lrp3d.convert(model)(X)
    assert not model.mask.any()
    _, r, found = twin_relevance(model, X)
    close(found, r)


def test_constants_that_the_model_chooses_by_itself_get_nothing():
    mask = torch.rand(X.shape, generator=torch.Generator().manual_seed(0)) < 0.5
    token = nn.Parameter(torch.tensor(5.0, dtype=D))

    def written(x):
        x = x.clone()
        x[mask] = 5.0
        return x

    for function in (
        written,
        lambda x: torch.where(mask, 5.0, x),
        lambda x: torch.where(mask, token, x),
        lambda x: x.where(~mask, token),
        lambda x: x.where(condition=~mask, other=token),
        lambda x: torch.full_like(x, 5.0).where(mask, x),
        lambda x: x.masked_fill(mask, 5.0),
        lambda x: x.clone().masked_fill_(mask, 5.0),
    ):
        _, r, found = twin_relevance(Net(function), X)
        close(found, r * ~mask)


@pytest.mark.parametrize("first", [True, False], ids=["of the clip", "of features"])
def test_masks_of_every_spelling_have_the_relevance_of_a_write(first):
    mask = torch.arange(4) >= 2
    torch.manual_seed(0)
    layers = {"low": nn.Conv3d(2, 3, 3, padding=1), "high": nn.Conv3d(3, 2, 3, padding=1), "classify": nn.Linear(2, 3)}
    clip = torch.rand(1, 2, 3, 4, 4, dtype=D, generator=torch.Generator().manual_seed(1))

    def relevance_of(masked):
        def forward(net, x):
            x = net.low(masked(x)).relu() if first else masked(net.low(x).relu())
            return net.classify(net.high(x).relu().mean((2, 3, 4)))

        return lrp3d.explain(Net(forward, **layers), clip, 0, contrastive=False).relevance

    def written(x):
        x = x.clone()
        x[..., mask] = 5.0
        return x

    wanted = relevance_of(written)
    assert wanted.abs().sum() > 0
    assert not wanted[..., 3].any()
    close(relevance_of(lambda x: torch.where(mask, 5.0, x)), wanted)
    close(relevance_of(lambda x: x.masked_fill(mask, 5.0)), wanted)


def test_what_is_multiplied_by_zero_gets_nothing_as_what_is_replaced_by_zero():
    """Where nothing contributes, relevance is shared among inputs, and constants are none."""
    keep = torch.arange(6) < 4
    clip = torch.randn(1, 3, 6, 8, 8, dtype=D, generator=torch.Generator().manual_seed(1))
    torch.manual_seed(0)
    layers = {"low": nn.Conv2d(3, 6, 3), "high": nn.Conv1d(6, 6, 3, padding=1, bias=False), "fc": nn.Linear(6, 4)}
    nn.init.normal_(layers["high"].weight)

    def relevance_of(masked):
        def forward(net, x):
            frames = net.low(x.transpose(1, 2).flatten(0, 1)).relu().mean((2, 3)).unflatten(0, (len(x), -1))
            return net.fc(net.high(masked(frames).mT).relu().mT).mean(1)

        return lrp3d.explain(Net(forward, **layers), clip, 0, contrastive=False).frame_relevance[0]

    wanted = relevance_of(lambda x: torch.cat([x[:, :4], x.new_zeros(1, 2, 6)], 1))
    assert not wanted[4:].any()
    close(relevance_of(lambda x: x.masked_fill(~keep[:, None], 0.0)), wanted)
    close(relevance_of(lambda x: torch.where(keep[:, None], x, 0.0)), wanted)
    close(relevance_of(lambda x: x * keep[:, None]), wanted)
    close(relevance_of(lambda x: keep[:, None].to(x) * x), wanted)


def test_a_mask_that_the_clip_decides_is_a_gate():
    _, r, found = twin_relevance(Net(lambda x: x * (x > 0)), X)
    close(found, r)


def test_a_choice_between_two_signals_gives_each_what_it_gave():
    mask = torch.arange(4) % 2 == 0
    _, r, found = twin_relevance(Net(lambda x: torch.where(mask, x[:, :2], x[:, 2:])), X)
    close(found, torch.cat([r * mask, r * ~mask], 1))
