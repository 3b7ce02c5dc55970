"""From a video file, a folder of frames or a tensor file to a clip that a model can take.

Decoding is PyAV's (the extra `video`) and touches only the frames that are needed. Resizing is
torch's, bilinear with antialiasing, whatever the source: it gives what Pillow gives, with which most models
were trained, and does not depend on the FFmpeg that PyAV was built with.

Letters: ``t h w`` frames, height and width of a clip; pixels are uint8 RGB (t, h, w, 3).
"""

from lrp3d.video.clip import IMAGENET_MEAN, IMAGENET_STD, Clip, prepare_clip, read_clip, read_frames, sample_clip
from lrp3d.video.drawing import draw_clip
from lrp3d.video.source import ClipWarning, LostFramesWarning, VideoError

__all__ = [
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "Clip",
    "ClipWarning",
    "LostFramesWarning",
    "VideoError",
    "draw_clip",
    "prepare_clip",
    "read_clip",
    "read_frames",
    "sample_clip",
]
