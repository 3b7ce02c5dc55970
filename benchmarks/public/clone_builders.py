"""How a network is built from each repository's own code, with random weights.

Networks that take frames as channels, or frames before channels, are wrapped so that they take a clip (b, 3, t, h, w).
"""

from __future__ import annotations

import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from benchmarks.public.clones import Built, imported, mended_file
from benchmarks.public.wrappers import (
    CLASSES,
    Consensus,
    FramesAsChannels,
    FramesFirst,
    OnePathway,
    Pathways,
    Reset,
    Sense,
    Shots,
    Stream,
)
from torch import Tensor, nn


def tsn(path: str, name: str = "TSN", frames: int = 4, **options: Any) -> Built:
    """A network in the dialect of TSN's code."""
    given = {"base_model": "resnet50", "partial_bn": False, "dropout": 0.5, **options}
    kind = getattr(imported(path), name)
    kind.print_spec = False
    net = kind(CLASSES, given.pop("segments", frames), given.pop("modality", "RGB"), **given)
    if type(getattr(net, "consensus", None)).__name__ == "ConsensusModule" and not options.get("temporal_pool"):
        net.consensus = Consensus()  # theirs is an autograd function of a kind that torch runs no more
    return Built(FramesAsChannels(net), frames, (64, 224))


def from_module(
    path: str, name: str, *args: Any, frames: int = 8, sides: tuple[int, ...] = (64, 112, 224), **kw: Any
) -> Built:
    """A network by the path of its module, and the name and arguments of its class or function."""
    return Built(getattr(imported(path), name)(*args, **kw), frames, sides)


def wrapped(wrapper: Callable[..., nn.Module], built: Built, *args: Any) -> Built:
    """The same network in a wrapper, which takes the clips that it took."""
    return Built(wrapper(built.net, *args), built.frames, built.sides)


def pan(**options: Any) -> Built:
    """PAN on four segments of four frames each, whose differences it takes."""
    lite = {"modality": "Lite", "pretrain": "", "is_shift": True, "data_length": 4, "new_length": 1}
    return tsn("ops.models", "PAN", 16, segments=4, **lite, **options)


def interlaced() -> Built:
    """TIN, whose shift along time is a CUDA kernel: here the same shift, by an index."""

    class Shift:
        def __call__(self, data: Tensor, shift: Tensor) -> Tensor:
            _, t, c, _ = data.shape
            places = torch.arange(t)[None, :, None] + shift.repeat_interleave(c // shift.shape[1], 1)[:, None]
            inside = ((places >= 0) & (places < t)).to(data)[..., None]
            return data.gather(1, places.clamp(0, t - 1).long()[..., None].expand(data.shape)) * inside

    module = types.ModuleType("cuda_shift.rtc_wrap")
    vars(module)["ShiftFeatureFunc"] = Shift
    sys.modules["cuda_shift"], sys.modules["cuda_shift.rtc_wrap"] = types.ModuleType("cuda_shift"), module
    return tsn("ops.models", tin=True, shift_div=4, pretrain="")


def tea() -> Built:
    """TEA, in whose list of addresses of weights a comma is missing."""
    mended_file("ops.tea50_8f", "06e79181.pth'\n", "06e79181.pth',\n")
    return tsn("ops.models", frames=8, base_model="tea", pretrain="")


def shots() -> Built:
    """TransNet V2, which asserts that pixels are whole numbers: those have no relevance."""
    net = mended_file("transnetv2_pytorch", "and inputs.dtype == torch.uint8", "").TransNetV2()
    return Built(Shots(net), 8, (48,))


def online() -> Built:
    """The stream of TSM's demonstration, frame by frame."""
    net = imported("online_demo.mobilenet_v2_tsm").MobileNetV2(CLASSES)
    kept = [(3, 56), (4, 28), (4, 28), (8, 14), (8, 14), (8, 14), (12, 14), (12, 14), (20, 7), (20, 7)]
    return Built(Stream(net, [(channels, side, side) for channels, side in kept]), 4, (224,))


def slowfast(config: str, *changes: Any, frames: int = 8, side: int = 64) -> Built:
    """A network of PySlowFast, by its own configuration file."""
    defaults, build = imported("slowfast.config.defaults"), imported("slowfast.models.build")
    cfg = defaults.get_cfg()
    cfg.merge_from_file(str(Path(defaults.__file__).parents[2] / "configs" / "Kinetics" / config))
    small = ["NUM_GPUS", 0, "MODEL.NUM_CLASSES", CLASSES, "DATA.NUM_FRAMES", frames, "DATA.TRAIN_CROP_SIZE", side]
    cfg.merge_from_list([*small, "DATA.TEST_CROP_SIZE", side, *changes])
    net = build.build_model(cfg)
    pathways = "SlowFast" in cfg.MODEL.MODEL_NAME
    return Built(Pathways(net, cfg.SLOWFAST.ALPHA) if pathways else OnePathway(net), frames, (side,))


def ctnet() -> Built:
    """CT-Net, with the mean over segments in place of its own consensus."""
    net = imported("models").TSN(CLASSES, 8, "RGB", "CT_Net", backbone="resnet50", partial_bn=False)
    net.consensus = Consensus()
    return Built(FramesAsChannels(net), 8, (64, 224))


def movinet(causal: bool, kept: bool = False) -> Built:
    """MoViNet A0; `causal` reads a video in parts, and `kept` leaves an earlier part in its buffers."""
    cfg, models = imported("movinets.config")._C.MODEL.MoViNetA0, imported("movinets.models")
    net = models.MoViNet(cfg, causal=causal, num_classes=CLASSES, conv_type="2plus1d" if causal else "3d", tf_like=True)
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if name.endswith("alpha"):
                parameter.fill_(0.5)
    if kept:  # what an earlier part of the video has left in the buffers
        with torch.no_grad():
            net.eval()(torch.rand(1, 3, 4, 64, 64))
    return Built(net if not causal or kept else Reset(net), 4, (64,))


def crnn(folder: str, encoder: str) -> Built:
    """A CNN on every frame and an LSTM on its last step."""
    sys.path.insert(0, str(Path(sys.path[0]) / folder))
    functions = imported("functions")
    given = {"img_x": 64, "img_y": 64} if encoder == "EncoderCNN" else {}
    decoder = functions.DecoderRNN(num_classes=CLASSES)
    return Built(FramesFirst(getattr(functions, encoder)(**given), decoder), 4, (64,))


def sense(file: str, name: str, kept: bool = False) -> Built:
    """A network of the sense library, with a classifier on its features."""
    net = getattr(imported(f"sense.backbone_networks.{file}"), name)()
    return Built(Sense(net, kept), 16, (64,))


def ibm(name: str, **options: Any) -> Built:
    """A network by its name in IBM's table of models."""
    given = {"num_classes": CLASSES, "dropout": 0.5, "without_t_stride": False, "pooling_method": "max", "depth": 18}
    given |= {
        "groups": 8,
        "dw_t_conv": True,
        "temporal_module_name": "TAM",
        "blending_frames": 3,
        "blending_method": "sum",
    }
    given |= {"dw_conv": True, "input_channels": 3, "imagenet_pretrained": False, **options}
    net = imported("models.model_builder").MODEL_TABLE[name](**given)
    flat = name in ("resnet", "inception_v1")
    return Built(FramesAsChannels(net) if flat else net, 8, (64, 224))
