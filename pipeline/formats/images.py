"""Images that a record holds beside its messages, as references inside them."""

import base64
from typing import Any

from pipeline.errors import FormatError
from pipeline.schema import Message

PLACEHOLDER = "<image>"
_BASE64_MAGIC = {"iVBOR": "image/png", "/9j/": "image/jpeg", "R0lGOD": "image/gif", "UklGR": "image/webp"}
_BYTES_MAGIC = {b"\x89PNG": "image/png", b"\xff\xd8\xff": "image/jpeg", b"GIF8": "image/gif", b"RIFF": "image/webp"}


def image_reference(image: Any, where: str) -> str:
    """A data URI, URL or path for an image given as bytes, base64, URL, path or `{bytes, path}`."""
    if isinstance(image, dict):
        held = next((image[key] for key in ("bytes", "url", "image_url", "path") if image.get(key)), None)
        if held is None or isinstance(held, dict | list):
            raise FormatError(f"{where}: want bytes, url or path, found keys {sorted(map(str, image))}")
        image = held
    if isinstance(image, bytes | bytearray):
        mime = next((mime for magic, mime in _BYTES_MAGIC.items() if image.startswith(magic)), "image/png")
        return f"data:{mime};base64,{base64.b64encode(image).decode()}"
    if isinstance(image, str):
        mime = next((mime for magic, mime in _BASE64_MAGIC.items() if image.startswith(magic)), None)
        return f"data:{mime};base64,{image}" if mime else image
    raise FormatError(f"{where}: want bytes, text or an object, found {type(image).__name__}")


def place_images(messages: list[Message], images: Any) -> None:
    """Hand a record's images to its messages, in order: one for each `<image>` in a text, the rest to the first user.

    Works in place. Raises FormatError where `images` is neither null, one image nor a list of them.
    """
    if not images:
        return
    held = images if isinstance(images, list | tuple) else [images]
    references = [image_reference(image, f"images[{k}]") for k, image in enumerate(held) if image is not None]
    position = 0
    for item in messages:
        wanted = (item["content"] or "").count(PLACEHOLDER) - len(item["images"] or ())
        if wanted > 0 and position < len(references):
            item["images"] = (item["images"] or []) + references[position : position + wanted]
            position += wanted
    if position < len(references):
        first = next((item for item in messages if item["role"] == "user"), messages[0] if messages else None)
        if first is not None:
            first["images"] = (first["images"] or []) + references[position:]
