"""Measures of a relevance matrix: one file per measure, written as batched tensor operations for any device.

A measure knows only tensors, so it takes a matrix from anywhere: relevance, interventions, or your own. A new measure
is a new file here.
"""
