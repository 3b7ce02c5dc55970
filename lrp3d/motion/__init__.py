"""Motion against appearance: the part of relevance that frames carry by being different from one another.

`splitting` splits relevance into a static and a dynamic part, at one operation after another. Where frames meet is
found once for each run: `frames_of_values` follows the frame of every value from the clip up, through operations over
windows (`frames_over_windows`), over whole axes (`frames_over_axes`) and, where only rows are wanted, through products
of two signals (`frames_over_products`), and notes those that mix frames (`mixing_steps`). `frame_numbers` is what it
knows of one tensor; `moved_frames` and `moved` carry that on where values are only moved, through torch's own nodes
(`arrangements`). `frame_mixing` says which frames each output of an operation along time sees, and `refusals` what is
said where frames cannot be followed. What stays static is computed by `static_relevance` at operations along time, and
by `frames_meeting` wherever else frames meet: behind shifts, in sums of frames, in attention and in recurrent layers.

This folder may import the twin and everything below it. `lrp3d.propagation` imports it: its `motion_parts` splits the
relevance of whole clips.
"""
