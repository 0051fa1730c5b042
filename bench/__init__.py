"""Scripts that measure speed and memory at full size. Figures, with their commands, are kept in RESULTS.md."""
