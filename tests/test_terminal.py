"""What people see while they wait."""

import re
from pathlib import Path

import pytest

from vtp_export import reports, terminal
from vtp_export.reports.table import Table


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(terminal.time, "monotonic", lambda: now[0])
    return now


def test_a_pipe_hears_of_new_things_and_of_long_ones(clock, capsys):
    with terminal.Listener() as progress:
        progress("loading")
        for step in range(50):
            progress("comparing", step, 50)
            clock[0] += 1
        progress("writing")
    assert capsys.readouterr().err.splitlines() == [
        "[   0.0 s] loading",
        "[   0.0 s] comparing",
        "[  20.0 s] comparing (20 of 50, 1 a second, about 30 s left)",
        "[  40.0 s] comparing (40 of 50, 1 a second, about 10 s left)",
        "[  50.0 s] writing",
    ]


def test_a_pipe_gets_lines_no_wider_than_their_cells(capsys):
    long = "why a format does not run here, in words that are not folded " * 4
    terminal.show([Table("formats", ("format", "runs here"), [("onnx", "yes"), ("pt2", long.strip())])])
    lines = capsys.readouterr().out.splitlines()
    assert lines == ["formats", "format  runs here", "onnx    yes", f"pt2     {long.strip()}"]


@pytest.mark.parametrize("name", sorted(path.stem for path in Path(reports.__file__).parent.glob("*.py")))
def test_no_column_is_without_a_name(name):
    source = (Path(reports.__file__).parent / f"{name}.py").read_text()
    assert not re.search(r'(?<!\w)\("", ', source)  # a tuple, and no call


def test_brackets_in_a_table_are_no_markup(capsys):
    terminal.show([Table("t", ("a",), [("pip install 'onnxruntime-gpu[cuda]'",)])])
    assert "onnxruntime-gpu[cuda]" in capsys.readouterr().out


def test_names_are_shown_and_not_obeyed(capsys):
    with terminal.Listener() as progress:
        progress.note("a\nb\x1b[1m")
    terminal.show(["two\nlines", "\x1b[1m", Table("names", ("name",), [("a\nb\udcff",)])])
    captured = capsys.readouterr()
    assert captured.err == "note: a\\nb\\x1b[1m\n"
    assert captured.out.startswith("two\nlines\n\\x1b[1m\n")
    assert "a\\nb\\udcff" in captured.out
