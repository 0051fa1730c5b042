"""Which format of an artefact runs on this machine, how, and why another does not."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from vtp_export import rooms
from vtp_export.errors import ArtefactError, UnavailableError, UnknownNameError, VtpError
from vtp_export.runtime.artefact import Artefact
from vtp_export.runtime.checks import way
from vtp_export.settings import from_settings, shared_out
from vtp_export.spec import Build


def prepared(fmt: str, device: str | None, options: Mapping[str, Any] | None) -> tuple[Any, str, Any]:
    """A format's backend, the device that it is to run on, and its options.

    Raises:
        UnknownNameError, SpecError, UnavailableError: as `load`.
    """
    backend = rooms.load("backends", fmt).Backend()
    where = backend.device(device)
    chosen = from_settings(backend.Options, options, f"option of {fmt}")
    if reason := backend.missing():
        raise UnavailableError(reason)
    return backend, where, chosen


def usual_way(artefact: Artefact, fmt: str) -> str:
    """The `way` of a format that can run here, where nothing is said of device and options."""
    _, where, chosen = prepared(fmt, None, None)
    return way(artefact.manifest, fitting(artefact, artefact.builds(fmt)), where, chosen)


def options_of(formats: Sequence[str], options: Mapping[str, Any] | None) -> dict[str, dict[str, Any]]:
    """Share options out among the formats that have them, for those that `load` several.

    Raises:
        UnknownNameError: no such format, or none of them has such an option.
    """
    kinds = {name: rooms.load("backends", name).Backend.Options for name in formats}
    return shared_out(kinds, options, f"option of {' or '.join(kinds)}")


def obstacle(artefact: Artefact, fmt: str, device: str | None = None) -> str | None:
    """Why a format of an artefact cannot run here, or not on a device, or None. No file of it is read."""
    if fmt not in rooms.names("backends"):
        return f"no backend named '{fmt}'"
    backend = rooms.load("backends", fmt).Backend()
    if device is not None and device not in backend.devices:
        return f"{fmt} does not run on {device}"
    where = device or backend.devices[0]
    if reason := backend.missing() or incapable(backend, artefact.manifest.precision.name, where):
        return str(reason)
    try:
        fitting(artefact, artefact.builds(fmt))
    except VtpError as error:
        return str(error)
    return None


def incapable(backend: Any, precision: str, device: str) -> str | None:
    """Why a format cannot compute in a precision on a device here, and which formats can; None when it can."""
    reason: str | None = backend.unable(precision, device)
    if reason is None:
        return None
    others = [rooms.load("backends", name).Backend() for name in rooms.names("backends")]
    able = [one.format for one in others if device in one.devices and one.unable(precision, device) is None]
    return f"{reason}, or a format that has them: {', '.join(able) or 'none'}"


def fitting(artefact: Artefact, builds: Sequence[Build]) -> Build:
    """The first of a format's builds that was made for this machine, or for any."""
    fmt = builds[0].format
    backend, reasons = rooms.load("backends", fmt).Backend(), []
    for build in builds:
        reason = backend.unfit(build)
        if reason is None:
            return build
        reasons.append(f"{build.main}: {reason}")
    again = f"build it here: vtp-export build {artefact.folder} --format {fmt}"
    raise ArtefactError(f"no {fmt} of '{artefact.folder}' is for this machine ({'; '.join(reasons)}); {again}")


def refuse_unknown(device: str | None) -> None:
    """See that a format there is runs on such a device.

    Raises:
        UnknownNameError: none does.
    """
    backends = (rooms.load("backends", fmt).Backend for fmt in rooms.names("backends"))
    known = sorted({name for backend in backends for name in backend.devices})
    if device is not None and device not in known:
        raise UnknownNameError("device", device, known)


def runnable_format(artefact: Artefact, device: str | None) -> str:
    """The first format of an artefact, by rank, that can run here.

    Raises:
        UnavailableError: none can.
    """
    present = artefact.manifest.formats()
    reasons = []
    for name in sorted(present, key=_rank):
        reason = obstacle(artefact, name, device)
        if reason is None:
            return name
        reasons.append(reason)
    raise UnavailableError(
        f"none of the formats of {artefact.folder} ({', '.join(present) or 'it has none'}) can run here: "
        + "; ".join(reasons)
    )


def _rank(fmt: str) -> float:
    """Formats that this version does not know come last."""
    known = fmt in rooms.names("backends")
    return rooms.load("backends", fmt).Backend.rank if known else math.inf
