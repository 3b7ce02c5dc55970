"""Every model explains itself: conservation, one row for each frame logit, a frame range within the clip."""

import pytest
import torch
from test_models import SMALL, noise, small

import lrp3d

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", SMALL)
def test_every_model_explains_itself(name):
    model = small(name).double()
    low, high = model.input_range
    clip = noise(1, 3, 16, 32, 32).double().clamp(max(low), min(high))
    explanation = lrp3d.explain(model, clip)
    assert explanation.conservation.abs().max() < 1e-9
    torch.testing.assert_close(explanation.relevance.shape, clip.shape)
    rows = explanation.matrix.shape[1]
    assert explanation.matrix.shape == (1, rows, rows)
    scale = explanation.frame_logits.abs().max()
    torch.testing.assert_close(explanation.matrix.sum(2) / scale, explanation.frame_logits / scale)
    spread = explanation.atr[~explanation.atr.isnan()]
    assert ((spread >= 1) & (spread <= rows)).all()


@pytest.mark.parametrize("name", ["TSN", "TSN-Inception"])
def test_the_matrix_of_a_network_that_never_mixes_frames_is_diagonal(name):
    explanation = lrp3d.explain(small(name).double(), noise(1, 3, 8, 32, 32).double())
    matrix = explanation.matrix[0]
    assert torch.equal(matrix, matrix.diagonal().diag())
    assert explanation.max_atr.item() == 1


@pytest.mark.parametrize(("kernel_size", "blocks"), [(3, 8), (7, 8)])
def test_a_larger_temporal_kernel_reaches_further(kernel_size, blocks):
    """A band: beyond `blocks` times the kernel's radius there is nothing."""
    torch.manual_seed(0)
    model = lrp3d.models.tam_resnet(18, 5, 32, kernel_size, width=8).eval().double()
    matrix = lrp3d.explain(model, noise(1, 3, 32, 32, 32).double(), 0).matrix[0]
    distance = (torch.arange(32)[:, None] - torch.arange(32)).abs()
    assert (matrix[distance > blocks * (kernel_size // 2)] == 0).all()
    assert (matrix[distance == 1] != 0).any()
