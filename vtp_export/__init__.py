"""Export the pruned vision front end of a vision-language model, run it anywhere, prove that it does the same.

Everything here is imported when it is first used: `import vtp_export` costs nothing and needs no torch.
"""

import importlib
from typing import TYPE_CHECKING, Any

from vtp_export.errors import ArtefactError as ArtefactError
from vtp_export.errors import ContractError as ContractError
from vtp_export.errors import ExportError as ExportError
from vtp_export.errors import ImageError as ImageError
from vtp_export.errors import ModelError as ModelError
from vtp_export.errors import OutputError as OutputError
from vtp_export.errors import SpecError as SpecError
from vtp_export.errors import UnavailableError as UnavailableError
from vtp_export.errors import UnknownNameError as UnknownNameError
from vtp_export.errors import VtpError as VtpError
from vtp_export.errors import VtpWarning as VtpWarning

__version__ = "0.1.0"

if TYPE_CHECKING:
    from vtp_export.calibrations import CalibrationRecord as CalibrationRecord
    from vtp_export.parity.verdict import ValidationReport as ValidationReport
    from vtp_export.pipeline.build import build as build
    from vtp_export.pipeline.calibrate import calibrate as calibrate
    from vtp_export.pipeline.check import check as check
    from vtp_export.pipeline.compare import compare as compare
    from vtp_export.pipeline.explain import explain as explain
    from vtp_export.pipeline.export import export as export
    from vtp_export.pipeline.push import push as push
    from vtp_export.pipeline.validate import validate as validate
    from vtp_export.precision.policy import Precision as Precision
    from vtp_export.reports.artefact import BuildReport as BuildReport
    from vtp_export.reports.artefact import ExportReport as ExportReport
    from vtp_export.reports.check import CheckReport as CheckReport
    from vtp_export.reports.compared import CompareReport as CompareReport
    from vtp_export.reports.explain import ExplainReport as ExplainReport
    from vtp_export.reports.pushed import PushReport as PushReport
    from vtp_export.runtime.any_grid import PrunedGrids as PrunedGrids
    from vtp_export.runtime.any_grid import load as load
    from vtp_export.runtime.front_end import PrunedArtefact as PrunedArtefact
    from vtp_export.runtime.output import Kept as Kept
    from vtp_export.runtime.output import Output as Output
    from vtp_export.runtime.packing import Picture as Picture
    from vtp_export.spec import Manifest as Manifest

_HOMES = {
    "BuildReport": "reports.artefact",
    "CalibrationRecord": "calibrations",
    "CheckReport": "reports.check",
    "CompareReport": "reports.compared",
    "ExplainReport": "reports.explain",
    "ExportReport": "reports.artefact",
    "Kept": "runtime.output",
    "Manifest": "spec",
    "Output": "runtime.output",
    "Picture": "runtime.packing",
    "Precision": "precision.policy",
    "PrunedArtefact": "runtime.front_end",
    "PrunedGrids": "runtime.any_grid",
    "PushReport": "reports.pushed",
    "ValidationReport": "parity.verdict",
    "build": "pipeline.build",
    "calibrate": "pipeline.calibrate",
    "check": "pipeline.check",
    "compare": "pipeline.compare",
    "explain": "pipeline.explain",
    "export": "pipeline.export",
    "load": "runtime.any_grid",
    "push": "pipeline.push",
    "validate": "pipeline.validate",
}
_ERRORS = [
    "ArtefactError",
    "ContractError",
    "ExportError",
    "ImageError",
    "ModelError",
    "OutputError",
    "SpecError",
    "UnavailableError",
    "UnknownNameError",
    "VtpError",
    "VtpWarning",
]
__all__ = ["__version__", *_ERRORS, *_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'vtp_export' has no attribute '{name}'")
    return getattr(importlib.import_module(f"vtp_export.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
