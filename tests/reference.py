"""Slow, plain oracles: every rule written out over a dense Jacobian, every pool over its listed windows.

Nothing here knows lrp3d's own code; what agrees with both is believed.
"""

import copy
import itertools
import math

import torch
import torch.nn.functional as F
from torch import nn

# -------------------------------------------------------------------------------- dense Jacobians


def jacobian(function, shape):
    """W (outputs, inputs) of a linear function of one example, by pushing every basis vector through it."""
    size = math.prod(shape)
    basis = torch.eye(size, dtype=torch.float64).reshape(size, *shape)
    return function(basis).detach().flatten(1).T


def without_bias(layer):
    """The same layer, linear instead of affine."""
    plain = copy.deepcopy(layer)
    plain.bias = None
    return plain


def with_ones(layer):
    """The same layer with all weights one and no bias: its Jacobian says which inputs a neuron sees."""
    plain = without_bias(layer)
    plain.weight = nn.Parameter(torch.ones_like(layer.weight))
    return plain


def bias_per_output(layer, output_shape):
    """The bias of every output of one example, flat."""
    if layer.bias is None:
        return torch.zeros(math.prod(output_shape), dtype=torch.float64)
    bias = layer.bias.detach()
    if isinstance(layer, nn.Linear):
        return bias.expand(output_shape).flatten()
    return bias.reshape(-1, *[1] * (len(output_shape) - 1)).expand(output_shape).flatten()


def divide(contributions, relevance, seen, bias=0.0, epsilon=0.0):
    """In proportion to contributions (outputs, inputs); equally among the seen inputs where they sum to 0."""
    z = contributions.sum(1) + bias
    empty = z == 0
    stable = torch.where(empty, 1.0, z + epsilon * (1 - 2 * (z < 0).to(z)))
    equally = seen / seen.sum(1, keepdim=True).clamp(min=1e-300)
    part = torch.where(empty[:, None], equally, contributions / stable[:, None])
    return relevance @ part


def zplus(w, a, r, seen, bias):
    return divide(w.clamp(min=0) * a.clamp(min=0) + w.clamp(max=0) * a.clamp(max=0), r, seen)


def zbeta(low, high):
    def rule(w, a, r, seen, bias):
        return divide(w * a - w.clamp(min=0) * low - w.clamp(max=0) * high, r, seen)

    return rule


def epsilon(size):
    def rule(w, a, r, seen, bias):
        return divide(w * a, r, seen, bias, size)

    return rule


def gamma(size):
    def rule(w, a, r, seen, bias):
        return divide((w + size * w.clamp(min=0)) * a, r, seen, bias + size * bias.clamp(min=0))

    return rule


def alpha_beta(alpha, beta):
    def rule(w, a, r, seen, bias):
        contributions = w * a
        positive = divide(contributions.clamp(min=0), r, seen)
        return alpha * positive - (beta * divide(contributions.clamp(max=0), r, seen) if beta else 0)

    return rule


def wsquare(w, a, r, seen, bias):
    return divide(w**2, r, seen)


def flat(w, a, r, seen, bias):
    return divide(seen, r, seen)


def same_sign(w, a, r, seen, bias):
    contributions = w * a
    negative = contributions.sum(1, keepdim=True) < 0
    return divide(torch.where(negative, contributions.clamp(max=0), contributions.clamp(min=0)), r, seen)


def identity(w, a, r, seen, bias):
    return r


def contrastive(rule):
    def difference(w, a, r, seen, bias):
        return rule(w, a, r, seen, bias) - rule(-w, a, r, seen, bias)

    return difference


def padded(layer, x):
    """A convolution whose padding copies values, without that padding, and the padding."""
    if getattr(layer, "padding_mode", "zeros") == "zeros":
        return layer, lambda x: x
    sides = layer._reversed_padding_repeated_twice
    bare = copy.deepcopy(layer)
    bare.padding_mode, bare.padding = "zeros", (0,) * (layer.weight.dim() - 2)
    return bare, lambda x: F.pad(x, sides, mode=layer.padding_mode)


def layer_relevance(layer, x, r, rule):
    """Relevance of x (b, ...) when the output has relevance r (b, ...), by the dense form of `rule`."""
    bare, pad = padded(layer, x)
    shape = pad(x.new_zeros(1, *x.shape[1:])).shape[1:]
    w, seen = jacobian(without_bias(bare), shape), jacobian(with_ones(bare), shape)
    copies = jacobian(pad, x.shape[1:])
    bias = bias_per_output(bare, r.shape[1:])
    maps = [rule(w, copies @ a.flatten(), above.flatten(), seen, bias) @ copies for a, above in zip(x, r, strict=True)]
    return torch.stack(maps).reshape(x.shape) if maps else torch.zeros_like(x)


def reached(layer, x, r):
    """The sum of the relevance of those outputs that see an input at all, and not only padding."""
    bare, pad = padded(layer, x)
    seen = jacobian(with_ones(bare), pad(x.new_zeros(1, *x.shape[1:])).shape[1:])
    return (r.flatten(1) * (seen.sum(1) > 0)).sum() if len(r) else r.sum()


def average_relevance(function, x, r):
    """z+ over any function that averages; an average over nothing but zeros hands out its own weights."""
    w = jacobian(function, x.shape[1:])
    maps = [zplus(w, a.flatten(), above.flatten(), w, None) for a, above in zip(x, r, strict=True)]
    return torch.stack(maps).reshape(x.shape)


def sum_relevance(summands, r, by_sign=False):
    """Every summand gets the share of its positive part, or of the part with the sum's sign; else equal shares."""
    whole = [s.expand(r.shape) for s in summands]
    sign = torch.where(sum(whole) < 0, -1.0, 1.0) if by_sign else 1.0
    parts = [(s * sign).clamp(min=0) for s in whole]
    total = sum(parts)
    empty = total == 0
    shares = [torch.where(empty, 1 / len(parts), p / torch.where(empty, 1.0, total)) * r for p in parts]
    return [share.sum_to_size(s.shape) for share, s in zip(shares, summands, strict=True)]


# -------------------------------------------------------------------------------- max pools


def plain_windows(size, outputs, kernel, stride, padding, dilation):
    """The positions every output of one axis looks at, those of the padding left out."""
    looked = [[i * stride - padding + k * dilation for k in range(kernel)] for i in range(outputs)]
    return [[p for p in window if 0 <= p < size] for window in looked]


def adaptive_windows(size, outputs):
    """Torch's adaptive windows: floor(i I/O) to ceil((i+1) I/O)."""
    return [list(range(i * size // outputs, math.ceil((i + 1) * size / outputs))) for i in range(outputs)]


def max_relevance(x, r, windows):
    """Every window's relevance to its maximum, ties equally; `windows` per trailing axis."""
    found = torch.zeros_like(x)
    for at in itertools.product(*(range(len(axis)) for axis in windows)):
        positions = list(itertools.product(*(axis[i] for axis, i in zip(windows, at, strict=True))))
        values = torch.stack([x[(..., *p)] for p in positions])
        winners = (values == values.max(0).values).to(x.dtype)
        for position, winner in zip(positions, winners / winners.sum(0), strict=True):
            found[(..., *position)] += winner * r[(..., *at)]
    return found
