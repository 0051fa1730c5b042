"""The application, and the arguments and options that several commands share."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from vtp_export import __version__, rooms
from vtp_export.errors import SpecError

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Export a vision-language model's pruned vision front end (tower + visual-token pruner + projector), "
    "run it without torch, and prove that it keeps the same tokens.\n\nStart with: vtp-export demo",
)


def name_option(room: str, *flags: str, words: str, names: list[str] | None = None) -> Any:
    """An option whose value is a file of a room: help and completion list them, and another name is refused.

    Args:
        room: the folder that is the registry.
        flags: "--pruner" and shorter ones.
        words: what the help says besides.
        names: those on offer, where they are not those of the room.
    """
    names = rooms.names(room) if names is None else names

    def checked(text: str) -> str:
        if text not in names:
            raise rooms.unknown(room, text)
        return text

    return typer.Option(
        *flags,
        metavar="NAME",
        parser=checked,
        autocompletion=starting(names),
        help=f"{words} One of: {', '.join(names)}.",
    )


def budget(text: str) -> Any:
    """Read a budget: a number of tokens, or a share of them, which is a text."""
    if re.fullmatch(r"[+-]?\d+", text.strip()):
        return int(text)
    if text.strip().endswith("%"):
        return text.strip()
    raise SpecError(f"--keep is '{text}'; it must be a number of visual tokens, or a share of them such as 10%")


def share(text: str) -> float:
    """Read a share, such as 95%, as a number from 0 to 1."""
    number = re.fullmatch(r"(\d+(?:\.\d+)?)\s*%", text.strip())
    if number is None or float(number[1]) > 100:
        raise SpecError(f"--at-least is '{text}'; it must be a share, 0% to 100%, such as 95%")
    return float(number[1]) / 100


def starting(names: list[str]) -> Callable[[str], list[str]]:
    """What the shell completes a word to."""

    def complete(incomplete: str) -> list[str]:
        return [name for name in names if name.startswith(incomplete)]

    return complete


def settings_of(texts: list[str] | None, option: str = "--set") -> dict[str, str]:
    """Read the KEY=VALUE words of an option.

    Raises:
        SpecError: another form, or a key that is there twice.
    """
    several = several_of(texts, option)
    for key, values in several.items():
        if len(values) > 1:
            raise SpecError(f"{option} {key} is there {len(values)} times ({', '.join(values)}); say it once")
    return {key: value for key, (value,) in several.items()}


def several_of(texts: list[str] | None, option: str = "--set") -> dict[str, list[str]]:
    """Read the KEY=VALUE words of an option, all values of a key together.

    Raises:
        SpecError: another form.
    """
    settings: dict[str, list[str]] = {}
    for text in texts or ():
        key, sign, value = (part.strip() for part in text.partition("="))
        if not sign or not key:
            raise SpecError(f"{option} takes KEY=VALUE, and '{text}' is not that")
        settings.setdefault(key, []).append(value)
    return settings


Model = Annotated[
    str, typer.Argument(metavar="MODEL", help="A Hugging Face folder, a hub id, or an embedded name (tiny-llava, toy).")
]
Folder = Annotated[
    Path,
    typer.Argument(metavar="DIR", help="An artefact: the folder that export wrote, or its id on the hub: owner/name."),
]
Formats = Annotated[
    list[str] | None, name_option("backends", "--format", "-f", words="Repeatable; default: all of the artefact.")
]
Settings = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A setting of the pruner. Repeatable.")
]
Calibration = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="A record of calibrate; default: the one beside the model's weights, if any."),
]
Calibrations = Annotated[
    list[Path] | None,
    typer.Option(
        "--calibration",
        metavar="FILE",
        help="A record of calibrate; default: the one beside the model's weights, if any. Repeatable: one for each "
        "grid.",
    ),
]
Revision = Annotated[str | None, typer.Option(metavar="NAME", help="Commit, branch or tag on the hub.")]
Limit = Annotated[int | None, typer.Option(metavar="N", help="At most so many images.")]
Report = Annotated[Path | None, typer.Option(metavar="DIR", help="Write an HTML report with pictures here.")]
Force = Annotated[bool, typer.Option("--force", help="Replace what is there already, at once or not at all.")]
Device = Annotated[
    Literal["cpu", "cuda", "gpu", "npu"] | None,
    typer.Option(
        help="Where it runs, or an error: never another in its place. gpu and npu are Intel's, through OpenVINO. "
        "Default: the CPU, for a TensorRT plan its GPU."
    ),
]
TorchDevice = Annotated[Literal["cpu", "cuda"], typer.Option(help="Where PyTorch runs, or an error.")]
Dtype = Annotated[
    Literal["float32", "float16", "bfloat16"],
    typer.Option(help="What PyTorch computes with; selection and measures are float32 at least."),
]
Threads = Annotated[
    int | None, typer.Option(metavar="N", help="CPU threads; default: one for each CPU that the process may use.")
]
Options = Annotated[
    list[str] | None, typer.Option("--option", metavar="KEY=VALUE", help="An option of the format. Repeatable.")
]


Grid = Annotated[
    str | None,
    typer.Option(
        metavar="RxC", help="Of a model of any resolution: rows and columns of tokens to build for, as 26x46."
    ),
]
ImageSize = Annotated[
    str | None,
    typer.Option(metavar="WxH", help="The same by the width and height of the pictures in pixels, as 1280x720."),
]
Grids = Annotated[
    list[str] | None,
    typer.Option(
        "--grid",
        metavar="RxC",
        help="Of a model of any resolution: rows and columns of tokens to build for, as 26x46. Repeatable: each is a "
        "graph.",
    ),
]
ImageSizes = Annotated[
    list[str] | None,
    typer.Option(
        "--image-size",
        metavar="WxH",
        help="The same by the width and height of the pictures in pixels, as 1280x720. Repeatable.",
    ),
]
MostTokens = Annotated[
    int | None,
    typer.Option(
        "--max-tokens",
        metavar="N",
        help="Of a model of any resolution: most tokens of a picture; larger ones are shrunk. Alone: build the largest "
        "grids of 1:1, 4:3, 3:4, 3:2, 2:3, 16:9 and 9:16.",
    ),
]
MaxTokens = Annotated[
    int | None,
    typer.Option(metavar="N", help="Of a model of any resolution: most tokens of a picture; larger ones are shrunk."),
]
NearestGrid = Annotated[
    bool,
    typer.Option("--nearest-grid", help="Of a model of any resolution: stretch pictures that it was not built for."),
]


Batch = Annotated[int, typer.Option(metavar="N", help="Questions that the language model answers together at most.")]
Cache = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Keep every answer here and ask for none twice; default: in the report's folder."),
]


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        typer.echo(f"vtp-export {__version__}")
        raise typer.Exit
