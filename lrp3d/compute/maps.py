"""All linear maps under one name; each kind has a file of its own."""

from lrp3d.compute.averages import Average, AxisMatrices, SumOver, averaging_matrix
from lrp3d.compute.convolution import Convolution, Window
from lrp3d.compute.linear_map import Bilinear, LinearMap, channelwise, sum_to_shape
from lrp3d.compute.matrix_products import FullyConnected, MatrixProduct
from lrp3d.compute.positionwise import Broadcast, Scale

__all__ = [
    "Average",
    "AxisMatrices",
    "Bilinear",
    "Broadcast",
    "Convolution",
    "FullyConnected",
    "LinearMap",
    "MatrixProduct",
    "Scale",
    "SumOver",
    "Window",
    "averaging_matrix",
    "channelwise",
    "sum_to_shape",
]
