"""Images that do not decode, found before any model sees them; and those that can be sent to one."""

import base64
import binascii
import io
import re
import warnings
from collections.abc import Sequence
from functools import cache
from urllib.parse import unquote_to_bytes

import polars as pl
from PIL import Image, ImageFile, UnidentifiedImageError

from pipeline.stages.steps import explode_messages

MAX_PIXELS = 100_000_000
"""Largest image decoded: 300 MB of memory."""
MAX_SIDE = 30_000
MAX_RATIO = 400
"""Longest side over shortest: beyond it there is nothing to see, and preprocessing of models fails."""

BROKEN = {"subject_id": pl.String, "message_index": pl.UInt32, "image_index": pl.UInt32, "fault": pl.String}
"""One row per image found broken; `message_index` is null for the images of a prompt."""

_DATA_URI = re.compile(r"\Adata:(?P<kind>[\w.+-]+/[\w.+-]+)?(?P<parameters>(?:;[^,;]*)*),", re.IGNORECASE)
_FORMATS = ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF", "AVIF", "ICO", "JPEG2000", "PPM")
"""What is tried, as far as Pillow was built with it; not those whose decoders start other programs."""
_VECTOR = "image/svg+xml"
_MAX_FRAMES = 64


def broken_images(rows: pl.DataFrame) -> pl.DataFrame:
    """The images of the rows that do not decode, as BROKEN, in order.

    A data URI is decoded to its last pixel, for a file that was cut off passes a look at its header.
    What is only referred to, by URL or path, is unknown and no fault: nothing is fetched.

    Grain: one row per broken image, in order of the rows.
    Reads: trajectory_id and messages, of trajectories; task_id and images, of prompts.
    """
    if "messages" in rows.columns:
        images = explode_messages(rows).select("message_index", "images", subject_id="trajectory_id")
    else:
        images = rows.select("images", subject_id="task_id", message_index=pl.lit(None, pl.UInt32))
    images = images.with_columns(image_index=pl.int_ranges(0, pl.col("images").list.len(), dtype=pl.UInt32))
    listed = images.filter(pl.col("images").list.len() > 0).explode("images", "image_index")
    given = listed.filter(pl.col("images").is_not_null())
    distinct = given["images"].unique(maintain_order=True)
    faults = {image: fault for image in distinct if (fault := image_fault(image)) is not None}
    found = given.filter(pl.col("images").is_in(list(faults)))
    fault = found["images"].replace_strict(faults, default=None, return_dtype=pl.String)
    return found.with_columns(fault=fault).select(pl.col(name).cast(dtype) for name, dtype in BROKEN.items())


def image_fault(reference: str) -> str | None:
    """What is wrong with an image; None where it decodes, or where only its address is known."""
    if not reference.strip():
        return "empty"
    found = _DATA_URI.match(reference)
    if found is None:
        return "not a data URI" if reference[:5].lower() == "data:" else None
    held = _decoded(reference, found)
    if held is None:
        return "not base64"
    if not held:
        return "empty"
    if (found["kind"] or "").lower() == _VECTOR:
        return None if b"<svg" in held else "not an image"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _fault_in(held)


def sendable_images(references: Sequence[str | None], most: int) -> dict[int, str]:
    """The images that can go along with a question, by number from 1: pixels held in the row itself, `most` of them."""
    found: dict[int, str] = {}
    for number, reference in enumerate(references, start=1):
        uri = None if reference is None or len(found) == most else _DATA_URI.match(reference)
        if reference is None or uri is None:
            continue
        kind = (uri["kind"] or "").lower()
        if kind.startswith("image/") and kind != _VECTOR and _is_base64(uri):
            found[number] = reference
    return found


def _is_base64(uri: re.Match[str]) -> bool:
    return uri["parameters"].lower().endswith(";base64")


def _decoded(reference: str, uri: re.Match[str]) -> bytes | None:
    """The bytes in a data URI, None where they are not base64 though it says so."""
    held = unquote_to_bytes(reference[uri.end() :])
    if not _is_base64(uri):
        return held
    try:
        return base64.b64decode(b"".join(held.split()), validate=True)
    except binascii.Error:
        return None


def _fault_in(held: bytes) -> str | None:
    """What is wrong with the bytes of an image."""
    try:
        with Image.open(io.BytesIO(held), formats=_formats()) as image:
            size = image.size
            fault = _fault_of_size(*size)
            if fault is None:
                image.verify()
        if fault is not None:
            return fault
        with Image.open(io.BytesIO(held), formats=_formats()) as image:
            _load(image)
    except UnidentifiedImageError:
        return "not an image"
    except Image.DecompressionBombError:
        return f"more than {2 * (Image.MAX_IMAGE_PIXELS or MAX_PIXELS):,} pixels"
    except Exception as error:  # a decoder raises whatever it stumbles over, and any of it is a fault of the image
        return "cut off" if "truncated" in str(error).lower() else "damaged"
    return None


@cache
def _formats() -> tuple[str, ...]:
    Image.init()
    return tuple(name for name in _FORMATS if name in Image.OPEN)


def _load(image: ImageFile.ImageFile) -> None:
    """Decode every frame, up to a bound."""
    image.load()
    frames = min(getattr(image, "n_frames", 1), _MAX_FRAMES, max(MAX_PIXELS // (image.width * image.height), 1))
    for frame in range(1, frames):
        image.seek(frame)
        image.load()


def _fault_of_size(wide: int, high: int) -> str | None:
    """Why nobody can look at an image of this size."""
    is_absurd = wide * high > MAX_PIXELS or max(wide, high) > MAX_SIDE or max(wide, high) > MAX_RATIO * min(wide, high)
    return f"{wide:,} x {high:,} pixels" if is_absurd else None
