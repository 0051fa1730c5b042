"""A graph through a format, for tests that look at what comes out and not at the format."""

from vtp_export import rooms
from vtp_export.progress import silent
from vtp_export.runtime.brief import Brief


def open_built(folder, fmt, graph, brief: Brief):
    """Build, and open on one thread of the CPU."""
    backend = rooms.load("backends", fmt).Backend()
    build = backend.build(graph, brief, folder, silent)
    return backend.open(folder, build, brief, "cpu", 1, backend.Options())
