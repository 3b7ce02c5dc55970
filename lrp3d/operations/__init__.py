"""What each operation of a network does with relevance."""
