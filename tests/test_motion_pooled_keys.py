"""Attention whose keys and values are pooled, as in MViT: queries are more than keys, and see all of their frames."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import lrp3d
from lrp3d.errors import NoMotion

EXACT = {"rtol": 1e-10, "atol": 1e-10}
CLIP = torch.rand(2, 3, 6, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
POOLS = {
    "space": lambda c: nn.Conv3d(c, c, (1, 3, 3), (1, 2, 2), (0, 1, 1), groups=c),
    "time and space": lambda c: nn.Conv3d(c, c, 3, (1, 2, 2), 1, groups=c),
    "maximum": lambda c: nn.MaxPool3d(3, (1, 2, 2), 1),
    "one key for each frame": lambda c: nn.AdaptiveAvgPool3d((None, 1, 1)),
}


class PooledAttention(nn.Module):
    """A block of MViT: heads, a class token that no pool sees, pooled keys and values, maybe pooled queries."""

    def __init__(self, pool, fused=True, halves=False, token=True, residual=True):
        super().__init__()
        self.norm, self.qkv, self.out = nn.LayerNorm(8), nn.Linear(8, 24), nn.Linear(8, 8)
        self.keys, self.values = POOLS[pool](4), POOLS[pool](4)
        self.queries = nn.Conv3d(4, 4, (1, 3, 3), (1, 2, 2), (0, 1, 1), groups=4) if halves else None
        self.fused, self.token, self.residual = fused, token, residual

    def pooled(self, pool, x, size):
        if pool is None:
            return x, size
        b, heads = x.shape[:2]
        places = x[:, :, self.token :].reshape(b * heads, *size, 4).permute(0, 4, 1, 2, 3)
        places = pool(places)
        tokens = places.flatten(2).transpose(1, 2).reshape(b, heads, -1, 4)
        return torch.cat([x[:, :, :1], tokens], 2) if self.token else tokens, places.shape[2:]

    def forward(self, x, size):
        b, n, _ = x.shape
        q, k, v = self.qkv(self.norm(x)).reshape(b, n, 3, 2, 4).permute(2, 0, 3, 1, 4).unbind(0)
        (q, of_queries), (k, _), (v, _) = (
            self.pooled(pool, y, size)
            for pool, y in zip((self.queries, self.keys, self.values), (q, k, v), strict=True)
        )
        y = F.scaled_dot_product_attention(q, k, v) if self.fused else (q @ k.mT).softmax(-1) @ v
        if self.queries is not None:  # queries are added to what they found, but for the class token's
            y[:, :, 1:] += q[:, :, 1:]
            rest = F.max_pool3d(x[:, 1:].transpose(1, 2).unflatten(2, size), (1, 3, 3), (1, 2, 2), (0, 1, 1))
            x = torch.cat([x[:, :1], rest.flatten(2).transpose(1, 2)], 1)
        y = self.out(y.transpose(1, 2).reshape(b, -1, 8))
        return (x + y if self.residual else y), of_queries


class Pooled(nn.Module):
    """Two such blocks over tubelets; the mean of all tokens of a frame is classified."""

    def __init__(self, *pool, **options):
        super().__init__()
        self.embed, self.fc = nn.Conv3d(3, 8, (1, 2, 2), (1, 2, 2)), nn.Linear(8, 3)
        self.token = nn.Parameter(torch.rand(1, 1, 8)) if options.get("token", True) else None
        self.blocks = nn.ModuleList(PooledAttention(*pool, **options) for _ in range(2))

    def forward(self, clip):
        x = self.embed(clip)
        b, size, x = len(x), x.shape[2:], x.flatten(2).transpose(1, 2)
        x = x if self.token is None else torch.cat([self.token.expand(b, -1, -1), x], 1)
        for block in self.blocks:
            x, size = block(x, size)
        x = x if self.token is None else x[:, 1:]
        return self.fc(x.unflatten(1, (size[0], -1)).mean(2)).mean(1)


def explained(make, clip=CLIP, **options):
    torch.manual_seed(0)
    options = {"target": 0, "contrastive": False, "motion": True, "input_range": (0.0, 1.0)} | options
    return lrp3d.explain(make().double().eval(), clip, **options)


VARIANTS = {
    "fused": {},
    "by hand": {"fused": False},
    "without a class token": {"token": False},
    "pooled queries": {"halves": True},
}


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("pool", POOLS)
def test_pooled_keys_are_split_exactly(pool, variant):
    def make():
        return Pooled(pool, **VARIANTS[variant])

    found, plain = explained(make), explained(make, motion=False)
    torch.testing.assert_close(found.static + found.dynamic, plain.relevance, **EXACT)
    torch.testing.assert_close(found.static_matrix + found.dynamic_matrix, plain.matrix, **EXACT)
    torch.testing.assert_close(sum(found.motion_by_layer.values()), found.motion, **EXACT)
    assert found.dynamic.abs().max() > 1e-4 * found.static.abs().max()
    still = explained(make, CLIP[:, :, :1].expand_as(CLIP))
    assert still.dynamic.abs().max() <= 1e-12 * still.static.abs().max()
    alone = explained(make, CLIP[1:])
    torch.testing.assert_close(alone.dynamic[0], found.dynamic[1], **EXACT)
    torch.testing.assert_close(alone.motion[0], found.motion[1], **EXACT)


class Alone(nn.Module):
    """Attention over time to averages of two frames, over pixels, then a classifier of each frame."""

    def __init__(self, residual=True):
        super().__init__()
        self.same, self.fc, self.residual = nn.Conv3d(3, 3, 1, bias=False), nn.Linear(3, 2, bias=False), residual
        self.q, self.k = (nn.Linear(3, 3, bias=False) for _ in range(2))
        with torch.no_grad():
            for weights in self.parameters():
                weights.copy_(torch.rand(weights.shape) + 0.1)
            self.same.weight.copy_(torch.eye(3).view(3, 3, 1, 1, 1))

    def probabilities(self, x, pooled):
        return (self.q(x) @ self.k(pooled).transpose(1, 2)).softmax(-1)

    def forward(self, clip):
        x = self.same(clip).mean((3, 4)).transpose(1, 2)
        pooled = F.avg_pool1d(x.transpose(1, 2), 2, 1).transpose(1, 2)
        y = self.probabilities(x, pooled) @ pooled
        return self.fc(x + y if self.residual else torch.relu(self.q(y))).mean(1)


def test_pooled_values_at_rest_are_their_mean_over_all_frames_of_keys():
    clip = CLIP[:1, :, :, :1, :1] + 0.1
    torch.manual_seed(0)
    model = Alone().double().eval()
    # By the same rule in the first layer as elsewhere, whose terms are pixel times weight.
    rules = lrp3d.Composite(first=lrp3d.rules.ZPlus())
    found = lrp3d.explain(model, clip, 1, motion=True, contrastive=False, composite=rules)
    a = clip[0, :, :, 0, 0].T  # (t, c)
    v = (a[1:] + a[:-1]) / 2
    p, weight = model.probabilities(a[None], v[None])[0].detach(), model.fc.weight[1].detach()
    for row in range(6):
        static = torch.zeros(6, dtype=torch.float64)
        for c in range(3):  # a logit without bias: each feature has the relevance that it contributed
            static[row] += weight[c] * a[row, c]
            for key in range(5):
                for frame in (key, key + 1):  # of an average at rest, each frame is one half
                    static[frame] += weight[c] * p[row, key] * v[:, c].mean() / 2
        torch.testing.assert_close(found.static_matrix[0, row], static, **EXACT)


def test_queries_whose_frames_nothing_says_are_refused_by_the_name_of_their_attention():
    message = r"'mean_1' \(mean\) sees: at \(2, 2\), 'matmul_1' sums tokens of several frames, and its results, which"
    with pytest.raises(NoMotion, match=message):
        explained(lambda: Alone(residual=False), CLIP)


def test_linear_attention_whose_sum_over_tokens_is_multiplied_by_queries_is_refused():
    class Linear(Alone):
        def forward(self, clip):
            x = self.same(clip).mean((3, 4)).transpose(1, 2)
            context = torch.relu(self.k(x)).transpose(1, 2) @ x
            return self.fc(x + torch.relu(self.q(x)) @ context).mean(1)

    with pytest.raises(NoMotion, match=r"'matmul_1' \(matmul\) sees: .*, 'matmul' sums tokens of several frames"):
        explained(Linear, CLIP)
