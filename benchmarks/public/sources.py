"""Networks of public libraries by name, each with a small clip; a library that is not installed is left out."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

import torch
from lrp3d.integrations.wrappers import PerFrame
from torch import Tensor, nn

from benchmarks.public import constructs, recognisers, repositories, transformers_nets, wrappers
from benchmarks.public.importing import imported

FRAMES = 2
SIDES = (64, 96, 128, 224, 256, 299)

TIMM = """
resnet18 resnet26d seresnet50 resnext50_32x4d resnet50_gn resnetv2_50 resnetv2_50x1_bit resnetblur18 resnetaa50
resnetrs50 convnext_atto convnextv2_atto convnext_atto_ols nf_resnet26 nf_regnet_b0 eca_nfnet_l0 dm_nfnet_f0
resnest14d skresnet18 ecaresnet26t eca_resnet33ts hrnet_w18_small dla34 dla46_c ghostnet_050 ghostnetv2_100
ghostnetv3_050 repvgg_a0 mobileone_s0 mobileone_s1 regnetx_002 regnety_002 regnetz_005 efficientnet_b0
efficientnetv2_rw_t tf_efficientnetv2_b0 tf_efficientnet_lite0 efficientnet_es cspresnet50 cspdarknet53 cs3darknet_s
ese_vovnet19b_dw inception_v3 inception_v4 inception_resnet_v2 xception41 legacy_xception pnasnet5large
res2net50_14w_8s res2next50 tresnet_m mobilenetv4_conv_small mobilenetv4_hybrid_medium mobilenetv3_small_050
mobilenetv2_050 mnasnet_small mixnet_s lcnet_050 tinynet_e hardcorenas_a fbnetc_100 spnasnet_100 semnasnet_075
rexnet_100 fastvit_t8 repvit_m0_9 densenet121 selecsls42b seresnext26d_32x4d gernet_s gcresnet33ts gcresnext26ts
dpn48b inception_next_atto hgnet_tiny hgnetv2_b0 starnet_s1 convmixer_768_32 focalnet_tiny_srf poolformer_s12
poolformerv2_s12 rdnet_tiny mambaout_femto repghostnet_050 edgenext_xx_small mobilevit_xxs mobilevitv2_050
efficientformer_l1 efficientvit_b0 visformer_tiny vgg11_bn vovnet39a nextvit_small shvit_s1 maxvit_rmlp_pico_rw_256
coatnet_nano_rw_224 botnet26t_256 lambda_resnet26t halonet26t vit_tiny_patch16_224 deit_tiny_patch16_224
""".split()
TORCHVISION = {
    "r3d_18": (8, 64),
    "mc3_18": (8, 64),
    "r2plus1d_18": (8, 64),
    "s3d": (16, 224),
    "swin3d_t": (4, 64),
    "mvit_v1_b": (8, 64),
    "mvit_v2_s": (8, 64),
}
PYTORCHVIDEO: dict[str, tuple[str, dict[str, Any], tuple[int, int]]] = {
    "slow_r50": ("resnet.create_resnet", {"head_pool_kernel_size": (4, 2, 2)}, (4, 64)),
    "slow_r50_softmax": (
        "resnet.create_resnet",
        {"head_pool_kernel_size": (4, 2, 2), "head_activation": nn.Softmax},
        (4, 64),
    ),
    "c2d_r50": (
        "resnet.create_resnet",
        {"stem_conv_kernel_size": (1, 7, 7), "head_pool_kernel_size": (4, 2, 2)},
        (4, 64),
    ),
    "i3d_r50": (
        "resnet.create_resnet",
        {
            "stem_conv_kernel_size": (5, 7, 7),
            "head_pool_kernel_size": (4, 2, 2),
            "stage_conv_a_kernel_size": (
                (3, 1, 1),
                [(3, 1, 1), (1, 1, 1)],
                [(3, 1, 1), (1, 1, 1)],
                [(1, 1, 1), (3, 1, 1)],
            ),
        },
        (4, 64),
    ),
    "efficient_x3d_xs": ("hub.efficient_x3d", {}, (4, 160)),
    "slowfast_r50": ("slowfast.create_slowfast", {"head_pool_kernel_sizes": ((4, 2, 2), (16, 2, 2))}, (16, 64)),
    "audio_visual_slowfast": (
        "audio_visual_slowfast.create_audio_visual_slowfast",
        {"head_pool_kernel_sizes": ((8, 2, 2), (32, 2, 2), (16, 1, 10))},
        (32, 64),
    ),
    "csn_r50": ("csn.create_csn", {"head_pool_kernel_size": (1, 2, 2)}, (8, 64)),
    "r2plus1d_r50": ("r2plus1d.create_r2plus1d", {"head_pool_kernel_size": (2, 2, 2)}, (8, 64)),
    "x3d_xs": ("x3d.create_x3d", {"input_clip_length": 4, "input_crop_size": 64, "head_activation": None}, (4, 64)),
    "x3d_xs_hub_softmax": ("x3d.create_x3d", {"input_clip_length": 4, "input_crop_size": 64}, (4, 64)),
    "mvit_base": (
        "vision_transformers.create_multiscale_vision_transformers",
        {"spatial_size": 64, "temporal_size": 4, "depth": 4},
        (4, 64),
    ),
}


def names() -> list[str]:
    """Of all networks whose libraries are installed."""
    found: list[str] = []
    for library, those in (
        ("torchvision", TORCHVISION),
        ("pytorchvideo", PYTORCHVIDEO),
        ("mmaction", recognisers.MMACTION),
        ("timm", TIMM),
        ("transformers", transformers_nets.names()),
    ):
        if importlib.util.find_spec(library) is not None:
            found += [f"{library}.{name}" for name in those]
    return [f"own.{name}" for name in constructs.NETWORKS] + found + repositories.names()


def build(name: str) -> tuple[nn.Module, Tensor]:
    """A network with random weights in evaluation mode, and a clip (1, 3, t, h, w) for it."""
    library, _, network = name.partition(".")
    torch.manual_seed(0)
    model, frames, sides = repositories.build(name) if name in repositories.NETWORKS else _BUILDERS[library](network)
    _unsettle(model.eval())
    for side in sides:
        clip = torch.rand(1, 3, frames, side, side)
        try:
            with torch.no_grad():
                logits = model(clip)
        except (RuntimeError, ValueError, AssertionError, IndexError):
            if side == sides[-1]:
                raise
            continue
        if bool(torch.isfinite(logits).all()):
            break
    return model, clip


def _unsettle(model: nn.Module) -> None:
    """Statistics that are not those of a new network."""
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            if module.running_mean is not None:
                module.running_mean.normal_(0, 0.1)
            if module.running_var is not None:
                module.running_var.uniform_(0.8, 1.2)


def _timm(name: str) -> tuple[nn.Module, int, tuple[int, ...]]:
    timm: Any = imported("timm")
    net = timm.create_model(name, pretrained=False, num_classes=10)
    given = net.pretrained_cfg.get("input_size", (3, 224, 224))[-1]
    sides = (given,) if net.pretrained_cfg.get("fixed_input_size") else (*(s for s in SIDES if s < given), given)
    return PerFrame(net), FRAMES, sides


def _torchvision(name: str) -> tuple[nn.Module, int, tuple[int, ...]]:
    video: Any = imported("torchvision.models.video")
    frames, side = TORCHVISION[name]
    if name.startswith("mvit"):  # whose builders fix the size of the clip
        kind = video.mvit.MViT
        video.mvit.MViT = lambda **given: kind(**{**given, "spatial_size": (side, side), "temporal_size": frames})
    return getattr(video, name)(num_classes=10), frames, (side,)


def _pytorchvideo(name: str) -> tuple[nn.Module, int, tuple[int, ...]]:
    path, options, (frames, side) = PYTORCHVIDEO[name]
    file, _, function = path.partition(".")
    if file == "hub":
        net = imported("pytorchvideo.models.hub.efficient_x3d_mobile_cpu").efficient_x3d_xs(pretrained=False)
        return net, frames, (side,)
    if file == "slowfast":
        net = imported("pytorchvideo.models.slowfast").create_slowfast(model_num_class=10, **options)
        return wrappers.Pathways(net, 4), frames, (side,)
    module: Any = imported(f"pytorchvideo.models.{file}")
    if file == "audio_visual_slowfast":
        net = getattr(module, function)(model_num_class=10, **options)
        return wrappers.WithSound(net, 4, (1, 128, 1, 80)), frames, (side,)
    classes = {"head_num_classes": 10} if "vision" in file else {"model_num_class": 10}
    return getattr(module, function)(**classes, **options), frames, (side,)


def _own(name: str) -> tuple[nn.Module, int, tuple[int, ...]]:
    return constructs.NETWORKS[name](), constructs.FRAMES, (constructs.SIDE,)


_BUILDERS: dict[str, Callable[[str], tuple[nn.Module, int, tuple[int, ...]]]] = {
    "timm": _timm,
    "torchvision": _torchvision,
    "pytorchvideo": _pytorchvideo,
    "mmaction": recognisers.build,
    "transformers": transformers_nets.build,
    "own": _own,
}
