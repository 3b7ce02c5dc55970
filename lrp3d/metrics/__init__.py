"""Measures of a relevance matrix, written as batched tensor operations for any device: one file per measure.

A measure knows only tensors, so it takes a matrix from anywhere: relevance, interventions, or your own. A new measure
is a new file here: `atr`, `excess_span`, and `agreement` of two matrices. Beside them stand what frames contribute
(`contributions`) and the means of measures over a data set (`aggregation`), whose public names are those of `atr`.
"""
