"""Thin adapters to what reads the pruned tokens."""
