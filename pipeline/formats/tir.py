"""Tool-integrated reasoning: ```python and ```output fences in one text (ToRA, Qwen2.5-Math TIR, ReTool)."""

import re
from collections.abc import Iterator
from typing import Any

from pipeline.errors import FormatError
from pipeline.formats.base import Parsed, message, tool_call
from pipeline.formats.inline import Mark, inline_messages, last_boxed

_FENCE = re.compile(
    r"^[ \t]*```(python|py|output)[ \t]*\r?\n(.*?)(?:(?P<closing>^[ \t]*```[ \t]*$\r?\n?)|\Z)", re.MULTILINE | re.DOTALL
)
_TEXT_KEYS = ("output", "response", "solution", "generation", "completion", "prediction", "model_output")
_QUESTION_KEYS = ("question", "problem", "prompt", "instruction", "query", "input")


class TirFormat:
    """One text per attempt; the code fence is a call to `python`, the output fence its observation."""

    name = "tir"

    def detects(self, record: Any) -> bool:
        """Whether the record is ToRA's (`code` beside `pred`), or a question and a text with both fences."""
        if not isinstance(record, dict):
            return False
        code = record.get("code")
        if isinstance(code, list) and code and isinstance(code[0], str):
            return "pred" in record and _question(record) is not None
        return _fenced_text(record) is not None and _question(record) is not None

    def parse(self, record: Any) -> Parsed:
        """The first attempt; further ones of the same record are counted and kept in the metadata."""
        code = record.get("code")
        text = code[0] if isinstance(code, list) and code else _fenced_text(record)
        question = _question(record)
        if not isinstance(text, str) or question is None:
            raise FormatError("tir: want a question and a text under `code`, found none; check the record's keys")
        attempt = inline_messages(text, _marks(text))
        truth = record.get("gt", record.get("answer", record.get("ground_truth")))
        used = {"code", "gt", "answer", "ground_truth"} | {key for key in _TEXT_KEYS if record.get(key) == text}
        metadata = {key: value for key, value in record.items() if key not in used and value != question}
        if isinstance(code, list) and len(code) > 1:
            metadata["other_attempts"] = code[1:]
        return Parsed(
            messages=[message("user", question), *attempt],
            prompt=question,
            final_answer=last_boxed(text),
            ground_truth=None if truth is None or isinstance(truth, (dict, list)) else str(truth),
            metadata=metadata,
        )


def _marks(text: str) -> Iterator[Mark]:
    """The call or observation of each fence. Code whose fence is still open at the end never ran, and is none."""
    for found in _FENCE.finditer(text):
        body = found[2].rstrip("\r\n")
        if found[1] == "output":
            yield Mark(found.start(), found.end(), observation=body)
        elif found["closing"]:
            yield Mark(found.start(), found.end(), call=tool_call("python", {"code": body}))


def _fenced_text(record: dict[str, Any]) -> str | None:
    """The value that holds both fences."""
    for key in _TEXT_KEYS:
        value = record.get(key)
        if isinstance(value, str) and "```output" in value and "```py" in value:
            return value
    return None


def _question(record: dict[str, Any]) -> str | None:
    """The question, under whichever key it stands."""
    return next((record[key] for key in _QUESTION_KEYS if isinstance(record.get(key), str) and record[key]), None)


TIR = TirFormat()
