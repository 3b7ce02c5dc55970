"""A model that can be explained: the relevance twin, how it is copied, and the audit of a followed forward pass.

It may import composites, layers, tracing, steps and what is below them; propagation and the calls of the user import
it.
"""

from lrp3d.twin.twin import Range, Trace, Twin, convert

__all__ = ["Range", "Trace", "Twin", "convert"]
