import subprocess
import sys
from pathlib import Path

import pytest

from vtp_export import rooms
from vtp_export.errors import UnknownNameError


def test_a_file_is_a_name() -> None:
    assert "photos" in rooms.names("benchmarks")
    assert rooms.names("benchmarks") == sorted(rooms.names("benchmarks"))


def test_base_and_private_files_are_not_on_offer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    room = tmp_path / "things"
    room.mkdir()
    for name in ("base.py", "_hidden.py", "zebra.py", "ant.py", "notes.txt", "__init__.py"):
        (room / name).write_text("")
    monkeypatch.setattr(rooms, "PACKAGE", tmp_path)
    assert rooms.names("things") == ["ant", "zebra"]
    assert rooms.names("absent") == []


def test_load_returns_the_module() -> None:
    module = rooms.load("benchmarks", "photos")
    assert module.__name__ == "vtp_export.benchmarks.photos"
    assert module.Benchmark


@pytest.mark.parametrize("name", ["photo", "base", "_folder", "", "../errors", "photos.x"])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(UnknownNameError, match=rf"no benchmark named '{name}'; .*choose one of: .*photos"):
        rooms.load("benchmarks", name)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("cdpruner", "dpp"),
        ("CDPruner", "dpp"),
        ("AgilePruner", "adaptive"),
        ("llava-prumerge", "prumerge"),
        ("divprun", "divprune"),
        ("", None),
        ("(", None),
    ],
)
def test_a_method_is_known_by_its_release_too(name: str, meant: str | None) -> None:
    with pytest.raises(UnknownNameError) as caught:
        rooms.load("pruners", name)
    assert str(caught.value).partition("choose one of")[0].endswith(f"did you mean '{meant}'? " if meant else "; ")


def test_listing_imports_nothing() -> None:
    script = (
        "import sys; from vtp_export import rooms\n"
        "[rooms.names(room) for room in ('pruners', 'models', 'backends', 'benchmarks')]\n"
        "print(sorted({'torch', 'transformers', 'numpy', 'PIL'} & set(sys.modules)))"
    )
    root = Path(rooms.__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=root)
    assert done.stdout.strip() == "[]"
