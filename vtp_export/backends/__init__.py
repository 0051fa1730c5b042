"""One file per artefact format."""
