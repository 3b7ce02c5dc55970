"""Libraries that are not there, with one small network each, built and called as the real ones are."""

import sys
from types import ModuleType, SimpleNamespace

import torch
from torch import nn

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)


def clips(classes=3):
    """A network of clips (b, 3, t, h, w) that classifies every frame and averages."""

    class Clips(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.fc = nn.Conv3d(3, 4, 3, padding=1), nn.Linear(4, classes)

        def forward(self, clip):
            return self.fc(torch.relu(self.conv(clip)).mean((3, 4)).transpose(1, 2)).mean(1)

    return Clips()


class Images(nn.Module):
    """A network of images (b, 3, h, w)."""

    def __init__(self, classes=3):
        super().__init__()
        self.pretrained_cfg = {"input_size": (3, 16, 16), "crop_pct": 0.8, "mean": MEAN, "std": STD}
        self.conv, self.fc = nn.Conv2d(3, 4, 3), nn.Linear(4, classes)

    def forward(self, images):
        return self.fc(torch.relu(self.conv(images)).mean((2, 3)))


class Pathways(nn.Module):
    """A network of a slow and a fast pathway."""

    def __init__(self, model_num_class=3):
        super().__init__()
        self.slow, self.fast = nn.Conv3d(3, 4, 3, padding=1), nn.Conv3d(3, 4, 3, padding=1)
        self.fc = nn.Linear(8, model_num_class)

    def forward(self, pathways):
        slow, fast = pathways
        assert 4 * slow.shape[2] == fast.shape[2]
        slow, fast = torch.relu(self.slow(slow)), torch.relu(self.fast(fast))
        return self.fc(torch.cat([slow.mean((2, 3, 4)), fast.mean((2, 3, 4))], 1))


class Config:
    """What a network of transformers is made from."""

    def __init__(self):
        self.num_labels, self.num_frames, self.image_size = 3, 4, 16

    @property
    def id2label(self):
        return {number: f"LABEL_{number}" for number in range(self.num_labels)}


class TinyForVideoClassification(nn.Module):
    """A network of clips (b, t, 3, h, w), with logits in an object."""

    config_class = Config

    def __init__(self, config):
        super().__init__()
        self.inner = clips(config.num_labels)

    def forward(self, pixel_values):
        return SimpleNamespace(logits=self.inner(pixel_values.transpose(1, 2)))


class Recognizer2D(nn.Module):
    """A recogniser of frames (b, t, 3, h, w) that returns logits where its head is asked."""

    def __init__(self, classes):
        super().__init__()
        self.inner = Images(classes)

    def forward(self, frames, stage):
        assert stage == "head"
        return self.inner(frames.view(-1, *frames.shape[2:])).unflatten(0, (len(frames), -1)).mean(1)


class Entries(dict):
    """A configuration of mmengine: a dict with attributes."""

    __getattr__ = dict.__getitem__

    def merge_from_dict(self, changes):
        for name, value in changes.items():
            *folders, last = name.split(".")
            place = self
            for folder in folders:
                place = place[folder]
            place[last] = value


CONFIG = """
model = dict(type="Recognizer2D", cls_head=dict(num_classes=3),
             data_preprocessor=dict(mean=[102.0, 127.5, 153.0], std=[51.0, 63.75, 76.5]))
test_pipeline = [dict(type="SampleFrames", clip_len=1, num_clips=4),
                 dict(type="Resize", scale=(-1, 20)),
                 dict(type="CenterCrop", crop_size=16), dict(type="FormatShape", input_format="NCHW")]
"""


def _from_file(path):
    read = {}
    with open(path) as file:
        exec(file.read(), read)
    model = Entries(read["model"], cls_head=Entries(read["model"]["cls_head"]))
    return Entries(model=model, test_pipeline=read["test_pipeline"])


class _Scope:
    overwrite_default_scope = staticmethod(lambda name: torch.no_grad())


def _module(name, **names):
    module = ModuleType(name)
    module.__dict__.update(names)
    return module


def install(monkeypatch):
    """Put all of them where they would be imported from."""
    public = SimpleNamespace(
        transforms=lambda: SimpleNamespace(crop_size=[16], resize_size=[20, 26], mean=MEAN, std=STD),
        meta={"categories": ["a", "b", "c"]},
    )
    video = _module("torchvision.models.video")
    models = _module(
        "torchvision.models",
        video=video,
        list_models=lambda module: ["clips_18"] if module is video else ["images_18"],
        get_model_builder=lambda name: (
            lambda weights, num_classes=3: clips(num_classes) if name == "clips_18" else Images(num_classes)
        ),
        get_model_weights=lambda name: SimpleNamespace(DEFAULT=public),
    )
    build = SimpleNamespace(build=lambda config: Recognizer2D(config["cls_head"]["num_classes"]))
    for module in (
        _module("torchvision", models=models),
        models,
        video,
        _module("pytorchvideo"),
        _module("pytorchvideo.models"),
        _module(
            "pytorchvideo.models.hub", slow_r50=lambda model_num_class=3: clips(model_num_class), slowfast_r50=Pathways
        ),
        _module(
            "timm",
            list_models=lambda: ["images"],
            create_model=lambda name, pretrained, num_classes=3: Images(num_classes),
        ),
        _module("transformers", TinyForVideoClassification=TinyForVideoClassification),
        _module("mmengine"),
        _module("mmengine.config", Config=SimpleNamespace(fromfile=_from_file)),
        _module("mmengine.registry", DefaultScope=_Scope),
        _module("mmaction"),
        _module("mmaction.models"),
        _module("mmaction.registry", MODELS=build),
    ):
        monkeypatch.setitem(sys.modules, module.__name__, module)
