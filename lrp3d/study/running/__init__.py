"""From a list to records: reading ahead, explaining, one record per clip, shards, and the folder that remembers."""
