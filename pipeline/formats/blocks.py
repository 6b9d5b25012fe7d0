"""Block roles text, code, execution (MathCoder), as a list of blocks or on the wire `<|text|>…<|endofblock|>`."""

import re
from typing import Any

from pipeline.errors import FormatError
from pipeline.formats.base import Parsed, content_text, message, pair_by_position, tool_call
from pipeline.formats.inline import last_boxed
from pipeline.schema import Message

_WIRE = re.compile(
    r"<\|(system|user|text|code|execution)\|>(.*?)(?:<\|endofblock\|>|(?=<\|(?:text|code|execution)\|>)|\Z)", re.DOTALL
)
_TEXT_KEYS = ("text", "response", "output", "completion", "generation", "prediction")
_QUESTION_KEYS = ("question", "problem", "prompt", "instruction", "query", "input")
_BLOCK_ROLES = ("text", "code", "execution")


class BlocksFormat:
    """A text block is the assistant's, a code block its call to `python`, an execution block the observation."""

    name = "blocks"

    def detects(self, record: Any) -> bool:
        """Whether the record holds a block list (`debug_result`, `messages`) or a text in the wire form."""
        if isinstance(record, str):
            return "<|endofblock|>" in record and "<|text|>" in record
        return isinstance(record, dict) and (_block_list(record) is not None or _wire_key(record) is not None)

    def parse(self, record: Any) -> Parsed:
        """The attempt; MathCoder's last block repeats the extracted answer and becomes the final answer alone."""
        completion = record.get("completion") if isinstance(record, dict) else None
        blocks = _blocks(record)
        if not blocks:
            raise FormatError("blocks: want at least one block with role text or code, found none; check the record")
        if len(blocks) > 1 and blocks[-1] == ("text", completion) and blocks[-2][0] == "text":
            blocks.pop()
        messages = _messages(blocks)
        question = next((body for role, body in blocks if role == "user"), None)
        truth = record.get("ground_truth", record.get("answer")) if isinstance(record, dict) else None
        answer = truth.get("answer") if isinstance(truth, dict) else truth
        held = record if isinstance(record, dict) else {}
        metadata = {k: v for k, v in held.items() if k in ("id", "dataset", "model_answer", "extra")}
        if isinstance(truth, dict) and truth.get("solution"):
            metadata["reference_solution"] = truth["solution"]
        texts = "\n".join(body for role, body in blocks if role == "text")
        return Parsed(
            messages=messages,
            prompt=question,
            final_answer=completion if isinstance(completion, str) and completion else last_boxed(texts),
            ground_truth=answer if isinstance(answer, str) else None if answer is None else str(answer),
            metadata=metadata,
        )


def _messages(blocks: list[tuple[str, str]]) -> list[Message]:
    """One message a block; a code block joins the text before it.

    An execution block that answers no code block was written by the model, and stays in its content in wire form.
    """
    messages: list[Message] = []
    before = ""
    for role, body in blocks:
        if role in ("system", "user"):
            messages.append(message(role, body))
        elif role == "code":
            call = tool_call("python", {"code": body})
            if before == "text" and messages[-1]["tool_calls"] is None:
                messages[-1]["tool_calls"] = [call]
            else:
                messages.append(message("assistant", tool_calls=[call]))
        elif role == "execution" and before == "code":
            messages.append(message("tool", body))
        elif role == "execution":
            messages.append(message("assistant", f"<|execution|>{body}<|endofblock|>"))
        elif role in ("text", "assistant"):
            messages.append(message("assistant", body))
        else:
            raise FormatError(
                f"blocks: want role system, user, text, code or execution, found {role!r}; check the block"
            )
        before = role
    return pair_by_position(messages)


def _blocks(record: Any) -> list[tuple[str, str]]:
    """Role and text of every block, the question first where it stands beside the text."""
    if isinstance(record, str):
        return [(found[1], found[2].strip()) for found in _WIRE.finditer(record)]
    listed = _block_list(record)
    if listed is not None:
        return [(str(block.get("role")), content_text(block.get("content"))[0] or "") for block in listed]
    key = _wire_key(record)
    blocks = [] if key is None else [(found[1], found[2].strip()) for found in _WIRE.finditer(record[key])]
    question = next((record[k] for k in _QUESTION_KEYS if isinstance(record.get(k), str) and k != key), None)
    if question and all(role != "user" for role, _ in blocks):
        blocks.insert(0, ("user", question))
    return blocks


def _block_list(record: dict[str, Any]) -> list[dict[str, Any]] | None:
    """The value that is a list of blocks, by its roles."""
    for key in ("debug_result", "messages", "blocks"):
        value = record.get(key)
        if (
            isinstance(value, list)
            and any(isinstance(block, dict) and block.get("role") in _BLOCK_ROLES for block in value)
            and all(isinstance(block, dict) for block in value)
        ):
            return value
    return None


def _wire_key(record: dict[str, Any]) -> str | None:
    """The key whose text is in the wire form."""
    for key in _TEXT_KEYS:
        value = record.get(key)
        if isinstance(value, str) and "<|endofblock|>" in value and ("<|code|>" in value or "<|text|>" in value):
            return key
    return None


BLOCKS = BlocksFormat()
