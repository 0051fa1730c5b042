"""From an exception to a sentence and an exit code; see `endings`."""

import contextlib
import difflib
import platform
import re
import shlex
import sys
import tempfile
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer

from vtp_export import __version__
from vtp_export.cli._command import printing
from vtp_export.endings import CRASH, INTERRUPTION, MISTAKE, code_of_interruption, failure
from vtp_export.errors import SpecError, VtpError, printable
from vtp_export.extras import install

EXPORT_EXTRA = ("torch", "transformers", "onnx", "onnxscript", "safetensors", "huggingface_hub")
"""Modules that come with the extra `export`."""

USAGE = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")
"""What typer raises at a word it cannot parse. It has no public name, and its home differs between versions."""


def refuse_empty(words: Sequence[str]) -> None:
    """An empty word, as a shell makes of a variable that is not set, would be taken for the current folder.

    Raises:
        SpecError: there is one, or an option with nothing behind its "=".
    """
    for before, word in zip(("", *words), words, strict=False):
        if not word or re.fullmatch("--[a-z-]+=", word):
            place = f"after '{before}'" if not word and before else f"in '{word}'" if word else "at first"
            raise SpecError(f"the command line has an empty word {place}; was a variable not set?")


def report(error: BaseException, words: Sequence[str]) -> int:
    """Say what went wrong: a sentence on standard error, and JSON on standard output where it was asked for.

    Args:
        error: what a command, or the parser, ended with.
        words: the command line after the program's name.

    Returns:
        The exit code.
    """
    verbose = "-v" in words or "--verbose" in words
    code, sentence = _judged(error)
    sentence = printable(sentence)
    if not sentence:
        return 0  # no word at all was given, and the help has been shown
    if code == CRASH and not verbose:
        sentence += _kept(error, words)
    with contextlib.suppress(OSError):  # nobody listens, and the exit code remains
        if verbose and sentence != INTERRUPTION:
            traceback.print_exception(error)
        print(f"error: {sentence}" if sentence != INTERRUPTION else sentence, file=sys.stderr, flush=True)
    with contextlib.suppress(VtpError, typer.Exit), printing():
        if "--json" in words:
            from vtp_export import terminal

            terminal.show_json(failure(type(error).__name__, sentence, code))
    return code


def _judged(error: BaseException) -> tuple[int, str]:
    if isinstance(error, VtpError):
        return MISTAKE, str(error)
    if isinstance(error, USAGE):
        return MISTAKE, _usage(error)
    if isinstance(error, KeyboardInterrupt | typer.Abort):
        return code_of_interruption(), INTERRUPTION
    if isinstance(error, ModuleNotFoundError) and error.name in EXPORT_EXTRA:
        return MISTAKE, f"this command needs {error.name}: {install('export')}"
    if isinstance(error, OSError):
        place = f": '{error.filename}'" if error.filename else ""
        return MISTAKE, f"{error.strerror or error}{place}"
    if isinstance(error, MemoryError):
        return MISTAKE, "there is not enough memory on this machine"
    first = str(error).strip().partition("\n")[0]
    return (
        CRASH,
        f"vtp-export itself failed with {type(error).__name__}{f': {first}' if first else ''}; please report it",
    )


def _usage(error: Any) -> str:
    """The parser's sentence, and where to read on."""
    message = str(error.format_message()).strip().replace("Value error, ", "")
    context = getattr(error, "ctx", None)
    where = context.command_path if context is not None else "vtp-export"
    if not message:
        return ""
    cause: Any = error.__cause__
    if hasattr(cause, "errors"):  # of pydantic, by which some versions of typer read a number; their words lack it
        message = message.replace("Input should be", f"'{cause.errors()[0]['input']}' should be")
    message = re.sub(r"\. Did you mean (.+)\?$", r" (did you mean \1?)", message)
    choice = re.search(r"'([^']*)' is not one of (.+)", message)
    near = difflib.get_close_matches(choice[1], re.findall(r"'([^']+)'", choice[2]), n=1) if choice else []
    hint = f" (did you mean '{near[0]}'?)" if near else ""
    return f"{message.rstrip('.')}{hint}; see: {where} --help"


def _kept(error: BaseException, words: Sequence[str]) -> str:
    """Write the traceback to a file, and say where; or print it, if there is no place to write to."""
    lines = [
        f"vtp-export {__version__}, Python {platform.python_version()}, {platform.platform()}\n",
        f"vtp-export {shlex.join(words)}\n\n",
        *traceback.format_exception(error),
    ]
    try:
        with tempfile.NamedTemporaryFile("w", prefix="vtp-export-", suffix=".txt", delete=False) as file:
            file.writelines(lines)
    except OSError:
        sys.stderr.writelines(lines)
        return " with the lines above"
    return f", with {Path(file.name)}"
