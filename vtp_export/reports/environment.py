"""Where something was found, and of what: machine, versions and digests, for whoever reads a report elsewhere."""

import platform
from collections.abc import Iterable

from vtp_export import __version__, rooms
from vtp_export.reports.table import Table, pairs
from vtp_export.runtime.machine import Sources, driver, processor
from vtp_export.runtime.versions import CORE, versions
from vtp_export.spec import Manifest, ModelRecord

EAGER = ("torch", "transformers", "safetensors")
"""What runs a graph without a file."""


def environment(packages: Iterable[str] = ()) -> Table:
    """This machine.

    Args:
        packages: whose versions matter besides those that are always needed.
    """
    sources = Sources()
    told = {
        "vtp-export": __version__,
        "Python": platform.python_version(),
        "system": platform.platform(),
        "processor": processor(sources.text("proc/cpuinfo"), sources.architecture, sources.cores),
        "GPU driver": driver(sources.text("proc/driver/nvidia/version")),
        **versions(dict.fromkeys((*packages, *CORE))),
    }
    return pairs("environment", {name: value for name, value in told.items() if value is not None})


def packages_of(formats: Iterable[str]) -> list[str]:
    """What runs these formats."""
    return [package for fmt in formats for package in rooms.load("backends", fmt).Backend.packages]


def model_digests(model: ModelRecord) -> dict[str, object]:
    """Which weights."""
    return {"model": model.id, "revision": model.revision, "weights, SHA-256": model.weights_sha256}


def artefact_digests(manifest: Manifest) -> Table:
    """Which weights, which method, which promise, and which files; the identity covers those of the golden record."""
    files = {name: record for build in manifest.builds for name, record in build.files.items()} | manifest.shared_files
    settings = " ".join(f"{key}={value}" for key, value in manifest.pruner.settings.items())
    return pairs(
        "digests",
        {
            **model_digests(manifest.model),
            "pruner": f"{manifest.pruner.name} {settings}",
            "identity of the manifest": manifest.identity(),
            **{f"{name}, SHA-256": record.sha256 for name, record in sorted(files.items())},
        },
    )
