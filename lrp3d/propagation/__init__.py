"""From a recorded forward pass to relevance: of the clip, and of every frame for every frame's logit.

Down the graph: `propagate` carries many seeds through the graph of steps at once, and `chunks` decides how many of them
fit into memory. `one_side` judges the conservation of a contrast.

Frames: `frame_logits` finds the logit of every frame, exactly or not at all, and from it the seeds of the matrix's rows
(`frame_seeds`), which `frame_clock` holds against the frames of the clip. `time_average` is an average over time, of
whose entries `time_axis` finds the time steps, and `entry_order` their order; `frames_of_weights` tells pools over time
from attention of frames to frames. Time is where the shapes of layers say it (`time_of_layers`), unless the forward
moved frames between its layers, where `frame_times` follows them. `seen_frames` finds which frames a forward picks of
its clip, `unpadded` which frames are left by layers that do not pad, `frame_order` in which order its first layers
(`first_layers`) see them, and `frame_columns` tells logits of frames from those of classes. Where rows are to be time
steps of a module, `layer_rows` makes their seeds, and `rows_advice` finds a module for them.
`clip_relevance` propagates the seeds of one batch of clips, and `temporal_matrix` makes the matrix from the rows.
`notes` says what is to be known beside the numbers.

Inside the network: `inside` keeps relevance at the outputs of modules, and `channels` finds the part of it that flows
through chosen channels; `channel_axes` finds the axis that they are on, and `clip_order` that of the clips, which
`axes` follows through the graph.

Motion against appearance: `motion_parts` splits the relevance of one batch of clips into a static and a dynamic part.

This folder may import `lrp3d.motion`, the twin and everything below it. `lrp3d.explain` and its neighbours import it.
"""
