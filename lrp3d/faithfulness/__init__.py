"""Is relevance faithful on a network and clips of one's own? The question behind `lrp3d.check`.

`games` plays with frames: what a network still says of clips without some of them, and what that makes of an order of
frames. `subject` is the network that is checked, with a matrix of each method: relevance, interventions, and
`gradient_input`. `random_networks` draws its parameters anew. `clip_scores` makes the numbers of one clip; `scores`
holds those of all, their intervals over clips, and the verdict. `checking` puts them together; `for_quantus` turns
clips into what the metrics of Quantus take.

This folder may import explain, interventions, metrics and what is below them.
"""
