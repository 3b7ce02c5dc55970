"""Recognisers of mmaction2: their parts as its configuration files have them, put together without its pipelines."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from benchmarks.public.importing import imported

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
        "neck": _TPN,
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
        "neck": _TPN,
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


class Segments(nn.Module):
    """A recogniser of mmaction2 that looks at frames one by one: backbone and head."""

    def __init__(self, backbone: nn.Module, neck: nn.Module | None, head: nn.Module, frames: int):
        super().__init__()
        self.backbone, self.neck, self.head, self.frames = backbone, neck, head, frames

    def forward(self, clip: Tensor) -> Tensor:
        """Clip (1, 3, t, h, w) to logits (1, k)."""
        features = self.backbone(clip.transpose(1, 2).flatten(0, 1))
        if self.neck is None:
            logits: Tensor = self.head(features, num_segs=self.frames)
            return logits
        levels = [level.unflatten(0, (-1, self.frames)).transpose(1, 2).contiguous() for level in features]
        logits = self.head(self.neck(levels)[0].squeeze(2), num_segs=1)
        return logits


class Volume(nn.Module):
    """A recogniser of mmaction2 that looks at the clip as a whole: backbone, neck if it has one, and head."""

    def __init__(self, backbone: nn.Module, neck: nn.Module | None, head: nn.Module):
        super().__init__()
        self.backbone, self.neck, self.head = backbone, neck, head

    def forward(self, clip: Tensor) -> Tensor:
        """Clip (1, 3, t, h, w) to logits (1, k)."""
        features = self.backbone(clip)
        logits: Tensor = self.head(features if self.neck is None else self.neck(features)[0])
        return logits


def build(name: str) -> tuple[nn.Module, int, tuple[int, ...]]:
    """A recogniser, how many frames it takes, and sides of frames to try."""
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
