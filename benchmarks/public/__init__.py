"""Public networks, unchanged, with random weights: what lrp3d does with each of them.

`sources` builds networks of libraries that are installed, `judging` looks at one of them. `python -m benchmarks.zoo` is
the command.
"""
