"""Export the pruned vision front end of a vision-language model, run it anywhere, prove that it does the same."""

__version__ = "0.1.0"
