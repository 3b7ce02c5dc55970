"""The same matrix by other means: captum and zennit in 2N passes, and N plain gradients, looped and batched.

Peers get a model that they can read: the same layers and weights, with sums and pools as modules and one classifier
for what speaks for the class, one for what speaks against it. They are set up as near to the paper as they go:

- captum: z+ without bias (`Alpha1_Beta0_Rule`), identity for batch norm, epsilon for pools and residual sums. It has no
  z-beta, so the first layer gets z+, too, and no one-sided sharing of sums.
- zennit: z+ without bias, z-beta at the first layer (`ZBox`), pass for batch norm and activations, norm for pools and
  residual sums.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from benchmarks.timing.nets import Network
from lrp3d.models import VideoModel
from torch import Tensor, nn

import lrp3d

Matrix = Callable[[], Tensor]


class _Block(nn.Module):
    """A residual block whose sum is a module."""

    def __init__(self, block: Any, total: nn.Module):
        super().__init__()
        self.block, self.total = block, total

    def forward(self, x: Tensor) -> Tensor:
        block = self.block
        mixed = x if isinstance(block.temporal, nn.Identity) else block.temporal(x)
        shortcut = mixed if block.temporal_shortcut else x
        if not isinstance(block.downsample, nn.Identity):
            shortcut = block.downsample(shortcut)
        out: Tensor = block.relu(self.total(block.branch(mixed), shortcut))
        return out


class Readable(nn.Module):
    """A `lrp3d.models` ResNet for tools that see modules only: clip (b, c, t, h, w) to a class's logits (b, n).

    `sign=-1` negates the classifier: what speaks against the class.
    """

    def __init__(self, model: VideoModel, target: int, total: Callable[[], nn.Module], size: int, sign: int = 1):
        super().__init__()
        model = copy.deepcopy(model)  # captum and zennit leave their marks
        features = model.features
        for name, stage in features.named_children():
            if name.startswith("layer"):
                blocks = [_Block(_without_identities(block), total()) for block in stage.children()]
                setattr(features, name, nn.Sequential(*blocks))
        self.features = features
        self.pool = nn.AvgPool3d((1, size, size))
        self.classifier = nn.Linear(model.fc.in_features, 1, device=model.fc.weight.device, dtype=model.fc.weight.dtype)
        with torch.no_grad():
            self.classifier.weight.copy_(sign * model.fc.weight[target : target + 1])
            assert self.classifier.bias is not None
            self.classifier.bias.copy_(sign * model.fc.bias[target : target + 1])
        self.requires_grad_(False).eval()

    def forward(self, clip: Tensor) -> Tensor:
        """(b, n)."""
        pooled = self.pool(self.features(clip)).flatten(2).transpose(1, 2)
        out: Tensor = self.classifier(pooled).squeeze(2)
        return out


def _without_identities(block: Any) -> Any:
    """Captum knows no `nn.Identity`: it is stepped over where the block is run, and hidden here."""
    for name in ("temporal", "downsample"):
        layer = getattr(block, name)
        if isinstance(layer, nn.Identity):
            del block._modules[name]
            object.__setattr__(block, name, layer)
    return block


def features_size(model: VideoModel, clip: Tensor) -> int:
    """Height and width of what the classifier pools."""
    return -(-clip.shape[-1] // 32)


def contrasted(for_class: Tensor, against: Tensor, logits: Tensor) -> Tensor:
    """Eq. 2 and the rows of Sec. 3.2: maps (n, c, t, h, w) each of sum |l_i| to a matrix (n, t)."""
    rows = (for_class - against).clamp(min=0).sum((1, 3, 4))
    return rows * (logits / rows.sum(1)).unsqueeze(1)


# --------------------------------------------------------------------------------------------------- captum


def captum(model: VideoModel, clip: Tensor, target: int, passes: int | None = None) -> Matrix:
    """2N passes of `captum.attr.LRP`; `passes` stops earlier (then the matrix has as many rows as were done)."""
    from captum.attr import LRP
    from captum.attr._utils.custom_modules import Addition_Module
    from captum.attr._utils.lrp_rules import Alpha1_Beta0_Rule, EpsilonRule, IdentityRule

    size = features_size(model, clip)
    both = [Readable(model, target, Addition_Module, size, sign) for sign in (1, -1)]
    pools = (nn.MaxPool3d, nn.AvgPool3d, Addition_Module)

    def with_rules(readable: Readable) -> LRP:
        """Captum takes them off at the end of every call."""
        for module in readable.modules():
            if isinstance(module, (nn.Conv3d, nn.Linear)):
                module.rule = Alpha1_Beta0_Rule(set_bias_to_zero=True)
            elif isinstance(module, nn.BatchNorm3d):
                module.rule = IdentityRule()
            elif isinstance(module, pools):
                module.rule = EpsilonRule()
        return LRP(readable)

    def explained(frame: int, readable: Readable) -> Tensor:
        relevance: Tensor = with_rules(readable).attribute(clip.clone(), target=frame).detach()[0]
        return relevance

    return _matrix(explained, both, clip, passes)


# --------------------------------------------------------------------------------------------------- zennit


class _Total(nn.Module):
    """zennit's residual sum is a sum along an axis."""

    def __init__(self) -> None:
        from zennit.layer import Sum

        super().__init__()
        self.along = Sum(dim=-1)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        out: Tensor = self.along(torch.stack([x, y], -1))
        return out


def zennit(model: VideoModel, clip: Tensor, target: int, passes: int | None = None) -> Matrix:
    """2N passes of `zennit.attribution.Gradient`; `passes` as in `captum`."""
    from zennit.attribution import Gradient
    from zennit.composites import SpecialFirstLayerMapComposite, layer_map_base
    from zennit.rules import ZBox, ZPlus
    from zennit.types import Convolution

    low, high = (torch.tensor(limit, dtype=clip.dtype).view(1, -1, 1, 1, 1).to(clip) for limit in model.input_range)
    without_bias = {"zero_params": ["bias"], "stabilizer": 1e-9}
    composite = SpecialFirstLayerMapComposite(
        layer_map=[*layer_map_base(1e-9), ((Convolution, nn.Linear), ZPlus(**without_bias))],
        first_map=[(Convolution, ZBox(low, high, **without_bias))],
    )
    size = features_size(model, clip)
    both = [Readable(model, target, _Total, size, sign) for sign in (1, -1)]

    def explained(frame: int, readable: Readable) -> Tensor:
        def seed(output: Tensor) -> Tensor:
            chosen = torch.zeros_like(output)
            chosen[:, frame] = output[:, frame]
            return chosen

        with Gradient(readable, composite) as attributor:
            relevance: Tensor = attributor(clip.clone(), seed)[1].detach()[0]
            return relevance

    return _matrix(explained, both, clip, passes)


def _matrix(
    explained: Callable[[int, Readable], Tensor], both: list[Readable], clip: Tensor, passes: int | None
) -> Matrix:
    """Both passes of every frame: one explains l_i, the other -l_i, so signs are set to start both from |l_i|."""
    with torch.no_grad():
        logits = both[0](clip)[0]
    frames = len(logits) if passes is None else max(1, passes // 2)

    def run() -> Tensor:
        rows = []
        for frame in range(frames):
            sign = logits[frame].sign()
            positive, negative = sign * explained(frame, both[0]), -sign * explained(frame, both[1])
            rows.append(contrasted(positive[None], negative[None], logits[frame : frame + 1]))
        return torch.cat(rows)

    return run


# ------------------------------------------------------------------------------------------------ gradients


def looped_gradient(model: Network, clip: Tensor, target: int) -> Matrix:
    """T(grad): one forward pass and N plain input gradients, one after the other; input x gradient by frame."""

    def run() -> Tensor:
        x = clip.clone().requires_grad_()
        logits = model.frame_logits(x)[0, :, target]
        grads = [torch.autograd.grad(logit, x, retain_graph=True)[0] for logit in logits]
        return torch.stack([(x.detach() * grad).sum((0, 1, 3, 4)) for grad in grads])

    return run


def vmapped_gradient(model: Network, clip: Tensor, target: int, chunk: int | None = None) -> Matrix:
    """One forward pass and N input gradients as a batch of `torch.func.vmap`, `chunk` at once."""

    def run() -> Tensor:
        x = clip.clone().requires_grad_()
        logits = model.frame_logits(x)[0, :, target]
        seeds = torch.eye(len(logits), dtype=clip.dtype, device=clip.device)

        def row(seed: Tensor) -> Tensor:
            (grad,) = torch.autograd.grad(logits, x, seed, retain_graph=True)
            return (x.detach() * grad).sum((0, 1, 3, 4))

        return torch.func.vmap(row, chunk_size=chunk)(seeds)

    return run


# ----------------------------------------------------------------------------------------------------- ours


def ours(model: Network, clip: Tensor, target: int, precision: str = "highest") -> Matrix:
    """`lrp3d.explain` of a twin that is kept, as over the clips of a data set; the clip's own map included."""
    twin = lrp3d.convert(model)

    def run() -> Tensor:
        matrix = lrp3d.explain(twin, clip, target, precision=precision).matrix
        assert matrix is not None
        return matrix[0]

    return run
