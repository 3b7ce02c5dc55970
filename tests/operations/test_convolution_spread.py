"""What a convolution hands on equally keeps its type: labels of frames are float64 also in networks of float32."""

import pytest
import torch

from lrp3d.compute.convolution import Convolution
from lrp3d.compute.kernels import Geometry


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("size", [1, 3])
def test_labels_in_float64_pass_a_convolution_in_float32(size, groups):
    one, padding = (1, 1, 1), (size // 2,) * 3
    convolution = Convolution(Geometry((size,) * 3, one, padding, one, groups, False, (0, 0, 0)))
    w, shape = torch.randn(6, 4 // groups, size, size, size), torch.Size([1, 4, 5, 5, 5])
    labels = torch.rand(2, 1, 6, 5, 5, 5, dtype=torch.float64)
    expected = convolution.adjoint(labels, torch.ones_like(w, dtype=torch.float64), shape)
    torch.testing.assert_close(convolution.spread(labels, w, shape), expected)
