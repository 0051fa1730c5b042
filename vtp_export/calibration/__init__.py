"""Statistics of a tower over a data set, and the record of them."""
