"""From a followed forward pass to relevance: of the clip, and of every frame for every frame's logit.

`propagate` walks many seeds through the graph; `frame_logits` finds the seeds of the rows; `clip_relevance` carries
one clip batch through both; `temporal_matrix` makes the matrix of the rows; `chunks` bounds the memory. It may import
the twin and everything below it, and is imported by what a user calls.
"""
