"""Heat maps, summaries and methods beside each other show the numbers that they were given."""

import io

import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgba
from drawn import noise, written

from lrp3d.figures import (
    clip_summary,
    matrix_heatmap,
    overlay_strip,
    side_by_side,
)
from lrp3d.figures.colours import LIGHT, colormap


def test_a_row_without_relevance_has_no_window(matrix):
    matrix[2] = 0
    framed = matrix_heatmap(matrix, windows=(torch.zeros(8), torch.full((8,), 7.0))).axes[0].patches
    assert {round(patch.get_y() + 0.5) for patch in framed} == {0, 1, 3, 4, 5, 6, 7}


def test_rows_are_named_after_their_own_frames():
    axes = matrix_heatmap(torch.ones(2, 8), positions=[2, 6]).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["3", "7"]


def test_steps_of_several_frames_are_not_called_frames(pixels):
    figure = clip_summary(pixels, torch.ones(2), torch.eye(2), torch.ones(2))
    said = [axes.get_xlabel() for axes in figure.axes] + [axes.get_ylabel() for axes in figure.axes]
    assert {"step j that contributes", "explained step i", "logit; ATR in steps"} <= set(said)


def test_the_heat_map_shows_the_matrix(matrix):
    image = matrix_heatmap(matrix.unsqueeze(0)).axes[0].images[0]
    np.testing.assert_allclose(image.get_array(), matrix)
    assert image.get_clim() == (0, pytest.approx(matrix.max().item()))


def test_signed_relevance_is_centred_on_zero(matrix):
    image = matrix_heatmap(matrix - 0.9).axes[0].images[0]
    low, high = image.get_clim()
    assert low == -high
    assert high == pytest.approx((matrix - 0.9).abs().max().item())


@pytest.mark.parametrize("signed", [False, True])
def test_lightness_grows_with_relevance(signed):
    """So that a picture reads the same in grey."""
    colours = colormap(signed)(np.linspace(0, 1, 200))[:, :3]
    assert (np.diff(colours @ [0.2126, 0.7152, 0.0722]) > -1e-3).all()


@pytest.mark.parametrize("empty", [torch.zeros(4, 4), torch.full((4, 4), torch.nan)])
def test_a_matrix_without_relevance_is_drawn(empty):
    matrix_heatmap(empty).savefig(io.BytesIO())


def test_the_summary_tells_each_frames_logit_and_atr(pixels, matrix):
    logits, length = torch.arange(8.0), torch.tensor([3.0, 2, 4, torch.nan, 5, 8, 1, 2])
    said = written(clip_summary(pixels, logits, matrix, length))
    assert "frame 1: logit 0.00, ATR 3" in said
    assert "frame 4: logit 3.00, no ATR" in said
    bars = clip_summary(pixels, logits - 2, matrix).axes[2].patches
    assert [bar.get_x() for bar in bars] == [0] * 8  # bars begin at zero
    np.testing.assert_allclose([bar.get_width() for bar in bars], logits - 2)
    assert len({bar.get_facecolor() for bar in bars}) == 2


def test_rows_of_a_strided_model_stand_for_blocks_of_frames(pixels):
    said = written(clip_summary(pixels, torch.tensor([1.0, 2.0]), torch.eye(2), torch.tensor([1.0, 2.0])))
    assert [text for text in said if ": " in text] == ["step 1: logit 1.00, ATR 1", "step 2: logit 2.00, ATR 2"]


def test_logits_beside_the_matrix_keep_their_digits_and_a_scale_whatever_their_size(pixels):
    """Those of 12.3 and 1.4 were 12 and 1."""
    logits = torch.tensor([12.34, 1.4, -0.06, 3.0, 1.0, 1.0, 1.0, 1.0])
    figure = clip_summary(pixels, logits, torch.eye(8), torch.ones(8))
    said = written(figure)
    assert {"frame 1: logit 12.3, ATR 1", "frame 2: logit 1.4, ATR 1"} <= set(said)
    assert [tick.get_text() for tick in figure.axes[2].get_xticklabels()] == ["0", "12.3"]
    above = clip_summary(pixels, logits / 1000, torch.eye(8), torch.ones(8), quantity="logit above the other's")
    assert "frame 1: lead 0.0123, ATR 1" in written(above)
    assert above.axes[2].get_xlabel() == "lead: logit above the other's; ATR in frames"
    below = clip_summary(pixels, -logits, torch.eye(8), torch.ones(8))
    assert [tick.get_text() for tick in below.axes[2].get_xticklabels()] == ["\N{MINUS SIGN}12.3", "0"]


def test_each_method_says_what_it_gives_to_the_marked_frames(pixels, matrix):
    figure = side_by_side(pixels, {"LRP": matrix, "CLRP": matrix.flip(1)}, deciding=[0, 3])
    share = matrix[:, [0, 3]].sum() / matrix.sum()
    assert figure.axes[1].get_title() == f"LRP: {100 * share:.0f} % on the marked frames"
    heights = [bar.get_height() for bar in figure.axes[1].patches]
    np.testing.assert_allclose(heights, 100 * matrix.sum(0) / matrix.sum())
    assert len({bar.get_facecolor() for bar in figure.axes[1].patches}) == 2


def test_frames_that_decide_are_marked_above_the_matrix_in_it_and_under_relevance(pixels, matrix):
    def borders(ax):
        return [box for box in ax.patches if box.get_edgecolor() == to_rgba(LIGHT.mark) and not box.get_fill()]

    plain, marked = (clip_summary(pixels, torch.ones(8), matrix, deciding=frames) for frames in ((), (1, 6)))
    assert [len(borders(figure.axes[0])) for figure in (plain, marked)] == [0, 2]
    assert [box.get_x() for box in borders(marked.axes[0])] == pytest.approx([1.02, 6.02])
    lines = [line.get_xdata()[0] for line in marked.axes[1].lines if line.get_color() == LIGHT.mark]
    assert lines == [0.5, 1.5, 5.5, 6.5]
    strip = overlay_strip(pixels, noise(8, 24, 32), deciding=(1, 6))
    assert len(borders(strip.axes[0])) == 2
    assert [text.get_text()[0] for text in strip.axes[0].texts if text.get_color() == LIGHT.mark] == ["2", "7"]
    strided = clip_summary(pixels, torch.ones(4), matrix[:4, :4], deciding=(3,))
    assert [line.get_xdata()[0] for line in strided.axes[1].lines if line.get_color() == LIGHT.mark] == [0.5, 1.5]


def test_what_speaks_against_the_class_is_marked_without_colour():
    values = torch.eye(4)
    values[1, 2] = -0.5
    (strokes,) = matrix_heatmap(values).axes[0].lines
    assert (strokes.get_xdata().tolist(), strokes.get_ydata().tolist()) == ([2], [1])


def test_where_a_row_is_negative_strokes_do_not_claim_to_be_against_the_class():
    """A row of a negative logit is negative as a whole: what carries it is not against it."""
    values = torch.eye(4)
    values[1, 2] = -0.5
    assert "white strokes: against the class" in matrix_heatmap(values).axes[0].get_xlabel()
    values[3] = -values[3]
    assert "white strokes: negative" in matrix_heatmap(values).axes[0].get_xlabel()
