"""Planted truths: what is trained on them, what every method says of them, and the tables of that."""
