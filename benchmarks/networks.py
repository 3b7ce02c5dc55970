"""Networks of others, as they are and at full size: whether they are explained, and how exactly.

    python -m benchmarks.networks [--only NAME]

Weights are random. Each is explained with the kernels that are chosen and with torch's own: relevance is conserved, and
both agree, up to rounding; what has no rule is refused by name. Libraries that are not installed are left out.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from importlib import metadata

import torch
from torch import Tensor, nn

import lrp3d
from benchmarks.timing import common
from lrp3d.compute import kernels

Shapes = Sequence[tuple[int, ...]]
IMAGE: Shapes = [(1, 3, 224, 224)]
IMAGES = (
    "cspresnet50 darknet53 densenet121 dla34 dpn68 efficientnet_b0 efficientnet_lite0 fbnetc_100 gernet_s ghostnet_100 "
    "hardcorenas_a hrnet_w18_small inception_resnet_v2 inception_v4 lcnet_100 mixnet_s mobilenetv2_100 "
    "mobilenetv3_large_100 nf_resnet50 regnety_004 regnetz_b16 repvgg_a2 res2net50_26w_4s resnest14d resnet50d "
    "resnetv2_50 rexnet_100 selecsls42 semnasnet_100 seresnet50 skresnet18 spnasnet_100 tinynet_a vgg11_bn vovnet39a "
    "xception41 convnext_tiny"
).split()
"""Networks of images; the last one has layer norm."""
CLIPS: dict[str, dict[str, Shapes]] = {
    "torchvision.models.video": {
        "mc3_18": [(1, 3, 16, 112, 112)],
        "r3d_18": [(1, 3, 16, 112, 112)],
        "r2plus1d_18": [(1, 3, 16, 112, 112)],
        "s3d": [(1, 3, 16, 224, 224)],
    },
    "pytorchvideo.models.hub": {
        "slow_r50": [(1, 3, 8, 224, 224)],
        "c2d_r50": [(1, 3, 8, 224, 224)],
        "i3d_r50": [(1, 3, 8, 224, 224)],
        "r2plus1d_r50": [(1, 3, 16, 224, 224)],
        "x3d_s": [(1, 3, 13, 182, 182)],
        "slowfast_r50": [(1, 3, 8, 224, 224), (1, 3, 32, 224, 224)],
    },
}
SHAPES: dict[str, dict[str, Shapes]] = {"timm.models": dict.fromkeys(IMAGES, IMAGE), **CLIPS}


def network(library: str, name: str) -> nn.Module:
    """In evaluation mode, up to its logits."""
    torch.manual_seed(0)
    model: nn.Module = getattr(importlib.import_module(library), name)().eval()
    for module in model.modules():
        if isinstance(getattr(module, "activation", None), nn.Softmax):  # pytorchvideo's heads end in one
            module.register_module("activation", None)
    return model


def measure(library: str, name: str, shapes: Shapes, device: torch.device) -> common.Row:
    """One row: how it was explained, or why it was not."""
    clip = " + ".join("x".join(map(str, shape[1:])) for shape in shapes)
    row: common.Row = {"from": library.split(".")[0], "network": name, "clip": clip}
    model = network(library, name).to(device)
    inputs = [torch.randn(shape, device=device) for shape in shapes]
    given: list[Tensor] | Tensor = inputs if len(inputs) > 1 else inputs[0]
    frames = len(shapes[0]) == 5
    try:
        found = lrp3d.explain(model, given, temporal=frames)
    except lrp3d.NoFrameLogits:
        frames, found = False, lrp3d.explain(model, given, temporal=False)
    except lrp3d.UnsupportedOperation as refused:
        return row | {"explained": f"refused: {str(refused).splitlines()[0]}"}
    with kernels.plain():
        plain = lrp3d.explain(model, given, temporal=frames)
    return row | {
        "explained": "with its frames" if frames else "as a whole",
        "conservation": float(found.conservation.abs().max()),
        "from plain": max(map(_deviation, _maps(found), _maps(plain))),
    }


def _maps(found: lrp3d.Explanation) -> list[Tensor]:
    relevance = [found.relevance] if isinstance(found.relevance, Tensor) else list(found.relevance)
    return [*relevance, found.matrix] if found.matrix is not None else relevance


def _deviation(one: Tensor, other: Tensor) -> float:
    return float((one - other).abs().max() / other.abs().max())


def chosen(only: str) -> Iterator[tuple[str, str, Shapes]]:
    """Of the libraries that are here; says which are not."""
    for library, networks in SHAPES.items():
        if not common.installed(library.split(".")[0]):
            print(f"{library.split('.')[0]} is not installed and left out", flush=True)
            continue
        yield from ((library, name, shapes) for name, shapes in networks.items() if name.startswith(only))


def main(argv: list[str] | None = None) -> common.Results:
    """Explain all of them and write what came of it."""
    parser = common.arguments(__doc__)
    parser.add_argument("--only", default="", metavar="NAME", help="networks whose name begins like this")
    options = common.parse(parser, argv)
    device = common.start(options)
    libraries = sorted({library.split(".")[0] for library in SHAPES if common.installed(library.split(".")[0])})
    results = common.Results(
        "networks",
        "Networks of others",
        options,
        device,
        columns=["from", "network", "clip", "explained", "conservation", "from plain"],
        notes=[
            ", ".join(f"{name} {metadata.version(name)}" for name in libraries) or "no library is installed",
            "conservation: the map's sum against what there was to explain, relative; from plain: greatest difference "
            "from torch's own kernels, over the greatest relevance; float32, random weights",
        ],
    )
    for library, name, shapes in chosen(options.only):
        if options.quick:
            shapes = [(1, *shape[1:-2], 64, 64) for shape in shapes]
        results.add(measure(library, name, shapes, device))
    return results.write()


if __name__ == "__main__":
    main()
