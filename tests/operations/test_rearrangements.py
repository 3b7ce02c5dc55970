"""What only moves values hands relevance to where they came from."""

import einops
import pytest
import reference
import torch
import torch.nn.functional as F
from forwards import SHARING, D, Net, X, close, relevance, twin_relevance
from torch import nn

VIEWS = {
    "chunk and swap": lambda x: torch.cat(x.chunk(2, 1)[::-1], 1),
    "split": lambda x: torch.cat([part * 2.0 for part in x.split([1, 3], 1)], 1),
    "torch.split": lambda x: torch.split(x, 2, 2)[1],
    "unbind and stack": lambda x: torch.stack(x.unbind(2), 2),
    "roll": lambda x: x.roll(1, 2),
    "torch.roll": lambda x: torch.roll(x, (1, -1), (2, 3)),
    "index_select": lambda x: x.index_select(2, torch.tensor([3, 0, 0])),
    "flip": lambda x: x.flip(2, 4),
    "strided": lambda x: x[:, :, ::2],
    "indexed": lambda x: x[:, [0, 2, 2]],
    "ellipsis and None": lambda x: x[..., None, -1],
    "narrow": lambda x: x.narrow(2, 1, 2),
    "select": lambda x: x.select(2, 1),
    "transpose": lambda x: x.transpose(1, 2).contiguous().view(x.shape[0], -1),
    "permute": lambda x: x.permute(0, 2, 3, 4, 1),
    "movedim": lambda x: x.movedim(1, -1),
    "swapaxes": lambda x: x.swapaxes(1, 2),
    "squeeze": lambda x: x.unsqueeze(1).squeeze(1).unsqueeze(-1),
    "expand": lambda x: x[:, :, :1].expand(-1, -1, 4, -1, -1),
    "repeat": lambda x: x.repeat(1, 1, 2, 1, 1),
    "repeat_interleave": lambda x: x.repeat_interleave(2, 2),
    "tile": lambda x: x.tile(2, 1, 1),
    "rearrange": lambda x: einops.rearrange(x, "b c (n t) h w -> (b n) c t h w", n=2),
    "einops repeat": lambda x: einops.repeat(x, "b c t h w -> b c (t r) h w", r=2),
    "clone": lambda x: x.clone().contiguous(),
    "unfold": lambda x: x.unfold(2, 2, 1),
    "rot90": lambda x: x.rot90(1, (3, 4)),
    "channel shuffle": lambda x: x.view(2, 2, 2, 4, 4, 4).transpose(1, 2).reshape(x.shape),
    "gather": lambda x: x.gather(2, torch.zeros(2, 4, 2, 4, 4, dtype=torch.long)),
    "take_along_dim": lambda x: torch.take_along_dim(x, torch.ones(1, 1, 2, 1, 1, dtype=torch.long), 2),
    "diagonal": lambda x: x.diagonal(0, 3, 4),
    "tensor_split": lambda x: x.tensor_split(3, 2)[0],
    "vsplit": lambda x: torch.hsplit(x, 2)[1],
    "atleast": lambda x: torch.atleast_3d(x),
    "reshape_as": lambda x: x.reshape_as(torch.empty(2, 16, 16)),
    "mT": lambda x: x.mT,
    "cast there and back": lambda x: x.to(torch.float32).double() * 1.0,
    "type_as": lambda x: x.type_as(torch.empty(1)).to(D),
    "where": lambda x: torch.where(torch.arange(4) < 2, x, x.flip(1)),
}


@pytest.mark.parametrize("name", VIEWS)
def test_rearrangements_hand_relevance_to_where_the_values_came_from(name):
    function = VIEWS[name]
    _, r, found = twin_relevance(Net(function), X)
    marks = torch.arange(1.0, X.numel() + 1, dtype=D).reshape(X.shape)
    came_from = function(marks).flatten().double().round().long()
    if name == "split":
        came_from = came_from // 2
    wanted = torch.zeros(X.numel() + 1, dtype=D).index_add_(0, came_from, r.flatten().double())[1:]
    close(found, wanted.reshape(X.shape), 1e-6 if name in ("cast there and back", "type_as") else 1e-12)


CONSTANT = torch.full((2, 4, 4, 4, 4), 2.0, dtype=D)
BESIDE = {
    "cat": lambda x: torch.cat([x, CONSTANT], 1),
    "cat before": lambda x: torch.cat([CONSTANT, x], 1),
    "pad": lambda x: F.pad(x, (0, 0, 0, 0, 0, 0, 0, 4), value=2.0),
    "setitem": lambda x: _write(CONSTANT.repeat(1, 2, 1, 1, 1), x),
    "where": lambda x: _chosen(torch.cat([x, CONSTANT], 1)),
}


def _chosen(x):
    """One of two signals at every place, both with the constants."""
    return torch.where(torch.arange(4) % 2 == 0, x, x * 1)


def _write(into, x):
    into[:, :4] = x
    return into


@pytest.mark.parametrize("name", BESIDE)
@pytest.mark.parametrize("positive", [True, False])
def test_relevance_never_lands_on_constants_beside_the_signal(name, positive):
    """The layer above sees the constants as what they are: no inputs."""
    torch.manual_seed(0)
    beside, signal = BESIDE[name], X if positive else X * 0
    model = Net(lambda self, x: self.above(beside(x)), above=nn.Conv3d(8, 2, 3, padding=1))
    _, r, found = twin_relevance(model, signal)
    close(found.sum(), r.sum())
    columns = slice(4, 8) if name == "cat before" else slice(0, 4)
    only = nn.Conv3d(4, 2, 3, padding=1, dtype=D)
    only.weight.data = model.above.weight.data[:, columns]
    close(found, reference.layer_relevance(only, signal, r, reference.zplus))


PADDED = [(1, 0), (2, 0), (1, 1)]


@pytest.mark.parametrize(("before", "inside"), PADDED)
@pytest.mark.parametrize("zero", [False, True])
@pytest.mark.parametrize("composite", [SHARING, "paper"], ids=["zplus", "paper"])
def test_padding_before_a_convolution_is_padding_in_it(before, inside, zero, composite):
    torch.manual_seed(0)
    conv = nn.Conv3d(4, 2, 3, padding=before + inside, dtype=D)
    outside = nn.Conv3d(4, 2, 3, padding=inside, dtype=D)
    outside.load_state_dict(conv.state_dict())
    x = X.clone()
    x[:, :, :, :2] *= not zero
    _, r, wanted = twin_relevance(conv, x, None, composite)
    padded = Net(lambda self, x: self.conv(F.pad(x, [before] * 6)), conv=outside)
    close(twin_relevance(padded, x, r, composite)[2], wanted)


def test_padding_before_pools_is_no_input():
    x = -torch.rand(1, 1, 4, dtype=D) - 1
    # zeros win everywhere at the border, and yet the relevance stays with the clip
    found = relevance(lambda x: F.max_pool1d(F.pad(x, (1, 1)), 3, 1), x, torch.ones(1, 1, 4, dtype=D))
    close(found.sum(), torch.tensor(4.0, dtype=D))
    found = relevance(lambda x: F.avg_pool1d(F.pad(x, (1, 1)), 3, 3), x, torch.ones(1, 1, 2, dtype=D))
    close(found, torch.full((1, 1, 4), 0.5, dtype=D))


BORDERS = {
    "unfold": lambda x: F.unfold(-x.abs(), 3, padding=1),
    "unfold with dilation": lambda x: F.unfold(-x.abs(), (2, 3), dilation=(2, 1), padding=(1, 2), stride=2),
    "product with a padded neighbour": lambda x: F.pad(x, (1, 1, 1, 1))[..., 2:, 1:-1] * x,
    "product with itself, padded": lambda x: F.pad(x, (0, 2)) * F.pad(x, (2, 0)),
    "windows of padding alone": lambda x: F.max_pool2d(F.pad(-x.abs() - 1, (2, 2)), 2).sum(3),
    "adaptive windows of padding alone": lambda x: F.adaptive_max_pool2d(F.pad(-x.abs() - 1, (2, 2)), 4).sum(3),
    "maximum over an axis": lambda x: F.pad(-x.abs() - 1, (1, 1)).amax(3),
    "log-sum-exp": lambda x: F.pad(x, (1, 1)).logsumexp(3),
    "norm": lambda x: F.pad((-x.abs()).relu(), (1, 1)).norm(dim=3),
}


@pytest.mark.parametrize("name", BORDERS)
def test_relevance_of_patches_and_of_products_stays_inside_the_picture(name):
    """Where all summands are negative or zero they share equally, but zeros of the border are no summands."""
    _, r, found = twin_relevance(Net(lambda x: BORDERS[name](x).sum(1)), X[:, :, 0])
    close(found.sum(), r.sum())


@pytest.mark.parametrize("sides", [(-1, 1), (2, -1), (-1, -2), (2, 3), (0, -1, -1, 2)])
@pytest.mark.parametrize("mode", ["circular", "replicate", "reflect"])
def test_padding_that_cuts_off_is_torchs(mode, sides):
    output, r, found = twin_relevance(Net(lambda x: F.pad(x.flatten(1, 2), (*sides, *[0] * (4 - len(sides))), mode)), X)
    x = X.detach().clone().requires_grad_()
    wanted = F.pad(x.flatten(1, 2), (*sides, *[0] * (4 - len(sides))), mode)
    assert torch.equal(output, wanted)
    close(found, torch.autograd.grad(wanted, x, r)[0])
