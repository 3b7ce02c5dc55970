"""From a recorded forward pass to relevance: of the clip, and of every frame for every frame's logit.

`propagate` carries many seeds through the graph of steps at once. `frame_logits` finds the logit of every frame,
exactly or not at all, and from it the seeds of the matrix's rows; `time_axis` finds which axis is time, and
`frame_columns` tells logits of frames from those of classes. `clip_relevance` combines both for one batch of clips,
`temporal_matrix` makes the matrix from the rows, and `chunks` decides how many seeds fit into memory. `one_side` judges
the conservation of a contrast.

`inside` is relevance at the outputs of modules, `channels` the part of it that flows through chosen channels. `motion`
splits relevance into static and dynamic (`motion_parts` for one batch of clips). `frames_of_values` follows the frames
of all values (`frame_numbers`) through the network, also where they are only `moved`, and finds where they meet. There,
`static_relevance` computes how much static relevance stays static in windows over time (`frame_mixing` says which
frames they have), and `side_by_side` does so behind shifts, in attention and in recurrence.

This folder may import the twin and everything below it. `lrp3d.explain` and its neighbours import it.
"""
