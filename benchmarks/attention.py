"""The relevance of attention and what belongs to it, over the layer's forward pass and over its plain input gradient.

    python -m benchmarks.attention [--tokens 196 784] [--width 384] [--heads 6] [--seeds 1 8]

The columns are those of `benchmarks.layers`.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.layers import Case, measure
from benchmarks.timing import common


class FusedAttention(nn.Module):
    """Self-attention on (b, n, c), with queries, keys and values from one linear layer (ViT, VideoMAE)."""

    def __init__(self, width: int, heads: int, by_hand: bool = False):
        super().__init__()
        self.heads, self.by_hand = heads, by_hand
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(b, n, c)."""
        b, n, c = x.shape
        q, k, v = self.qkv(x).reshape(b, n, 3, self.heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
        if self.by_hand:
            y = (q @ k.mT * (c // self.heads) ** -0.5).softmax(-1) @ v
        else:
            y = F.scaled_dot_product_attention(q, k, v)
        out: Tensor = self.proj(y.transpose(1, 2).reshape(b, n, c))
        return out


class TorchAttention(nn.Module):
    """torch's own module."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        """(b, n, c)."""
        out: Tensor = self.attention(x, x, x, need_weights=False)[0]
        return out


class LinearAttention(nn.Module):
    """Attention without a map: kernel features and a divisor (EfficientViT)."""

    def __init__(self, width: int):
        super().__init__()
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(b, n, c)."""
        q, k, v = self.qkv(x).chunk(3, -1)
        q, k = F.relu(q), F.relu(k)
        out: Tensor = self.proj(q @ (k.mT @ v) / (q @ k.sum(1).unsqueeze(-1) + 1e-6))
        return out


class GatedUnit(nn.Module):
    """A product of two features, half to each."""

    def __init__(self, width: int):
        super().__init__()
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(2 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(b, n, c)."""
        gate, value = self.up(x).chunk(2, -1)
        out: Tensor = self.down(F.silu(gate) * value)
        return out


def cases(tokens: list[int], width: int, heads: int) -> list[Case]:
    """Every layer at every number of tokens."""
    layers = [
        FusedAttention(width, heads),
        FusedAttention(width, heads, by_hand=True),
        TorchAttention(width, heads),
        LinearAttention(width),
        GatedUnit(width),
        nn.Linear(width, width),
        nn.LayerNorm(width),
    ]
    return [Case(layer, [(1, n, width)], f"{n} tokens") for n in tokens for layer in layers]


def main(argv: list[str] | None = None) -> common.Results:
    """Measure and write the results."""
    parser = common.arguments(__doc__)
    parser.add_argument("--tokens", nargs="+", type=int, default=[196, 784])
    parser.add_argument("--width", type=int, default=384)
    parser.add_argument("--heads", type=int, default=6)
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 8])
    options = common.parse(parser, argv)
    device = common.start(options)
    at_least = 0.05
    if options.quick:
        options.tokens, options.width, options.heads, options.repeats, at_least = [8], 8, 2, 1, 0.0
    results = common.Results(
        "attention",
        "Relevance of attention",
        options,
        device,
        columns=[
            *("model", "layer", "input", "forward ms", "gradient ms", "recorded forward", "over forward"),
            *(f"{kind} {number}" for number in options.seeds for kind in ("relevance", "plain")),
        ],
        notes=["columns as in benchmarks.layers; what weighs is constant, so nothing flows into queries and keys"],
    )
    return results.collect(
        measure(case, options.seeds, options.repeats, device, at_least)
        for case in cases(options.tokens, options.width, options.heads)
    )


if __name__ == "__main__":
    main()
