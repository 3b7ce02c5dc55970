"""What lrp3d costs and whether it tells the truth: one program per question.

README.md lists the programs. They are run from the root of the repository, as `python -m benchmarks.NAME`, and write to
`benchmarks/results`. `timing/`, `planted/` and `paper/` are what they share.
"""
