"""One file per data set: images, questions and the metric."""
