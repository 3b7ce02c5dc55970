"""Clips with a known answer: the label depends on planted frames, and which these are is told.

A relevance matrix can be held against them, which no real video allows.

    planted = lrp3d.planted.Task("match", gap=4).clips(8)
    planted.clips, planted.labels, planted.frames, planted.mask
"""

from lrp3d.planted.task import CLASSES, Planted, PlantedClips, Task, normalise
from lrp3d.planted.verdict import Finding, finding, percent, verdict

__all__ = ["CLASSES", "Finding", "Planted", "PlantedClips", "Task", "finding", "normalise", "percent", "verdict"]
