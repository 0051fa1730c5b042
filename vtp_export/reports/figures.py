"""Figures: of a comparison the metric against the budget and against complexity; bars, where one thing is measured."""

import io
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from vtp_export.errors import UnavailableError
from vtp_export.extras import install
from vtp_export.reports.page import data_uri
from vtp_export.runtime.writing import atomically

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MARKS = "osD^vPX*<>"
MOST_POINTS = 2000
"""Of a drawing of lines."""


def metric_against_budget(lines: Mapping[str, Sequence[tuple[float, float]]], full: float, metric: str) -> "Figure":
    """A line for each method.

    Args:
        lines: method to (tokens kept, metric).
        full: the metric of the unpruned model.
        metric: its name.

    Raises:
        UnavailableError: matplotlib is not installed.
    """
    figure, axes = _axes()
    for i, (name, points) in enumerate(lines.items()):
        places = sorted(points)
        axes.plot([x for x, _ in places], [y for _, y in places], marker=MARKS[i % len(MARKS)], label=name)
    axes.axhline(full, color="0.5", linestyle="--", label="unpruned")
    axes.set_xlabel("visual tokens kept")
    axes.set_ylabel(metric)
    _finish(figure, axes)
    return figure


def metric_by_complexity(
    lines: Mapping[str, Sequence[float]], edges: Sequence[float], counts: Sequence[int], metric: str, title: str
) -> "Figure":
    """A line for each method over bins of effective rank, simplest images first.

    Args:
        lines: method to its metric in each bin.
        edges: effective rank between bins, one more than there are bins.
        counts: how many images are in each.
        metric: its name.
        title: what the lines have in common.

    Raises:
        UnavailableError: matplotlib is not installed.
    """
    figure, axes = _axes()
    spans = zip(itertools.pairwise(edges), counts, strict=True)
    names = [f"{low:.0f}-{high:.0f}\n{count} images" for (low, high), count in spans]
    for i, (name, values) in enumerate(lines.items()):
        style = {"color": "0.5", "linestyle": "--"} if name == "none" else {"marker": MARKS[i % len(MARKS)]}
        axes.plot(names, values, label="unpruned" if name == "none" else name, **style)
    axes.set_xlabel("effective rank of the image")
    axes.set_ylabel(metric)
    axes.set_title(title, loc="left", fontsize=10)
    _finish(figure, axes)
    return figure


def bars(lengths: Mapping[str, float], marked: Sequence[bool], names: tuple[str, str], label: str) -> "Figure":
    """A bar for each thing, the first at the top.

    Args:
        lengths: by the name of each.
        marked: which of them stand out.
        names: of those that do, and of the others.
        label: what is measured.

    Raises:
        UnavailableError: matplotlib is not installed.
    """
    figure, axes = _axes(height=1.2 + 0.22 * len(lengths))
    for name, chosen, colour in ((names[0], True, "tab:red"), (names[1], False, "tab:blue")):
        widths = [length if mark is chosen else 0.0 for length, mark in zip(lengths.values(), marked, strict=True)]
        axes.barh(list(lengths), widths, color=colour, label=name)
    axes.invert_yaxis()
    axes.tick_params(axis="y", labelsize=8)
    axes.set_xlabel(label)
    _finish(figure, axes)
    return figure


def histogram(counts: Sequence[int], edges: Sequence[float], label: str, marks: Sequence[float]) -> "Figure":
    """How often values occur.

    Args:
        counts: of views between neighbours of the edges.
        edges: one more than there are counts.
        label: what is counted.
        marks: values at which a line stands, such as quartiles.

    Raises:
        UnavailableError: matplotlib is not installed.
    """
    figure, axes = _axes(height=3.2)
    axes.stairs(counts, edges, fill=True, color="tab:blue", label="views")
    axes.yaxis.get_major_locator().set_params(integer=True)
    for i, mark in enumerate(marks):
        axes.axvline(mark, color="0.3", linestyle="--", label="quartiles" if i == 0 else None)
    axes.set_xlabel(label)
    _finish(figure, axes)
    return figure


def scatter(across: "np.ndarray[Any, Any]", up: "np.ndarray[Any, Any]", labels: tuple[str, str]) -> "Figure":
    """A point for each pair of values, with the line that fits them best.

    Args:
        across: (n,) values.
        up: (n,) values.
        labels: what they are.

    Raises:
        UnavailableError: matplotlib is not installed.
    """
    figure, axes = _axes()
    # Many points are one picture inside the drawing, not a mark each.
    axes.scatter(
        across,
        up,
        s=4 if len(across) > MOST_POINTS else 24,
        alpha=0.5,
        linewidths=0,
        rasterized=len(across) > MOST_POINTS,
        label="pictures",
    )
    ends = np.array([across.min(), across.max()])
    slope = np.cov(across, up)[0, 1] / across.var(ddof=1)
    axes.plot(ends, up.mean() + slope * (ends - across.mean()), color="0.3", linestyle="--", label="least squares")
    axes.set_xlabel(labels[0])
    axes.set_ylabel(labels[1])
    _finish(figure, axes)
    return figure


def save_figure(figure: "Figure", path: Path) -> Path:
    """Write SVG or PNG, whichever the name says; the same figure gives the same bytes.

    Raises:
        ArtefactError: the file cannot be written.
    """
    with atomically(path) as file:
        _render(figure, file, path.suffix.removeprefix("."))
    return path


def svg_uri(figure: "Figure") -> str:
    """A figure as an address that holds it; the same figure gives the same text."""
    drawn = io.BytesIO()
    _render(figure, drawn, "svg")
    return data_uri("image/svg+xml", drawn.getvalue())


def _render(figure: "Figure", file: IO[bytes], kind: str) -> None:
    import matplotlib

    with matplotlib.rc_context({"svg.hashsalt": "vtp-export"}):
        metadata: dict[str, Any] = {"Date": None} if kind == "svg" else {}
        figure.savefig(file, format=kind, metadata=metadata, dpi=130)


def _axes(height: float = 4.2) -> "tuple[Figure, Any]":
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UnavailableError(f"figures need matplotlib: {install('reports')}") from error
    figure = Figure(figsize=(7.2, height), layout="constrained")
    return figure, figure.subplots()


def _finish(figure: "Figure", axes: Any) -> None:
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside right upper", fontsize=8, frameon=False)
