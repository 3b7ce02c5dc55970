"""Damaged and hostile files of every kind that lrp3d reads, and what its readers make of them."""
