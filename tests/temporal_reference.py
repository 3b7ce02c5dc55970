"""Small video nets whose frame logits are written out by hand, and relevance of frames the slow way.

The judge of the temporal relevance matrix: two passes (W_k and -W_k on copies of the model), one frame at a time,
one clip at a time, by autograd through `lrp3d.convert`. It knows nothing of seeds, chunks, replays or contrastive
rules.
"""

import copy

import torch
from torch import nn

import lrp3d


class Trunk(nn.Sequential):
    """Features (b, width, t / stride, h, w) of a clip: temporal kernels, batch norm, a residual sum."""

    def __init__(self, width=6, stride=1):
        super().__init__(
            nn.Conv3d(3, width, 3, stride=(stride, 1, 1), padding=1),
            nn.BatchNorm3d(width),
            nn.ReLU(),
            Residual(nn.Sequential(nn.Conv3d(width, width, (3, 1, 1), padding=(1, 0, 0)), nn.ReLU())),
        )


class Residual(nn.Module):
    def __init__(self, branch):
        super().__init__()
        self.branch = branch

    def forward(self, x):
        return x + self.branch(x)


class VideoNet(nn.Module):
    """A trunk and a classifier; `head` says how the clip's logits are made, `frame` what one frame's are."""

    def __init__(self, classes=4, stride=1, width=6):
        super().__init__()
        self.trunk = Trunk(width, stride)
        self.fc = nn.Linear(width, classes)
        self.build(width, classes)

    def build(self, width, classes):
        pass

    def forward(self, clip):
        return self.head(self.trunk(clip))

    def frame(self, clip, i):
        """Logits (b, k) of frame i alone."""
        return self.fc(self.trunk(clip)[:, :, i].mean((2, 3)))


# -------------------------------------------------------------- models that classify every frame and average


class LinearPerFrame(VideoNet):
    def head(self, x):
        return self.fc(x.mean((3, 4)).transpose(1, 2)).mean(1)


class LinearThenAdaptivePool(VideoNet):
    def head(self, x):
        return nn.functional.adaptive_avg_pool1d(self.fc(x.mean((3, 4)).transpose(1, 2)).transpose(1, 2), 1).flatten(1)


class LinearThenAvgPool(VideoNet):
    def head(self, x):
        logits = self.fc(x.mean((3, 4)).transpose(1, 2)).transpose(1, 2)
        return nn.functional.avg_pool1d(logits, logits.shape[2]).squeeze(2)


class ConvClassifier(VideoNet):
    """Classifies every voxel, then averages over time and space."""

    def build(self, width, classes):
        self.fc = nn.Conv3d(width, classes, 1)

    def head(self, x):
        return self.fc(x).mean((2, 3, 4))

    def frame(self, clip, i):
        return self.fc(self.trunk(clip)[:, :, i : i + 1]).mean((2, 3, 4))


class ConvThenAvgPool(ConvClassifier):
    def head(self, x):
        return nn.functional.avg_pool3d(self.fc(x), x.shape[2:]).flatten(1)


class Folded(VideoNet):
    """A 2D net over frames that lie in the batch, with a temporal convolution (TAM) between its layers."""

    def build(self, width, classes):
        self.stem = nn.Conv2d(3, width, 3, padding=1)
        self.mix = nn.Conv1d(width, width, 3, padding=1, groups=width, bias=False)
        self.trunk = nn.Identity()

    def features(self, clip):
        b, _, t, h, w = clip.shape
        x = torch.relu(self.stem(clip.transpose(1, 2).reshape(b * t, 3, h, w)))
        x = x.view(b, t, -1, h * w).permute(0, 3, 2, 1).reshape(b * h * w, -1, t)
        x = torch.relu(self.mix(x)).view(b, h, w, -1, t).permute(0, 4, 3, 1, 2)
        return x.reshape(b * t, -1, h, w)

    def forward(self, clip):
        b, _, t, _, _ = clip.shape
        return self.consensus(self.fc(nn.functional.adaptive_avg_pool2d(self.features(clip), 1).flatten(1)), b, t)

    def consensus(self, logits, b, t):
        return logits.view(b, t, -1).mean(1)

    def frame(self, clip, i):
        t = clip.shape[2]
        return self.fc(self.features(clip)[i::t].mean((2, 3)))


class FoldedConsensus(Folded):
    """The segment consensus of TSN."""

    def consensus(self, logits, b, t):
        return logits.view((-1, t, *logits.shape[1:])).mean(dim=1, keepdim=True).squeeze(1)


class SomeFrames(VideoNet):
    """Classifies every frame and answers from two of them (paper, Fig. 10)."""

    def head(self, x):
        return self.fc(x.mean((3, 4)).transpose(1, 2))[:, 2::4].mean(1)

    def frame(self, clip, i):
        return super().frame(clip, 2 + 4 * i)


class SomeFeatures(SomeFrames):
    """The same, but classifies only the frames it answers from."""

    def head(self, x):
        return self.fc(x.mean((3, 4))[:, :, 2::4].transpose(1, 2)).mean(1)


class PairsOfFrames(VideoNet):
    """Classifies the mean of every two frames."""

    def head(self, x):
        return self.fc(x.mean((3, 4)).unflatten(2, (-1, 2)).mean(3).transpose(1, 2)).mean(1)

    def frame(self, clip, i):
        return self.fc(self.trunk(clip)[:, :, 2 * i : 2 * i + 2].mean((2, 3, 4)))


# -------------------------------------------------------------------------- models that pool over time first


class AdaptivePool(VideoNet):
    def head(self, x):
        return self.fc(nn.functional.adaptive_avg_pool3d(x, 1).flatten(1))


class AvgPool(VideoNet):
    def head(self, x):
        return self.fc(nn.functional.avg_pool3d(x, x.shape[2:]).flatten(1))


class MeanOverAll(VideoNet):
    def head(self, x):
        return self.fc(x.mean((2, 3, 4)))


class SpaceThenTime(VideoNet):
    def head(self, x):
        return self.fc(x.mean((3, 4)).mean(2))


class TimeThenSpace(VideoNet):
    def head(self, x):
        return self.fc(x.mean(2).mean((2, 3)))


class OneAxisAtATime(VideoNet):
    def head(self, x):
        return self.fc(x.mean(2).mean(3).mean(2))


class TimeThenFlatSpace(VideoNet):
    def head(self, x):
        return self.fc(x.mean(2).flatten(2).mean(2))


class Dropped(VideoNet):
    def build(self, width, classes):
        self.dropout = nn.Dropout(0.5)

    def head(self, x):
        return self.fc(self.dropout(nn.functional.adaptive_avg_pool3d(x, 1)).flatten(1))


class Projection(VideoNet):
    """A linear projection of every voxel, then the pool, then the classifier."""

    def build(self, width, classes):
        self.projection = nn.Conv3d(width, 5, 1)
        self.fc = nn.Linear(5, classes)

    def head(self, x):
        return self.fc(nn.functional.adaptive_avg_pool3d(self.projection(x), 1).flatten(1))

    def frame(self, clip, i):
        return self.fc(self.projection(self.trunk(clip))[:, :, i].mean((2, 3)))


class FoldedPool(Folded):
    """A 2D net whose features, not its logits, are averaged over frames."""

    def forward(self, clip):
        b, _, t, _, _ = clip.shape
        return self.fc(nn.functional.adaptive_avg_pool2d(self.features(clip), 1).view(b, t, -1).mean(1))


class TwoPathways(nn.Module):
    """SlowFast in small: [slow, fast] of different rate, a lateral connection, one classifier over both."""

    def __init__(self, classes=4):
        super().__init__()
        self.slow, self.fast = nn.Conv3d(3, 5, (1, 3, 3), padding=(0, 1, 1)), Trunk(4)
        self.lateral = nn.Conv3d(4, 3, (5, 1, 1), stride=(4, 1, 1), padding=(2, 0, 0))
        self.mix = nn.Conv3d(8, 6, (3, 1, 1), padding=(1, 0, 0))
        self.fc = nn.Linear(10, classes)

    def features(self, clip):
        slow, fast = clip
        fast = self.fast(fast)
        return torch.relu(self.mix(torch.cat([torch.relu(self.slow(slow)), torch.relu(self.lateral(fast))], 1))), fast

    def forward(self, clip):
        return self.fc(torch.cat([x.mean((2, 3, 4)) for x in self.features(clip)], 1))

    merge = "paper"

    def frame(self, clip, i):
        """Frame i of the fast clock: slow logits stand at the slow frames, zero elsewhere (paper, App. A)."""
        slow, fast = (x.mean((3, 4)) for x in self.features(clip))
        n, m = fast.shape[2], slow.shape[2]
        on_clock = [int(j * (n - 1) / (m - 1)) for j in range(m)]
        scale = 1 if self.merge == "paper" else n / m
        beside = slow[:, :, on_clock.index(i)] * scale if i in on_clock else torch.zeros_like(slow[:, :, 0])
        return self.fc(torch.cat([beside, fast[:, :, i]], 1))


CLASSIFIED = (
    LinearPerFrame,
    LinearThenAdaptivePool,
    LinearThenAvgPool,
    ConvClassifier,
    ConvThenAvgPool,
    Folded,
    FoldedConsensus,
)
POOLED = (
    AdaptivePool,
    AvgPool,
    MeanOverAll,
    SpaceThenTime,
    TimeThenSpace,
    OneAxisAtATime,
    TimeThenFlatSpace,
    Dropped,
    Projection,
    FoldedPool,
)


def make(net, seed=0, **options):
    """A net in float64 whose batch norms do something."""
    torch.manual_seed(seed)
    model = net(**options).double().eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm3d):
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
            nn.init.uniform_(module.weight, -1.0, 2.0)
    return model


def clips(b=2, t=8, size=4, seed=1):
    torch.manual_seed(seed)
    return torch.randn(b, 3, t, size, size, dtype=torch.float64)


# --------------------------------------------------------------------------------------------- the reference


class OneFrame(nn.Module):
    """A model that answers with frame i's logits only, classifier weights times `sign`."""

    def __init__(self, model, i, sign):
        super().__init__()
        self.model, self.i = copy.deepcopy(model), i
        for parameter in self.model.fc.parameters():
            parameter.data.mul_(sign)

    def forward(self, clip):
        return self.model.frame(clip, self.i)


def frame_logits(model, clip, target, rows):
    """(b, n), by the formula of each net."""
    with torch.no_grad():
        logits = torch.stack([model.frame(clip, i) for i in range(rows)], 1)
    return torch.stack([logits[b, :, k] for b, k in enumerate(target)])


def relevance(model, clip, target, i, contrastive):
    """Relevance of one clip (of one, or of a list of pathways) for frame i's logit, signed: R - Rbar or R."""
    pathways = clip if isinstance(clip, list) else [clip]
    total = [torch.zeros_like(x) for x in pathways]
    for sign in (1, -1) if contrastive else (1,):
        leaves = [x.clone().requires_grad_() for x in pathways]
        logits = lrp3d.convert(OneFrame(model, i, sign))(leaves if isinstance(clip, list) else leaves[0])
        seed = torch.zeros_like(logits)
        seed[0, target] = logits[0, target].abs().detach() if contrastive else logits[0, target].detach()
        parts = torch.autograd.grad(logits, leaves, seed, allow_unused=True)  # fast frames without a slow one
        total = [t if part is None else t + sign * part for t, part in zip(total, parts, strict=True)]
    return total


def matrix(model, clip, target, rows, contrastive, shared=False):
    """The temporal relevance matrix (b, rows, t) on the clock of the fastest pathway, before any blocks.

    `shared`: a slow frame is the fast one at its place, so that both uses of a pixel count together.
    """
    pathways = clip if isinstance(clip, list) else [clip]
    clock = max(x.shape[2] for x in pathways)
    logits = frame_logits(model, clip, target, rows)
    found = torch.zeros(len(logits), rows, clock, dtype=torch.float64)
    for b in range(len(logits)):
        one = [x[b : b + 1] for x in pathways]
        one = one if isinstance(clip, list) else one[0]
        for i in range(rows):
            pixels = [{} for _ in range(clock)]  # of every frame of the fast clock: relevance by what is seen
            for number, signed in enumerate(relevance(model, one, target[b], i, contrastive)):
                shown = one[number] if isinstance(one, list) else one
                for j in range(shown.shape[2]):
                    at = j if shown.shape[2] == clock else int(j * (clock - 1) / (shown.shape[2] - 1))
                    same = torch.equal(shown[:, :, j], pathways[-1][b : b + 1, :, at])  # the fast one comes last
                    key = "shared" if same and shared else number
                    pixels[at][key] = pixels[at].get(key, 0) + signed[:, :, j]
            for at, seen in enumerate(pixels):
                found[b, i, at] = sum((r.clamp(min=0) if contrastive else r).sum() for r in seen.values())
            if contrastive:
                found[b, i] *= logits[b, i] / found[b, i].sum()
    return found


def check_rows(net, contrastive, frames=6):
    """Holds frame logits and matrix of a net against the formula of each frame."""
    model, clip, target = make(net), clips(2, frames, 3), [1, 3]
    found = lrp3d.explain(model, clip, target, contrastive=contrastive)
    close = {"rtol": 1e-9, "atol": 1e-12}
    torch.testing.assert_close(found.frame_logits, frame_logits(model, clip, target, frames), **close)
    torch.testing.assert_close(found.frame_logits.mean(1), model(clip).detach()[range(2), target], **close)
    torch.testing.assert_close(found.matrix, matrix(model, clip, target, frames, contrastive), **close)
