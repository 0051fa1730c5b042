import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vtp_export.benchmarks import photos
from vtp_export.benchmarks._folder import Folder
from vtp_export.benchmarks._lookup import benchmark_of
from vtp_export.benchmarks.photos import Benchmark
from vtp_export.errors import ImageError, SpecError, UnavailableError, VtpWarning


def test_photos_are_many_named_sorted_and_decoded() -> None:
    found = list(Benchmark().examples(None))
    names = [example.name for example in found]
    assert len(found) >= 12
    assert names == sorted(set(names))
    assert {"astronaut", "china"} <= set(names)
    for example in found:
        assert min(example.open().size) >= 200
        assert np.asarray(example.open().convert("L")).std() > 5  # a picture, not a plain field


def test_limit() -> None:
    names = [example.name for example in Benchmark().examples(None)]
    assert [example.name for example in Benchmark().examples(3)] == names[:3]
    assert len(list(Benchmark().examples(1000))) == len(names)
    for limit in (0, -1):
        with pytest.raises(SpecError, match=f"limit is {limit}"):
            list(Benchmark().examples(limit))


def test_missing_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Benchmark().missing() is None
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert "pip install 'scikit-image>=" in (Benchmark().missing() or "")
    with pytest.raises(UnavailableError, match="neither is installed"):
        list(Benchmark().examples(1))


def test_one_library_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(photos, "FILES", {"sklearn": photos.FILES["sklearn"], "no_such_library": ("x.png",)})
    assert [example.name for example in Benchmark().examples(None)] == ["china", "flower"]


def test_the_libraries_are_not_imported() -> None:
    script = (
        "import sys; from vtp_export.benchmarks.photos import Benchmark; list(Benchmark().examples(2));"
        "print(sorted({'skimage', 'sklearn', 'scipy', 'torch'} & set(sys.modules)))"
    )
    root = Path(photos.__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=root)
    assert done.stdout.strip() == "[]"


def test_folder_is_sorted_recursive_and_plain(tmp_path: Path) -> None:
    for name in ("b.png", "a/z.JPG", "a/y.webp", ".hidden/x.png", "._b.png"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (4, 4)).save(path)
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "loop").symlink_to(tmp_path)
    folder = Folder(tmp_path)
    assert folder.missing() is None
    assert [example.name for example in folder.examples(None)] == ["a/y.webp", "a/z.JPG", "b.png"]
    assert [example.name for example in folder.examples(1)] == ["a/y.webp"]
    (tmp_path / "a" / "y.webp").write_bytes(b"")
    with pytest.raises(ImageError, match=r"y\.webp' is empty"):
        next(folder.examples(None)).open()


@pytest.mark.filterwarnings("always")
def test_a_bare_name_is_the_benchmark_and_a_path_is_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("shapes", "mine"):
        (tmp_path / name).mkdir()
        Image.new("RGB", (4, 4)).save(tmp_path / name / "a.png")
    monkeypatch.chdir(tmp_path)
    for one in ("./shapes", "shapes/", str(tmp_path / "shapes"), Path("shapes"), "mine", Path("mine")):
        assert [example.name for example in benchmark_of(one).examples(None)] == ["a.png"]
    with pytest.warns(VtpWarning, match="'shapes' is taken for the benchmark of that name; the folder is './shapes'"):
        assert not isinstance(benchmark_of("shapes"), Folder)
    monkeypatch.chdir("/")
    assert not isinstance(benchmark_of(Path("shapes")), Folder)


def test_folder_without_images(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"no images below '.*'; JPEG, PNG or others that Pillow reads were expected"):
        Folder(tmp_path)
    with pytest.raises(SpecError, match="no folder"):
        Folder(tmp_path / "absent")
