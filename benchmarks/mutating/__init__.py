"""Deliberate errors: what can be changed in a file, and whether its tests notice."""
