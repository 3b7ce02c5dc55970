"""Changes that the tests once did not notice, as an audit found them."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.mutating.tested import NUMBERS


@dataclass(frozen=True)
class Named:
    """A change that the tests once did not notice."""

    name: str
    file: str
    before: str
    after: str
    tests: tuple[str, ...]


NAMED = (
    Named(
        "conservation is always zero",
        "lrp3d/propagation/clip_relevance.py",
        "return error / scale",
        "return 0 * error / scale",
        ("tests/test_explain.py",),
    ),
    Named(
        "windows of one mean size",
        "lrp3d/study/running/explainer.py",
        "first, last = explanation.segments",
        "return max(1, round(float(explanation.atr.nanmean())))",
        NUMBERS,
    ),
    Named(
        "windows of the whole clip",
        "lrp3d/study/running/explainer.py",
        "first, last = explanation.segments",
        "return frames",
        NUMBERS,
    ),
    Named(
        "centred windows for segments",
        "lrp3d/study/running/explainer.py",
        "if window == CENTRED:",
        "if True:",
        NUMBERS,
    ),
    Named(
        "no empty images",
        "lrp3d/study/running/explainer.py",
        '"fill": fill,',
        '"fill": "edge",',
        NUMBERS,
    ),
    Named(
        "dense sampling is uniform",
        "lrp3d/study/running/reader.py",
        "self.frames, self.sampling, ",
        'self.frames, "uniform", ',
        NUMBERS,
    ),
    Named(
        "sigma is ignored",
        "lrp3d/study/running/explainer.py",
        ".at_sigma(self.sigma)",
        "",
        NUMBERS,
    ),
    Named(
        "the mean of frame logits may differ from the logit",
        "lrp3d/propagation/frame_clock.py",
        "    if differ:\n        means, wanted",
        "    if False and differ:\n        means, wanted",
        ("tests/test_frames.py",),
    ),
    Named(
        "two uses of a pixel are two pixels",
        "lrp3d/propagation/clip_relevance.py",
        "if self.shared is not None:",
        "if False:",
        ("tests/test_temporal.py",),
    ),
    Named(
        "slow logits are scaled",
        "lrp3d/propagation/frame_logits.py",
        'scaled=merge == "average"',
        "scaled=True",
        ("tests/test_temporal.py",),
    ),
)
