"""What tests of `check` share: clips, and a network that adds up its frames."""

import torch
from torch import nn


CLIPS = torch.rand(3, 3, 4, 5, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


class Additive(nn.Module):
    """Classifies every frame by its brightness: relevance, gradient x input and interventions say the same."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(3, 2, bias=False)
        with torch.no_grad():
            self.fc.weight.copy_(torch.tensor([[1.0, 1.0, 1.0], [0.0, 0.0, 0.0]]))

    def frame_logits(self, x):
        return self.fc(x.mean((3, 4)).transpose(1, 2))

    def forward(self, x):
        return self.frame_logits(x).mean(1)


def frame_clips(m=4, t=5):
    return torch.rand(m, 3, t, 1, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(2)).expand(
        -1, -1, -1, 2, 2
    )
