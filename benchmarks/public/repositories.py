"""Networks that live in repositories of their own, not in packages: built from clones, unchanged, without weights.

A clone is looked for in `FOLDER`, by the name of its repository. What is not there is left out.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks.public.clone_builders import (
    crnn,
    ctnet,
    from_module,
    ibm,
    interlaced,
    movinet,
    online,
    pan,
    sense,
    shots,
    slowfast,
    tea,
    tsn,
    wrapped,
)
from benchmarks.public.clones import Built, imported, prepare, without_weights
from benchmarks.public.wrappers import (
    CLASSES,
    Averaged,
    Batched,
    FramesFirst,
    Grey,
    LastState,
    RowsOfAClip,
    TwoChannels,
)

FOLDER: Path | None = None
"""The folder of the clones."""

_3D = "3DCNN"

NETWORKS: dict[str, tuple[str, Callable[[], Built]]] = {
    "slowfast.c2d_r50": ("SlowFast", lambda: slowfast("C2D_8x8_R50.yaml")),
    "slowfast.c2d_nln_r50": ("SlowFast", lambda: slowfast("C2D_NLN_8x8_R50.yaml")),
    "slowfast.i3d_r50": ("SlowFast", lambda: slowfast("I3D_8x8_R50.yaml")),
    "slowfast.i3d_nln_r50": ("SlowFast", lambda: slowfast("I3D_NLN_8x8_R50.yaml")),
    "slowfast.slow_r50": ("SlowFast", lambda: slowfast("SLOW_8x8_R50.yaml")),
    "slowfast.slowfast_r50": ("SlowFast", lambda: slowfast("SLOWFAST_4x16_R50.yaml", "SLOWFAST.ALPHA", 4, frames=16)),
    "slowfast.slowfast_nln_r50": (
        "SlowFast",
        lambda: slowfast("SLOWFAST_NLN_4x16_R50.yaml", "SLOWFAST.ALPHA", 4, frames=16),
    ),
    "slowfast.x3d_s": ("SlowFast", lambda: slowfast("X3D_S.yaml", "MODEL.HEAD_ACT", "none")),
    "slowfast.x3d_s_softmax_head": ("SlowFast", lambda: slowfast("X3D_S.yaml")),
    "slowfast.slow_r50_softmax_head": ("SlowFast", lambda: slowfast("SLOW_4x16_R50.yaml")),
    "slowfast.mvit_b_conv": ("SlowFast", lambda: slowfast("MVIT_B_16x4_CONV.yaml")),
    "slowfast.mvitv2_s": ("SlowFast", lambda: slowfast("MVITv2_S_16x4.yaml")),
    "tsm.tsn_r50": ("temporal-shift-module", lambda: tsn("ops.models", pretrain="")),
    "tsm.tsm_r50": ("temporal-shift-module", lambda: tsn("ops.models", pretrain="", is_shift=True)),
    "tsm.tsm_r50_block": (
        "temporal-shift-module",
        lambda: tsn("ops.models", pretrain="", is_shift=True, shift_place="block"),
    ),
    "tsm.tsm_r50_temporalpool": (
        "temporal-shift-module",
        lambda: wrapped(RowsOfAClip, tsn("ops.models", pretrain="", is_shift=True, temporal_pool=True)),
    ),
    "tsm.tsm_r50_nonlocal": (
        "temporal-shift-module",
        lambda: tsn("ops.models", pretrain="", is_shift=True, non_local=True),
    ),
    "tsm.tsm_mobilenetv2": (
        "temporal-shift-module",
        lambda: tsn("ops.models", pretrain="", is_shift=True, base_model="mobilenetv2"),
    ),
    "tsm.tsn_bninception": ("temporal-shift-module", lambda: tsn("ops.models", base_model="BNInception")),
    "tanet.tam_r50": ("temporal-adaptive-module", lambda: tsn("ops.models", pretrain="", tam=True)),
    "tdn.tdn_r50": ("TDN", lambda: tsn("ops.models", frames=20, segments=4, new_length=1, pretrain="")),
    "tsm.online_mobilenetv2": ("temporal-shift-module", online),
    "tea.tea_r50": ("tea-action-recognition", tea),
    "action.action_r50": ("ACTION-Net", lambda: tsn("models.models", pretrain="", is_shift=True)),
    "action.action_mobilenetv2": (
        "ACTION-Net",
        lambda: tsn("models.models", pretrain="", is_shift=True, base_model="mobilenetv2"),
    ),
    "pan.pan_lite_r50": ("PAN-PyTorch", pan),
    "pan.pan_full_r50": ("PAN-PyTorch", lambda: pan(has_VAP=True)),
    "tin.tin_r50": ("TIN", interlaced),
    "tsn.tsn_r50_yjxiong": ("tsn-pytorch", lambda: tsn("models")),
    "tsn.tsn_rgbdiff_yjxiong": ("tsn-pytorch", lambda: tsn("models", frames=24, segments=4, modality="RGBDiff")),
    "tsn.tsn_flow_yjxiong": (
        "tsn-pytorch",
        lambda: wrapped(TwoChannels, tsn("models", frames=20, segments=4, modality="Flow")),
    ),
    "transnet.v2": ("TransNetV2", shots),
    "ctnet.ct_r50": ("CT-Net", ctnet),
    "trn.trn_r50": ("TRN-pytorch", lambda: tsn("models", consensus_type="TRN")),
    "trn.trnmultiscale_r50": ("TRN-pytorch", lambda: tsn("models", consensus_type="TRNmultiscale")),
    "gsm.gsm_bninception": ("GSM", lambda: tsn("models", "VideoModel", 8, base_model="BNInception", gsm=True)),
    "ibm.i3d_r18": ("action-recognition-pytorch", lambda: ibm("i3d_resnet")),
    "ibm.i3d": ("action-recognition-pytorch", lambda: ibm("i3d")),
    "ibm.s3d": ("action-recognition-pytorch", lambda: ibm("s3d")),
    "ibm.s3d_r18": ("action-recognition-pytorch", lambda: ibm("s3d_resnet")),
    "ibm.tam_r18": ("action-recognition-pytorch", lambda: ibm("resnet")),
    "ibm.tam_r18_max": ("action-recognition-pytorch", lambda: ibm("resnet", blending_method="max")),
    "ibm.tam_inception": ("action-recognition-pytorch", lambda: ibm("inception_v1")),
    "ibm.tam_r50_b5": ("action-recognition-pytorch", lambda: ibm("resnet", depth=50, blending_frames=5)),
    "hara.resnet18": (
        "3D-ResNets-PyTorch",
        lambda: from_module("models.resnet", "generate_model", 18, n_classes=CLASSES),
    ),
    "hara.resnet50_typeA": (
        "3D-ResNets-PyTorch",
        lambda: from_module("models.resnet", "generate_model", 50, n_classes=CLASSES, shortcut_type="A"),
    ),
    "hara.wide50": (
        "3D-ResNets-PyTorch",
        lambda: from_module("models.wide_resnet", "generate_model", 50, 1, n_classes=CLASSES),
    ),
    "hara.densenet121": (
        "3D-ResNets-PyTorch",
        lambda: from_module("models.densenet", "generate_model", 121, num_classes=CLASSES, frames=16, sides=(112,)),
    ),
    "hara.r2p1d18": (
        "3D-ResNets-PyTorch",
        lambda: from_module("models.resnet2p1d", "generate_model", 18, n_classes=CLASSES),
    ),
    "okan.squeezenet3d": (
        "Efficient-3DCNNs",
        lambda: from_module(
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
        lambda: from_module("models.mobilenet", "get_model", num_classes=CLASSES, frames=16, sides=(64,)),
    ),
    "okan.mobilenetv2_3d": (
        "Efficient-3DCNNs",
        lambda: from_module(
            "models.mobilenetv2", "get_model", num_classes=CLASSES, sample_size=64, frames=16, sides=(64,)
        ),
    ),
    "okan.shufflenet3d": (
        "Efficient-3DCNNs",
        lambda: from_module("models.shufflenet", "get_model", groups=3, num_classes=CLASSES, frames=16, sides=(64,)),
    ),
    "okan.shufflenetv2_3d": (
        "Efficient-3DCNNs",
        lambda: from_module(
            "models.shufflenetv2", "get_model", num_classes=CLASSES, sample_size=64, frames=16, sides=(64,)
        ),
    ),
    "okan.c3d": (
        "Efficient-3DCNNs",
        lambda: from_module(
            "models.c3d", "get_model", num_classes=CLASSES, sample_size=112, sample_duration=16, frames=16, sides=(112,)
        ),
    ),
    "okan.resnet18_typeA": (
        "Efficient-3DCNNs",
        lambda: from_module(
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
        lambda: wrapped(Averaged, from_module("pytorch_i3d", "InceptionI3d", CLASSES, frames=16, sides=(224,))),
    ),
    "hassony.i3d": (
        "kinetics_i3d_pytorch",
        lambda: wrapped(Averaged, from_module("src.i3dpt", "I3D", CLASSES, frames=16, sides=(224,))),
    ),
    "feiyun.i3d_nonlocal_r50": (
        "i3d-non-local-pytorch",
        lambda: from_module("models.i3dnon", "resnet50", num_classes=CLASSES, frame_num=16, frames=16, sides=(64, 224)),
    ),
    "movinet.a0_base": ("MoViNet-pytorch", lambda: movinet(False)),
    "movinet.a0_stream": ("MoViNet-pytorch", lambda: movinet(True)),
    "movinet.a0_stream_buffers_kept": ("MoViNet-pytorch", lambda: movinet(True, kept=True)),
    "sense.efficientnet": ("sense", lambda: sense("efficientnet", "StridedInflatedEfficientNet")),
    "sense.mobilenetv2": ("sense", lambda: sense("mobilenet", "StridedInflatedMobileNetV2")),
    "sense.efficientnet_state_kept": (
        "sense",
        lambda: sense("efficientnet", "StridedInflatedEfficientNet", kept=True),
    ),
    "jf.c3d": (
        "pytorch-video-recognition",
        lambda: from_module("network.C3D_model", "C3D", CLASSES, frames=16, sides=(112,)),
    ),
    "jf.r3d": (
        "pytorch-video-recognition",
        lambda: from_module("network.R3D_model", "R3DClassifier", CLASSES, (2, 2, 2, 2)),
    ),
    "jf.r2plus1d": (
        "pytorch-video-recognition",
        lambda: from_module("network.R2Plus1D_model", "R2Plus1DClassifier", CLASSES, (2, 2, 2, 2)),
    ),
    "qijie.p3d63": (
        "pseudo-3d-pytorch",
        lambda: from_module("p3d_model", "P3D63", num_classes=CLASSES, frames=16, sides=(160,)),
    ),
    "hht.cnn3d": (
        "video-classification",
        lambda: wrapped(
            Grey, from_module("CRNN.functions", "CNN3D", 16, 64, 64, num_classes=CLASSES, frames=16, sides=(64,))
        ),
    ),
    "hht.crnn": ("video-classification", lambda: crnn("CRNN", "EncoderCNN")),
    "hht.resnet_crnn": ("video-classification", lambda: crnn("ResNetCRNN", "ResCNNEncoder")),
    "mrzzm.artnet": (
        "action-recognition-models-pytorch",
        lambda: from_module(f"{_3D}.ARTNet.ARTNet", "ARTNet", CLASSES, frames=16, sides=(112, 64)),
    ),
    "mrzzm.p3d": (
        "action-recognition-models-pytorch",
        lambda: from_module(f"{_3D}.P3D.P3D", "P3D", CLASSES, frames=16, sides=(64, 160)),
    ),
    "mrzzm.fast_s3d": (
        "action-recognition-models-pytorch",
        lambda: from_module(f"{_3D}.S3D.Fast_S3D", "fast_S3D", CLASSES, frames=64, sides=(224,)),
    ),
    "mrzzm.res3d": (
        "action-recognition-models-pytorch",
        lambda: from_module(f"{_3D}.Res3D.Res3D", "Res3D", CLASSES, frames=8, sides=(224,)),
    ),
    "mrzzm.lrcn": (
        "action-recognition-models-pytorch",
        lambda: wrapped(Averaged, from_module("CNN+LSTM.LRCNs.LRCNs", "LRCNs", 2048, 16, 1, CLASSES, frames=3), True),
    ),
    "mrzzm.alstm": (
        "action-recognition-models-pytorch",
        lambda: wrapped(
            Averaged, from_module("CNN+LSTM.ALSTM.ALSTM", "ALSTM", 2048, 49, 1, CLASSES, frames=3, sides=(224,)), True
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
    "r1c7.slowfast": (
        "SlowFastNetworks",
        lambda: from_module("lib.slowfastnet", "resnet50", class_num=CLASSES, frames=32),
    ),
    "vmz.ip_csn": ("VMZ", lambda: from_module("vmz.models.csn", "ip_csn_152", num_classes=CLASSES)),
    "vmz.ir_csn": ("VMZ", lambda: from_module("vmz.models.csn", "ir_csn_152", num_classes=CLASSES)),
    "vmz.r2plus1d_34": ("VMZ", lambda: from_module("vmz.models.r2plus1d", "r2plus1d_34", num_classes=CLASSES)),
    "ig65m.r2plus1d_34": ("ig65m-pytorch", lambda: from_module("ig65m.models", "r2plus1d_34", CLASSES)),
    "tushar.i3d_r50": (
        "pytorch-resnet3d",
        lambda: wrapped(Batched, from_module("models.resnet", "I3Res50", num_classes=CLASSES)),
    ),
    "tushar.i3d_r50_nl": (
        "pytorch-resnet3d",
        lambda: wrapped(Batched, from_module("models.resnet", "I3Res50", num_classes=CLASSES, use_nl=True)),
    ),
    "davide.c3d": (
        "c3d-pytorch",
        lambda: from_module("C3D_model", "C3D", frames=16, sides=(112,)),
    ),
    "irhum.r2plus1d": ("R2Plus1D-PyTorch", lambda: from_module("network", "R2Plus1DClassifier", CLASSES, (2, 2, 2, 2))),
    "erik.convlstm": (
        "Action-Recognition",
        lambda: wrapped(
            FramesFirst, from_module("models", "ConvLSTM", CLASSES, latent_dim=32, hidden_dim=16, frames=4)
        ),
    ),
}


def names() -> list[str]:
    """The names of the networks whose clones are there."""
    if FOLDER is None:
        return []
    return [name for name, (repository, _) in NETWORKS.items() if (FOLDER / repository).exists()]


def build(name: str) -> Built:
    """A network with random weights, from its clone."""
    repository, builder = NETWORKS[name]
    assert FOLDER is not None
    sys.path.insert(0, str(FOLDER / repository))
    below = {"CT-Net": "ops", "VMZ": "pt", "TransNetV2": "inference-pytorch"}.get(repository)
    if below is not None:  # these clones import their own modules from a folder of theirs
        sys.path.insert(0, str(FOLDER / repository / below))
    prepare(repository)
    with without_weights():
        return builder()
