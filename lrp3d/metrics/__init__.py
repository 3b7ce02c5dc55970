"""What is measured of a relevance matrix: one file per measure, batched tensor operations on any device.

A measure knows tensors only, so it takes a matrix from anywhere: relevance, interventions, or your own. A new measure
is a new file here.
"""
