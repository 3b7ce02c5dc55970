"""Small video networks with attention and recurrence, for clips whose answer is known."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

FRAMES, SIZE, PATCH = 8, 16, 4
CLASSES = 2


class Attention(nn.Module):
    """Attention over all tokens, written out so that rollout can read its probabilities."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads, self.qkv, self.out = heads, nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.probabilities: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        """(b, n, c) to (b, n, c)."""
        b, n, c = x.shape
        q, k, v = self.qkv(x).view(b, n, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        weights = (q @ k.mT / (c // self.heads) ** 0.5).softmax(-1)
        if not torch.is_grad_enabled():
            self.probabilities = weights
        out: Tensor = self.out((weights @ v).transpose(1, 2).reshape(b, n, c))
        return out


class Block(nn.Module):
    """Attention and two linear layers, each on a normalised copy and added."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        """(b, n, c) to (b, n, c)."""
        x = x + self.attention(self.norm1(x))
        out: Tensor = x + self.mlp(self.norm2(x))
        return out


class VideoTransformer(nn.Module):
    """Patches of each frame, two blocks of joint attention, and a classifier of the mean of the tokens, or of one more.

    Args:
        classes: how many.
        width: of a token.
        heads: of an attention.
        class_token: whether a token that is no patch is classified, so that no frame has a logit.
    """

    def __init__(self, classes: int, width: int = 32, heads: int = 4, class_token: bool = False):
        super().__init__()
        self.embed = nn.Conv3d(3, width, (1, PATCH, PATCH), (1, PATCH, PATCH))
        self.position = nn.Parameter(torch.randn(1, FRAMES * (SIZE // PATCH) ** 2, width) / 5)
        self.token = nn.Parameter(torch.randn(1, 1, width) / 5) if class_token else None
        self.blocks = nn.Sequential(Block(width, heads), Block(width, heads))
        self.norm, self.fc = nn.LayerNorm(width), nn.Linear(width, classes)

    def reset_parameters(self) -> None:
        """Draws the positions and the class token anew, as the parts do with theirs."""
        nn.init.normal_(self.position, std=0.2)
        if self.token is not None:
            nn.init.normal_(self.token, std=0.2)

    def forward(self, clip: Tensor) -> Tensor:
        """(b, 3, t, h, w) to logits (b, k)."""
        tokens = self.embed(clip).flatten(2).transpose(1, 2) + self.position
        if self.token is not None:
            tokens = torch.cat([self.token.expand(len(clip), -1, -1), tokens], 1)
        tokens = self.norm(self.blocks(tokens))
        logits: Tensor = self.fc(tokens.mean(1) if self.token is None else tokens[:, 0])
        return logits


class Recurrent(nn.Module):
    """Two convolutions on each frame, an LSTM over frames, and a classifier on every step, averaged."""

    def __init__(self, classes: int, width: int = 24):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 12, 3, padding=1), nn.Conv2d(12, 24, 3, padding=1)
        self.lstm, self.fc = nn.LSTM(24, width, batch_first=True), nn.Linear(width, classes)

    def forward(self, clip: Tensor) -> Tensor:
        """(b, 3, t, h, w) to logits (b, k)."""
        x = F.max_pool2d(F.relu(self.conv1(clip.transpose(1, 2).flatten(0, 1))), 2)
        x = F.relu(self.conv2(x)).amax((2, 3)).unflatten(0, (len(clip), -1))
        logits: Tensor = self.fc(self.lstm(x)[0]).mean(1)
        return logits


NETS: dict[str, Callable[[int], nn.Module]] = {
    "transformer": VideoTransformer,
    "CNN + LSTM": Recurrent,
    "transformer, class token": partial(VideoTransformer, class_token=True),
}
