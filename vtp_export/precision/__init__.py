"""A graph in less than float32: what may be narrow, how it is narrowed, and the eager twin of what was built."""
