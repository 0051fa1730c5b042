"""Whatever people have for an image (a file, a Pillow image, an array) becomes an upright one: the one reader of all.

NumPy and Pillow only.
"""

import importlib.util
import itertools
import os
import threading
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from vtp_export.errors import ImageError, VtpWarning

Item = TypeVar("Item")

ImageLike: TypeAlias = str | os.PathLike[str] | Image.Image | npt.NDArray[np.uint8]
"""A file, a Pillow image, or (h, w, 3) bytes of RGB."""

HEIF = frozenset({".heic", ".heif", ".hif"})
HEIF_REMEDY = "pip install pillow-heif, or save it as JPEG"

VIDEO = frozenset({".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".ogv", ".webm", ".wmv"})
VIDEO_REMEDY = "videos are not read; give the frames that matter, each as an image"

# Pillow knows what these are, and decodes them with a program from elsewhere or not at all.
_NOT_DECODED = frozenset({"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF"})

# `warnings.catch_warnings` swaps a list shared by all threads; without a lock two readers could leave the
# user's filters changed for good, and one reader swallow another's note.
_WARNINGS = threading.Lock()


def as_image(image: ImageLike, name: str = "the image") -> Image.Image:
    """What people have for an image as an upright Pillow image; its mode is kept.

    A file is decoded whole. EXIF's orientation is applied wherever it has not been: twice is once. Of a file of several
    images the first is used, with a note; of a Pillow image that which it stands at.

    Args:
        image: see `ImageLike`.
        name: what an error and a note call an image that has no file name.

    Raises:
        ImageError: it is none of these, or cannot be read.

    Example:
        >>> as_image(np.zeros((48, 64, 3), np.uint8)).size
        (64, 48)
    """
    if isinstance(image, Image.Image):
        with _one_sentence(named(image, name)), _quiet():
            image.load()
            return _upright(image)
    if isinstance(image, np.ndarray):
        return _from_array(image, name)
    if isinstance(image, str | os.PathLike) and isinstance(os.fspath(image), str):
        return read_image(image)
    words = "a file name, a Pillow image or an (h, w, 3) uint8 array was expected"
    remedy = "; of a file's bytes make Image.open(io.BytesIO(...))" if isinstance(image, bytes | bytearray) else ""
    remedy = "; make Image.open(file) of it" if hasattr(image, "read") else remedy
    raise ImageError(f"{name} is a {type(image).__name__}; {words}{remedy}")


def read_image(path: str | os.PathLike[str]) -> Image.Image:
    """Decode an image file whole and turn it upright as its EXIF orientation says.

    The mode is kept: `rgb_from_image` converts. Of an animation the first frame is read, with a note.

    Raises:
        ImageError: no such file, a folder, empty, truncated, not an image, or larger than Pillow's guard
            against decompression bombs allows.

    Example:
        >>> read_image("no/such/photo.jpg")
        Traceback (most recent call last):
        vtp_export.errors.ImageError: no image file 'no/such/photo.jpg'
    """
    path = Path(path)
    with _one_sentence(f"'{path}'"):
        if path.is_dir():
            raise ImageError(f"'{path}' is a folder, and one image file was expected")
        if not path.is_file():
            raise ImageError(f"no image file '{path}'")
        if path.stat().st_size == 0:
            raise ImageError(f"the image file '{path}' is empty (0 bytes)")
        if path.suffix.lower() in HEIF:
            heif_is_known()
        # Odd metadata and large photos are no concern of the user; what cannot be read is an error.
        with _quiet(), Image.open(path) as image:
            # A phone's photo may carry a second one for depth (MPO, HEIF), which is no animation.
            animated = image.format not in ("MPO", "HEIF") and getattr(image, "is_animated", False)
            image.load()
            upright = _upright(image)
    if animated:
        note(f"'{path}' holds several images, and the first is used")
    return upright


def as_images(images: ImageLike | Iterable[ImageLike]) -> Iterator[ImageLike]:
    """One image or several, one after the other; none is decoded.

    Args:
        images: also folders, which stand for the images below them, and arrays (b, h, w, 3) of b images.

    Raises:
        ImageError: there is no image below a folder.
    """
    if isinstance(images, str | os.PathLike):
        if not os.fspath(images):
            raise ImageError("an image is named by an empty text; name a file or a folder ('.' is the current one)")
        # `Path.is_dir` raises where a name cannot be one.
        folder = os.path.isdir(images)  # noqa: PTH112
        yield from images_below(Path(images)) if folder else [images]
    elif _are_several(images):
        for image in images:  # type: ignore[union-attr]
            yield from as_images(image)
    else:
        yield images  # type: ignore[misc]  # `as_image` says what is wrong with others


def batched(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Runs of `size` items, the last one perhaps shorter; no more than one run is held at a time.

    Example:
        >>> list(batched("abcde", 2))
        [['a', 'b'], ['c', 'd'], ['e']]
    """
    rest = iter(items)
    while batch := list(itertools.islice(rest, size)):
        yield batch


def images_below(folder: Path) -> list[Path]:
    """The images below a folder, at any depth, sorted by their path relative to it.

    Hidden files and folders are left out, and links to folders are not followed. Photos that need a library which is
    not installed are left out with a note.

    Raises:
        ImageError: no such folder, no image in it, or it cannot be read.
    """
    if not folder.is_dir():
        raise ImageError(f"no folder '{folder}'; name a folder of images")
    images, heif = [], heif_is_known()
    endings, left_out = image_endings(), 0
    for root, folders, names in os.walk(folder, onerror=_refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for path in (Path(root, name) for name in names if not name.startswith(".")):
            ending = path.suffix.lower()
            left_out += ending in HEIF and not heif
            if ending in endings and path.is_file():
                images.append(path)
    if left_out:
        note(f"{left_out} HEIC photos below '{folder}' are left out: {HEIF_REMEDY}")
    if not images:
        raise ImageError(f"no images below '{folder}'; JPEG, PNG or others that Pillow reads were expected")
    return sorted(images, key=lambda path: path.relative_to(folder).as_posix())


def image_endings() -> frozenset[str]:
    """Endings of the files that Pillow decodes by itself, as ".jpg"."""
    known = Image.registered_extensions()
    decoded = {ending for ending, kind in known.items() if kind in Image.OPEN and kind not in _NOT_DECODED}
    return frozenset(decoded | HEIF if heif_is_known() else decoded - HEIF)


def heif_is_known() -> bool:
    """Whether HEIC and HEIF can be read: with pillow-heif, which Pillow must be told of."""
    if importlib.util.find_spec("pillow_heif") is None:
        return False
    import pillow_heif

    pillow_heif.register_heif_opener()
    return True


def rgb_from_image(image: Image.Image, name: str = "the image") -> Image.Image:
    """The image in RGB, transparent pixels placed on white as transformers does.

    Args:
        image: of any mode. Numbers of more than 8 bits are cut off at 255 as transformers does, with a note.
        name: what an error and a note call an image that has no file name.

    Raises:
        ImageError: the mode has no conversion to RGB.
    """
    if image.mode == "F" or image.mode.startswith("I"):
        _note_range(image, named(image, name))
    try:
        if "A" in image.getbands() or image.info.get("transparency") is not None:
            layered = image.convert("RGBA")
            white = Image.new("RGBA", layered.size, (255, 255, 255, 255))
            return Image.alpha_composite(white, layered).convert("RGB")
        return image.convert("RGB")
    except (ValueError, OSError) as error:
        raise ImageError(
            f"{named(image, name)} has the mode {image.mode!r}, which cannot be converted to RGB: {error}"
        ) from error


def note(sentence: str) -> None:
    """Tell the user, once, what may not be as it was meant."""
    with _WARNINGS:
        warnings.warn(sentence, VtpWarning, stacklevel=3)


def _are_several(images: object) -> bool:
    if isinstance(images, np.ndarray):
        return images.ndim == 4 and images.shape[-1] == 3
    # A tensor, an open file and a dictionary can be iterated over too: rows, lines and keys are no images.
    single = isinstance(images, bytes | bytearray | Image.Image | Mapping)
    single = single or hasattr(images, "__array__") or hasattr(images, "read")
    return isinstance(images, Iterable) and not single


def _note_range(image: Image.Image, name: str) -> None:
    try:
        low, high = map(float, image.getextrema())  # type: ignore[arg-type]
    except ValueError:  # Pillow has no extrema of 16 bits in the other byte order
        low, high = 0.0, 65535.0
    does = (
        f"{name} has numbers from {low:g} to {high:g} (mode {image.mode}), and 0 to 255 are read, as transformers does"
    )
    if low < 0 or high > 255:
        note(f"{does}: the rest is cut off; scale it to 8 bits first")
    elif image.mode == "F" and high <= 1:
        note(f"{does}: it is black; scale it to 0 to 255 first")


def named(image: Image.Image, name: str) -> str:
    """What an error and a note call an image: its file, or `name` where it has none."""
    path = getattr(image, "filename", "")
    return f"'{path}'" if path and isinstance(path, str) else name


def _upright(image: Image.Image) -> Image.Image:
    """The very image where there is nothing to turn: a copy of a large photo is 36 MB."""
    turned = image.getexif().get(ExifTags.Base.Orientation, 1) in range(2, 9)
    if not turned:
        return image
    upright = ImageOps.exif_transpose(image)
    upright.format = image.format  # which a copy has not
    return upright


def _from_array(array: npt.NDArray[Any], name: str) -> Image.Image:
    shape = f"{array.dtype.name} of shape {array.shape}"
    wanted = f"{name} is an array, {shape}; bytes of RGB, uint8 of shape (h, w, 3), were expected"
    if isinstance(array, np.ma.MaskedArray):
        raise ImageError(f"{name} is a masked array; fill it first: array.filled(0)")
    if array.ndim == 5:
        raise ImageError(f"{name} is an array, {shape}: {VIDEO_REMEDY}, (h, w, 3)")
    if array.ndim == 4:
        raise ImageError(f"{wanted}; pixels that are preprocessed already are for run")
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3:
        raise ImageError(f"{wanted}; of grey, RGBA and others make one with Image.fromarray(array)")
    return Image.fromarray(np.ascontiguousarray(array))


@contextmanager
def _quiet() -> Iterator[None]:
    with _WARNINGS, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextmanager
def _one_sentence(name: str) -> Iterator[None]:
    """Pillow's many exceptions as one."""
    try:
        yield
    except Image.DecompressionBombError as error:
        raise ImageError(f"{name} is too large to decode safely: {error}") from error
    except UnidentifiedImageError as error:
        ending = Path(name.strip("'")).suffix.lower()
        remedy = f": {HEIF_REMEDY}" if ending in HEIF else f": {VIDEO_REMEDY}" if ending in VIDEO else ""
        raise ImageError(f"{name} is not an image that Pillow can read{remedy}") from error
    except ImageError:
        raise
    except PermissionError as error:
        raise ImageError(f"{name} cannot be read: {error.strerror or error}") from error
    except MemoryError as error:
        raise ImageError(f"{name} does not fit into memory") from error
    except Exception as error:  # Pillow's decoders raise SyntaxError, ValueError, struct.error and more
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ImageError(f"{name} is damaged or cannot be read: {reason}") from error


def _refuse(error: OSError) -> None:
    raise ImageError(f"the folder '{error.filename}' cannot be read: {error.strerror}") from error
