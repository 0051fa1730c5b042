"""A folder of OpenVINO GenAI, in which a pruned vision model takes the place of the whole one.

Its pipeline for LLaVA takes the number of an image's tokens from the shape of what the vision model returns, so that
fewer tokens need no other change. It prepares pictures by its own code, with fewer settings than Transformers has;
`refuse_other_preprocessing` holds these against the artefact's.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vtp_export.backends.base import IDENTITY
from vtp_export.backends.openvino import told_by
from vtp_export.errors import ArtefactError, ModelError, UnavailableError
from vtp_export.extras import install
from vtp_export.json_records import read_json
from vtp_export.spec import Manifest, Preprocessing

VISION, LANGUAGE, WORDS = (
    f"openvino_{part}_model.xml" for part in ("vision_embeddings", "language", "text_embeddings")
)
"""The models of a folder: a picture's tokens, the language model behind all embeddings, the embeddings of text."""

FILES = (VISION, LANGUAGE, WORDS, "openvino_tokenizer.xml", "openvino_detokenizer.xml", "config.json")
INPUT, OUTPUT = "pixel_values", "last_hidden_state"
"""The names that the pipeline asks the vision model for."""

BICUBIC = 3  # Pillow's number

OTHERS = {
    "llava_next": "its pipeline lays a picture's tokens out on the whole grid of tiles",
    "llava_next_video": "its pipeline lays a picture's tokens out on the whole grid of tiles",
    "qwen2_vl": "its pipeline counts tokens by the grid of patches, and places them on it",
    "qwen2_5_vl": "its pipeline counts tokens by the grid of patches, and places them on it",
    "qwen3_vl": "its pipeline counts tokens by the grid of patches, and places them on it",
    "internvl": "its pipeline cuts tiles by its own rule and runs them as one batch, which was not tried",
    "gemma3": "its language model attends both ways among a picture's tokens, which was not tried",
}
"""Why families besides LLaVA are refused: read in the source of OpenVINO GenAI."""


@dataclass(frozen=True, kw_only=True)
class Folder:
    """What `optimum-cli export openvino` wrote, as far as a vision model must fit it.

    width: channels of a token.
    weights: the types of the language model's matrices, the most frequent first; for example ("u8", "f32").
    identity: of the artefact whose vision model is in it; None where it is its own.
    """

    path: Path
    width: int
    weights: tuple[str, ...]
    identity: str | None


def openvino() -> Any:
    """The library.

    Raises:
        UnavailableError: it is not installed.
    """
    try:
        import openvino
    except ImportError as error:
        raise UnavailableError(f"openvino is not installed: {install('openvino-genai')}") from error
    return openvino


def open_folder(path: Path) -> Folder:
    """Read what a folder holds.

    Raises:
        UnavailableError: openvino is not installed.
        SpecError: a file of JSON cannot be read.
        ModelError: another file is not there or cannot be read, or it is of another family than LLaVA.
    """
    absent = [name for name in FILES if not (path / name).is_file()]
    if absent:
        raise ModelError(
            f"'{path}' has no {absent[0]}; name a folder that optimum-cli export openvino --task image-text-to-text "
            "wrote"
        )
    family = _json(path / "config.json").get("model_type")
    if family != "llava":
        raise ModelError(f"'{path}' holds a model of family {family!r}, and only llava's can be pruned: {_why(family)}")
    language, words, vision = (_read(path / name) for name in (LANGUAGE, WORDS, VISION))
    widths = [_width(port) for port in (language.input("inputs_embeds"), words.output(0))]
    if widths[0] != widths[1]:
        raise ModelError(f"the parts of '{path}' do not fit: text has {widths[1]} channels, and {widths[0]} are read")
    identity = vision.get_rt_info([IDENTITY]).astype(str) if vision.has_rt_info([IDENTITY]) else None
    return Folder(path=path, width=widths[0], weights=_weights(language), identity=identity)


def refuse_family(manifest: Manifest) -> None:
    """See that the pipeline would read the tokens of an artefact as they are.

    Raises:
        UnavailableError: it is of another family than LLaVA.
    """
    if manifest.model.family != "llava":
        raise UnavailableError(
            f"OpenVINO GenAI cannot be given pruned tokens of {manifest.model.family}: {_why(manifest.model.family)}"
        )


def refuse_unfit(folder: Folder, manifest: Manifest) -> None:
    """See that an artefact's tokens fit the folder's language model, and its pixels those that the pipeline makes.

    Raises:
        ModelError: another width, or pictures are prepared in another way.
    """
    (width,) = (spec.shape[-1] for spec in manifest.outputs if spec.name == "tokens")
    if width != folder.width:
        raise ModelError(
            f"the tokens have {width} channels, and the language model of '{folder.path}' reads {folder.width}; it is "
            f"not that of '{manifest.model.id}'"
        )
    refuse_other_preprocessing(folder.path, manifest.preprocessing)


def refuse_other_preprocessing(path: Path, prep: Preprocessing) -> None:
    """Hold what the pipeline does with a picture against what the artefact's model is given.

    It always resizes the shorter edge bicubically, cuts the centre out, divides by 255 and normalises.

    Args:
        path: of the folder; its `preprocessor_config.json` is read.
        prep: of the artefact.

    Raises:
        ModelError: they differ.
    """
    file = path / "preprocessor_config.json"
    if not file.is_file():
        raise ModelError(
            f"'{path}' has no preprocessor_config.json, without which the pipeline guesses; copy the model's"
        )
    said = _json(file)
    crop = said.get("crop_size")
    edges = (crop.get("height"), crop.get("width")) if isinstance(crop, Mapping) else (crop, crop)
    size = said.get("size")
    shortest = size.get("shortest_edge") if isinstance(size, Mapping) else size
    pairs: dict[str, tuple[Any, Any]] = {
        "shortest edge": (prep.resize_shortest, shortest),
        "crop": (prep.crop, edges),
        "mean": (prep.mean, tuple(said.get("image_mean") or ())),
        "standard deviation": (prep.std, tuple(said.get("image_std") or ())),
        "padding to a square": (prep.pad_to_square, False),
        "resampling": (prep.resample, BICUBIC),
    }
    for name, (own, other) in pairs.items():
        if own != other and not _near(own, other):
            raise ModelError(f"pictures would be prepared in another way: {name} is {own}, and in '{path}' {other}")


def write_vision(source: Path, identity: str, out: Path) -> None:
    """Make the vision model of a folder from an artefact's ONNX file.

    Of the outputs only the tokens are left, without empty slots, in float32.

    Args:
        source: `model.onnx`.
        identity: of the artefact's manifest, to be read again by `open_folder`.
        out: the folder.

    Raises:
        UnavailableError: openvino is not installed.
        ArtefactError: the file cannot be read or written.
    """
    library = openvino()
    from openvino import opset13 as ops

    try:
        model = library.Core().read_model(source)
        tokens, kept = (model.output(name).get_node().input_value(0) for name in ("tokens", "num_kept"))
        stop = ops.reduce_max(kept, 0, keep_dims=True)
        cut = ops.slice(tokens, np.array([0]), stop, np.array([1]), np.array([1]))
        result = ops.result(ops.convert(cut, "f32"))
        result.output(0).get_tensor().set_names({OUTPUT})
        pruned = library.Model([result], model.get_parameters(), "pruned vision model")
        pruned.set_rt_info(identity, [IDENTITY])
        library.save_model(pruned, out / VISION, compress_to_fp16=False)
    except RuntimeError as error:
        raise ArtefactError(f"OpenVINO cannot make {VISION} of '{source}': {told_by(error)}") from error


def _why(family: object) -> str:
    return OTHERS.get(str(family), "nobody has looked how its pipeline counts tokens")


def _json(file: Path) -> dict[str, Any]:
    content = read_json(file, f"'{file}'")
    if not isinstance(content, dict):
        raise ModelError(f"'{file}' holds no JSON object")
    return content


def _read(file: Path) -> Any:
    try:
        return openvino().Core().read_model(file)
    except RuntimeError as error:
        raise ModelError(f"OpenVINO refuses '{file}': {told_by(error)}") from error


def _width(port: Any) -> int:
    axis = port.get_partial_shape()[-1]
    return int(axis.get_length()) if axis.is_static else 0


def _weights(model: Any) -> tuple[str, ...]:
    sizes: dict[str, int] = {}
    for node in model.get_ops():
        if node.get_type_name() == "Constant" and len(node.get_output_shape(0)) > 1:
            name = node.get_output_element_type(0).get_type_name()
            sizes[name] = sizes.get(name, 0) + int(np.prod(node.get_output_shape(0)))
    return tuple(sorted(sizes, key=lambda name: -sizes[name]))


def _near(own: Any, other: Any) -> bool:
    try:
        return bool(np.shape(own) == np.shape(other) and np.allclose(own, other, rtol=0, atol=1e-6))
    except (TypeError, ValueError):
        return False
