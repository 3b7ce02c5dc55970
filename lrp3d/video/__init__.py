"""From a video file, a folder of frames or a tensor file to a clip that a model can take.

PyAV (the extra `video`) decodes, and only the frames that are needed. torch resizes frames of every source, bilinearly
and with antialiasing. The result is that of Pillow, with which most models were trained, and does not depend on the
FFmpeg with which PyAV was built.

`clip` makes a clip from any source. A source is a video file (`files`), a folder of images (`folders`), a tensor file
(`tensors`), or a video `in_memory`; `array_form` says which arrays are frames, `other_files` what a file is that is no
video, `source` what sources have in common, `paths` which paths may be opened, `room` how much memory there is, and
`pixels` resizes and crops. Of a video file, `pyav` opens it, `index` and `timeline` say
which frames there are and when, `decoding` decodes those that are needed, and `completeness` says what is missing;
`losses` puts it into sentences. `content` gives a video a short name by its bytes. `drawing` draws a clip for examples.

Letters: ``t h w`` frames, height and width of a clip; pixels are uint8 RGB (t, h, w, 3).
"""

from lrp3d.video.clip import IMAGENET_MEAN, IMAGENET_STD, Clip, prepare_clip, read_clip, read_frames, sample_clip
from lrp3d.video.drawing import draw_clip
from lrp3d.video.files import Survey
from lrp3d.video.source import ClipWarning, LostFramesWarning, VideoError

__all__ = [
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "Clip",
    "ClipWarning",
    "LostFramesWarning",
    "Survey",
    "VideoError",
    "draw_clip",
    "prepare_clip",
    "read_clip",
    "read_frames",
    "sample_clip",
]
