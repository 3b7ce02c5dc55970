"""Clips with a known answer: the label depends on planted frames, whose positions are known.

A relevance matrix can be compared with them, which is impossible with real videos.

    planted = lrp3d.planted.Task("match", gap=4).clips(8)
    planted.clips, planted.labels, planted.frames, planted.mask
"""

from lrp3d.planted.task import CLASSES, Planted, PlantedClips, Task, normalise
from lrp3d.planted.verdict import Finding, finding, percent, verdict

__all__ = ["CLASSES", "Finding", "Planted", "PlantedClips", "Task", "finding", "normalise", "percent", "verdict"]
