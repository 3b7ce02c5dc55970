"""The video models of the paper, equal to the public ones.

    model = lrp3d.models.build("I3D-R50-f8", num_classes=400)
    lrp3d.models.load_checkpoint(model, "checkpoint.pth")

Every model takes clips (b, 3, t, h, w), returns logits (b, k), and has `frame_logits(clip)`, (b, n, k),
whose mean over n are the logits.
"""

from .base import VideoModel
from .checkpoints import LoadReport, load_checkpoint
from .counting import count_multiply_adds, count_parameters, count_temporal_convolutions
from .files import CheckpointError, read_checkpoint
from .i3d import i3d_inception, i3d_resnet
from .i3d_original import i3d_original
from .pretrained import load_pretrained, pretrained_facts, pretrained_names
from .published import PUBLISHED, Published, fetch_weights
from .recipe import Recipe
from .s3d import s3d, s3d_resnet
from .saving import build_for, convert_checkpoint, load_model, save_checkpoint
from .slowfast import slowfast_resnet50
from .tam import tam_inception, tam_resnet, tsn_inception, tsn_resnet
from .train import VideoClips, evaluate, train
from .tsm import tsm_resnet
from .zoo import build

__all__ = [
    "PUBLISHED",
    "CheckpointError",
    "LoadReport",
    "Published",
    "Recipe",
    "VideoClips",
    "VideoModel",
    "build",
    "build_for",
    "convert_checkpoint",
    "count_multiply_adds",
    "count_parameters",
    "count_temporal_convolutions",
    "evaluate",
    "fetch_weights",
    "i3d_inception",
    "i3d_original",
    "i3d_resnet",
    "load_checkpoint",
    "load_model",
    "load_pretrained",
    "pretrained_facts",
    "pretrained_names",
    "read_checkpoint",
    "s3d",
    "s3d_resnet",
    "save_checkpoint",
    "slowfast_resnet50",
    "tam_inception",
    "tam_resnet",
    "train",
    "tsm_resnet",
    "tsn_inception",
    "tsn_resnet",
]
