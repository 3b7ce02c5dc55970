"""What lrp3d costs, beside plain gradients and its peers; each program is `python -m benchmarks.NAME`.

Programs: `layers` (every layer by itself), `matrix` (the temporal relevance matrix against captum, zennit and
gradients), `growth` (with frames, clip size and batch), `atr` (metrics), `precision` (what speed costs in exactness)
and `chart` (a picture of the results). They are run from the root of the repository and write to `benchmarks/results`.
"""
