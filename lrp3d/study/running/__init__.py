"""The second third of a study: from a list to one record per clip.

`config` says what the numbers depend on, and `folder` keeps it: a study's folder is its only memory. `shards` gives
each process its clips, `prefetch` reads ahead in processes of its own with a `reader`, `explainer` explains batches,
`records` are what is written, and `run` does all of it, with its `progress` shown. Nothing here knows tables or pages.
"""
