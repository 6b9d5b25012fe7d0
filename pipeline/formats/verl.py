"""verl's prompt rows, which Metis' own trainer reads: a task with its rule-based reward, and no attempt."""

from typing import Any

import orjson

from pipeline.errors import FormatError
from pipeline.formats.base import Parsed
from pipeline.formats.chat_messages import looks_like_chat, read_messages
from pipeline.formats.images import place_images
from pipeline.formats.outcomes import answer_text
from pipeline.formats.tool_schemas import openai_tools


class VerlFormat:
    """`{data_source, prompt: [messages], ability, reward_model: {style, ground_truth}, extra_info}`."""

    name = "verl"

    def detects(self, record: Any) -> bool:
        """A row with `reward_model` and a chat (a list or its JSON text) under `prompt`."""
        if type(record) is not dict or "reward_model" not in record or "prompt" not in record:
            return False
        prompt = record["prompt"]
        return looks_like_chat(prompt) or (type(prompt) is str and '"role"' in prompt)

    def parse(self, record: dict[str, Any]) -> Parsed:
        """The question and its ground truth; demonstrations before the last user message are prompt, not task."""
        source = _decoded(record["prompt"], "prompt")
        if not isinstance(source, list):
            raise FormatError(f"prompt: want a list of messages, found {type(source).__name__}")
        messages = read_messages(source, "prompt")
        reward_model = _decoded(record["reward_model"], "reward_model")
        if not isinstance(reward_model, dict):
            raise FormatError(f"reward_model: want an object, found {type(reward_model).__name__}")
        place_images(messages, record.get("images"))
        asked = [item["content"] for item in messages if item["role"] == "user"]
        extra = record.get("extra_info")
        extra_truth = extra.get("answer") if type(extra) is dict else None
        truth = reward_model.get("ground_truth", extra_truth)
        left = {key: value for key, value in record.items() if key not in ("prompt", "images", "tools", "reward_model")}
        style = {key: value for key, value in reward_model.items() if key != "ground_truth"}
        return Parsed(
            messages,
            prompt=asked[-1] if asked else None,
            tools=openai_tools(record.get("tools")),
            ground_truth=answer_text(truth),
            metadata={**left, "reward_model": style},
            is_trace=False,
        )


def _decoded(value: Any, where: str) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return orjson.loads(value)
    except orjson.JSONDecodeError as error:
        raise FormatError(f"{where}: want JSON, found text that is not: {value[:60]!r}") from error


VERL = VerlFormat()
