"""A small network whose tests return its logits in many ways, its clip, and when two explanations are the same."""

import torch
from torch import nn


CLIP = torch.rand(2, 3, 6, 8, 8, generator=torch.Generator().manual_seed(0))


class Net(nn.Module):
    """Classifies every frame; subclasses say what they return."""

    def __init__(self, classes=5, stride=1):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.fc = nn.Conv3d(3, 4, 3, padding=1, stride=(stride, 1, 1)), nn.Linear(4, classes)

    def frames(self, x):
        return self.fc(self.conv(x).relu().mean((3, 4)).transpose(1, 2))

    def forward(self, x):
        return self.give(self.frames(x).mean(1))

    def give(self, logits):
        return logits


def same(a, b):
    torch.testing.assert_close(a.relevance, b.relevance)
    torch.testing.assert_close(a.matrix, b.matrix)
    torch.testing.assert_close(a.frame_logits, b.frame_logits)
    torch.testing.assert_close(a.logits, b.logits)
    assert torch.equal(a.target, b.target)
