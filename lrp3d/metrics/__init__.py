"""What is measured of a relevance matrix: one file per measure, batched tensor operations on any device.

Measures know tensors only, so they take a matrix from anywhere: relevance, interventions, or one of your own. A new
measure is a new file here.
"""
