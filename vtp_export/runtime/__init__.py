"""Torch-free: open an artefact, verify it, preprocess images, run it."""
