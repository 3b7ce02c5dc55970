"""Tensors without relevance: linear maps and their adjoints, kernels, bands of frames, memory that is used again.

Nothing here knows a rule, a step or a model; it imports torch and the top-level files only.
"""
