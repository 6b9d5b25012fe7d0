"""Where a record keeps its chat: under one key, as JSON text, as prompt and completion, as a logged API call."""

from dataclasses import dataclass
from typing import Any

import orjson

from pipeline.errors import FormatError
from pipeline.formats.chat_messages import looks_like_chat

_HOLDERS = ("messages", "traj", "conversations", "conversation", "trajectory", "chat", "dialog", "dialogue", "history")
# A list of no messages is an attempt that never began, not a stray key, when one of these stands beside it.
_RUN_KEYS = frozenset(
    {
        "instance_id",
        "task_id",
        "traj_id",
        "trajectory_id",
        "run_id",
        "resolved",
        "reward",
        "eval_result",
        "benchmark_name",
        "tools",
    }
)


@dataclass(slots=True, frozen=True)
class Held:
    """The chat of a record and the top-level keys it was taken from."""

    messages: Any
    keys: tuple[str, ...]
    where: str


def find_chat(record: Any) -> Held | None:
    """The chat in a record, still as the source wrote it (perhaps JSON text); None where there is none."""
    if type(record) is list:
        return Held(record, (), "messages") if looks_like_chat(record) else None
    if type(record) is not dict:
        return None
    for key in _HOLDERS:
        value = record.get(key)
        if not value:
            if value is not None and value in ([], "") and not _RUN_KEYS.isdisjoint(record):
                return Held([], (key,), key)
            continue
        if type(value) is str:
            if _is_chat_text(value) or (key in ("messages", "traj") and not _RUN_KEYS.isdisjoint(record)):
                return Held(value, (key,), key)
        elif looks_like_chat(value):
            answer = _logged_answer(record) if key == "messages" else None
            if answer is None:
                return Held(value, (key,), key)
            return Held([*value, *answer.messages], (key, *answer.keys), key)
    return _prompt_and_completion(record) or _logged_call(record)


def with_chat_decoded(record: Any) -> Any:
    """The record with the chat that stands in it as JSON text read, so that every format sees turns; else itself.

    Text that holds no chat stays: the format that claims it says what is wrong with it.
    """
    if type(record) is not dict:
        return record
    for key in _HOLDERS:
        text = record.get(key)
        if type(text) is not str or not _opens_list_of_objects(text):
            continue
        try:
            turns = orjson.loads(text)
        except orjson.JSONDecodeError:
            continue
        if looks_like_chat(turns) or _looks_like_sharegpt(turns):
            return {**record, key: turns}
    return record


def decode_chat(held: Held) -> list[Any]:
    """The messages as a list. Raises FormatError where text is not JSON or holds no list."""
    messages = held.messages
    if isinstance(messages, str):
        try:
            messages = orjson.loads(messages)
        except orjson.JSONDecodeError as error:
            raise FormatError(
                f"{held.where}: want a JSON list of messages, found text that is not JSON: {messages[:60]!r}"
            ) from error
    if not isinstance(messages, list):
        raise FormatError(f"{held.where}: want a list of messages, found {type(messages).__name__}")
    return messages


def _is_chat_text(text: str) -> bool:
    """Whether a text opens like a JSON list of messages; its end is read only when it is parsed."""
    return _opens_list_of_objects(text) and '"role"' in text[:2000]


def _opens_list_of_objects(text: str) -> bool:
    opening = text[:100].lstrip()
    return opening.startswith("[") and opening[1:].lstrip().startswith("{")


def _looks_like_sharegpt(turns: Any) -> bool:
    """Whether a value is a list of turns that say `from` whom they are."""
    return type(turns) is list and all(type(turn) is dict and "from" in turn and "value" in turn for turn in turns[:3])


def _prompt_and_completion(record: dict[str, Any]) -> Held | None:
    """TRL's conversational prompt and completion; a prompt alone is a question."""
    prompt = record.get("prompt")
    if not isinstance(prompt, list) or not looks_like_chat(prompt):
        return None
    for key in ("completion", "completions", "response"):
        completion = record.get(key)
        if isinstance(completion, list) and looks_like_chat(completion):
            return Held([*prompt, *completion], ("prompt", key), "prompt + completion")
    return Held(prompt, ("prompt",), "prompt")


def _logged_answer(record: dict[str, Any]) -> Held | None:
    """The reply beside a request's messages: `choices` here, or inside `response`."""
    for key in ("choices", "response"):
        replies = _choices(record.get(key) if key == "response" else record)
        if replies:
            return Held(replies, (key,), key)
    return None


def _logged_call(record: dict[str, Any]) -> Held | None:
    """A logged request with its response: `{request: {messages}, response: {choices}}`, `body` inside either or not."""
    request = record.get("request", record.get("body"))
    if type(request) is dict and type(request.get("body")) is dict:
        request = request["body"]
    if type(request) is not dict or not looks_like_chat(request.get("messages")):
        return None
    replies = _choices(record.get("response"))
    return Held([*request["messages"], *replies], (), "request.messages")


def _choices(response: Any) -> list[dict[str, Any]]:
    """The first choice's message of a chat completion, as a list of one or none."""
    if type(response) is dict and type(response.get("body")) is dict:
        response = response["body"]
    choices = response.get("choices") if type(response) is dict else None
    if type(choices) is not list or not choices or type(choices[0]) is not dict:
        return []
    reply = choices[0].get("message")
    return [reply] if type(reply) is dict and type(reply.get("role")) is str else []
