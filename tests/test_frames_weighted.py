"""Frame logits where another signal weighs the frames: attention that pools over time, whatever it is written with."""

import pytest
import torch
import torch.nn.functional as F
from temporal_reference import VideoNet, check_rows, clips, make
from torch import nn

import lrp3d


class Weighted(VideoNet):
    """Every frame has a weight. `frame` writes out what one frame would say if it were all frames."""

    def build(self, width, classes):
        self.score = nn.Linear(width, 1)

    def features(self, x):
        return x.mean((3, 4)).transpose(1, 2)  # (b, t, c)

    def weights(self, features):
        return self.score(features).softmax(1)  # (b, t, 1)

    def pooled(self, weights, features):
        return (weights.transpose(1, 2) @ features).squeeze(1)

    def head(self, x):
        features = self.features(x)
        return self.fc(self.pooled(self.weights(features), features))

    def frame(self, clip, i):
        features = self.features(self.trunk(clip))
        return self.fc(features.shape[1] * (self.weights(features) * features)[:, i])


class Batched(Weighted):
    def pooled(self, weights, features):
        return torch.bmm(features.transpose(1, 2), weights)[..., 0]


class Einstein(Weighted):
    def pooled(self, weights, features):
        return torch.einsum("btc,bt->bc", features, weights[..., 0])


class EinsteinWithOneQuery(Weighted):
    def pooled(self, weights, features):
        return torch.einsum("btq,btc->bqc", weights, features).flatten(1)


class OfBothSigns(Weighted):
    """Weights that say yes and no, so that parts of a logit cancel."""

    def weights(self, features):
        return self.score(20 * features).sigmoid() - 0.4


class Logits(Weighted):
    """Every frame is classified, and its logits are weighted."""

    def head(self, x):
        features = self.features(x)
        return self.pooled(self.weights(features), self.fc(features))

    def frame(self, clip, i):
        features = self.features(self.trunk(clip))
        return features.shape[1] * (self.weights(features) * self.fc(features))[:, i]


class LogitsByEinsum(Logits):
    pooled = Einstein.pooled


class Places(Weighted):
    """Every place of every frame has a weight."""

    def features(self, x):
        return x.permute(0, 2, 3, 4, 1).flatten(1, 3)  # (b, t h w, c)

    def frame(self, clip, i):
        x = self.trunk(clip)
        features = self.features(x)
        return self.fc(x.shape[2] * (self.weights(features) * features).unflatten(1, (x.shape[2], -1))[:, i].sum(1))


class PlacesByEinsum(Places):
    def head(self, x):
        weights = self.weights(self.features(x)).view(len(x), *x.shape[2:])
        return self.fc(torch.einsum("bthw,bcthw->bc", weights, x))


class Query(Weighted):
    """Two heads of attention with a query that is learned."""

    def build(self, width, classes):
        self.query, self.key, self.value = (
            nn.Parameter(torch.randn(1, 1, width)),
            nn.Linear(width, width),
            nn.Linear(width, width),
        )

    def heads(self, x):
        return x.unflatten(2, (2, -1)).transpose(1, 2)  # (b, heads, t, c)

    def head(self, x):
        x = self.features(x)
        query = self.heads(self.query.expand(len(x), -1, -1))
        pooled = F.scaled_dot_product_attention(query, self.heads(self.key(x)), self.heads(self.value(x)))
        return self.fc(pooled.transpose(1, 2).flatten(1))

    def frame(self, clip, i):
        x = self.features(self.trunk(clip))
        query, keys, values = self.heads(self.query), self.heads(self.key(x)), self.heads(self.value(x))
        weights = (query @ keys.mT / keys.shape[-1] ** 0.5).softmax(-1).mT  # (b, heads, t, 1)
        return self.fc(x.shape[1] * (weights * values)[:, :, i].flatten(1))


class Divided(Weighted):
    """Weights that are divided by their sum once the frames are summed."""

    def weights(self, features):
        return self.score(features).sigmoid()

    def pooled(self, weights, features):
        return (weights * features).sum(1) / weights.sum(1)

    def frame(self, clip, i):
        features = self.features(self.trunk(clip))
        weights = self.weights(features)
        return self.fc(features.shape[1] * (weights * features)[:, i] / weights.sum(1))


class DividedExponentials(Divided):
    """A softmax that is written out and divided by its sum last, which may not be zero."""

    def weights(self, features):
        return self.score(features).exp()

    def pooled(self, weights, features):
        return (weights.mT @ features).squeeze(1) / weights.sum(1).clamp(min=1e-12)


class GatedAfterwards(Weighted):
    """What was averaged is weighed by a gate that looks at the maximum over frames."""

    def build(self, width, classes):
        self.gate = nn.Linear(width, width)

    def weights(self, features):
        return self.gate(features).amax(1).sigmoid()  # (b, c)

    def pooled(self, weights, features):
        return features.mean(1) * weights

    def frame(self, clip, i):
        features = self.features(self.trunk(clip))
        return self.fc(features[:, i] * self.weights(features))


class GatedLogits(GatedAfterwards):
    """The clip's logits are weighed."""

    def head(self, x):
        features = self.features(x)
        return self.fc(features).mean(1) * self.weights(features)[:, :1]

    def frame(self, clip, i):
        features = self.features(self.trunk(clip))
        return self.fc(features[:, i]) * self.weights(features)[:, :1]


NETS = [
    Divided,
    DividedExponentials,
    GatedAfterwards,
    GatedLogits,
    Weighted,
    Batched,
    Einstein,
    EinsteinWithOneQuery,
    OfBothSigns,
    Logits,
    LogitsByEinsum,
    Places,
    PlacesByEinsum,
]
NETS += [Query]


@pytest.mark.parametrize("contrastive", [True, False])
@pytest.mark.parametrize("net", NETS)
def test_rows_are_what_every_frame_adds_to_the_logit_times_the_number_of_frames(net, contrastive):
    check_rows(net, contrastive)


@pytest.mark.parametrize(
    "weights", [lambda pooled: pooled.sigmoid(), lambda pooled: 1 / pooled.norm(dim=1, keepdim=True)]
)
def test_what_was_pooled_is_not_weighed_by_itself(weights):
    class Itself(Weighted):
        def head(self, x):
            pooled = self.features(x).mean(1)
            return self.fc(pooled * weights(pooled))

    with pytest.raises(lrp3d.NoFrameLogits, match="weighs by weights that are made of what was pooled over time"):
        lrp3d.explain(make(Itself), clips(2, 6, 3), 1)
