"""What a Model Context Protocol server gave back, as text."""

import base64
import hashlib

import mcp_types as types

from pipeline.replay.environment import Observation
from pipeline.replay.environments.calls import as_text, returned


def read_result(result: types.CallToolResult) -> Observation:
    """The blocks as text, one below the other; the structured result, where there is one, as an alternative.

    An error of the tool's own is a result like any other.
    """
    text = "\n".join(_block_text(block) for block in result.content)
    if result.structured_content is None:
        return returned(text)
    structured = as_text(result.structured_content)
    return returned(text, (structured,)) if result.content else returned(structured)


def _block_text(block: types.ContentBlock) -> str:
    """A text as it is; of anything else what it is, and a hash of its bytes."""
    match block:
        case types.TextContent():
            return block.text
        case types.ImageContent() | types.AudioContent():
            return f"[{block.mime_type} {_hash(base64.b64decode(block.data, validate=False))}]"
        case types.ResourceLink():
            return f"[{block.uri}]"
        case types.EmbeddedResource():
            held = block.resource
            if isinstance(held, types.TextResourceContents):
                return held.text
            return f"[{held.mime_type or 'bytes'} {_hash(base64.b64decode(held.blob, validate=False))}]"


def _hash(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()[:16]}"
