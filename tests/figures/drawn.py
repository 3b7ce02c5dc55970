"""What tests of figures share: noise, one figure of each kind, and what is written in them."""

import io

import torch

from lrp3d.figures import (
    atr_windows,
    clip_summary,
    matrix_heatmap,
    overlay_strip,
    side_by_side,
)


NOTE = "weights are random"


def noise(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def every_figure(pixels, matrix):
    length = torch.tensor([3.0, 2, 4, torch.nan, 5, 8, 1, 2])
    return {
        "heat map": lambda **how: matrix_heatmap(matrix, **how),
        "summary": lambda **how: clip_summary(pixels, matrix.sum(1), matrix, length, **how),
        "strip": lambda **how: overlay_strip(pixels, noise(3, 8, 24, 32), **how),
        "windows": lambda **how: atr_windows(length, matrix, frame_logits=matrix.sum(1) - 1, pixels=pixels, **how),
        "methods": lambda **how: side_by_side(pixels, {"LRP": matrix, "CLRP": matrix - 0.1}, deciding=[2, 5], **how),
    }


NAMES = ["heat map", "summary", "strip", "windows", "methods"]


def written(figure):
    inside = [text.get_text() for axes in figure.axes for text in [axes.title, *axes.texts]]
    return inside + [text.get_text() for text in figure.texts]


def boxes_of_what_is_written(figure):
    shown = []
    for axes in figure.axes:
        labels = [axes.title, axes.xaxis.label, axes.yaxis.label, *axes.get_xticklabels(), *axes.texts]
        shown += [text for text in labels if text.get_text() and text.get_visible()]
    boxes = {f"{text.get_text()} {i}": text.get_window_extent() for i, text in enumerate(shown)}
    thumbnails = [artist for axes in figure.axes for artist in axes.artists]
    return boxes | {f"thumbnail {i}": image.get_window_extent() for i, image in enumerate(thumbnails)}


def require_legible(figure):
    figure.savefig(io.BytesIO(), format="png")
    boxes = boxes_of_what_is_written(figure)
    for first, box in boxes.items():
        assert min(box.x0, box.y0, figure.bbox.x1 - box.x1, figure.bbox.y1 - box.y1) >= 0, first
        for second, other in boxes.items():
            assert first == second or not box.overlaps(other), (first, second)
