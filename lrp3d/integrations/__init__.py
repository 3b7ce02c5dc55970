"""Networks of other libraries, and explanations in the forms that other tools plot, store and track.

`networks` builds a network of a library by its name, `from_torchvision` and its neighbours know one library each, and
`wrappers` lets the networks take clips (b, 3, t, h, w). `for_captum` has the interface of captum, `tracking` logs to
TensorBoard and Weights & Biases. These libraries are imported only when they are needed, and nothing is downloaded.

This folder may import explain, explanation, twin and what is below them.
"""

from lrp3d.integrations.for_captum import LRP, LayerLRP
from lrp3d.integrations.networks import SOURCES, network
from lrp3d.integrations.tracking import numbers, track
from lrp3d.integrations.wrappers import PublicNetwork

__all__ = ["LRP", "SOURCES", "LayerLRP", "PublicNetwork", "network", "numbers", "track"]
