"""Methods that prune inside the language model: one file each, for comparison."""
