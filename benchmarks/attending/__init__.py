"""Networks with attention and recurrence on planted clips: they, their training, maps of their clips, intervals."""
