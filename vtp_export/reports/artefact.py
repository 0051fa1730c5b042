"""What was exported or built, and what an artefact holds."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from vtp_export.precision_plans import PrecisionPlan
from vtp_export.reports.plan import plan_tables
from vtp_export.reports.table import Summary, Table, pairs
from vtp_export.runtime.tiles import view_count
from vtp_export.spec import Build, Manifest, Packing, PrecisionRecord, TensorSpec


@dataclass(frozen=True, kw_only=True)
class ExportReport:
    """What was written, of int8 the plan, seconds by format, and notes for the user.

    grids: of an artefact of several grids a report of each, by name; then `manifest`, `plan` and `build_seconds` are
        those of the first.
    """

    folder: Path
    manifest: Manifest
    plan: PrecisionPlan | None
    build_seconds: dict[str, float]
    total_seconds: float
    notes: tuple[str, ...]
    grids: dict[str, "ExportReport"] = field(default_factory=dict)


@dataclass(frozen=True)
class BuildReport:
    """What was added to an artefact, and how long it took."""

    folder: Path
    build: Build
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """The manifest, of int8 the plan, and for each format why it cannot run here. All digests have been verified.

    proven: whether a validation of this very artefact that passed is recorded.
    """

    folder: Path
    manifest: Manifest
    plan: PrecisionPlan | None
    obstacles: dict[str, str | None]
    proven: bool


def export_summary(report: ExportReport) -> Summary:
    """The files with seconds and sizes, of each grid, and how many tokens they keep."""
    parts: list[Table | str] = []
    for one in report.grids.values() or [report]:
        manifest, layout = one.manifest, one.manifest.layout
        rows = [(b.format, f"{one.build_seconds[b.format]:.1f}", f"{b.size / 1e6:.1f}") for b in manifest.builds]
        parts += [
            *plan_tables(one.plan),
            Table(f"{one.folder}", ("format", "seconds", "MB"), rows),
            f"keeps {layout.budget} of {layout.candidates.n} visual tokens{_views(manifest)} with "
            + manifest.pruner.name,
        ]
    if shared := _shared(report):
        parts.append(f"{len(report.grids)} grids share {', '.join(shared)}: one file under as many names")
    return *parts, f"next: vtp-export validate {report.folder}"


def _shared(report: ExportReport) -> list[str]:
    """Files that all grids have, equal to the byte."""
    each = [{(n, f) for build in one.manifest.builds for n, f in build.files.items()} for one in report.grids.values()]
    return sorted(name for name, _ in set.intersection(*each)) if each else []


def build_summary(report: BuildReport) -> Summary:
    """The file, and the machine that it is for."""
    built, engine = report.build, report.build.engine
    sentence = f"{built.main}: {built.size / 1e6:.1f} MB in {report.seconds:.0f} s"
    if engine is not None:
        capabilities = ", ".join(engine.compute_capabilities)
        parts = f"compute capability {capabilities}" if capabilities else "", engine.device, engine.platform
        sentence += ", ".join((f", for {built.format} {engine.runtime}", *(part for part in parts if part)))
    return sentence, f"next: vtp-export bench {report.folder}"


def unproven(folder: Path | str, proven: bool) -> Iterator[str]:
    """A sentence where nothing but the manifest says which token is which place of a photo: `Manifest.proven`."""
    if not proven:
        yield (
            "no validation of it that passed is recorded, so that which token is which place of a photo is what its "
            f"manifest says, and nothing has proved it; see: vtp-export validate {folder}"
        )


def inspection_summary(result: Inspection) -> Summary:
    """The manifest, the files, and where each format can run."""
    m = result.manifest
    (rows, columns), (height, width) = m.layout.candidates.grid, m.layout.patch
    contents = {
        "model": f"{m.model.id} ({m.model.family}), weights {m.model.weights_sha256[:16]}...",
        "pruner": f"{m.pruner.name} " + " ".join(f"{k}={v}" for k, v in m.pruner.settings.items()),
        "calibrated": "; ".join(f"{k}: {v}" for k, v in m.pruner.origins.items()) or None,
        "tokens": f"{m.layout.budget} of {m.layout.candidates.n}, grid {rows} x {columns} of {height} x {width} pixels",
        "packing": None if m.packing is None else _packing(m.packing),
        "inputs": ", ".join(map(_tensor, m.inputs)),
        "outputs": ", ".join(map(_tensor, m.outputs)),
        "precision": _precision(m.precision),
        "batch": f"{m.batch.min} to {m.batch.max}",
        "built by": ", ".join(f"{k} {v}" for k, v in m.versions.items()),
    }
    files = [(n, b.format, f.bytes / 1e6, f.sha256[:16]) for b in m.builds for n, f in b.files.items()]
    files += [(n, "golden record", f.bytes / 1e6, f.sha256[:16]) for n, f in m.golden.items()]
    files += [(n, "all", f.bytes / 1e6, f.sha256[:16]) for n, f in m.shared_files.items()]
    return (
        pairs(str(result.folder), contents),
        *plan_tables(result.plan),
        Table("files (all digests match)", ("file", "format", "MB", "SHA-256"), files),
        Table("formats", ("format", "runs here"), [(k, v or "yes") for k, v in result.obstacles.items()]),
        *(pairs(f"last validation of {fmt}", values) for fmt, values in m.validation.items()),
        *unproven(result.folder, result.proven),
    )


def _tensor(spec: TensorSpec) -> str:
    return f"{spec.name} {spec.dtype} {list(spec.shape)}"


def _views(manifest: Manifest) -> str:
    """How many views of a picture there are, where there are several."""
    if manifest.packing is None:
        return ""
    views = [view_count(canvas, manifest.preprocessing) for canvas in manifest.preprocessing.pinpoints]
    return f" of each view, {min(views)} to {max(views)} of a picture,"


def _packing(packing: Packing) -> str:
    settings = {name: getattr(packing, name) for name in ("newlines", "unpad", "tiles", "anyres_max", "framing")}
    return " ".join(f"{name}={value}" for name, value in settings.items())


def _precision(record: PrecisionRecord) -> str:
    parts = [record.name, *([record.activations] if record.activations else [])]
    parts[-1] += f" of {record.block}" if record.block else ""
    parts += [f"{len(record.float32_layers)} layers in float32"] if record.float32_layers else []
    return ", ".join(parts + ([f"ranges from {record.count} images of {record.images}"] if record.images else []))
