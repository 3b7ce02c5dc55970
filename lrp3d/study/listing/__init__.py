"""From somebody's list of a data set to its clips and classes: one file per kind of list."""
