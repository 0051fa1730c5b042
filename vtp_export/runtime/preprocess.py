"""From image files to `pixel_values`, bit for bit what transformers' PIL image processors compute.

NumPy and Pillow only. The order and the data types of the steps are those of
`transformers.image_processing_backends.PilBackend`: resizing works on bytes, rescaling is done in float64 and
rounded to float32, normalising is done in float32. All that follows the crop depends on one byte and its
channel, so it is a table of 3 x 256 numbers.
"""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image

from vtp_export.errors import ImageError
from vtp_export.runtime.images import ImageLike, as_image, as_images, named, note, rgb_from_image
from vtp_export.runtime.processor_config import preprocessing_from_config
from vtp_export.runtime.resolution import refuse_other_size, stretching
from vtp_export.runtime.tiles import Box, boxes, cut, view_names
from vtp_export.runtime.usual import clip_preprocessing, usual_preprocessing
from vtp_export.spec import BatchRange, Preprocessing, TensorSpec

__all__ = [
    "check_shape",
    "checked_pixels",
    "clip_preprocessing",
    "model_views",
    "named_views",
    "pixel_values",
    "preprocessing_from_config",
    "usual_preprocessing",
    "values_of",
    "view_box",
    "view_boxes",
]

MAX_PIXELS = 400_000_000  # 1.2 GB of RGB bytes: more than that is a mistake, not a photo


def pixel_values(
    images: ImageLike | Iterable[ImageLike], prep: Preprocessing, names: Sequence[str] = ()
) -> npt.NDArray[np.float32]:
    """Preprocess images as the model's image processor does.

    Args:
        images: b images (see `ImageLike`) of any mode and size, or one; transformers gives the same numbers for the
            same files.
        prep: the model's preprocessing.
        names: of the images, for errors and notes; "image 0" and so on where there are none.

    Returns:
        `(b, 3, h, w)` float32, contiguous; of a model that sees a picture in several views, all views of the first
        picture, then those of the second, see `tiles.cut`.

    Raises:
        ImageError: no images, one that cannot be read or has no pixels, one whose resized size exceeds 400
            megapixels, or sizes that differ because nothing crops them.

    Example:
        >>> pixel_values([Image.new("RGB", (640, 480))], clip_preprocessing(336)).shape
        (1, 3, 336, 336)
    """
    return values_of(model_views(images, prep, names), prep)


def model_views(
    images: ImageLike | Iterable[ImageLike], prep: Preprocessing, names: Sequence[str] = ()
) -> npt.NDArray[np.uint8]:
    """The bytes that the model sees, `(b, h, w, 3)`: all that depends on Pillow. See `pixel_values`."""
    views = []
    for position, image in enumerate(as_images(images)):  # decoded and let go one after the other
        name = names[position] if names else f"image {position}"
        views += _views(as_image(image, name), prep, name)
    if not views:
        raise ImageError("no images were given; at least one is needed")
    for position, view in enumerate(views):
        if view.shape != views[0].shape:
            raise ImageError(
                f"image {position} has (height, width) {view.shape[:2]} after resizing and image 0 has "
                f"{views[0].shape[:2]}; a batch needs one size, so set a crop or pass them one by one"
            )
    return np.stack(views)


def named_views(
    pictures: Iterable[tuple[str, ImageLike]], prep: Preprocessing
) -> Iterator[tuple[str, npt.NDArray[np.uint8]]]:
    """Every view (h, w, 3) of every picture with its name, one picture in memory at a time.

    For what measures a model: of one of any resolution every picture is stretched to the size of the graph.

    Args:
        pictures: with their names.
        prep: the model's preprocessing.

    Raises:
        ImageError: one cannot be used.
    """
    prep = stretching(prep)
    for name, picture in pictures:
        views = model_views(picture, prep, [name])
        yield from zip(view_names(name, len(views)), views, strict=True)


def values_of(views: npt.NDArray[np.uint8], prep: Preprocessing) -> npt.NDArray[np.float32]:
    """The `pixel_values` of `model_views`."""
    table = _value_table(prep)
    pixels = np.empty((len(views), 3, *views.shape[1:3]), dtype=np.float32)
    for position, view in enumerate(views):
        for channel in range(3):
            pixels[position, channel] = table[channel][view[:, :, channel]]
    return pixels


def view_boxes(size: tuple[int, int], prep: Preprocessing) -> list[Box]:
    """The parts of an image that the model sees, one for each view; see `view_box`."""
    return boxes(size, prep) if prep.pinpoints else [view_box(size, prep)]


def view_box(size: tuple[int, int], prep: Preprocessing) -> Box:
    """The part of an image that the model sees, where it sees it in one view.

    Args:
        size: (width, height) of the image in pixels.
        prep: the model's preprocessing.

    Returns:
        (left, top, right, bottom) in pixels of the image; they lie outside of it where padding is seen.

    Example:
        >>> view_box((640, 480), clip_preprocessing(240))
        (80.0, 0.0, 560.0, 480.0)
    """
    padded, resized = _planned_sizes(size, prep)
    spans = []
    for axis in (0, 1):  # x, y
        shift = _pad_start(size[axis], padded[axis])
        scale = padded[axis] / resized[axis]
        seen = prep.crop[1 - axis] if prep.crop is not None else resized[axis]
        start = (resized[axis] - seen) // 2
        spans.append((start * scale - shift, (start + seen) * scale - shift))
    (left, right), (top, bottom) = spans
    return left, top, right, bottom


def checked_pixels(
    pixels: npt.NDArray[np.generic], spec: TensorSpec, batch: BatchRange, prep: Preprocessing
) -> npt.NDArray[np.generic]:
    """Refuse what the artefact was not built for, before a runtime sees it.

    Args:
        pixels: should be `(b, 3, h, w)` of the dtype in `spec`, finite, with b inside `batch`; any strides and byte
            order.
        spec: the artefact's input.
        batch: the smallest and the largest b.
        prep: what gives such pixels; others get a note.

    Returns:
        The same numbers, in C order and the machine's byte order.

    Raises:
        ImageError: the rank, shape, dtype, batch size or a value is wrong; names the first bad image.
    """
    wanted = _wanted(spec)
    if not isinstance(pixels, np.ndarray) or isinstance(pixels, np.ma.MaskedArray):
        raise ImageError(f"{wanted}, not a {type(pixels).__name__}; pass a NumPy array")
    check_shape(pixels.shape, spec, batch)
    dtype = np.dtype(spec.dtype)
    if pixels.dtype.newbyteorder("=") != dtype:
        raise ImageError(f"{wanted}, and the array is {pixels.dtype.name}; use .astype('{spec.dtype}')")
    pixels = np.ascontiguousarray(pixels, dtype)
    low, high = (extreme(axis=tuple(range(1, pixels.ndim))) for extreme in (pixels.min, pixels.max))  # (b,), (b,)
    finite = np.isfinite(low) & np.isfinite(high)
    if not finite.all():
        first = int(np.argmin(finite))
        raise ImageError(f"image {first} of the batch holds a NaN or an infinity; pixels must be finite")
    _note_unscaled(low, high, prep)
    return pixels


def _note_unscaled(low: npt.NDArray[np.floating], high: npt.NDArray[np.floating], prep: Preprocessing) -> None:
    """Pixels that look like bytes, or like shares of 1, where the model was trained on normalised ones."""
    table = _value_table(prep)
    right = f"this model's are normalised, {table.min():.1f} to {table.max():.1f}; pixel_values makes them of images"
    if (high > 4 * np.abs(table).max()).any():
        note(f"pixels reach far beyond what any picture gives: {right}")
    elif table.min() < 0 and table.max() > 1 and ((low >= 0) & (low < 0.2) & (high > 0.8) & (high <= 1)).any():
        note(f"pixels look like shares of 1: {right}")


def check_shape(shape: tuple[int, ...], spec: TensorSpec, batch: BatchRange) -> None:
    """The part of `checked_pixels` that needs no values.

    Raises:
        ImageError: the rank, shape or batch size is wrong.
    """
    wanted = _wanted(spec)
    if len(shape) != len(spec.shape):
        raise ImageError(f"{wanted}, and the array has {len(shape)} axes: {shape}")
    if any(isinstance(want, int) and want != got for want, got in zip(spec.shape, shape, strict=True)):
        raise ImageError(f"{wanted}, and the array has shape {shape}")
    if not batch.min <= shape[0] <= batch.max:
        raise ImageError(
            f"the batch has {shape[0]} images and this artefact takes {batch.min} to {batch.max}; "
            "split the batch, or export with another --batch"
        )


def _wanted(spec: TensorSpec) -> str:
    return f"'{spec.name}' must be {spec.dtype} of shape ({', '.join(map(str, spec.shape))})"


def _planned_sizes(
    size: tuple[int, int], prep: Preprocessing, name: str = "the image"
) -> tuple[tuple[int, int], tuple[int, int]]:
    """(width, height) after padding and after resizing, checked before any memory is asked for."""
    width, height = size
    if width < 1 or height < 1:
        raise ImageError(f"{name} has {width} x {height} pixels; both sides must be at least 1")
    refuse_other_size(size, prep, name)
    padded = (max(size), max(size)) if prep.pad_to_square else (width, height)
    resized = padded
    if prep.resize_exact is not None:
        resized = (prep.resize_exact[1], prep.resize_exact[0])
    elif prep.resize_shortest is not None:
        short, long = sorted(padded)
        edges = (prep.resize_shortest, int(prep.resize_shortest * long / short))
        resized = edges if padded[0] <= padded[1] else (edges[1], edges[0])
    for stage, (w, h) in (("padded to a square", padded), ("resized", resized)):
        if w * h > MAX_PIXELS:
            raise ImageError(
                f"{name} has {width} x {height} pixels and would have {w} x {h} when {stage}, more than "
                f"{MAX_PIXELS // 1_000_000} megapixels; crop it to a less extreme shape first"
            )
    return padded, resized


def _views(image: Image.Image, prep: Preprocessing, name: str) -> list[npt.NDArray[np.uint8]]:
    """The bytes that the model sees, before rescaling: `(h, w, 3)` each."""
    if not prep.pinpoints:
        return [_model_view(image, prep, name)]
    _planned_sizes(image.size, prep, named(image, name))
    return cut(rgb_from_image(image, name), prep)


def _model_view(image: Image.Image, prep: Preprocessing, name: str) -> npt.NDArray[np.uint8]:
    """The bytes that the model sees, before rescaling: `(h, w, 3)`."""
    padded, resized = _planned_sizes(image.size, prep, named(image, name))
    image = rgb_from_image(image, name)
    if padded != image.size:
        # The mean colour, truncated to bytes exactly as LlavaImageProcessor does.
        red, green, blue = (int(value * 255) for value in prep.mean)
        square = Image.new("RGB", padded, (red, green, blue))
        square.paste(image, (_pad_start(image.width, padded[0]), _pad_start(image.height, padded[1])))
        image = square
    if resized != image.size:
        image = image.resize(resized, Image.Resampling(prep.resample))
    pixels = np.asarray(image)
    return pixels if prep.crop is None else _center_crop(pixels, prep.crop[0], prep.crop[1])


def _pad_start(length: int, padded: int) -> int:
    """Where an edge of `length` starts in one of `padded`."""
    return (padded - length) // 2


def _center_crop(pixels: npt.NDArray[np.uint8], height: int, width: int) -> npt.NDArray[np.uint8]:
    """Cut `(height, width)` out of the middle, zeros where the image is smaller."""
    cut = np.zeros((height, width, 3), dtype=np.uint8)
    # The floor of a negative half puts an odd pixel of padding on the left and the top.
    top, left = (pixels.shape[0] - height) // 2, (pixels.shape[1] - width) // 2
    source = pixels[max(top, 0) : top + height, max(left, 0) : left + width]
    down, right = max(-top, 0), max(-left, 0)
    cut[down : down + source.shape[0], right : right + source.shape[1]] = source
    return cut


def _value_table(prep: Preprocessing) -> npt.NDArray[np.float32]:
    """What each byte becomes in each channel: `(3, 256)`."""
    rescaled = (np.arange(256, dtype=np.float64) * prep.rescale_factor).astype(np.float32)
    mean = np.array(prep.mean, dtype=np.float32)[:, None]
    std = np.array(prep.std, dtype=np.float32)[:, None]
    return (rescaled[None, :] - mean) / std
