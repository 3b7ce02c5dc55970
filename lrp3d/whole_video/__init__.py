"""Videos that are longer than a clip: a window slides over them, and its rows become one banded matrix.

`windows` says where windows lie and which rows belong to each, `explaining` reads and explains them and stitches their
rows together, `parts` keeps finished parts on the disk, `timeline` is the result, and `page` shows it. This folder may
import everything in lrp3d except models and commands.
"""
