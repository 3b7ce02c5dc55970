"""Relevance is painted where it is, to one scale for all frames."""

import numpy as np
import pytest
import torch
from drawn import noise, written

from lrp3d.figures import (
    overlay,
    overlay_strip,
)
from lrp3d.figures.painting import smoothed


def test_overlay_paints_where_relevance_is_and_nowhere_else(pixels):
    relevance = torch.zeros(8, 24, 32)
    relevance[3, 10:14, 10:14] = 1
    painted = overlay(pixels, relevance, smooth=0, quantile=1.0).astype(int)
    coloured = np.ptp(painted, axis=-1) > 3
    assert coloured[3, 10:14, 10:14].all()
    assert coloured.sum() == 16


def test_colour_channels_are_summed_before_painting(pixels):
    relevance = noise(1, 3, 8, 24, 32) - 0.4
    summed = overlay(pixels, relevance.sum((0, 1)))
    assert np.array_equal(overlay(pixels, relevance), summed)
    assert np.array_equal(overlay(pixels, relevance[0]), summed)


def test_for_lightens_and_against_darkens():
    flat = torch.full((1, 24, 32, 3), 128, dtype=torch.uint8)
    relevance = torch.zeros(1, 24, 32)
    relevance[0, :8], relevance[0, 16:] = 1, -1
    painted = overlay(flat, relevance, smooth=0)[0].mean((1, 2))
    assert painted[:8].min() > painted[8:16].max()
    assert painted[8:16].min() > painted[16:].max()


def test_a_hot_pixel_does_not_leave_the_rest_dark(pixels):
    relevance = noise(8, 24, 32)
    hot = relevance.clone()
    hot[0, 0, 0] = 1e6
    changed = np.abs(overlay(pixels, hot, smooth=0).astype(int) - overlay(pixels, relevance, smooth=0))
    assert changed[1:].max() <= 2


def test_all_frames_share_one_scale(pixels):
    relevance = noise(8, 24, 32)
    relevance[4] *= 0.01
    assert "5 · 0 %" in written(overlay_strip(pixels, relevance))
    painted = overlay(torch.zeros_like(pixels), relevance, smooth=0).mean((1, 2, 3))
    assert painted[4] < 0.3 * painted[3]


def test_smoothing_keeps_a_flat_picture_flat():
    flat = np.full((2, 9, 7), 3.0)
    np.testing.assert_allclose(smoothed(flat, 2.0), flat)
    spike = np.zeros((2, 21, 21))
    spike[0, 10, 10] = 1
    blurred = smoothed(spike, 2.0)
    assert blurred[1].max() == 0
    assert blurred[0, 10, 12] == pytest.approx(blurred[0, 8, 10])
    assert blurred[0, 10, 10] == pytest.approx(1 / (2 * np.pi * 4), rel=0.01)
