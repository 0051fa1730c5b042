"""How much room installed packages take."""

import re
from pathlib import Path

import pytest

from vtp_export.runtime.versions import CORE, install_bytes


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Put a package on the path: files of given sizes, and the lines of what it needs."""
    monkeypatch.syspath_prepend(tmp_path)

    def install(name, sizes, *needs, listed=True):
        info = tmp_path / f"{name.replace('-', '_')}-1.0.dist-info"
        info.mkdir()
        lines = [f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0", *(f"Requires-Dist: {need}" for need in needs)]
        (info / "METADATA").write_text("\n".join(lines))
        for i, size in enumerate(sizes):
            (tmp_path / f"{name}{i}.so").write_bytes(bytes(size))
        if listed:
            (info / "RECORD").write_text("".join(f"{name}{i}.so,,\n" for i in range(len(sizes))))

    return install


def test_what_a_package_needs_is_counted_once_and_the_core_install_is_not(installed):
    installed("first_runtime", [100, 20], "numpy>=1", "second.lib (>=2)", "third; extra == 'gpu'", "absent-one")
    installed("second-lib", [3], 'first-runtime; python_version > "3"')
    installed("third", [5000])
    assert install_bytes(["first-runtime"]) == install_bytes(["first-runtime", "second-lib", "absent-one"]) == 123


def test_nothing_installed_is_not_known(installed):
    assert install_bytes(["no-such-package"]) is None
    assert install_bytes([]) is None


def test_a_package_without_a_list_of_its_files_is_not_known(installed):
    installed("of-the-system", [7], listed=False)
    assert install_bytes(["of-the-system"]) is None


def test_a_file_that_was_deleted_takes_no_room(installed, tmp_path):
    installed("half", [10, 20])
    (tmp_path / "half0.so").unlink()
    assert install_bytes(["half"]) == 20


def test_the_core_install_is_that_of_the_project():
    project = (Path(__file__).parents[2] / "pyproject.toml").read_text()
    declared = re.search(r"^dependencies = \[(.*)\]$", project, re.MULTILINE)
    assert tuple(re.findall(r'"([\w-]+)', declared[1])) == CORE
