"""Small networks of today's constructs, written as their papers' code writes them: attention, norms, gates, kernels."""

import torch
import torch.nn.functional as F
from torch import nn

CLASSES = 5


def tokens_of(x):
    """(b, c, t, h, w) to (b, n, c)."""
    return x.flatten(2).transpose(1, 2)


class Mlp(nn.Sequential):
    def __init__(self, width):
        super().__init__(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))


class FusedAttention(nn.Module):
    """Queries, keys and values of one linear layer, as timm writes it."""

    def __init__(self, width, heads=2):
        super().__init__()
        self.heads, self.qkv, self.proj = heads, nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x):
        b, n, c = x.shape
        q, k, v = self.qkv(x).reshape(b, n, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        return self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, n, c))


class Block(nn.Module):
    def __init__(self, width, attention):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention, self.mlp = attention, Mlp(width)

    def forward(self, x):
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class VideoViT(nn.Module):
    """Tubelets, position, blocks of joint attention; the mean of the tokens, or the class token, is classified."""

    def __init__(self, width=8, head="mean", frames=4):
        super().__init__()
        self.head = head
        self.embed = nn.Conv3d(3, width, (1, 4, 4), (1, 4, 4))
        self.position = nn.Parameter(torch.randn(1, 4 * frames, width) / 4)
        self.token = nn.Parameter(torch.randn(1, 1, width))
        self.blocks = nn.Sequential(*[Block(width, FusedAttention(width)) for _ in range(2)])
        self.norm, self.fc = nn.LayerNorm(width), nn.Linear(width, CLASSES)

    def forward(self, clip):
        x = tokens_of(self.embed(clip)) + self.position
        if self.head == "class token":
            x = torch.cat([self.token.expand(len(x), -1, -1), x], 1)
            return self.fc(self.norm(self.blocks(x))[:, 0])
        x = self.blocks(x)
        if self.head == "norm after the mean":
            return self.fc(self.norm(x.mean(1)))
        return self.fc(self.norm(x).mean(1))


class TorchTransformer(nn.Module):
    """torch's own encoder layers, whose fast path may not be taken, over the means of frames."""

    def __init__(self, width=8):
        super().__init__()
        self.embed = nn.Conv3d(3, width, (1, 4, 4), (1, 4, 4))
        layer = nn.TransformerEncoderLayer(width, 2, 16, batch_first=True, norm_first=False)
        self.encoder, self.fc = nn.TransformerEncoder(layer, 2), nn.Linear(width, CLASSES)

    def forward(self, clip):
        frames = self.embed(clip).mean((3, 4)).transpose(1, 2)
        return self.fc(self.encoder(frames).mean(1))


class WindowAttention(nn.Module):
    """Attention in windows of (2, 2, 2), shifted or not, with a bias by relative position (Video Swin)."""

    window = (2, 2, 2)

    def __init__(self, width, shifted, heads=2):
        super().__init__()
        self.shift = (1, 1, 1) if shifted else None
        self.heads, self.qkv, self.proj = heads, nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.table = nn.Parameter(torch.randn(27, heads))
        at = torch.stack(torch.meshgrid(*map(torch.arange, self.window), indexing="ij")).flatten(1)
        distance = (at[:, :, None] - at[:, None]) + 1
        self.register_buffer("index", distance[0] * 9 + distance[1] * 3 + distance[2])

    def mask(self, t, h, w):
        area = torch.zeros(1, t, h, w, 1)
        cuts = (slice(-2), slice(-2, -1), slice(-1, None))
        for number, (i, j, k) in enumerate((i, j, k) for i in cuts for j in cuts for k in cuts):
            area[:, i, j, k] = number
        areas = self.windows(area).squeeze(2)
        difference = areas[:, None] - areas[:, :, None]
        return difference.masked_fill(difference != 0, -100.0).masked_fill(difference == 0, 0.0)

    def windows(self, x):
        b, t, h, w, c = x.shape
        x = x.view(b, t // 2, 2, h // 2, 2, w // 2, 2, c)
        return x.permute(0, 1, 3, 5, 2, 4, 6, 7).reshape(-1, 8, c)

    def forward(self, x):
        b, t, h, w, c = x.shape
        if self.shift:
            x = torch.roll(x, [-s for s in self.shift], (1, 2, 3))
        windows = self.windows(x)
        n = windows.shape[1]
        q, k, v = self.qkv(windows).reshape(-1, n, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        scores = (q * (c // self.heads) ** -0.5) @ k.transpose(-2, -1)
        scores = scores + self.table[self.index.view(-1)].view(n, n, -1).permute(2, 0, 1).unsqueeze(0)
        if self.shift:
            mask = self.mask(t, h, w).to(x)
            scores = scores.view(b, len(mask), self.heads, n, n) + mask[None, :, None]
            scores = scores.view(-1, self.heads, n, n)
        x = self.proj((scores.softmax(-1) @ v).transpose(1, 2).reshape(-1, n, c))
        x = x.view(b, t // 2, h // 2, w // 2, 2, 2, 2, c).permute(0, 1, 4, 2, 5, 3, 6, 7).reshape(b, t, h, w, c)
        return torch.roll(x, self.shift, (1, 2, 3)) if self.shift else x


class VideoSwin(nn.Module):
    """Two stages of windows with patch merging between them; the mean after the last norm is classified."""

    def __init__(self, width=8):
        super().__init__()
        self.embed = nn.Conv3d(3, width, (1, 2, 2), (1, 2, 2))
        self.first = nn.Sequential(*[Block(width, WindowAttention(width, shifted)) for shifted in (False, True)])
        self.merge_norm, self.merge = nn.LayerNorm(4 * width), nn.Linear(4 * width, 2 * width, bias=False)
        self.second = Block(2 * width, WindowAttention(2 * width, False))
        self.norm, self.fc = nn.LayerNorm(2 * width), nn.Linear(2 * width, CLASSES)

    def forward(self, clip):
        x = self.first(self.embed(clip).permute(0, 2, 3, 4, 1))
        x = torch.cat([x[:, :, i::2, j::2] for i in (0, 1) for j in (0, 1)], -1)
        x = self.norm(self.second(self.merge(self.merge_norm(x)))).permute(0, 4, 1, 2, 3)
        return self.fc(F.adaptive_avg_pool3d(x, 1).flatten(1))


class NonLocal(nn.Module):
    """A non-local block: softmax of embedded features or of the features themselves, or their products over n."""

    def __init__(self, width, mode):
        super().__init__()
        self.mode = mode
        self.theta, self.phi, self.g = (nn.Conv3d(width, width // 2, 1) for _ in range(3))
        self.out, self.norm = nn.Conv3d(width // 2, width, 1), nn.BatchNorm3d(width)

    def forward(self, x):
        g = self.g(x).flatten(2).transpose(1, 2)
        theta, phi = (x, x) if self.mode == "gaussian" else (self.theta(x), self.phi(x))
        similarity = torch.matmul(theta.flatten(2).transpose(1, 2), phi.flatten(2))
        weights = similarity / similarity.shape[-1] if self.mode == "dot product" else similarity.softmax(-1)
        y = torch.matmul(weights, g).transpose(1, 2).reshape(len(x), -1, *x.shape[2:])
        return x + self.norm(self.out(y))


class Convolutional(nn.Module):
    """A stem, blocks on (b, c, t, h, w), and a classifier of every frame or of their mean."""

    def __init__(self, *blocks, width=8):
        super().__init__()
        self.stem, self.blocks = nn.Conv3d(3, width, 3, padding=1), nn.Sequential(*blocks)
        self.fc = nn.Linear(width, CLASSES)

    def forward(self, clip):
        return self.fc(self.blocks(F.relu(self.stem(clip))).mean((2, 3, 4)))


class NormByHand(nn.Module):
    """Layer norm over channels, as ConvNeXt's first code has it."""

    def __init__(self, width):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.rand(width)), nn.Parameter(torch.randn(width))

    def forward(self, x):
        mean = x.mean(1, keepdim=True)
        variance = (x - mean).pow(2).mean(1, keepdim=True)
        x = (x - mean) / torch.sqrt(variance + 1e-6)
        return self.weight[:, None, None, None] * x + self.bias[:, None, None, None]


class ConvNeXt(nn.Module):
    """Depthwise convolution, norm over channels, two linear layers with global response norm, layer scale."""

    def __init__(self, width=8):
        super().__init__()
        self.depthwise, self.norm = (
            nn.Conv3d(width, width, (1, 3, 3), padding=(0, 1, 1), groups=width),
            NormByHand(width),
        )
        self.up, self.down = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        self.gamma, self.beta = nn.Parameter(torch.randn(2 * width)), nn.Parameter(torch.randn(2 * width))
        self.scale = nn.Parameter(torch.rand(width))

    def forward(self, x):
        y = F.gelu(self.up(self.norm(self.depthwise(x)).permute(0, 2, 3, 4, 1)))
        size = torch.norm(y, p=2, dim=(2, 3), keepdim=True)
        y = torch.addcmul(self.beta, self.gamma, y * (size / (size.mean(-1, keepdim=True) + 1e-6))) + y
        return x + (self.scale * self.down(y)).permute(0, 4, 1, 2, 3)


class GroupNormResidual(nn.Module):
    def __init__(self, width=8, norm=None):
        super().__init__()
        self.conv1, self.conv2 = (nn.Conv3d(width, width, 3, padding=1, bias=False) for _ in range(2))
        self.norm1, self.norm2 = norm or nn.GroupNorm(2, width), nn.GroupNorm(1, width)

    def forward(self, x):
        return F.relu(x + self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x))))))


class SeparableAttention(nn.Module):
    """MobileViTv2: scores weigh keys, whose sum, the context, weighs the values."""

    def __init__(self, width=8):
        super().__init__()
        self.norm, self.qkv, self.out = (
            nn.GroupNorm(1, width),
            nn.Conv3d(width, 1 + 2 * width, 1),
            nn.Conv3d(width, width, 1),
        )
        self.width = width

    def forward(self, x):
        q, k, v = self.qkv(self.norm(x)).flatten(3).split([1, self.width, self.width], 1)
        context = (k * F.softmax(q, -1)).sum(-1, keepdim=True)
        return x + self.out((F.relu(v) * context.expand_as(v)).reshape(x.shape))


class LinearAttention(nn.Module):
    """EfficientViT: kernel features relu(q), relu(k); values with a row of ones, by whose result is divided."""

    def __init__(self, width=8):
        super().__init__()
        self.qkv, self.out = nn.Conv3d(width, 3 * width, 1, bias=False), nn.Conv3d(width, width, 1)

    def forward(self, x):
        q, k, v = self.qkv(x).flatten(2).chunk(3, 1)
        v = F.pad(v, (0, 0, 0, 1), value=1.0)
        context = torch.matmul(v, F.relu(k).transpose(-1, -2))
        y = torch.matmul(context, F.relu(q))
        return x + self.out((y[:, :-1] / (y[:, -1:] + 1e-6)).reshape(x.shape))


class TemporalAdaptive(nn.Module):
    """TANet: a kernel over time for every clip and channel, by softmax, and a sigmoid that weighs channels."""

    def __init__(self, width=8, frames=4):
        super().__init__()
        self.kernel = nn.Sequential(nn.Linear(frames, 2 * frames), nn.ReLU(), nn.Linear(2 * frames, 3), nn.Softmax(-1))
        self.local = nn.Sequential(
            nn.Conv1d(width, width, 3, padding=1), nn.ReLU(), nn.Conv1d(width, width, 1), nn.Sigmoid()
        )

    def forward(self, x):
        b, c, t, h, w = x.shape
        over_time = F.adaptive_avg_pool2d(x.transpose(1, 2).reshape(b * t, c, h, w), 1).view(b, t, c).transpose(1, 2)
        kernel = self.kernel(over_time.reshape(b * c, t)).view(b * c, 1, -1, 1)
        y = x * self.local(over_time).view(b, c, t, 1, 1)
        y = F.conv2d(y.view(1, b * c, t, h * w), kernel, padding=(1, 0), groups=b * c)
        return y.view(b, c, t, h, w)


class GatedUnits(nn.Module):
    """GhostNet v2's interpolated sigmoid, StarNet's product, and a gated linear unit."""

    def __init__(self, width=8):
        super().__init__()
        self.gate, self.one, self.other = (nn.Conv3d(width, width, 1) for _ in range(3))
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(2 * width, width)

    def forward(self, x):
        small = F.avg_pool3d(self.gate(x), (1, 2, 2))
        x = x * F.interpolate(torch.sigmoid(small), size=x.shape[2:], mode="nearest")
        x = x + F.relu6(self.one(x)) * self.other(x)
        gate, value = self.up(x.permute(0, 2, 3, 4, 1)).chunk(2, -1)
        return x + self.down(F.silu(gate) * value).permute(0, 4, 1, 2, 3)


class TalkingHeads(nn.Module):
    """Probabilities mixed over heads before they weigh, values with a class of their own for every head (CaiT)."""

    def __init__(self, width=8, heads=2):
        super().__init__()
        self.heads, self.qkv = heads, nn.Linear(width, 3 * width)
        self.before, self.after = nn.Linear(heads, heads), nn.Linear(heads, heads)

    def forward(self, x):
        b, c = x.shape[:2]
        q, k, v = self.qkv(tokens_of(x)).view(b, -1, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        scores = self.before((q @ k.mT).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        weights = self.after(scores.softmax(-1).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        y = torch.einsum("bhij,bhjd->bihd", weights, v).reshape(b, -1, c)
        return x + y.transpose(1, 2).reshape(x.shape)


NETS = {
    "ViT": VideoViT,
    "class token": lambda: VideoViT(head="class token"),
    "torch's encoder": TorchTransformer,
    "Video Swin": VideoSwin,
    "non-local, dot product": lambda: Convolutional(NonLocal(8, "dot product")),
    "non-local, gaussian": lambda: Convolutional(NonLocal(8, "gaussian")),
    "non-local, embedded": lambda: Convolutional(NonLocal(8, "embedded")),
    "ConvNeXt": lambda: Convolutional(ConvNeXt(), ConvNeXt()),
    "group norm": lambda: Convolutional(GroupNormResidual(), GroupNormResidual()),
    "instance norm": lambda: Convolutional(GroupNormResidual(norm=nn.InstanceNorm3d(8, affine=True))),
    "batch statistics": lambda: Convolutional(GroupNormResidual(norm=nn.BatchNorm3d(8, track_running_stats=False))),
    "MobileViT v2": lambda: Convolutional(SeparableAttention()),
    "EfficientViT": lambda: Convolutional(LinearAttention()),
    "TANet": lambda: Convolutional(TemporalAdaptive()),
    "gated units": lambda: Convolutional(GatedUnits()),
    "talking heads": lambda: Convolutional(TalkingHeads()),
}


def build(name, dtype=torch.float64, seed=0):
    """One of them in evaluation mode, with statistics, scales and offsets that are not those of a fresh layer."""
    torch.manual_seed(seed)
    model = NETS[name]().to(dtype).eval()
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.LayerNorm | nn.GroupNorm | nn.BatchNorm3d) and module.weight is not None:
                module.weight.uniform_(-1, 2)
                module.bias.normal_()
    return model


def clip_for(batch=2, dtype=torch.float64):
    return torch.randn(batch, 3, 4, 8, 8, generator=torch.Generator().manual_seed(1)).to(dtype)
