"""Public networks, unchanged, with random weights: what lrp3d does with each of them.

`sources` names all networks and builds those of installed libraries, `repositories` those of clones, `judging` looks at
one of them. `python -m benchmarks.zoo` is the command.
"""
