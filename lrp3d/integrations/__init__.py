"""Other people's tools: their networks come in, explanations go out to what they plot, store and track with.

`networks` builds a network of a library by name, `from_torchvision` and its neighbours know one library each, and
`wrappers` makes what they build take clips (b, 3, t, h, w). `for_captum` is called as captum is, `tracking` logs to
TensorBoard and Weights & Biases. Nothing of these libraries is imported before it is asked for, and nothing is
downloaded.

This folder may import explain, explanation, twin and what is below them.
"""

from lrp3d.integrations.for_captum import LRP, LayerLRP
from lrp3d.integrations.networks import SOURCES, network
from lrp3d.integrations.tracking import numbers, track
from lrp3d.integrations.wrappers import PublicNetwork

__all__ = ["LRP", "SOURCES", "LayerLRP", "PublicNetwork", "network", "numbers", "track"]
