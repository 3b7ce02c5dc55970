"""The video models of the paper, equal to the public ones."""
