"""Read a manifest, and hold it against itself: names and dtypes are of a closed list, and nothing in it disagrees."""

from collections.abc import Iterator

from vtp_export.errors import SpecError, shown
from vtp_export.json_records import from_json
from vtp_export.precision_plans import PLAN
from vtp_export.spec import MANIFEST_SCHEMA, Build, Manifest, TensorSpec

INPUT = "pixel_values"

LARGEST_EDGE = 1 << 14
"""Of an image in pixels: far beyond every tower, and little enough for every runtime."""

LONGEST = 4096
"""Of the edge that pictures are grown to before tiles are cut: the bound of Transformers' own image processors."""

SMALLEST_NUMBER, LARGEST_NUMBER = 1e-6, 1e6
"""Of factors, means and deviations: colours are of the order of 1, or of 255."""

FILTERS = range(6)
"""Pillow's, to resize with."""

AXES = 3
"""Of positions: time, row, column."""

ALWAYS = ("tokens", "kept", "num_kept")
"""Outputs that every graph has."""

DTYPES = {
    "tokens": ("float32", "float16"),
    "kept": ("int64",),
    "num_kept": ("int64",),
    "erank": ("float32",),
    "attention_entropy": ("float32",),
    "position_ids": ("int64",),
    "deepstack": ("float32", "float16"),
}
"""All outputs that there are, in their order, and what they may be."""


LEADING: dict[str, tuple[int | str, ...]] = {
    "tokens": ("k",),
    "kept": ("k",),
    "position_ids": (AXES, "k"),
    "deepstack": ("k",),
}
"""The axes after the batch of those that are more than one number a view; k are the slots."""


FEATURES = ("tokens", "deepstack")
"""Those that the language model reads, whose last axis is of channels."""


def manifest_from_json(text: str) -> Manifest:
    """Read a manifest.

    Raises:
        SpecError: not JSON, another schema, changed since it was written, a key that is unknown, missing or of the
            wrong type, or it contradicts itself.
    """
    manifest = from_json(Manifest, text, "manifest", MANIFEST_SCHEMA, "export again")
    refuse_contradictions(manifest)
    return manifest


def refuse_contradictions(manifest: Manifest) -> None:
    """See that a manifest can be true.

    Raises:
        SpecError: an input or output is none that a graph has, or two places of the manifest disagree.
    """
    for contradiction in (
        *_of_sizes(manifest),
        *_of_preprocessing(manifest),
        *_of_any_resolution(manifest),
        *_of_packing(manifest),
        *_of_filling(manifest),
        *_of_tensors(manifest),
        *_of_signals(manifest),
        *_of_precision(manifest),
        *_of_builds(manifest),
    ):
        raise SpecError(f"{contradiction}; export again")


def _of_sizes(manifest: Manifest) -> Iterator[str]:
    batch, layout = manifest.batch, manifest.layout
    if not 1 <= batch.min <= batch.opt <= batch.max:
        yield f"the batch is {batch.min} to {batch.max}, usually {batch.opt}; it must be 1 <= min <= opt <= max"
    grid, patch, size = layout.candidates.grid, layout.patch, layout.image_size
    if min(*grid, *patch, *size, layout.slots) < 1:
        sizes = f"grid {grid}, patch {patch}, image_size {size}, slots {layout.slots}"
        yield f"the layout has a size below 1: {sizes}"
    if any(cells * edge > pixels for cells, edge, pixels in zip(grid, patch, size, strict=True)):
        yield f"a grid of {grid} with a patch of {patch} needs more pixels than there are, {size}"
    if max(size) > LARGEST_EDGE or layout.slots > layout.candidates.n:
        sizes = f"image_size {size} and {layout.slots} slots for {layout.candidates.n} candidates"
        yield f"the layout has {sizes}; edges go up to {LARGEST_EDGE}, and slots to the candidates"


def _of_preprocessing(manifest: Manifest) -> Iterator[str]:
    prep, size = manifest.preprocessing, manifest.layout.image_size
    if prep.resample not in FILTERS:
        yield f"preprocessing resizes with {shown(prep.resample)}; it must be one of Pillow's filters, 0 to 5"
    if prep.resize_shortest is not None and not 1 <= prep.resize_shortest <= LARGEST_EDGE:
        yield f"preprocessing resizes to {shown(prep.resize_shortest)} pixels; it must be 1 to {LARGEST_EDGE}"
    for what, edges in (("resizes", prep.resize_exact), ("crops", prep.crop)):
        if edges is not None and not (len(edges) == 2 and all(1 <= edge <= LARGEST_EDGE for edge in edges)):
            yield f"preprocessing {what} to {shown(edges)}; it must be a height and a width, 1 to {LARGEST_EDGE}"
    if prep.crop is not None and prep.crop != size:
        yield f"preprocessing crops to {prep.crop}, and the graph takes images of {size}"
    if not SMALLEST_NUMBER <= prep.rescale_factor <= LARGEST_NUMBER:
        yield f"preprocessing scales by {prep.rescale_factor}; it must be {SMALLEST_NUMBER:g} to {LARGEST_NUMBER:g}"
    for what, numbers, least in (("mean", prep.mean, -LARGEST_NUMBER), ("std", prep.std, SMALLEST_NUMBER)):
        if len(numbers) != 3 or not all(least <= number <= LARGEST_NUMBER for number in numbers):
            yield f"the {what} of preprocessing is {shown(numbers)}; three numbers are needed, {least:g} or more"


def _of_any_resolution(manifest: Manifest) -> Iterator[str]:
    prep, size = manifest.preprocessing, manifest.layout.image_size
    if (rule := prep.any_resolution) is None:
        return
    areas = 1 <= rule.min_pixels <= rule.max_pixels <= LARGEST_EDGE**2
    if rule.others != "refused" or not areas or not 1 <= rule.token <= LARGEST_EDGE:
        yield f"pictures of any resolution are made by {shown(rule)}; a token's edge and two areas are needed"
    elif prep.resize_exact != size or prep.pinpoints or any(edge % rule.token for edge in size):
        yield f"pictures of any resolution become {shown(prep.resize_exact)}; {size} in whole tokens is right"


def _of_packing(manifest: Manifest) -> Iterator[str]:
    prep, packing, size = manifest.preprocessing, manifest.packing, manifest.layout.image_size
    if bool(prep.pinpoints) != (packing is not None):
        yield f"the pinpoints are {shown(prep.pinpoints)} and packing is {shown(packing)}; both are needed, or neither"
    if packing is None:
        return
    if prep.resize_exact != size or manifest.layout.candidates.cls:
        yield f"views of {shown(prep.resize_exact)} pixels are packed, and the graph takes {size} and no CLS token"
    canvases = [edge for pair in prep.pinpoints for edge in zip(pair, size, strict=True)]
    if not all(0 < edge <= LARGEST_EDGE and edge % tile == 0 for edge, tile in canvases):
        yield f"the pinpoints are {shown(prep.pinpoints)}; multiples of {size}, up to {LARGEST_EDGE}, are needed"
    for name, most in (("tiles", packing.tiles), ("anyres_max", packing.anyres_max)):
        if most is not None and not 1 <= most <= LARGEST_EDGE:
            yield f"{name} of packing is {shown(most)}; it must be 1 to {LARGEST_EDGE}"
    if len(packing.files) != (packing.newlines == "rows"):
        yield f"packing has {len(packing.files)} files, and newlines are {shown(packing.newlines)}"


def _of_filling(manifest: Manifest) -> Iterator[str]:
    prep, packing = manifest.preprocessing, manifest.packing
    grows, longest = prep.filling == "grow", prep.resize_longest
    if grows != (longest is not None) or not 0 < (longest or 1) <= LONGEST:
        yield f"pictures {prep.filling} their canvas, and their long edge becomes {shown(longest)} pixels first"
    if packing is None:
        return
    if prep.filling != "fit" and (packing.newlines, packing.unpad, packing.anyres_max) != ("none", False, None):
        yield f"pictures {prep.filling} their canvas, and packing has something to add or to drop: {shown(packing)}"
    if prep.filling == "fit" and packing.framing != "none":
        yield f"pictures fit their canvas, and text stands among their tokens: {shown(packing.framing)}"


def _of_tensors(manifest: Manifest) -> Iterator[str]:
    taken = TensorSpec(INPUT, "float32", ("b", 3, *manifest.layout.image_size))
    if manifest.inputs != (taken,):
        yield f"the inputs are {_listed(manifest.inputs)}; there must be one, {_listed((taken,))}"
    names = [spec.name for spec in manifest.outputs]
    right = [name for name in DTYPES if name in (*ALWAYS, *names)]
    if names != right:
        unknown = [name for name in names if name not in DTYPES]
        right = [f"there is no {shown(unknown[0])}, only {', '.join(DTYPES)}"] if unknown else ["they must be", *right]
        yield f"the outputs are named {shown(names)}: {' '.join(right)}"
    for spec in manifest.outputs:
        if spec.dtype not in DTYPES.get(spec.name, (spec.dtype,)):
            yield f"the output '{spec.name}' is {shown(spec.dtype)}; it must be {' or '.join(DTYPES[spec.name])}"
        leading = ("b", *LEADING.get(spec.name, ()))
        leading = tuple(manifest.layout.slots if axis == "k" else axis for axis in leading)
        if spec.shape[: len(leading)] != leading or len(spec.shape) != len(leading) + (spec.name in FEATURES):
            yield f"the output '{spec.name}' is {shown(spec.shape)}, and the layout has {manifest.layout.slots} slots"
        if spec.name in FEATURES and spec.dtype != manifest.precision.tokens_dtype:
            told = shown(manifest.precision.tokens_dtype)
            yield f"{spec.name} are {spec.dtype} among the outputs and {told} in precision"


def _of_signals(manifest: Manifest) -> Iterator[str]:
    names, tokens = [spec.name for spec in manifest.signals], ("b", manifest.layout.candidates.n)
    if len({*names, *DTYPES, INPUT}) < len(names) + len(DTYPES) + 1:
        yield f"the signals are named {shown(names)}; each must have a name of its own, and that of no output"
    for spec in manifest.signals:
        if spec.dtype != "float32" or spec.shape[:2] != tokens or len(spec.shape) > 3:
            yield f"the signal {shown(spec.name)} is {spec.dtype} {shown(spec.shape)}; float32 of all tokens is right"


def _of_precision(manifest: Manifest) -> Iterator[str]:
    files = manifest.precision.files
    if files and (manifest.precision.name != "int8" or files.keys() != {PLAN}):
        yield f"{manifest.precision.name} has the files {shown(sorted(files))}; there may be one of int8, {PLAN}"


def _of_builds(manifest: Manifest) -> Iterator[str]:
    files: dict[str, tuple[Build, object]] = {}
    built, packed = {name for build in manifest.builds for name in build.files}, manifest.shared_files.keys()
    if shared := sorted(built & manifest.golden.keys() | packed & (built | manifest.golden.keys())):
        yield f"the file {shown(shared[0])} is of two: a build, the golden record, packing, or the precision"
    for build in manifest.builds:
        for name, record in build.files.items():
            other, known = files.setdefault(name, (build, record))
            if known != record:
                yield f"the file {shown(name)} is not the same in a build of {other.format} and one of {build.format}"
    if others := sorted(set(manifest.validation) - set(manifest.formats())):
        yield f"validation tells of {shown(others[0])}, which was not built"


def _listed(specs: tuple[TensorSpec, ...]) -> str:
    return ", ".join(f"{spec.name} {spec.dtype} {list(spec.shape)}" for spec in specs[:3]) or "none"
