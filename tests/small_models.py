"""Small networks and a clip for them, for the tests of what happens to a user's model."""

import torch
from torch import nn


def small(seed=0):
    torch.manual_seed(seed)
    features = (nn.Conv3d(3, 4, 3, padding=1), nn.BatchNorm3d(4), nn.ReLU(inplace=True), nn.MaxPool3d((1, 2, 2)))
    model = nn.Sequential(*features, nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Dropout(), nn.Linear(4, 5))
    model[1].running_mean.normal_()
    model[1].running_var.uniform_(0.5, 2)
    return model.eval()


CLIP = torch.randn(2, 3, 4, 6, 6, generator=torch.Generator().manual_seed(0))


class Parts(nn.Module):
    """A network with a child, a grandchild and a function, each of which can be compiled or exchanged."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.fc = nn.Conv3d(3, 4, 3, padding=1), nn.Linear(4, 5)
        self.deep = nn.ModuleList([nn.Sequential(nn.Conv3d(4, 4, 1), nn.ReLU())])
        self.function = torch.relu

    def forward(self, x):
        x = self.function(self.deep[0](self.conv(x)))
        return self.fc(x.mean((3, 4)).transpose(1, 2)).mean(1)
