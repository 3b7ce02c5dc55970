"""Small networks that mix frames by shifts, differences, attention and recurrence, as their papers' code does."""

import torch
from attention_nets import Convolutional, NonLocal, TorchTransformer, VideoSwin, VideoViT
from torch import nn

import lrp3d

FRAMES = 8


class OfFrames(nn.Module):
    """Features of each frame, something over the frames (b, t, c), a classifier of each frame, their mean."""

    def __init__(self, width=4, out=None):
        super().__init__()
        self.stem, self.fc = nn.Conv3d(3, width, (1, 3, 3)), nn.Linear(out or width, 3)

    def over_frames(self, x):
        return x

    def forward(self, clip):
        x = torch.relu(self.stem(clip)).mean((3, 4)).transpose(1, 2)
        return self.fc(self.over_frames(x)).mean(1)


class Recurrent(OfFrames):
    def __init__(self, kind=nn.LSTM, **options):
        super().__init__(out=5 * (1 + options.get("bidirectional", False)))
        self.layer = kind(4, 5, batch_first=True, **options)

    def over_frames(self, x):
        return self.layer(x)[0]


class ShiftedImages(nn.Module):
    """TSM as its authors' code has it: images (b t, c, h, w), a shift written into zeros, then a convolution."""

    def __init__(self, fold=2):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.fc, self.fold = nn.Linear(8, 3), fold

    def shift(self, x):
        x = x.view(-1, FRAMES, *x.shape[1:])
        out = torch.zeros_like(x)
        out[:, :-1, : self.fold] = x[:, 1:, : self.fold]
        out[:, 1:, self.fold : 2 * self.fold] = x[:, :-1, self.fold : 2 * self.fold]
        out[:, :, 2 * self.fold :] = x[:, :, 2 * self.fold :]
        return out.flatten(0, 1)

    def forward(self, clip):
        x = nn.functional.max_pool2d(torch.relu(self.first(clip.transpose(1, 2).flatten(0, 1))), 2)
        x = x + torch.relu(self.second(self.shift(x)))
        return self.fc(x.mean((2, 3))).view(len(clip), FRAMES, -1).mean(1)


class Differences(nn.Module):
    """Every frame minus the one before it."""

    def __init__(self):
        super().__init__()
        self.stem, self.fc = nn.Conv3d(3, 4, (1, 3, 3)), nn.Linear(4, 3)

    def forward(self, clip):
        x = torch.relu(self.stem(clip))
        x = torch.relu(x[:, :, 1:] - x[:, :, :-1])
        return self.fc(x.mean((3, 4)).transpose(1, 2)).mean(1)


class Divided(nn.Module):
    """Attention over time at every place, then over the places of every frame (TimeSformer)."""

    def __init__(self, einsum=False):
        super().__init__()
        self.embed, self.einsum = nn.Conv3d(3, 8, (1, 4, 4), (1, 4, 4)), einsum
        self.time, self.space, self.fc = nn.Linear(8, 24), nn.Linear(8, 24), nn.Linear(8, 3)

    def attend(self, x, layer):
        q, k, v = layer(x).chunk(3, -1)
        probabilities = (q @ k.transpose(-1, -2)).softmax(-1)
        return torch.einsum("bqk,bkd->bqd", probabilities, v) if self.einsum else probabilities @ v

    def forward(self, clip):
        x = self.embed(clip)
        b, c, t, h, w = x.shape
        x = x.permute(0, 3, 4, 2, 1).reshape(b * h * w, t, c)
        x = x + self.attend(x, self.time)
        x = x.view(b, h * w, t, c).transpose(1, 2).reshape(b * t, h * w, c)
        x = x + self.attend(x, self.space)
        return self.fc(x.view(b, t, h * w, c).mean(2)).mean(1)


NETS = {
    "TSM": lambda: lrp3d.models.tsm_resnet(18, 3, frames=FRAMES, width=8),
    "TSM, shortcut shifted as well": lambda: lrp3d.models.tsm_resnet(18, 3, frames=FRAMES, width=8, shift="block"),
    "TSM, images": ShiftedImages,
    "differences": Differences,
    "divided attention": Divided,
    "divided attention, einsum": lambda: Divided(einsum=True),
    "joint attention": lambda: VideoViT(frames=FRAMES),
    "encoder of frames": TorchTransformer,
    "shifted windows": VideoSwin,
    "non-local": lambda: Convolutional(NonLocal(8, "embedded")),
    "LSTM": Recurrent,
    "GRU, two layers and directions": lambda: Recurrent(nn.GRU, num_layers=2, bidirectional=True),
    "RNN": lambda: Recurrent(nn.RNN, nonlinearity="relu"),
}


def net(name, seed=0):
    torch.manual_seed(seed)
    return NETS[name]().double().eval()
