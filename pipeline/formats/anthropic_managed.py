"""Recordings of Anthropic's managed agents: lines `["client.beta.sessions.…", payload]` of one session a file."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

from pipeline.formats.anthropic_blocks import BlockReader
from pipeline.formats.base import Parsed, message, tool_call
from pipeline.formats.fields import dict_of, object_at, some, text_of
from pipeline.schema import Message

_PREFIX = "client.beta.sessions."
_CALLS = ("agent.tool_use", "agent.mcp_tool_use", "agent.custom_tool_use")
_RESULTS = {
    "agent.tool_result": "tool_use_id",
    "agent.mcp_tool_result": "mcp_tool_use_id",
    "user.custom_tool_result": "custom_tool_use_id",
}


class AnthropicManaged:
    """The session's events as one conversation; what one model request brought is one assistant turn.

    Streamed events name no session, so that all such lines of a file belong together.
    """

    name = "anthropic_managed"

    def session_key(self, value: Any) -> str | None:
        """One key for every recorded line; None for anything else."""
        return _PREFIX if self._is_line(value) else None

    def detects(self, record: Any) -> bool:
        """Whether the record is a list of such lines."""
        return isinstance(record, list) and bool(record) and self._is_line(record[0])

    def parse(self, record: Any) -> Parsed:
        """The conversation; sent user events count only where the stream did not echo them."""
        reader = _Reader()
        streamed = [payload for route, payload in record if route == f"{_PREFIX}events.stream"]
        echoed = any(isinstance(event, dict) and event.get("type") == "user.message" for event in streamed)
        for index, (route, payload) in enumerate(record):
            if route == f"{_PREFIX}create":
                reader.start(dict_of(payload, f"line {index}"))
            elif route == f"{_PREFIX}events.stream":
                reader.read(dict_of(payload, f"line {index}"))
            elif route == f"{_PREFIX}events.send" and not echoed:
                for event in _sent(payload):
                    reader.read(event)
        return Parsed(
            messages=reader.messages,
            metadata=some(
                **reader.session,
                other_events=dict(sorted(reader.others.items())),
                error_call_ids=reader.blocks.error_call_ids,
                denied_call_ids=reader.denied,
            ),
            is_trace=any(item["role"] != "system" for item in reader.messages),
        )

    def _is_line(self, value: Any) -> bool:
        return (
            isinstance(value, list) and len(value) == 2 and isinstance(value[0], str) and value[0].startswith(_PREFIX)
        )


class _Reader:
    """Reads the session's events one by one into messages."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.blocks = BlockReader()
        self.others: Counter[str] = Counter()
        self.session: dict[str, Any] = {}
        self.denied: list[str] = []
        self._turn: Message | None = None

    def start(self, session: dict[str, Any]) -> None:
        """Take in the session as it was created: who the agent is and how it was instructed."""
        agent = object_at(session, "agent")
        model = object_at(agent, "model")
        if isinstance(agent.get("system"), str):
            self.messages.append(message("system", agent["system"]))
        self.session = some(
            session_id=session.get("id"), agent=agent.get("name"), model=model.get("id"), toolsets=agent.get("tools")
        )

    def read(self, event: dict[str, Any]) -> None:
        """Take in one event."""
        kind = event.get("type")
        if kind == "user.message":
            self._turn = None
            self.messages += self.blocks.user(event.get("content"))
        elif kind == "agent.message":
            said = self.blocks.assistant(event.get("content"))["content"]
            turn = self._open_turn()
            turn["content"] = said if turn["content"] is None else f"{turn['content']}\n{said or ''}"
        elif kind in _CALLS:
            turn = self._open_turn()
            call = tool_call(text_of(event.get("name")), event.get("input"), text_of(event.get("id")))
            turn["tool_calls"] = [*(turn["tool_calls"] or ()), call]
        elif isinstance(kind, str) and kind in _RESULTS:
            self._turn = None
            self.messages.append(self.blocks.result({**event, "tool_use_id": event.get(_RESULTS[kind])}))
        else:
            if kind == "span.model_request_start":
                self._turn = None
            elif kind == "user.tool_confirmation" and event.get("result") == "deny":
                self.denied.append(text_of(event.get("tool_use_id")) or "")
            self.others[str(kind)] += 1

    def _open_turn(self) -> Message:
        """The assistant's turn of the model request under way."""
        if self._turn is None:
            self._turn = message("assistant")
            self.messages.append(self._turn)
        return self._turn


def _sent(payload: Any) -> Iterator[dict[str, Any]]:
    """The events a client sent: `[session_id, {"events": […]}]`."""
    body = payload[1] if isinstance(payload, list) and len(payload) > 1 else None
    events = body.get("events") if isinstance(body, dict) else None
    yield from (event for event in events if isinstance(event, dict)) if isinstance(events, list) else ()


ANTHROPIC_MANAGED = AnthropicManaged()
