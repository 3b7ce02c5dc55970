"""A small network, of which others are the same in other words, and what it means to be explained alike."""

import torch
from torch import nn

import lrp3d

CLIP = torch.randn(2, 3, 6, 8, 8, generator=torch.Generator().manual_seed(0))


class Net(nn.Module):
    """Two convolutions and a classifier; what comes of the first one is `change`d."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Conv3d(3, 4, 3, padding=1), nn.Conv3d(4, 4, 3, padding=1)
        self.relu, self.fc = nn.ReLU(), nn.Linear(4, 5)

    def change(self, x):
        return x

    def forward(self, x):
        x = self.change(self.relu(self.first(x)))
        return self.fc(self.relu(self.second(x)).mean((2, 3, 4)))


class Tripled(Net):
    def change(self, x):
        return x * 3.0


def same(model, reference, **options):
    """Both models are explained alike, and as what the model itself returns."""
    found, expected = (lrp3d.explain(x.eval(), CLIP, 1, **options) for x in (model, reference))
    with torch.no_grad():
        torch.testing.assert_close(found.logits, model(CLIP))
    torch.testing.assert_close(found.relevance, expected.relevance)
    if expected.matrix is not None:
        torch.testing.assert_close(found.matrix, expected.matrix)
