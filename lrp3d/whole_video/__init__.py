"""Videos that are longer than a clip: a window slides over them, and its rows become one banded matrix.

`windows` says where windows lie and which rows each is for, `explaining` reads and explains them, `parts` keeps what is
done on the disk, `timeline` is what comes back, and `page` shows it. All of lrp3d but models and commands may be
imported here.
"""
