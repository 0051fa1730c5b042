"""A benchmark by name, a folder of one's own images, or a file of one's own questions."""

from pathlib import Path

from vtp_export import rooms
from vtp_export.arguments import kind_of, path_of, whole
from vtp_export.benchmarks._folder import Folder
from vtp_export.benchmarks._question_file import QuestionFile
from vtp_export.benchmarks.base import Benchmark, Example
from vtp_export.errors import SpecError, UnavailableError, UnknownNameError
from vtp_export.runtime.images import image_endings, note


def examples_of(name: str | Path, limit: int | None) -> list[Example]:
    """Images of a benchmark, in its fixed order.

    Raises:
        UnknownNameError: neither a benchmark nor a folder.
        UnavailableError: the benchmark's data are not installed.
        SpecError: no images, or a limit below 1.
    """
    if limit is not None:
        whole("limit", limit, 1)
    return list(benchmark_of(name).examples(limit))


def benchmark_of(name: str | Path) -> Benchmark:
    """The data set itself, to be read one picture at a time.

    A bare name is that of a benchmark, whatever folder there is; a `Path`, and a text with a slash, is a folder, or a
    question file.

    Raises:
        UnknownNameError: neither a benchmark nor a folder nor a file.
        UnavailableError: the benchmark's data are not installed.
        SpecError: a folder without images.
    """
    path_of("the benchmark", name)
    known = str(name) in rooms.names("benchmarks")
    kind = kind_of("the benchmark", name)
    if kind == "folder":
        if isinstance(name, Path) or not known:
            return Folder(Path(name))
        note(f"'{name}' is taken for the benchmark of that name; the folder is './{name}'")
    elif kind == "file" and (isinstance(name, Path) or not known):
        return _questions(Path(name))
    name = str(name)
    if not known:
        raise UnknownNameError("folder, question file or benchmark", name, rooms.names("benchmarks"))
    benchmark: Benchmark = rooms.load("benchmarks", name).Benchmark()
    if reason := benchmark.missing():
        raise UnavailableError(reason)
    return benchmark


def _questions(path: Path) -> QuestionFile:
    try:
        return QuestionFile(path)
    except SpecError as error:
        if path.suffix.lower() in image_endings():
            raise SpecError(f"'{path}' is one picture; name the folder that holds it, or a question file") from error
        raise
