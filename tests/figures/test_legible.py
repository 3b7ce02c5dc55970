"""Nothing written in a figure lies on anything, whatever the number of frames and the length of the texts."""

import io

import pytest
import torch
from drawn import NAMES, NOTE, every_figure, noise, require_legible

from lrp3d.figures import (
    atr_windows,
    clip_summary,
    matrix_heatmap,
    overlay_strip,
    side_by_side,
)
from lrp3d.figures.canvas import ticks


@pytest.mark.parametrize("name", NAMES)
def test_nothing_written_lies_on_anything_or_outside(pixels, matrix, name):
    require_legible(every_figure(pixels, matrix)[name](title="spinning a top", footnote=NOTE))


@pytest.mark.parametrize(("frames", "height", "width"), [(1, 8, 8), (3, 24, 40), (32, 40, 24)])
def test_few_and_many_frames_are_legible_too(frames, height, width):
    clip, wide = torch.zeros(frames, height, width, 3, dtype=torch.uint8), torch.ones(frames, frames)
    length = torch.full((frames,), float(frames))
    require_legible(clip_summary(clip, wide.sum(1) * -0.777, wide, length, title="a top", footnote=NOTE))
    require_legible(overlay_strip(clip, noise(frames, height, width), title="a top", footnote=NOTE))
    require_legible(atr_windows(length, wide, pixels=clip, title="a top", footnote=NOTE))


@pytest.mark.parametrize("shape", [(1, 1), (1, 8), (4, 16), (2, 64), (32, 32)])
def test_matrices_of_every_shape_are_legible(shape):
    require_legible(matrix_heatmap(torch.ones(shape), title="a top", footnote=NOTE))


def test_titles_and_footnotes_of_several_lines_have_room(pixels, matrix):
    """Long names are wrapped before they get here; what was lost of a video stands below its origin."""
    for draw in every_figure(pixels, matrix).values():
        require_legible(draw(title="spinning\na very large top", footnote=f"{NOTE}\na frame was lost\nand another"))


def test_footnotes_use_the_width_and_leave_no_word_alone_on_a_line(pixels, matrix):
    sentence = "The class says whether the two red or green squares have the same colour; blue ones do not matter. "
    for words in range(14, 57, 3):
        note = " ".join((3 * sentence).split()[:words])
        figure = side_by_side(pixels, dict.fromkeys("abcd", matrix), footnote=note)
        [below] = figure.texts
        box = below.get_window_extent()
        assert box.x1 < figure.bbox.x1
        lines = below.get_text().split("\n")
        assert " ".join(lines) == note
        if len(lines) > 1:
            assert box.width > 0.65 * figure.bbox.width
            assert len(lines[-1]) > 0.15 * max(map(len, lines))


def test_many_frames_keep_their_tick_labels_apart():
    for frames in (1, 2, 10, 16, 32, 64, 300):
        numbers = ticks(frames)
        assert numbers[0] == 1
        assert numbers[-1] <= frames
        assert len(numbers) <= 12


def test_frames_are_not_stretched(pixels, matrix):
    for figure in (overlay_strip(pixels, noise(8, 24, 32)), clip_summary(pixels, matrix.sum(1), matrix)):
        figure.savefig(io.BytesIO(), format="png")
        assert figure.axes[0].images
        for image in figure.axes[0].images:
            box = image.get_window_extent()
            rows, columns = image.get_array().shape[:2]
            assert box.height / box.width == pytest.approx(rows / columns, rel=1e-3)


def test_times_stand_below_the_columns(matrix):
    axes = matrix_heatmap(matrix, times=[0.5 * i for i in range(8)]).axes[0]
    named = [label.get_text() for label in axes.get_xticklabels()]
    assert all(text.endswith(" s") for text in named)
    assert "2\n0.5 s" in named
