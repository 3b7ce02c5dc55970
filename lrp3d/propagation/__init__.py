"""From a followed forward pass to relevance: of the clip, and of every frame for every frame's logit.

`propagate` walks many seeds through the graph of steps at once. `frame_logits` finds the logit of every frame, exactly
or not at all, and from it the seeds of the matrix's rows. `clip_relevance` puts both together for one batch of clips,
`temporal_matrix` makes the matrix of the rows, and `chunks` decides how many seeds fit into memory. `motion` splits
relevance where `frame_mixing` says that frames meet, by what `static_relevance` says stays static there.

This folder may import the twin and everything below it. `lrp3d.explain` and its neighbours import it.
"""
