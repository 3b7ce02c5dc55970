"""Is relevance faithful on a network and clips of one's own? The question behind `lrp3d.check`.

`games` plays with frames: what a network still says of clips without some of them, and what that makes of an order of
frames. `scores` holds the numbers, their intervals over clips, and the verdict. `checking` puts them together;
`for_quantus` turns clips into what the metrics of Quantus take.

This folder may import explain, interventions, metrics and what is below them.
"""
