"""Every figure says what it shows, refuses what does not fit together, and leaves matplotlib's global state alone."""

import io
import subprocess
import sys

import pytest
import torch
from matplotlib.colors import to_rgb, to_rgba
from matplotlib.figure import Figure
from PIL import Image
from drawn import NAMES, NOTE, every_figure, written

from lrp3d.figures import (
    animation,
    atr_windows,
    clip_summary,
    matrix_heatmap,
    overlay,
    side_by_side,
    style,
)


@pytest.mark.parametrize("name", NAMES)
def test_every_figure_is_written_with_its_title_and_footnote(pixels, matrix, name):
    figure = every_figure(pixels, matrix)[name](title="spinning a top", footnote=NOTE)
    assert isinstance(figure, Figure)
    assert {"spinning a top", NOTE} <= set(written(figure))
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    assert Image.open(buffer).size[0] > 300


@pytest.mark.parametrize("name", NAMES)
def test_every_axis_with_numbers_says_what_they_are(pixels, matrix, name):
    figure = every_figure(pixels, matrix)[name]()
    numbered = 0
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            if any(label.get_text() for label in axis.get_ticklabels()):
                numbered += 1
                assert axis.label.get_text()
    assert numbered


@pytest.mark.parametrize("name", ["heat map", "strip", "windows"])
def test_given_axes_are_drawn_into(pixels, matrix, name):
    figure = Figure(figsize=(9, 4))
    axes = figure.add_subplot()
    assert every_figure(pixels, matrix)[name](ax=axes, title="here", footnote=NOTE) is figure
    assert axes.get_title() == "here"
    assert tuple(figure.get_size_inches()) == (9, 4)


@pytest.mark.parametrize(
    ("draw", "said"),
    [
        (lambda p: matrix_heatmap(torch.ones(2, 3, 3)), "one clip at a time"),
        (lambda p: clip_summary(p, torch.ones(3), torch.eye(3)), "3 logits do not fit 8 frames"),
        (lambda p: side_by_side(p, {"LRP": torch.eye(3)}), "a column for each of 8 frames"),
        (lambda p: style("grey").__enter__(), "'light', 'dark'"),
        (lambda p: overlay(p, torch.ones(8, 24, 31)), r"\(8, 24, 31\)"),
        (lambda p: overlay(p, torch.full((8, 24, 32), torch.nan)), "NaN"),
        (lambda p: overlay(p / 255, torch.ones(8, 24, 32)), "uint8"),
        (lambda p: atr_windows(torch.ones(3), torch.eye(4)), "square matrix"),
        (lambda p: atr_windows(torch.ones(3), torch.eye(3), pixels=p), "3 rows"),
        (lambda p: animation(p, torch.ones(8, 24, 32), "clip.avi"), "gif or .mp4"),
        (lambda p: animation(p, torch.ones(8, 24, 32), "clip.gif", fps=0), "fps"),
    ],
)
def test_what_does_not_belong_together_is_refused(pixels, draw, said):
    with pytest.raises(ValueError, match=said):
        draw(pixels)


@pytest.mark.parametrize("name", NAMES)
def test_matplotlib_is_asked_for_by_name(pixels, matrix, monkeypatch, name):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r'pip install .*"matplotlib>=3\.7"'):
        every_figure(pixels, matrix)[name]()


def test_pyplot_is_never_touched():
    code = (
        "import sys, torch, lrp3d.figures as figures\n"
        "assert 'matplotlib' not in sys.modules\n"
        "figures.matrix_heatmap(torch.eye(3)); figures.atr_windows(torch.ones(3), torch.eye(3))\n"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=600)


@pytest.mark.parametrize("name", NAMES)
def test_everything_is_seen_on_dark_paper_too(pixels, matrix, name):
    """No letter of the ink of light paper is left, and the style ends where it was asked to."""
    with style("dark") as dark:
        figure = every_figure(pixels, matrix)[name](title="spinning a top", footnote=NOTE)
    assert figure.get_facecolor() == to_rgba(dark.paper)
    for axes in figure.axes:
        for text in [axes.title, axes.xaxis.label, axes.yaxis.label, *axes.get_xticklabels(), *axes.texts]:
            if text.get_text():
                assert max(to_rgb(text.get_color())) > 0.5, text.get_text()
    assert matrix_heatmap(matrix).get_facecolor() == (1, 1, 1, 1)
