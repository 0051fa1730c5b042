"""A target's data file, read: what it accepts, and which rules bind it."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vtp_export.errors import SpecError, UnknownNameError

FOLDER = Path(__file__).parent


@dataclass(frozen=True, kw_only=True)
class Target:
    """One version of one runtime.

    operators: dtypes that each operator takes as its data, by operator; None where every standard operator is taken.
    unconfirmed: operators of which the sources do not say whether this version has them.
    opset: smallest and largest. ir: largest IR version, or None where it is not looked at.
    narrowed: dtypes that silently become others. domains: of operators beside the standard ones.
    rules: settings of each rule that binds, by its name.
    parser: backend whose own parser is asked as well, where it is installed.
    """

    name: str
    summary: str
    runtime: str
    operators: dict[str, frozenset[str]] | None
    unconfirmed: frozenset[str]
    opset: tuple[int, int]
    ir: int | None
    narrowed: dict[str, str]
    domains: frozenset[str]
    rules: dict[str, dict[str, Any]]
    sources: dict[str, str]
    parser: str | None = None


def names() -> list[str]:
    """Targets on offer, by runtime and version.

    Example:
        >>> "tensorrt-10.3" in names()
        True
    """
    found = (path.stem.rpartition("-") for path in FOLDER.glob("*.json"))
    ordered = sorted((runtime, [int(part) for part in version.split(".")], version) for runtime, _, version in found)
    return [f"{runtime}-{version}" for runtime, _, version in ordered]


PRECISIONS = "artefacts are in fp32, fp16, bf16 or int8"
UNSUPPORTED = {
    "dla": "DLA, the accelerator beside a Jetson's GPU, is not supported: it has no sorting, gathering and loops, of "
    "which the choice of tokens is made; a plan is for the GPU",
    "fp8": f"fp8 is not supported: {PRECISIONS}",
    "fp4": f"fp4 is not supported: {PRECISIONS}",
    "thor": "Thor has no target of its own: take that of its JetPack's TensorRT, see docs/jetson.md; its fp8 and fp4 "
    f"are not supported, {PRECISIONS}",
}
"""What people ask for and is not built, by a word in the name."""


def load(name: str) -> Target:
    """Read a target.

    Raises:
        SpecError: it is something that is not supported.
        UnknownNameError: no such file.
    """
    for word, sentence in UNSUPPORTED.items():
        if word in name.lower():
            raise SpecError(sentence)
    if name not in names():
        raise UnknownNameError("target", name, names())
    raw = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    base = json.loads((FOLDER / f"{raw['extends']}.json").read_text(encoding="utf-8")) if "extends" in raw else {}
    whole = {**base, **raw}
    kinds = {kind: frozenset(types.split()) for kind, types in whole.get("types", {}).items()}
    operators = {
        operator: kinds[kind] for kind, listed in whole.get("operators", {}).items() for operator in listed.split()
    }
    operators |= {operator: kinds[kind] for operator, kind in raw.get("overrides", {}).items()}
    gone, unconfirmed = raw.get("without", "").split(), raw.get("unconfirmed", "").split()
    return Target(
        name=name,
        summary=raw["summary"],
        runtime=whole["runtime"],
        operators={operator: types for operator, types in operators.items() if operator not in gone} or None,
        unconfirmed=frozenset(unconfirmed),
        opset=(whole["opset"][0], whole["opset"][1]),
        ir=whole.get("ir"),
        narrowed=whole.get("narrowed", {}),
        domains=frozenset(whole.get("domains", "").split()),
        rules=_rules(base, raw),
        sources=raw["sources"],
        parser=raw.get("parser"),
    )


def _rules(base: dict[str, Any], raw: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Those of the base that are not lifted, and its own; of a rule of both, the settings of both."""
    old, own, lifted = base.get("rules", {}), raw.get("rules", {}), raw.get("lifted", "").split()
    return {name: {**old.get(name, {}), **own.get(name, {})} for name in {**old, **own} if name not in lifted}
