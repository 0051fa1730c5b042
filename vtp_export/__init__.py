"""Export the pruned vision front end of a vision-language model, run it anywhere, and prove that it answers the same."""

__version__ = "0.1.0"
