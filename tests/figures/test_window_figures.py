"""ATR windows are drawn where most relevance is."""

import pytest
import torch

from lrp3d.figures import (
    atr_windows,
    style,
)


def test_windows_are_placed_where_most_relevance_is():
    row = torch.tensor([[0.0, 2, 5, 1, 0]]).repeat(5, 1)
    bars = atr_windows(torch.tensor([3.0, 2, 2, 2, 3]), row).axes[0].patches
    spans = [(bar.get_x() + 0.5, bar.get_x() + bar.get_width() - 0.5) for bar in bars]
    assert spans == [(1, 3), (2, 3), (2, 3), (3, 4), (3, 5)]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_own_frames_stand_out_from_the_bars_of_many_frames(theme):
    """At least 3 to 1, as for whatever must be seen to read a chart (WCAG 2.1, 1.4.11)."""
    from matplotlib.colors import to_rgb

    def light(colour):
        parts = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in to_rgb(colour)]
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]

    with style(theme):
        logits = torch.tensor([1.0, -1.0] * 32)
        axes = atr_windows(torch.ones(64), torch.eye(64), frame_logits=logits).axes[0]
    squares = {int(x): line.get_color() for line in axes.lines for x in line.get_xdata()}
    assert sorted(squares) == list(range(1, 65))
    for number, bar in enumerate(axes.patches, 1):
        low, high = sorted((light(squares[number]), light(bar.get_facecolor())))
        assert (high + 0.05) / (low + 0.05) >= 3


def test_frames_without_weight_are_hollow_and_avg_atr_is_said():
    figure = atr_windows(torch.tensor([1.0, 2.0]), torch.ones(2, 2), frame_logits=torch.tensor([3.0, -1.0]))
    filled, hollow = figure.axes[0].patches
    assert filled.get_facecolor()[3] == 1
    assert hollow.get_facecolor()[3] == 0
    below = figure.axes[0].get_xlabel()
    assert "hollow: no positive logit" in below
    assert "avg-ATR 1.0 frames" in below


def test_known_windows_are_drawn_as_they_are():
    figure = atr_windows(torch.tensor([2.0, 2.0, 1.0]), torch.eye(3), windows=([0, 0, 2], [1, 1, 2]))
    assert [bar.get_x() for bar in figure.axes[0].patches] == [0.5, 0.5, 2.5]
