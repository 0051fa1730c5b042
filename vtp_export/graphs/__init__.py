"""The modules that are exported."""
