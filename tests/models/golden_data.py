"""Reading the golden facts, and the weights they were measured with (see golden/README.md)."""

import gzip
import hashlib
import json
import zlib
from functools import cache
from pathlib import Path

import numpy as np
import torch

from lrp3d import models

FOLDER = Path(__file__).parent / "golden"
NAMES = sorted(path.name.removesuffix(".json.gz") for path in FOLDER.glob("[!m]*.json.gz"))
MAPS = sorted(path.name.removesuffix(".json.gz") for path in FOLDER.glob("map_*.json.gz"))


@cache
def golden(name):
    """The facts of one file."""
    return json.loads(gzip.decompress((FOLDER / f"{name}.json.gz").read_bytes()))


def fill(shapes):
    """The deterministic state dict of a source network, under the source's names."""
    state = {}
    for key, shape in shapes:
        if key.endswith("num_batches_tracked"):
            state[key] = torch.zeros((), dtype=torch.long)
            continue
        x = np.random.default_rng(zlib.crc32(key.encode())).standard_normal(shape).astype(np.float32)
        part = key.rsplit(".", 1)[-1]
        if part in ("running_mean", "bias"):
            x = np.float32(0.1) * x
        elif part == "running_var":
            x = 1 + np.float32(0.1) * np.abs(x)
        elif len(shape) >= 2:
            x = np.float32(np.sqrt(2 / np.prod(shape[1:]))) * x
        else:
            x = 1 + np.float32(0.1) * x
        state[key] = torch.from_numpy(x)
    return state


def digest(state):
    """The checksum that tells whether `fill` made the weights of the fixture."""
    sha = hashlib.sha256()
    for key in sorted(key for key, value in state.items() if value.is_floating_point()):
        sha.update(key.encode())
        sha.update(state[key].numpy().tobytes())
    return sha.hexdigest()


def clip(facts):
    """The clip (b, c, t, h, w) of a fixture."""
    x = np.random.default_rng(0).standard_normal(facts["input_shape"])
    return torch.from_numpy(x.astype(np.float32))


def build(facts):
    """Our model for a source's class and arguments."""
    args, classes = facts["args"], facts.get("args", {}).get("num_classes", 10)
    stride = not args.get("without_t_stride", True)
    name, file = facts["name"], facts.get("file", "")
    pooling = args.get("pooling_method", "max")
    if "slowfast" in name:
        frames = facts["input_shape"][2]
        return models.slowfast_resnet50(classes, frames=frames, alpha=facts["alpha"])
    if name.startswith("piergiaj"):
        return models.i3d_original(classes)
    if name.startswith("tsm"):
        place = "residual" if args["shift_place"] == "blockres" else "block"
        return models.tsm_resnet(int(args["base_model"][6:]), classes, args["num_segments"], shift=place)
    if name.startswith("tsn"):
        return models.tsn_resnet(int(args["base_model"][6:]), classes)
    if file.endswith("i3d_resnet.py"):
        return models.i3d_resnet(args["depth"], classes, stride)
    if file.endswith("s3d_resnet.py"):
        return models.s3d_resnet(args["depth"], classes, stride)
    if file.endswith("i3d.py"):
        return models.i3d_inception(classes, stride, pooling)
    if file.endswith("s3d.py"):
        return models.s3d(classes, stride, pooling)
    return build_tam(file, args, classes, stride, pooling)


def build_tam(file, args, classes, stride, pooling):
    """Our TAM, or TSN where the source has no temporal module."""
    temporal = {} if args["temporal_module_name"] is None else {"kernel_size": args["blending_frames"]}
    if temporal:
        temporal |= {"frames": args["groups"], "depthwise": args["dw_conv"]}
    if file.endswith("inception_v1.py"):
        make = models.tam_inception if temporal else models.tsn_inception
        return make(classes, temporal_stride=stride, pooling=pooling, **temporal)
    make = models.tam_resnet if temporal else models.tsn_resnet
    return make(args["depth"], classes, temporal_stride=stride, pooling=pooling, **temporal)
