"""What the pages say is so: every fenced command and every snippet is run, or its fence says why not.

A fence that begins with "sh" or "python" is run, in the order of the page, in a folder of the page's own: as it is
written, but with the embedded model in place of a model of the hub, and on few images. `make` only says what it would
do. A fence that is not run gives one of `REASONS`; one that is no command is "text".
"""

import ast
import contextlib
import importlib
import io
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import typer.main

from tests.laws.checkpoints import dinov2, llava_next, siglip
from vtp_export import __version__, cli
from vtp_export.benchmarks.shapes import Benchmark

ROOT = Path(__file__).parent.parent
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("bench/*.md"), *ROOT.glob("vtp_export/**/*.md")]
COMMANDS = typer.main.get_command(cli.app).commands

REASONS = {
    "network": "it installs packages",
    "docker": "it needs a container engine",
    "gpu": "it needs a GPU with TensorRT",
    "board": "it is for a Jetson",
    "browser": "it is JavaScript, and takes a package of another registry",
    "runtime": "it needs a runtime that is installed for no test; where it is, tests/integrations has what it says",
    "server": "it is, or asks, a server of another project",
    "toolkit": "it is, or belongs to, an evaluation toolkit of another project",
    "long": "it takes hours; the fence names the test of its parts",
}
FENCE = re.compile(
    rf"(?P<language>sh|python|js|text)(?: not run: (?P<reason>{'|'.join(REASONS)})(?:, see (?P<test>\S+))?)?"
    r"(?: exit code (?P<code>\d+))?"
)
STAND_INS = {
    "llava-hf/llava-1.5-7b-hf": "tiny-llava",
    "llava-hf/llava-v1.6-mistral-7b-hf": "./small-next",
    "google/siglip-so400m-patch14-384": "./small-siglip",
    "facebook/dinov2-small": "./small-dinov2",
}
SMALL = {"small-next": llava_next.llava_next, "small-siglip": siglip.siglip, "small-dinov2": dinov2.dinov2}
"""What writes the checkpoints of these names, where a page needs them."""
FEW = {"--limit": 2, "--rounds": 1}
"""Put behind every command that has the option."""


@dataclass(frozen=True)
class Block:
    """A fenced block. `code`: what its last command ends with."""

    page: Path
    info: str
    text: str

    @property
    def marks(self):
        """What the fence says, or None if it says nothing that is known."""
        return FENCE.fullmatch(self.info)

    @property
    def language(self):
        return self.marks and self.marks["language"]

    @property
    def runs(self):
        return self.language in ("sh", "python") and self.marks["reason"] is None

    def commands(self):
        """Words of every line."""
        lines = self.text.replace("\\\n", " ").splitlines()
        return [words for line in lines if (words := shlex.split(line, comments=True))]


BLOCKS = [
    Block(page, *found)
    for page in PAGES
    for found in re.findall(r"^```([^\n]*)\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)
]


def named(block):
    return f"{block.page.name}-{block.text[:40].partition(chr(10))[0]}"


def typed():
    """Every call of vtp-export in a fence or between backticks: its place and its words."""
    calls = [(block.page.name, words) for block in BLOCKS if block.language == "sh" for words in block.commands()]
    for page in PAGES:
        calls += [
            (page.name, shlex.split(text)) for text in re.findall(r"`(vtp-export [a-z][^`|\\&]*)", page.read_text())
        ]
    return [(place, words[1:]) for place, words in calls if words[0] == "vtp-export"]


@pytest.mark.parametrize("block", BLOCKS, ids=named)
def test_a_fence_says_whether_it_is_run(block):
    assert block.marks is not None, f"'{block.info}' is not understood; reasons are: {', '.join(REASONS)}"
    assert (block.marks["reason"] == "long") == (block.marks["test"] is not None)
    assert block.marks["test"] is None or (ROOT / block.marks["test"]).is_file()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_fence_escapes(page):
    """One that is indented, drawn with tildes or left open would be run by nobody."""
    marks = re.findall(r"^[ \t>]*(?:```|~~~)", page.read_text(), re.MULTILINE)
    assert len(marks) == 2 * sum(block.page == page for block in BLOCKS)


@pytest.mark.parametrize(("place", "words"), typed(), ids=lambda value: None)
def test_every_command_is_one_with_its_options(place, words):
    """Those that are not run too."""
    name, *rest = words
    if name.isupper():
        return  # a word that stands for any
    arguments = [re.sub(r"^(DIR|NAME|F|FORMAT|ROOM)$", "onnx", word) for word in rest]
    COMMANDS[name].make_context(name, arguments, resilient_parsing=not arguments)


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.language == "python"], ids=named)
def test_what_python_imports_of_this_package_is_there(block):
    for node in ast.walk(ast.parse(block.text)):
        if isinstance(node, ast.ImportFrom) and node.module.startswith("vtp_export"):
            module = importlib.import_module(node.module)
            assert [alias.name for alias in node.names if not hasattr(module, alias.name)] == []


SOURCES = sorted(path for path in (ROOT / "vtp_export").rglob("*.py"))


@pytest.mark.parametrize("path", [*PAGES, *SOURCES], ids=lambda path: path.name)
def test_nobody_is_sent_to_an_index_that_does_not_have_this_package(path):
    """From a clone, or from the wheel that `make wheel` writes; libraries by their own names (`extras.install`)."""
    assert re.findall(r"pip install [^\n`]*(?<![\w/.])'?vtp-export\b.*", path.read_text()) == []


def test_the_wheel_of_the_pages_is_the_one_that_is_made():
    wheels = {name for page in PAGES for name in re.findall(r"vtp_export-[\w.]+-py3-none-any\.whl", page.read_text())}
    assert wheels - {"vtp_export-VERSION-py3-none-any.whl"} == {f"vtp_export-{__version__}-py3-none-any.whl"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_linked_files_are_there(page):
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text())
    assert [target for target in targets if ":" not in target and not (page.parent / target).exists()] == []


def pages_that_run():
    """Those that make or quantise artefacts, or let a model answer, take a minute, and are `whole`."""
    for page in PAGES:
        if blocks := [block for block in BLOCKS if block.page == page and block.runs]:
            text = "".join(block.text for block in blocks)
            heavy = re.search(
                r"(vtp-export |= )(export|validate|compare|calibrate|check|push)\b|quantize_dynamic", text
            )
            yield pytest.param(blocks, id=page.name, marks=pytest.mark.whole if heavy else ())


@pytest.mark.parametrize("blocks", list(pages_that_run()))
def test_a_page_runs_from_top_to_bottom(blocks, request, tmp_path, monkeypatch):
    text = "".join(block.text for block in blocks)
    examples = list(Benchmark().examples(3))
    examples[0].open().save(tmp_path / "photo.jpg")
    (tmp_path / "photos").mkdir()
    for example in examples:
        example.open().save(tmp_path / "photos" / f"{example.name}.png")
    if "llava64" in text and not re.search(r'--out llava64(?![\w-])|export\(.*"llava64"', text):
        shutil.copytree(request.getfixturevalue("embedded_artefact"), tmp_path / "llava64")
    for name, write in SMALL.items():
        if name in stood_in(text):
            write(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    for block in blocks:
        if block.language == "python":
            exec(compile(stood_in(block.text), named(block), "exec"), {})
            continue
        *ends, last = [run(words, monkeypatch) for words in block.commands()]
        assert (ends, last) == ([0] * len(ends), int(block.marks["code"] or 0)), named(block)


SIZES = [
    (page.name, *told)
    for page in PAGES
    for told in re.findall(
        r"^(vtp-export export .*) --out \S+ +# ([\d.]+) MB instead of ([\d.]+)$", page.read_text(), re.MULTILINE
    )
]


@pytest.mark.whole
@pytest.mark.parametrize(("page", "command", "size", "instead"), SIZES, ids=[name for name, *_ in SIZES])
def test_megabytes_behind_a_command_are_those_of_the_files(page, command, size, instead, tmp_path, monkeypatch):
    plain = re.sub(r" --precision \S+", "", command)
    for out, typed_in in (("narrow", command), ("plain", plain)):
        assert run([*shlex.split(typed_in), "--golden", "0", "--out", str(tmp_path / out)], monkeypatch) == 0
    sizes = [f"{(tmp_path / out / 'model.onnx').stat().st_size / 1e6:.1f}" for out in ("narrow", "plain")]
    assert sizes == [size, instead]


def stood_in(text):
    for name, other in STAND_INS.items():
        text = text.replace(name, other)
    return text


def run(words, monkeypatch):
    """The exit code of a command."""
    program, *rest = words
    if program == "make":
        return subprocess.run(["make", "--dry-run", *rest], cwd=ROOT, stdout=subprocess.DEVNULL).returncode
    assert program == "vtp-export", f"only vtp-export and make are run here; mark the fence of '{shlex.join(words)}'"
    options = {option for parameter in COMMANDS[rest[0]].params for option in parameter.opts}
    few = [f"{option}={number}" for option, number in FEW.items() if option in options]
    monkeypatch.setattr(sys, "argv", ["vtp-export", *map(stood_in, rest), *few])
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said), pytest.raises(SystemExit) as end:
        cli.main()
    sys.stdout.write(f"{shlex.join(sys.argv)}\n{said.getvalue()}\n")
    return end.value.code or 0
