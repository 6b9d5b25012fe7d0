"""Claude Code sessions: one event a line, tied into a tree by `parentUuid`; also its JSON export and SDK stream."""

from collections import Counter
from typing import Any

from pipeline.formats.anthropic_blocks import BlockReader
from pipeline.formats.base import Parsed
from pipeline.formats.fields import dict_of, list_at, some, text_of, wanted, word_at
from pipeline.schema import Message

_SPEAKERS = ("user", "assistant")
_STREAM = frozenset({"system", "user", "assistant", "result"})


class ClaudeCode:
    """One trajectory a session and one more a sidechain (subagent), which has its own `agentId`.

    Of a session edited into branches the chain of the last message is kept; the events of other branches are counted.
    Compaction does not cut: what was said before stays, and the summary stands as the user message it was.
    """

    name = "claude_code"

    def session_key(self, value: Any) -> str | None:
        """Session id, with the agent's for a sidechain; None for anything that is not an event of a session."""
        if not isinstance(value, dict) or not isinstance(value.get("type"), str):
            return None
        session = value.get("sessionId")
        if isinstance(session, str):
            agent = value.get("agentId")
            if isinstance(agent, str):
                return f"{session}/{agent}"
            return f"{session}/sidechain" if value.get("isSidechain") is True else session
        session = value.get("session_id")
        if isinstance(session, str) and value["type"] in _STREAM and ("message" in value or "subtype" in value):
            parent = value.get("parent_tool_use_id")
            return f"{session}/{parent}" if isinstance(parent, str) else session
        return None

    def detects(self, record: Any) -> bool:
        """Whether this is a session's list of events, or the export `{"loglines": [events]}`."""
        if isinstance(record, dict):
            lines = record.get("loglines")
            return isinstance(lines, list) and any(_speaks(line) for line in lines[:20])
        return isinstance(record, list) and bool(record) and self.session_key(record[0]) is not None

    def parse(self, record: Any) -> Parsed:
        """The messages on the last message's chain. A session of bookkeeping events alone is no trace."""
        events = list_at(record, "loglines", "claude_code") if isinstance(record, dict) else record
        nodes, others = _nodes(events)
        chain = _last_chain(nodes)
        others["other_branch"] += sum(_speaks(node) for node in nodes) - sum(_speaks(node) for node in chain)
        return _parsed(events, chain, others)


def _nodes(events: list[Any]) -> tuple[list[dict[str, Any]], Counter[str]]:
    """The events in order, repeats of a uuid left out (the first stands), and the count of what is not a message."""
    others: Counter[str] = Counter()
    seen: dict[str, dict[str, Any]] = {}
    nodes: list[dict[str, Any]] = []
    for index, event in enumerate(events):
        kind = dict_of(event, f"claude_code[{index}]").get("type")
        if kind not in _SPEAKERS:
            others[_kind_name(event)] += 1
        uuid = event.get("uuid")
        if isinstance(uuid, str):
            first = seen.setdefault(uuid, event)
            if first is not event:
                others["duplicate" if first == event else "conflicting_duplicate"] += 1
                continue
        nodes.append(event)
    return nodes, others


def _last_chain(nodes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The events from the root to the last message, in file order; all of them where no event names a parent."""
    if not any(isinstance(node.get("parentUuid"), str) for node in nodes):
        return nodes
    by_uuid = {node["uuid"]: node for node in nodes if isinstance(node.get("uuid"), str)}
    leaf = next((node for node in reversed(nodes) if _speaks(node) and word_at(node, "uuid")), None)
    kept: set[str] = set()
    while leaf is not None and leaf["uuid"] not in kept:
        kept.add(leaf["uuid"])
        # A compaction starts a new root and names its predecessor elsewhere.
        leaf = by_uuid.get(word_at(leaf, "parentUuid") or word_at(leaf, "logicalParentUuid"))
    _add_parallel(nodes, kept)
    return [node for node in nodes if word_at(node, "uuid") in kept]


def _add_parallel(nodes: list[dict[str, Any]], kept: set[str]) -> None:
    """Add what parallel calls leave beside the chain: lines of the same message, and the results of its calls.

    Each result of parallel calls is a child of its own call's line, so that only one of them lies on a chain.
    """
    message_ids = {word_at(_message(node), "id") for node in nodes if word_at(node, "uuid") in kept} - {""}
    if not message_ids:
        return
    siblings = [node for node in nodes if isinstance(node.get("uuid"), str) and node["uuid"] not in kept]
    for node in siblings:
        if node["type"] == "assistant" and word_at(_message(node), "id") in message_ids:
            kept.add(node["uuid"])
    calls = {
        word_at(block, "id") for node in nodes if word_at(node, "uuid") in kept for block in _blocks(node, "tool_use")
    }
    for node in siblings:
        if any(word_at(block, "tool_use_id") in calls for block in _blocks(node, "tool_result")):
            kept.add(node["uuid"])


def _parsed(events: list[Any], chain: list[dict[str, Any]], others: Counter[str]) -> Parsed:
    """The chain as messages; lines of one assistant message (same `message.id`) become one."""
    reader = BlockReader()
    messages: list[Message] = []
    assistants: dict[str, Message] = {}
    prompt: str | None = None
    compactions: list[int] = []
    subagents: dict[str, str] = {}
    models: set[str] = set()
    for node in chain:
        if not _speaks(node):
            continue
        held = _message(node)
        if node["type"] == "assistant":
            if node.get("isApiErrorMessage") is True:
                others["api_error"] += 1
                continue
            if isinstance(held.get("model"), str):
                models.add(held["model"])
            piece, message_id = reader.assistant(held.get("content")), held.get("id")
            if isinstance(message_id, str) and message_id in assistants:
                _join(assistants[message_id], piece)
            else:
                messages.append(piece)
                if isinstance(message_id, str):
                    assistants[message_id] = piece
            messages += reader.results_within(held.get("content"))
            continue
        said = reader.user(held.get("content"))
        if node.get("isCompactSummary") is True:
            compactions.append(len(messages))
        elif prompt is None and node.get("isMeta") is not True:
            prompt = next((item["content"] for item in said if item["role"] == "user"), None)
        _note_subagent(node, said, subagents)
        messages += said
    return Parsed(
        messages=_results_after_calls(messages),
        prompt=prompt,
        metadata=_metadata(events, others)
        | some(
            models=sorted(models),
            compactions=compactions,
            subagents=subagents,
            error_call_ids=reader.error_call_ids,
            unknown_blocks=dict(reader.unknown),
        ),
        is_trace=bool(messages),
    )


def _results_after_calls(messages: list[Message]) -> list[Message]:
    """The messages with every observation written before its call's line moved behind the call."""
    called: dict[str | None, int] = {}
    for index, item in enumerate(messages):
        for call in item["tool_calls"] or ():
            called.setdefault(call["id"], index)
    early: dict[int, list[Message]] = {}
    rest: list[tuple[int, Message]] = []
    for index, item in enumerate(messages):
        at = called.get(item["tool_call_id"]) if item["role"] == "tool" else None
        if at is not None and at > index:
            early.setdefault(at, []).append(item)
        else:
            rest.append((index, item))
    if not early:
        return messages
    return [moved for index, item in rest for moved in (item, *early.get(index, ()))]


def _join(first: Message, piece: Message) -> None:
    """Add a later line's text, thoughts and calls to the message its first line made."""
    for key in ("content", "reasoning"):
        if piece[key] is not None:
            first[key] = piece[key] if first[key] is None else f"{first[key]}\n{piece[key]}"
    if piece["tool_calls"]:
        known = {call["id"] for call in first["tool_calls"] or ()}
        new = [call for call in piece["tool_calls"] if call["id"] not in known]
        first["tool_calls"] = [*(first["tool_calls"] or ()), *new]


def _note_subagent(node: dict[str, Any], said: list[Message], subagents: dict[str, str]) -> None:
    """Remember which sidechain a call of the agent tool started."""
    result = node.get("toolUseResult")
    agent = result.get("agentId") if isinstance(result, dict) else None
    call_id = next((item["tool_call_id"] for item in said if item["role"] == "tool"), None)
    if isinstance(agent, str) and call_id:
        subagents[call_id] = agent


def _metadata(events: list[Any], others: Counter[str]) -> dict[str, Any]:
    """Who and where the session was, and the counts of events that are no messages."""

    def first(*keys: str) -> str | None:
        return next((text_of(event[key]) for event in events for key in keys if event.get(key)), None)

    return some(
        session_id=first("sessionId", "session_id"),
        agent_id=first("agentId", "parent_tool_use_id"),
        is_sidechain=True if any(event.get("isSidechain") is True for event in events) else None,
        version=first("version"),
        cwd=first("cwd"),
        git_branch=first("gitBranch"),
        summary=first("summary"),
        other_events={kind: count for kind, count in sorted(others.items()) if count},
    )


def _kind_name(event: dict[str, Any]) -> str:
    """What an event that is no message is counted as: its subtype, else its type."""
    return str(event.get("subtype") or event.get("type"))


def _speaks(event: Any) -> bool:
    """Whether an event is a user or assistant message."""
    return isinstance(event, dict) and event.get("type") in _SPEAKERS and isinstance(event.get("message"), dict)


def _message(event: dict[str, Any]) -> dict[str, Any]:
    """The API message inside an event. Raises FormatError where a user or assistant event holds none."""
    held = event.get("message")
    if held is None and event.get("type") not in _SPEAKERS:
        return {}
    if not isinstance(held, dict):
        if event.get("type") in _SPEAKERS:
            raise wanted(f"claude_code event {event.get('uuid')}.message", "an object", held)
        return {}
    return held


def _blocks(event: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    """The content blocks of one type in an event."""
    content = _message(event).get("content")
    return [b for b in content if isinstance(b, dict) and b.get("type") == kind] if isinstance(content, list) else []


CLAUDE_CODE = ClaudeCode()
