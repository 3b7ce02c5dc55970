"""Frame logits of attention with several queries: each of them pools over time, and none of them is a frame."""

import pytest
import torch
import torch.nn.functional as F
from temporal_reference import VideoNet, check_rows, clips, make
from torch import nn

import lrp3d

QUERIES, HEADS = 3, 2


class Queries(VideoNet):
    """Learned queries, and what they find is averaged. `frame` writes out what one frame would say if it were all."""

    def build(self, width, classes):
        self.query = nn.Parameter(torch.randn(QUERIES, width))
        self.key, self.value = nn.Linear(width, width), nn.Linear(width, width)

    def features(self, x):
        return x.mean((3, 4)).transpose(1, 2)  # (b, t, c)

    def weights(self, x):
        return (self.query @ self.key(x).mT).softmax(-1)  # (b, q, t)

    def pooled(self, x):
        return self.weights(x) @ self.value(x)  # (b, q, c)

    def answer(self, found):
        return self.fc(found.mean(1))

    def head(self, x):
        return self.answer(self.pooled(self.features(x)))

    def frame(self, clip, i):
        x = self.features(self.trunk(clip))
        return self.answer(x.shape[1] * self.weights(x)[:, :, i, None] * self.value(x)[:, None, i])


class Batched(Queries):
    def pooled(self, x):
        return torch.bmm(self.value(x).mT, self.weights(x).mT).mT


class Einstein(Queries):
    def pooled(self, x):
        return torch.einsum("btc,bqt->bqc", self.value(x), self.weights(x))


class ProductAndSum(Queries):
    def pooled(self, x):
        return (self.weights(x)[..., None] * self.value(x)[:, None]).sum(2)


class Flattened(Queries):
    """Each query has its own part of the classifier."""

    def build(self, width, classes):
        super().build(width, classes)
        self.fc = nn.Linear(QUERIES * width, classes)

    def answer(self, found):
        return self.fc(found.flatten(1))


class Scores(Flattened):
    """Weights that a layer says of each frame, as of a structured embedding (Lin et al. 2017, arXiv:1703.03130)."""

    def weights(self, x):
        return (self.key(x).tanh() @ self.query.T).softmax(1).mT


class FromTheMean(Flattened):
    """Queries that see the clip: its mean, beside what each has learned."""

    def weights(self, x):
        return ((x.mean(1, keepdim=True) + self.query) @ self.key(x).mT).softmax(-1)


class Resampled(Flattened):
    """What queries find is added to them (Perceiver, arXiv:2103.03206)."""

    def answer(self, found):
        return self.fc((self.query + found).flatten(1))


class OfClasses(Queries):
    """One query for each class, and one vector, which reads what it found (ML-Decoder, arXiv:2111.12933)."""

    def build(self, width, classes):
        super().build(width, classes)
        self.query = nn.Parameter(torch.randn(classes, width))

    def answer(self, found):
        return torch.einsum("bkc,kc->bk", found, self.fc.weight) + self.fc.bias


class OfClassesInTurn(OfClasses):
    """The same class by class."""

    def answer(self, found):
        return torch.stack([each @ w for each, w in zip(found.unbind(1), self.fc.weight, strict=True)], 1)


class Dotted(Flattened):
    """Several heads by torch's own function."""

    def heads(self, x):
        return x.unflatten(-1, (HEADS, -1)).transpose(-3, -2)  # (b, heads, t, c)

    def weights(self, x):
        keys = self.heads(self.key(x))
        return (self.heads(self.query) @ keys.mT / keys.shape[-1] ** 0.5).softmax(-1)  # (b, heads, q, t)

    def pooled(self, x):
        query = self.heads(self.query.expand(len(x), -1, -1))
        return F.scaled_dot_product_attention(query, self.heads(self.key(x)), self.heads(self.value(x)))

    def frame(self, clip, i):
        x = self.features(self.trunk(clip))
        values = self.heads(self.value(x))
        return self.answer(x.shape[1] * self.weights(x)[..., i, None] * values[:, :, None, i])


class Multihead(Dotted):
    """`nn.MultiheadAttention`, which may have clips first or second."""

    clips_first, need_weights = True, False

    def build(self, width, classes):
        super().build(width, classes)
        self.attention = nn.MultiheadAttention(width, HEADS, batch_first=self.clips_first)
        nn.init.normal_(self.attention.in_proj_bias)

    def projected(self, x, part):
        w, b = self.attention.in_proj_weight.chunk(3)[part], self.attention.in_proj_bias.chunk(3)[part]
        return self.heads(F.linear(x, w, b))

    def weights(self, x):
        query, keys = self.projected(self.query, 0), self.projected(x, 1)
        return (query @ keys.mT / keys.shape[-1] ** 0.5).softmax(-1)

    def pooled(self, x):
        query = self.query.expand(len(x), -1, -1)
        if self.clips_first:
            return self.attention(query, x, x, need_weights=self.need_weights)[0]
        query, x = query.transpose(0, 1), x.transpose(0, 1)
        return self.attention(query, x, x, need_weights=self.need_weights)[0].transpose(0, 1)

    def frame(self, clip, i):
        x = self.features(self.trunk(clip))
        found = x.shape[1] * self.weights(x)[..., i, None] * self.projected(x, 2)[:, :, None, i]
        return self.answer(self.attention.out_proj(found.transpose(1, 2).flatten(2)))


class MultiheadClipsSecond(Multihead):
    clips_first = False


class MultiheadWithWeights(Multihead):
    """Heads are folded into the batch."""

    need_weights = True


class Tokens(Flattened):
    """Every place of every frame is a token."""

    def features(self, x):
        return x.permute(0, 2, 3, 4, 1).flatten(1, 3)  # (b, t h w, c)

    def frame(self, clip, i):
        frames = self.trunk(clip).shape[2]
        x = self.features(self.trunk(clip))
        weights = self.weights(x).unflatten(2, (frames, -1))[:, :, i]  # (b, q, h w)
        values = self.value(x).unflatten(1, (frames, -1))[:, i]  # (b, h w, c)
        return self.answer((frames * weights) @ values)


class TokensOfPlaces(Tokens):
    """The frames of one place stand together."""

    def features(self, x):
        return x.permute(0, 3, 4, 2, 1).flatten(1, 3)  # (b, h w t, c)

    def frame(self, clip, i):
        frames = self.trunk(clip).shape[2]
        x = self.features(self.trunk(clip))
        return self.answer((frames * self.weights(x)[:, :, i::frames]) @ self.value(x)[:, i::frames])


class TokensByEinsum(Tokens):
    pooled = Einstein.pooled


class TokensBatched(Tokens):
    pooled = Batched.pooled


class Logits(Queries):
    """Every frame is classified, and queries weigh its logits."""

    def pooled(self, x):
        return self.weights(x) @ self.fc(self.value(x))

    def answer(self, found):
        return found.mean(1)

    def frame(self, clip, i):
        x = self.features(self.trunk(clip))
        return (x.shape[1] * self.weights(x)[:, :, i, None] * self.fc(self.value(x))[:, None, i]).mean(1)


class LogitsOfHeads(Logits):
    """Queries that are folded into the batch, as heads are."""

    def pooled(self, x):
        logits = self.fc(self.value(x))  # (b, t, k)
        weights = self.weights(x).flatten(0, 1).unsqueeze(1)  # (b q, 1, t)
        return torch.bmm(weights, logits.repeat_interleave(QUERIES, 0)).unflatten(0, (-1, QUERIES)).squeeze(2)


NETS = [Queries, Batched, Einstein, ProductAndSum, Flattened, Scores, FromTheMean, Resampled, OfClasses]
NETS += [OfClassesInTurn, Dotted, Multihead, MultiheadClipsSecond, MultiheadWithWeights, Tokens, TokensByEinsum]
NETS += [TokensBatched, TokensOfPlaces, Logits, LogitsOfHeads]


@pytest.mark.parametrize("contrastive", [True, False])
@pytest.mark.parametrize("net", NETS)
def test_rows_are_what_every_frame_adds_to_what_the_queries_find(net, contrastive):
    check_rows(net, contrastive)


class OfFrames(Queries):
    """Every frame asks for all frames."""

    def weights(self, x):
        return (self.queries(x) @ self.key(x).mT).softmax(-1)

    def queries(self, x):
        return x


class OfFramesLaidOut(OfFrames):
    """A classifier that sees the result for each frame on an input of its own."""

    def build(self, width, classes):
        super().build(width, classes)
        self.fc = nn.Linear(6 * width, classes)

    def answer(self, found):
        return self.fc(found.flatten(1))


class OfFramesByProducts(OfFrames):
    pooled = ProductAndSum.pooled


class OfFramesByEinsum(OfFrames):
    pooled = Einstein.pooled


class OfFramesByMeans(OfFrames):
    """Not a sum, but a mean of products."""

    def pooled(self, x):
        return (self.weights(x)[..., None] * self.value(x)[:, None]).mean(2)


class OfEverySecondFrame(OfFrames):
    def queries(self, x):
        return x[:, ::2]


class OfTheLastFrames(OfFrames):
    def answer(self, found):
        return self.fc(found[:, -2:].mean(1))


class Dotting(OfFrames):
    def pooled(self, x):
        return F.scaled_dot_product_attention(x, self.key(x), self.value(x))


class MultiheadOfFrames(Multihead):
    def build(self, width, classes):
        super().build(width, classes)
        self.fc = nn.Linear(width, classes)

    def pooled(self, x):
        return self.attention(x, x, x)[0]

    def answer(self, found):
        return self.fc(found.mean(1))


OF_FRAMES = [OfFrames, OfFramesLaidOut, OfFramesByProducts, OfFramesByEinsum, OfFramesByMeans, OfEverySecondFrame]
OF_FRAMES += [OfTheLastFrames, Dotting, MultiheadOfFrames]


@pytest.mark.parametrize("net", OF_FRAMES)
def test_attention_of_frames_to_frames_is_no_pool_over_time(net):
    """Each of its results belongs to a frame as well, so a row could be either frame."""
    with pytest.raises(lrp3d.NoFrameLogits, match=r"weighs all frames for each of \d results that belong to frames as"):
        lrp3d.explain(make(net), clips(2, 6, 3), 1)


def test_attention_of_frames_to_frames_beside_a_residual_sum_has_the_rows_of_its_mean():
    class Residual(OfFrames):
        def pooled(self, x):
            return x + super().pooled(x)

    model, clip = make(Residual), clips(2, 6, 3)
    x = model.features(model.trunk(clip))
    found = lrp3d.explain(model, clip, 1).frame_logits
    torch.testing.assert_close(found, model.fc(model.pooled(x))[..., 1].detach())


class OfPlaces(Queries):
    """Every place of the picture asks for frames: what stands there in the mean over time."""

    def pooled(self, x):
        return self.attended(x, self.value(self.mean_of_places(x)))

    def mean_of_places(self, x):
        return x.mean(2)  # (b, t, c)

    def attended(self, x, values):
        return (x.mean(1) @ self.key(self.mean_of_places(x)).mT).softmax(-1) @ values

    def features(self, x):
        return x.permute(0, 2, 3, 4, 1).flatten(2, 3)  # (b, t, h w, c)


def test_queries_of_places_are_no_frames():
    model, clip = make(OfPlaces), clips(2, 6, 3)
    x = model.features(model.trunk(clip))
    values = model.value(model.mean_of_places(x))
    alone = [values * torch.eye(6, dtype=values.dtype)[i, :, None] * 6 for i in range(6)]
    wanted = torch.stack([model.answer(model.attended(x, each))[:, 1] for each in alone], 1)
    torch.testing.assert_close(lrp3d.explain(model, clip, 1).frame_logits, wanted.detach())


def test_weights_that_cannot_be_followed_are_said_to_be_the_reason():
    class ByAnUnknownFunction(Queries):
        def weights(self, x):
            return torch.linalg.pinv(self.query.expand(len(x), -1, -1) @ self.key(x).mT).mT.softmax(-1)

    with pytest.raises(lrp3d.NoFrameLogits, match="for each of 3 queries, and lrp3d cannot follow where their weights"):
        lrp3d.explain(make(ByAnUnknownFunction), clips(2, 6, 3))


def test_what_is_weighed_once_more_by_weights_of_what_was_pooled_has_no_frame_logits():
    class Twice(Queries):
        def answer(self, found):
            return self.fc(((found @ self.query[0]).softmax(1)[:, None] @ found)[:, 0])

    with pytest.raises(lrp3d.NoFrameLogits, match="weights that are made of what was pooled over time"):
        lrp3d.explain(make(Twice), clips(2, 6, 3))
