"""Logs of several agents in one chat, with an annotation of how they failed: Who&When and MAST."""

import ast
import re
from typing import Any

from pipeline.errors import FormatError
from pipeline.formats.base import Parsed, content_text, message, pair_by_position, tool_call
from pipeline.formats.outcomes import answer_text, as_bool
from pipeline.schema import Message

_FENCE = re.compile(r"```[ \t]*(\w*)[^\n]*\n(.*?)```", re.DOTALL)
_EXECUTED = re.compile(r"\s*exitcode:\s*-?\d+")
_TERMINALS = frozenset({"Computer_terminal", "ComputerTerminal", "Computer_Terminal", "computer_terminal"})
_THOUGHT = re.compile(r"(.+?) \(thought\)\Z")
_LITERAL = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|[{}]""", re.DOTALL)


class MultiAgentChatFormat:
    """Named agents in turn; code they write is run by a terminal whose output is the observation of that code."""

    name = "multi_agent_chat"

    def detects(self, record: Any) -> bool:
        """A `history` annotated with who was mistaken and when, or a MAST `trace` with its annotation."""
        if type(record) is not dict:
            return False
        if "mistake_step" in record or "mistake_agent" in record:
            return type(record.get("history")) is list
        trace = record.get("trace")
        return type(trace) is dict and "trajectory" in trace and ("mast_annotation" in record or "mas_name" in record)

    def parse(self, record: dict[str, Any]) -> Parsed:
        """The trajectory, each agent an assistant message under its name."""
        if "history" in record:
            return _who_and_when(record)
        trace = record["trace"]
        messages = _messages(_mast_entries(trace["trajectory"]), "trace.trajectory")
        rest = {key: value for key, value in trace.items() if key != "trajectory"}
        left = {key: value for key, value in record.items() if key != "trace"}
        return Parsed(messages, metadata={**left, "trace": rest})


def _who_and_when(record: dict[str, Any]) -> Parsed:
    messages = _messages(record["history"], "history")
    question = record.get("question")
    prompt = question if isinstance(question, str) and question else None
    if prompt is not None and not any(item["role"] == "user" and item["content"] == prompt for item in messages):
        messages.insert(0, message("user", prompt))
    success = as_bool(record.get("is_correct", record.get("is_corrected")))
    left = ("history", "question", "ground_truth", "groundtruth", "is_correct", "is_corrected")
    return Parsed(
        messages,
        prompt=prompt,
        ground_truth=answer_text(record.get("ground_truth", record.get("groundtruth"))),
        success=success,
        metadata={key: value for key, value in record.items() if key not in left},
    )


def _messages(entries: list[Any], where: str) -> list[Message]:
    """The log as messages. A terminal's output is tied to the nearest code before it that has none yet."""
    messages: list[Message] = []
    pending: Message | None = None
    for index, entry in enumerate(entries):
        if type(entry) is not dict or not isinstance(entry.get("role"), str):
            raise FormatError(f"{where}[{index}]: want an object with role and content, found {type(entry).__name__}")
        text, images = content_text(entry.get("content"))
        role = entry["role"]
        speaker = entry.get("name") if isinstance(entry.get("name"), str) and entry["name"] else None
        agent = speaker or role
        if agent in _TERMINALS:
            if _EXECUTED.match(text or ""):
                _run(messages, pending, text)
                pending = None
            else:
                messages.append(message("user", text, name=agent))
            continue
        thought = _THOUGHT.match(agent)
        if role == "human" or (role in ("user", "system") and speaker in (None, "user", "human", "User")):
            messages.append(message("system" if role == "system" else "user", text, images=images))
        elif thought is not None:
            messages.append(message("assistant", reasoning=text, name=thought.group(1)))
        elif role == "user" and where != "history":
            messages.append(message("user", text, name=speaker, images=images))
        else:
            said = message("assistant", text, name=None if agent == "assistant" else agent, images=images)
            messages.append(said)
            if "```" in (text or ""):
                pending = said
    return pair_by_position(messages)


def _run(messages: list[Message], pending: Message | None, output: str | None) -> None:
    """Turn the code of `pending` into a call and add what the terminal printed; without code it is an orphan."""
    blocks = _FENCE.findall(pending["content"] or "") if pending is not None else []
    name = None
    if pending is not None and blocks:
        name = blocks[0][0].lower() or "python"
        pending["tool_calls"] = [tool_call(name, {"code": "\n\n".join(code.rstrip() for _, code in blocks)})]
        prose = _FENCE.sub("", pending["content"] or "").strip()
        pending["content"] = prose or None
    messages.append(message("tool", output, name=name))


def _mast_entries(trajectory: Any) -> list[Any]:
    """MAST's entries: a list, or the Python dicts of one, written after one another in a text."""
    if isinstance(trajectory, list):
        return [_literal(entry) if isinstance(entry, str) else entry for entry in trajectory]
    if not isinstance(trajectory, str):
        raise FormatError(f"trace.trajectory: want a list or a text, found {type(trajectory).__name__}")
    entries: list[Any] = []
    depth = start = 0
    for found in _LITERAL.finditer(trajectory):
        token = found.group()
        if token == "{":
            if depth == 0:
                start = found.start()
            depth += 1
        elif token == "}" and depth:
            depth -= 1
            if depth == 0:
                entries.append(_literal(trajectory[start : found.end()]))
    if not entries or depth:
        raise FormatError(
            f"trace.trajectory: want messages with roles, found a program's log of {len(trajectory)} characters: "
            f"{trajectory[:60]!r}"
        )
    return entries


def _literal(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise FormatError(f"trace.trajectory: want a message as a Python dict, found {text[:60]!r}") from error


MULTI_AGENT_CHAT = MultiAgentChatFormat()
