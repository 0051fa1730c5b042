"""What `export` writes: an artefact of one size, or of several grids."""
