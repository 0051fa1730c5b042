"""A graph through a format, for tests that look at what comes out and not at the format."""

import pytest

from vtp_export import rooms
from vtp_export.progress import silent
from vtp_export.runtime.brief import Brief

FROM_GRAPHS = [name for name in rooms.names("backends") if rooms.load("backends", name).Backend.source == "graph"]
"""Formats that a graph is built into; the others are built from one of these."""


def open_built(folder, fmt, graph, brief: Brief):
    """Build, and open on one thread of the CPU."""
    backend = rooms.load("backends", fmt).Backend()
    if reason := backend.missing():
        pytest.skip(reason)
    build = backend.build(graph, brief, folder, silent)
    return backend.open(folder, build, brief, "cpu", 1, backend.Options())
