"""What ONNX Runtime Web keeps of the pictures of the golden record, beside ONNX Runtime on the desktop.

npm install --prefix bench/out/web onnxruntime-web
python -m bench.web [FOLDER]        FOLDER is bench/out/web, with that package in it; needs Node; a minute
"""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np

from vtp_export.parity.golden import read_golden
from vtp_export.pipeline.export import export
from vtp_export.runtime.artefact import open_artefact
from vtp_export.runtime.front_end import load
from vtp_export.runtime.preprocess import pixel_values

KEEP = 64
PRECISIONS = ("fp32", "fp16", "int8")


def main() -> None:
    """A table: pictures of which the same is kept, and the share of positions that both keep."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "bench/out/web")
    for precision in PRECISIONS:
        export("tiny-llava", folder / precision, keep=KEEP, precision=precision, force=True)
    artefact = open_artefact(folder / PRECISIONS[0])
    files = [artefact.folder / picture.file for picture in read_golden(artefact).record.pictures]
    pixels = np.concatenate([pixel_values(file, artefact.manifest.preprocessing) for file in files])
    pixels.astype("<f4").tofile(folder / "pixels.bin")
    for precision in PRECISIONS:
        with load(folder / precision, "onnx") as desktop:
            desktop.run(pixels).kept.astype("<i4").tofile(folder / f"{precision}.kept")
    cases = {"precisions": PRECISIONS, "count": len(pixels), "keep": KEEP, "edge": pixels.shape[-1]}
    (folder / "cases.json").write_text(json.dumps(cases))
    print("| precision | same tokens | positions shared |\n|---|---|---|", flush=True)
    subprocess.run(["node", str(Path(__file__).with_suffix(".mjs")), str(folder)], check=True)


if __name__ == "__main__":
    main()
