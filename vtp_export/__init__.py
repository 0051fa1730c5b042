"""Export the pruned vision front end of a vision-language model, run it anywhere, prove that it does the same."""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from vtp_export.pipeline.calibrate import CalibrateSpec as CalibrateSpec
    from vtp_export.pipeline.calibrate import calibrate as calibrate
    from vtp_export.pipeline.compare import CompareSpec as CompareSpec
    from vtp_export.pipeline.compare import compare as compare
    from vtp_export.pipeline.export import ExportSpec as ExportSpec
    from vtp_export.pipeline.export import export as export
    from vtp_export.pipeline.validate import ValidateSpec as ValidateSpec
    from vtp_export.pipeline.validate import validate as validate
    from vtp_export.runtime.front_end import load as load

_HOMES = {
    "CalibrateSpec": "pipeline.calibrate",
    "calibrate": "pipeline.calibrate",
    "CompareSpec": "pipeline.compare",
    "compare": "pipeline.compare",
    "ExportSpec": "pipeline.export",
    "export": "pipeline.export",
    "load": "runtime.front_end",
    "ValidateSpec": "pipeline.validate",
    "validate": "pipeline.validate",
}
__all__ = [
    "CalibrateSpec",
    "CompareSpec",
    "ExportSpec",
    "ValidateSpec",
    "__version__",
    "calibrate",
    "compare",
    "export",
    "load",
    "validate",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that `import vtp_export` costs nothing."""
    if name not in _HOMES:
        raise AttributeError(f"module 'vtp_export' has no attribute '{name}'")
    import importlib

    return getattr(importlib.import_module(f"vtp_export.{_HOMES[name]}"), name)
