"""What lrp3d costs and whether it tells the truth; README.md has a line for every program.

They are run from the root of the repository and write to `benchmarks/results`.
"""
