"""Methods that prune inside the language model: references for comparisons, never exported. See `base`."""
