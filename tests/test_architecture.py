"""The house holds: imports point down, rooms are small, light modules stay light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from vtp_export.cli import app

ROOT = Path(__file__).parent.parent / "vtp_export"
FILES = sorted(ROOT.rglob("*.py"))

LAYERS = [
    {"errors", "progress", "endings", "extras"},
    {"arguments"},
    {"json_records", "settings", "resolutions"},
    {"spec", "calibrations", "rooms"},
    {"precision_plans"},
    {"manifests"},
    {"runtime", "functional", "targets"},
    {"pruners", "models", "backends", "benchmarks", "calibration", "reference", "inllm"},
    {"graphs"},
    {"costs"},
    {"parity"},
    {"precision", "reports", "integrations"},
    {"making", "comparing"},
    {"pipeline"},
    {"terminal"},
    {"cli"},
    {"__main__"},
]
RANK = {room: rank for rank, rooms in enumerate(LAYERS) for room in rooms}
MOST_LINES, MOST_BODY, MOST_POSITIONAL = 300, 50, 4


def room_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imported_rooms(path: Path) -> set[str]:
    modules = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            modules |= {f"{node.module}.{alias.name}" for alias in node.names}
    # `from vtp_export import __version__` names no room.
    return {m.split(".")[1] for m in modules if m.startswith("vtp_export.") and "__version__" not in m}


def body_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    body = function.body
    if ast.get_docstring(function) is not None:
        body = body[1:]
    return body[-1].end_lineno - body[0].lineno + 1 if body else 0


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_downwards(path):
    here = room_of(path)
    if here == "__init__":
        return
    for there in imported_rooms(path) - {here}:
        assert RANK[there] < RANK[here], f"{here} may not import {there}"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_rooms_are_small(path):
    text = path.read_text()
    assert len(text.splitlines()) <= MOST_LINES
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert body_lines(node) <= MOST_BODY, f"{node.name} has {body_lines(node)} lines"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_records_of_many_fields_are_made_by_name(path):
    for node in ast.walk(ast.parse(path.read_text())):
        marks = [ast.unparse(mark) for mark in getattr(node, "decorator_list", []) if "dataclass" in ast.unparse(mark)]
        if isinstance(node, ast.ClassDef) and marks:
            fields = [line for line in node.body if isinstance(line, ast.AnnAssign)]
            assert len(fields) <= MOST_POSITIONAL or "kw_only=True" in marks[0], node.name


def test_every_room_is_on_a_floor():
    assert {room_of(path) for path in FILES} - {"__init__"} <= set(RANK)


def test_no_vague_file_names():
    vague = {"utils", "util", "helpers", "common", "manager", "misc"}
    assert not [path for path in FILES if path.stem.strip("_") in vague]


def test_torch_jit_has_one_home():
    users = {str(path.relative_to(ROOT)) for path in FILES if "torch.jit." in path.read_text()}
    # sizes.py names the warning that it silences.
    assert users <= {"backends/torchscript.py", "functional/sizes.py"}


@pytest.mark.parametrize(
    "module",
    [
        "vtp_export",
        "vtp_export.cli",
        "vtp_export.pipeline.run",
        "vtp_export.pipeline.bench",
        "vtp_export.pipeline.check",
        "vtp_export.pipeline.doctor",
        "vtp_export.pipeline.explain",
        "vtp_export.pipeline.lint",
        "vtp_export.runtime.artefact",
        "vtp_export.parity.verdict",
        "vtp_export.parity.tally",
        "vtp_export.reports.validation",
        "vtp_export.reports.comparison",
    ],
)
def test_light_modules_stay_light(module):
    code = f"import sys, {module}; print(sorted({{'torch', 'transformers', 'onnx', 'onnxruntime'}} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_pipeline_is_one_file_per_command():
    commands = {c.name or c.callback.__name__ for c in app.registered_commands}
    stems = {path.stem for path in FILES if room_of(path) == "pipeline"} - {"__init__"}
    assert stems | {"plan"} == commands  # an alias of build
