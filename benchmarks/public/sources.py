"""Networks of public libraries by name, each with a small clip; a library that is not installed is left out."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.public import constructs, repositories, wrappers

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
_TSM = {"type": "ResNetTSM", "depth": 50, "num_segments": 4, "shift_div": 8}
_SEGMENTS = {"type": "TSMHead", "in_channels": 2048, "num_segments": 4}


_PLACES = ((0, 0, 0), (1, 0, 1, 0), (1, 0, 1, 0, 1, 0), (0, 0, 0))
_NON_LOCAL = {"sub_sample": True, "use_scale": False, "norm_cfg": {"type": "BN3d"}}
_I3D = {
    "type": "ResNet3d",
    "depth": 50,
    "pretrained2d": False,
    "pretrained": None,
    "conv1_kernel": (5, 7, 7),
    "conv1_stride_t": 2,
    "pool1_stride_t": 2,
    "inflate": ((1, 1, 1), (1, 0, 1, 0), (1, 0, 1, 0, 1, 0), (0, 1, 0)),
    "zero_init_residual": False,
}
_SLOW_ONLY = {
    "type": "ResNet3dSlowOnly",
    "depth": 50,
    "pretrained": None,
    "lateral": False,
    "conv1_kernel": (1, 7, 7),
    "conv1_stride_t": 1,
    "pool1_stride_t": 1,
    "inflate": (0, 0, 1, 1),
    "norm_eval": False,
}
_I3D_HEAD = {"type": "I3DHead", "in_channels": 2048}
_TPN = {
    "type": "TPN",
    "in_channels": (1024, 2048),
    "out_channels": 1024,
    "temporal_modulation_cfg": {"downsample_scales": (8, 8)},
    "upsample_cfg": {"scale_factor": (1, 1, 1)},
    "downsample_cfg": {"downsample_scale": (1, 1, 1)},
    "level_fusion_cfg": {
        "in_channels": (1024, 1024),
        "mid_channels": (1024, 1024),
        "out_channels": 2048,
        "downsample_scales": ((1, 1, 1), (1, 1, 1)),
    },
}


def _non_local(mode: str) -> dict[str, Any]:
    settings = {**_NON_LOCAL, "mode": mode}
    return {"backbone": {**_TSM, "non_local": _PLACES, "non_local_cfg": settings}, "head": _SEGMENTS}


MMACTION: dict[str, dict[str, Any]] = {
    "tsm_r50": {"backbone": _TSM, "head": _SEGMENTS},
    "tsm_r50_nl_dot": _non_local("dot_product"),
    "tsm_r50_nl_embedded": _non_local("embedded_gaussian"),
    "tsm_r50_nl_gaussian": _non_local("gaussian"),
    "tanet_r50": {"backbone": {"type": "TANet", "depth": 50, "num_segments": 4, "tam_cfg": {}}, "head": _SEGMENTS},
    "trn_r50": {
        "backbone": {"type": "ResNet", "depth": 50},
        "head": {"type": "TRNHead", "in_channels": 2048, "num_segments": 4},
    },
    "tsn_r50": {"backbone": {"type": "ResNet", "depth": 50}, "head": {"type": "TSNHead", "in_channels": 2048}},
    "tsm_mobilenet_v2": {
        "backbone": {"type": "MobileNetV2TSM", "num_segments": 4, "shift_div": 8},
        "head": {**_SEGMENTS, "in_channels": 1280},
    },
    "tpn_slowonly_r50": {
        "backbone": {**_SLOW_ONLY, "out_indices": (2, 3)},
        "neck": {**_TPN, "spatial_modulation_cfg": {"in_channels": (1024, 2048), "out_channels": 2048}},
        "head": {"type": "TPNHead", "in_channels": 2048},
    },
    "tpn_tsm_r50": {
        "backbone": {
            "type": "ResNetTSM",
            "depth": 50,
            "out_indices": (2, 3),
            "norm_eval": False,
            "shift_div": 8,
            "num_segments": 8,
        },
        "neck": {
            "type": "TPN",
            "in_channels": (1024, 2048),
            "out_channels": 1024,
            "spatial_modulation_cfg": {"in_channels": (1024, 2048), "out_channels": 2048},
            "temporal_modulation_cfg": {"downsample_scales": (8, 8)},
            "upsample_cfg": {"scale_factor": (1, 1, 1)},
            "downsample_cfg": {"downsample_scale": (1, 1, 1)},
            "level_fusion_cfg": {
                "in_channels": (1024, 1024),
                "mid_channels": (1024, 1024),
                "out_channels": 2048,
                "downsample_scales": ((1, 1, 1), (1, 1, 1)),
            },
        },
        "head": {"type": "TPNHead", "in_channels": 2048, "consensus": {"type": "AvgConsensus", "dim": 1}},
        "clip": (8, 64),
    },
    "c2d_r50": {"backbone": {"type": "C2D", "depth": 50, "norm_eval": False}, "head": _I3D_HEAD},
    "c3d": {
        "backbone": {"type": "C3D", "out_dim": 8192},
        "head": {"type": "I3DHead", "in_channels": 4096, "spatial_type": None},
        "clip": (16, 112),
    },
    "i3d_r50": {"backbone": _I3D, "head": _I3D_HEAD, "clip": (8, 64)},
    "i3d_r50_nl_gaussian": {
        "backbone": {**_I3D, "non_local": _PLACES, "non_local_cfg": {**_NON_LOCAL, "mode": "gaussian"}},
        "head": _I3D_HEAD,
        "clip": (8, 64),
    },
    "ircsn_r50": {
        "backbone": {
            "type": "ResNet3dCSN",
            "depth": 50,
            "pretrained": None,
            "with_pool2": False,
            "bottleneck_mode": "ir",
            "norm_eval": False,
        },
        "head": _I3D_HEAD,
        "clip": (8, 64),
    },
    "r2plus1d_r34": {
        "backbone": {
            "type": "ResNet2Plus1d",
            "depth": 34,
            "pretrained2d": False,
            "conv1_kernel": (3, 7, 7),
            "conv1_stride_t": 1,
            "pool1_stride_t": 1,
            "inflate": (1, 1, 1, 1),
            "pretrained": None,
            "conv_cfg": {"type": "Conv2plus1d"},
            "spatial_strides": (1, 2, 2, 2),
            "temporal_strides": (1, 2, 2, 2),
            "zero_init_residual": False,
        },
        "head": {**_I3D_HEAD, "in_channels": 512},
        "clip": (8, 64),
    },
    "slowonly_r50": {"backbone": _SLOW_ONLY, "head": _I3D_HEAD},
    "slowfast_r50": {
        "backbone": {
            "type": "ResNet3dSlowFast",
            "pretrained": None,
            "resample_rate": 4,
            "speed_ratio": 4,
            "channel_ratio": 8,
            "slow_pathway": {
                "type": "resnet3d",
                "depth": 50,
                "pretrained": None,
                "lateral": True,
                "conv1_kernel": (1, 7, 7),
                "dilations": (1, 1, 1, 1),
                "conv1_stride_t": 1,
                "pool1_stride_t": 1,
                "inflate": (0, 0, 1, 1),
                "norm_eval": False,
            },
            "fast_pathway": {
                "type": "resnet3d",
                "depth": 50,
                "pretrained": None,
                "lateral": False,
                "base_channels": 8,
                "conv1_kernel": (5, 7, 7),
                "conv1_stride_t": 1,
                "pool1_stride_t": 1,
                "norm_eval": False,
            },
        },
        "head": {"type": "SlowFastHead", "in_channels": 2304},
        "clip": (16, 64),
    },
    "x3d": {
        "backbone": {"type": "X3D", "gamma_w": 1, "gamma_b": 2.25, "gamma_d": 2.2},
        "head": {"type": "X3DHead", "in_channels": 432, "fc1_bias": False},
        "clip": (4, 64),
    },
    "timesformer_divST": {
        "backbone": {
            "type": "TimeSformer",
            "num_frames": 4,
            "img_size": 64,
            "patch_size": 16,
            "embed_dims": 96,
            "num_heads": 4,
            "num_transformer_layers": 3,
            "attention_type": "divided_space_time",
        },
        "head": {"type": "TimeSformerHead", "in_channels": 96},
    },
    "mvit_small": {
        "backbone": {"type": "MViT", "arch": "small", "drop_path_rate": 0.2, "spatial_size": 64, "temporal_size": 8},
        "head": {"type": "MViTHead", "in_channels": 768},
        "clip": (8, 64),
    },
    "swin_tiny": {
        "backbone": {
            "type": "SwinTransformer3D",
            "arch": "tiny",
            "pretrained": None,
            "pretrained2d": False,
            "patch_size": (2, 4, 4),
            "window_size": (8, 7, 7),
        },
        "head": {"type": "I3DHead", "in_channels": 768},
        "clip": (8, 64),
    },
    "uniformer_small": {
        "backbone": {
            "type": "UniFormer",
            "depth": [3, 4, 8, 3],
            "embed_dim": [64, 128, 320, 512],
            "head_dim": 64,
            "drop_path_rate": 0.1,
        },
        "head": {"type": "I3DHead", "in_channels": 512},
        "clip": (8, 64),
    },
}


class PerFrame(nn.Module):
    """A network of images on every frame, and the mean of what it says."""

    def __init__(self, net: nn.Module):
        super().__init__()
        self.net = net

    def forward(self, clip: Tensor) -> Tensor:
        """Clip (1, 3, t, h, w) to logits (1, k)."""
        logits = self.net(clip.transpose(1, 2).flatten(0, 1))
        logits = logits[0] if isinstance(logits, tuple) else logits
        return logits.unflatten(0, (len(clip), -1)).mean(1)


class Segments(nn.Module):
    """A recogniser of mmaction2 that looks at frames one by one: backbone and head."""

    def __init__(self, backbone: nn.Module, neck: nn.Module | None, head: nn.Module, frames: int):
        super().__init__()
        self.backbone, self.neck, self.head, self.frames = backbone, neck, head, frames

    def forward(self, clip: Tensor) -> Tensor:
        """Clip (1, 3, t, h, w) to logits (1, k)."""
        features = self.backbone(clip.transpose(1, 2).flatten(0, 1))
        if self.neck is None:
            return self.head(features, num_segs=self.frames)
        levels = [level.unflatten(0, (-1, self.frames)).transpose(1, 2).contiguous() for level in features]
        return self.head(self.neck(levels)[0].squeeze(2), num_segs=1)


class Volume(nn.Module):
    """A recogniser of mmaction2 that looks at the clip as a whole: backbone, neck if it has one, and head."""

    def __init__(self, backbone: nn.Module, neck: nn.Module | None, head: nn.Module):
        super().__init__()
        self.backbone, self.neck, self.head = backbone, neck, head

    def forward(self, clip: Tensor) -> Tensor:
        """Clip (1, 3, t, h, w) to logits (1, k)."""
        features = self.backbone(clip)
        return self.head(features if self.neck is None else self.neck(features)[0])


def names() -> list[str]:
    """Of all networks whose libraries are installed."""
    found: list[str] = []
    for library, those in (
        ("torchvision", TORCHVISION),
        ("pytorchvideo", PYTORCHVIDEO),
        ("mmaction", MMACTION),
        ("timm", TIMM),
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
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.running_mean is not None:
            module.running_mean.normal_(0, 0.1)
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


def _mmaction(name: str) -> tuple[nn.Module, int, tuple[int, ...]]:
    imported("torchvision")
    mmaction: Any = imported("mmaction.models")
    registry = imported("mmaction.registry").MODELS
    imported("mmengine.registry").init_default_scope("mmaction")
    del mmaction
    parts = MMACTION[name]
    head = registry.build({"num_classes": 10, "average_clips": None, **parts["head"]})
    backbone = registry.build(parts["backbone"])
    frames, side = parts.get("clip", (4, 64))
    neck = registry.build(parts["neck"]) if "neck" in parts else None
    if name.startswith(("ts", "trn", "tanet", "tpn_tsm")):
        return Segments(backbone, neck, head, frames), frames, (side,)
    return Volume(backbone, neck, head), frames, (side,)


def _own(name: str) -> tuple[nn.Module, int, tuple[int, ...]]:
    return constructs.NETWORKS[name](), constructs.FRAMES, (constructs.SIDE,)


_BUILDERS: dict[str, Callable[[str], tuple[nn.Module, int, tuple[int, ...]]]] = {
    "timm": _timm,
    "torchvision": _torchvision,
    "pytorchvideo": _pytorchvideo,
    "mmaction": _mmaction,
    "own": _own,
}

_undone: list[Any] = []


def imported(name: str) -> Any:
    """A module; torchvision also where its compiled operations do not fit this torch, as networks rarely use them."""
    try:
        importlib.import_module("torchvision")
    except (RuntimeError, ImportError):
        library = torch.library.Library("torchvision", "FRAGMENT")
        for operation in ("nms", "qnms"):
            library.define(f"{operation}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _undone.append(library)
    return importlib.import_module(name)
