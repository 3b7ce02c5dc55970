"""The second part of a study: from a list to one record per clip.

`config` collects what the numbers depend on, and `folder` stores it: a study's folder is its only memory. `shards`
gives each process its clips, `prefetch` reads ahead in processes of its own with a `reader`, `explainer` explains
batches, `records` defines what is written, and `run` does all of this while `progress` shows it. `clips` takes clips
from memory instead of a list, `time_variants` changes their time, and `training_clips` reads a list for training.
Nothing here knows tables or pages.
"""
