"""What the pages say exists: commands with their options, names that are imported, files that are linked."""

import ast
import importlib
import re
import shlex
from pathlib import Path

import pytest
import typer.main

from vtp_export.cli import app

ROOT = Path(__file__).parent.parent
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("bench/*.md")]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FENCED = [(page.name, *found) for page in PAGES for found in FENCE.findall(page.read_text())]


def blocks(language):
    """Page and text of every fenced block of a language."""
    return [(page, text) for page, other, text in FENCED if other == language]


def commands():
    """Page and arguments of every call of vtp-export."""
    calls = []
    for page, text in blocks(""):
        for line in text.replace("\\\n", " ").splitlines():
            if call := re.match(r"(?:\$ )?vtp-export (.*)", line):
                calls.append((page, shlex.split(call[1], comments=True)))
    return calls


def test_there_is_something_to_look_at():
    assert len(commands()) > 30
    assert len(blocks("python")) > 3


@pytest.mark.parametrize(("page", "arguments"), commands(), ids=lambda value: None)
def test_every_command_is_one_with_its_options(page, arguments):
    name, *rest = arguments
    command = typer.main.get_command(app).commands[name]
    command.make_context(name, rest)  # refuses what it does not know, and runs nothing


@pytest.mark.parametrize(("page", "text"), blocks("python"), ids=lambda value: None)
def test_what_python_imports_of_this_package_is_there(page, text):
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and node.module.startswith("vtp_export"):
            module = importlib.import_module(node.module)
            assert [alias.name for alias in node.names if not hasattr(module, alias.name)] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_linked_files_are_there(page):
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text())
    assert [target for target in targets if ":" not in target and not (page.parent / target).exists()] == []
