"""`vtp-export demo`: the main job on the embedded model, from export to answers and pictures."""

from pathlib import Path

import numpy as np

from vtp_export.arguments import path_of
from vtp_export.benchmarks._lookup import examples_of
from vtp_export.benchmarks.base import Example
from vtp_export.errors import ArtefactError
from vtp_export.pipeline.export import export
from vtp_export.pipeline.validate import validate
from vtp_export.progress import Progress, silent
from vtp_export.reports.demo import DemoReport
from vtp_export.reports.overlay import contact_sheet, overlay
from vtp_export.reports.page import PAGE
from vtp_export.runtime.front_end import load
from vtp_export.runtime.writing import atomically, refuse_unwritable

MODEL = "tiny-llava"
FORMATS = ("onnx", "torchscript")
BENCHMARK = "shapes"
IMAGES = 60


def demo(
    out: str | Path = "demo-out",
    *,
    device: str = "cpu",
    dtype: str = "float32",
    threads: int | None = None,
    progress: Progress = silent,
) -> DemoReport:
    """Export in two formats, validate both with answers, draw.

    Args:
        out: folder that everything goes to; replaced if it is an earlier demo.
        device: where torch runs the graph and the language model: "cpu" or "cuda".
        dtype: what the language model computes with.
        threads: CPU threads of one run, or None for as many as the process may use.
        progress: hears of every step.

    Raises:
        ArtefactError: `out` holds something that is not an earlier demo.
    """
    out = path_of("the folder of the demo", out)
    refuse_unwritable(out)
    artefact = out / "artefact"
    if out.exists() and any(out.iterdir()) and not (artefact / "manifest.json").is_file():
        raise ArtefactError(f"'{out}' holds something that is not an earlier demo; name another folder with --out")
    export(MODEL, artefact, formats=FORMATS, force=True, progress=progress)
    validation = validate(
        artefact,
        benchmark=BENCHMARK,
        limit=IMAGES,
        answers=True,
        report=out / "report",
        threads=threads,
        eager_device=device,
        dtype=dtype,
        progress=progress,
    )
    picture = _picture(artefact, examples_of(BENCHMARK, IMAGES), out / "kept.png", progress)
    again = (
        f"vtp-export compare {MODEL} --benchmark {BENCHMARK} --limit {IMAGES} --keep 32 --keep 64 --report comparison"
    )
    return DemoReport(
        artefact=artefact,
        validation=validation,
        page=out / "report" / PAGE,
        picture=picture,
        next_command=again,
    )


def _picture(artefact: Path, examples: list[Example], target: Path, progress: Progress) -> Path:
    """The two ends of the benchmark by effective rank: the scene, and what was kept of it."""
    progress("drawing")
    with load(artefact, FORMATS[0]) as frontend:
        results = [frontend(example.open())[0] for example in examples]
        eranks = [result.erank for result in results if result.erank is not None]
        layout, preprocessing = frontend.manifest.layout, frontend.manifest.preprocessing
    rows = []
    for what, i in (("simple", int(np.argmin(eranks))), ("crowded", int(np.argmax(eranks)))):
        lit = overlay(examples[i].open(), results[i].kept, layout, preprocessing)
        scene = examples[i].open().resize(lit.size)
        rows.append([(f"{what}, erank {eranks[i]:.1f}", scene), (f"the {results[i].num_kept} tokens kept", lit)])
    with atomically(target) as file:
        contact_sheet(rows).save(file, "PNG")
    return target
