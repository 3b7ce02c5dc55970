from models import *

from . import (
    base as base,
    blocks as blocks,
    checkpoints as checkpoints,
    counting as counting,
    files as files,
    i3d as i3d,
    i3d_original as i3d_original,
    inception as inception,
    names as names,
    pretrained as pretrained,
    resnet as resnet,
    s3d as s3d,
    saving as saving,
    slowfast as slowfast,
    tam as tam,
    train as train,
    tsm as tsm,
    zoo as zoo,
)
