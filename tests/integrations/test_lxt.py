"""`attnlrp` is AttnLRP as its authors' package LXT computes it, on a small transformer that both run.

LXT adds epsilon to every denominator, lrp3d gives it the denominator's sign: with epsilon near zero they are equal.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import lrp3d
from lrp3d.rules import Epsilon


@dataclass
class Functions:
    """What the transformer is made of: torch's functions, or those of LXT, whose gradient is relevance."""

    linear: Callable[[Tensor, Tensor, Tensor], Tensor]
    matmul: Callable[[Tensor, Tensor], Tensor]
    softmax: Callable[[Tensor], Tensor]
    norm: Callable[[Tensor, Tensor], Tensor]
    add: Callable[[Tensor, Tensor], Tensor]
    multiply: Callable[[Tensor, Tensor], Tensor]
    silu: Callable[[Tensor], Tensor]
    mean: Callable[[Tensor], Tensor]


TORCH = Functions(
    linear=F.linear,
    matmul=torch.matmul,
    softmax=lambda x: torch.softmax(x, -1),
    norm=lambda x, weight: F.rms_norm(x, weight.shape, weight, 1e-6),
    add=torch.add,
    multiply=torch.mul,
    silu=F.silu,
    mean=lambda x: x.mean(1),
)


class Transformer(nn.Module):
    """A token for each frame (b, 3, t, h, w), RMS norms, attention with two heads, a gated unit, mean, classifier."""

    def __init__(self, functions: Functions, pixels: int, width: int = 8, classes: int = 4):
        super().__init__()
        self.functions, self.width = functions, width
        sizes = {"embed": (pixels, width), "qkv": (width, 3 * width), "out": (width, width)}
        sizes |= {"gate": (width, 2 * width), "up": (width, 2 * width), "down": (2 * width, width)}
        self.linears = nn.ModuleDict({name: nn.Linear(*size) for name, size in sizes.items()})
        self.head = nn.Linear(width, classes)
        self.norms = nn.ParameterDict({name: torch.rand(width) + 0.5 for name in ("attention", "unit", "last")})

    def _linear(self, name: str, x: Tensor) -> Tensor:
        layer = self.linears[name]
        return self.functions.linear(x, layer.weight, layer.bias)

    def forward(self, clip: Tensor) -> Tensor:
        """(b, k)."""
        f = self.functions
        x = self._linear("embed", clip.transpose(1, 2).flatten(2))  # (b, t, c)
        b, n, c = x.shape
        qkv = self._linear("qkv", f.norm(x, self.norms["attention"]))
        query, key, value = qkv.reshape(b, n, 3, 2, c // 2).permute(2, 0, 3, 1, 4).unbind(0)  # (b, heads, n, c/2)
        scores = f.multiply(f.matmul(query, key.transpose(-1, -2)), torch.full((), (c // 2) ** -0.5, dtype=x.dtype))
        attended = f.matmul(f.softmax(scores), value).transpose(1, 2).reshape(b, n, c)
        x = f.add(x, self._linear("out", attended))
        y = f.norm(x, self.norms["unit"])
        x = f.add(x, self._linear("down", f.multiply(f.silu(self._linear("gate", y)), self._linear("up", y))))
        x = f.mean(f.norm(x, self.norms["last"]))
        return f.linear(x, self.head.weight, self.head.bias)


def _functions_of_lxt(epsilon: float) -> Functions:
    lxt = pytest.importorskip("lxt.explicit.functional", reason="LXT is not installed: pip install lxt")
    rules = pytest.importorskip("lxt.explicit.rules", reason="LXT is not installed: pip install lxt")
    return Functions(
        linear=lambda x, weight, bias: lxt.linear_epsilon(x, weight, bias, epsilon),
        matmul=lambda x, y: lxt.matmul(x, y, False, epsilon),
        softmax=lambda x: lxt.softmax(x, -1),
        norm=lambda x, weight: lxt.rms_norm_identity(x, weight, 1e-6),
        add=lambda x, y: lxt.add2(x, y, False, epsilon),
        multiply=lxt.mul2,
        silu=lambda x: rules.identity(F.silu, x),
        mean=lambda x: lxt.mean(x, 1, False, epsilon),
    )


def _relevance_of_lxt(model: Transformer, clip: Tensor, target: int, epsilon: float) -> Tensor:
    peer = Transformer(_functions_of_lxt(epsilon), pixels=clip[0, :, 0].numel()).to(clip.dtype).eval()
    peer.load_state_dict(model.state_dict())
    followed = clip.clone().requires_grad_()
    logits = peer(followed)
    seeds = logits.detach() * F.one_hot(torch.tensor(target), logits.shape[1])
    return torch.autograd.grad(logits, followed, seeds)[0]


def _with_epsilon(composite: lrp3d.Composite, epsilon: float) -> lrp3d.Composite:
    """The composite with another epsilon in each of its epsilon rules."""
    layers, operations = (
        {key: Epsilon(epsilon) if isinstance(rule, Epsilon) else rule for key, rule in rules.items()}
        for rules in (composite.layers, composite.operations)
    )
    return lrp3d.Composite(layers, operations, products=composite.products)


@pytest.mark.parametrize("seed", range(3))
def test_attnlrp_is_what_its_authors_compute(seed: int) -> None:
    torch.manual_seed(seed)
    model = Transformer(TORCH, pixels=3 * 4 * 4).double().eval()
    clip = torch.randn(2, 3, 5, 4, 4, dtype=torch.float64)
    composite = _with_epsilon(lrp3d.composites.attnlrp, 1e-13)

    explanation = lrp3d.explain(model, clip, 1, composite=composite, contrastive=False, temporal=False)

    expected = _relevance_of_lxt(model, clip, 1, 1e-13)
    torch.testing.assert_close(
        explanation.relevance, expected, rtol=0, atol=1e-6 * float(expected.abs().max())
    )  # its norms are float32


@pytest.mark.parametrize("seed", range(3))
def test_the_preset_differs_from_its_authors_by_the_sign_of_epsilon_alone(seed: int) -> None:
    torch.manual_seed(seed)
    model = Transformer(TORCH, pixels=3 * 4 * 4).eval()
    clip = torch.randn(2, 3, 5, 4, 4)

    explanation = lrp3d.explain(model, clip, 1, composite="attnlrp", contrastive=False, temporal=False)

    expected = _relevance_of_lxt(model, clip, 1, 1e-6)
    torch.testing.assert_close(explanation.relevance, expected, rtol=0, atol=2e-3 * float(expected.abs().max()))
