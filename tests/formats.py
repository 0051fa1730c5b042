"""A graph through a format, for tests that look at what comes out and not at the format."""

import dataclasses

import pytest

from vtp_export import rooms
from vtp_export.progress import silent
from vtp_export.runtime.brief import Brief

FROM_GRAPHS = [name for name in rooms.names("backends") if rooms.load("backends", name).Backend.source == "graph"]
"""Formats that a graph is built into; the others are built from one of these."""


def open_built(folder, fmt, graph, brief: Brief):
    """Build, from the file of another format where it takes one, and open on one thread of the CPU."""
    backend = rooms.load("backends", fmt).Backend()
    if reason := backend.missing():
        pytest.skip(reason)
    source = graph
    if backend.source != "graph":
        between = rooms.load("backends", backend.source).Backend()
        (place := folder / backend.source).mkdir()
        source = place / between.build(graph, dataclasses.replace(brief, loops=backend.loops), place, silent).main
    build = backend.build(source, brief, folder, silent)
    return backend.open(folder, build, brief, "cpu", 1, backend.Options())


def in_turn(cases):
    """Cases by formats: each case with one format in turn, and the first with all; the rest of the product is `whole`.

    Args:
        cases: as `pytest.param` gives them, with ids.

    Returns:
        The same with a format more, to be parametrised in one list.
    """
    return [
        pytest.param(
            *case.values,
            fmt,
            id=f"{case.id}-{fmt}",
            marks=() if i == 0 or i % len(FROM_GRAPHS) == turn else pytest.mark.whole,
        )
        for i, case in enumerate(cases)
        for turn, fmt in enumerate(FROM_GRAPHS)
    ]


def first_of_each(cases, files):
    """The cases, of which all but the first of each of these files, which are the first values, are `whole`."""
    seen: set[str] = set()
    chosen = []
    for case in cases:
        marks = pytest.mark.whole if case.values[0] in seen or case.values[0] not in files else ()
        seen.add(case.values[0])
        chosen.append(pytest.param(*case.values, id=case.id, marks=marks))
    return chosen
