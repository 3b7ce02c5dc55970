"""Pictures of an explanation. Each function takes plain tensors or arrays and returns a matplotlib Figure.

Matplotlib (the extra `plot`) is imported when a picture is drawn. Its global state does not change, and no window is
opened. Relevance of both signs is drawn in a diverging colour map centred on 0, everything else in a sequential one. In
both, lighter means more, so that a picture reads the same in grey.

`colours` defines the colours of all figures, `page_colours.css` those of all pages; `pages` fills page templates.

Letters: ``n`` frames with a logit, ``t h w`` frames, height and width of the clip; pixels are uint8 RGB (t,
h, w, 3).
"""

from lrp3d.figures.colours import style
from lrp3d.figures.heatmap import matrix_heatmap
from lrp3d.figures.moving import animation
from lrp3d.figures.painting import overlay, overlay_strip
from lrp3d.figures.side_by_side import side_by_side
from lrp3d.figures.summary import clip_summary
from lrp3d.figures.windows import atr_windows

__all__ = [
    "animation",
    "atr_windows",
    "clip_summary",
    "matrix_heatmap",
    "overlay",
    "overlay_strip",
    "side_by_side",
    "style",
]
