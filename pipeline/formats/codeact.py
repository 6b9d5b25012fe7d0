"""CodeAct tags in chat: `<execute>` is a call to `python`, `<solution>` the answer (MINT, CodeActInstruct)."""

import re
from typing import Any

from pipeline.errors import FormatError
from pipeline.formats.base import Parsed, content_text, message, pair_by_position, tool_call
from pipeline.formats.chat_turns import read_beside, turns_of
from pipeline.formats.inline import enclosed, known_role
from pipeline.schema import Message

_EXECUTE = {"<execute>": "</execute>"}
_SOLUTION = {"<solution>": "</solution>"}
_THOUGHT = {"<thought>": "</thought>"}
_ROLE_ECHO = re.compile(r"\A\s*Assistant:[ \t]*\n?")
_OBSERVATION = re.compile(r"\A\s*Observation:[ \t]*\n?")
_FEEDBACK = re.compile(r"^(?:Expert feedback:|You have \d+ steps? left)", re.MULTILINE)
_NO_RESULT = re.compile(r"\A(?:Your answer is (?:wrong|correct|right)|I don't understand your input)", re.IGNORECASE)
_TASK = "Task:"


class CodeActFormat:
    """Tags in assistant turns, `Observation:` in user turns.

    The environment's budget line (`You have k steps left …`) and expert feedback are no part of what the code printed:
    they follow the observation as a user message. Its word on a `<solution>`, and its complaint about a turn without a
    tag, are user messages too. The blocks of one turn are one call: MINT's environment runs them joined, as one cell
    (its tracebacks count lines so). A turn with several, or with words behind its last `</execute>`, keeps its content
    verbatim beside the call.
    """

    name = "codeact"

    def detects(self, record: Any) -> bool:
        """Whether the record is MINT's (`state.history`, `task`), or a chat whose assistant uses the tags."""
        turns = _turns(record)
        if turns is None:
            return False
        if isinstance(record, dict) and "state" in record and "task" in record:
            return True
        return any(
            turn.get("role") == "assistant"
            and isinstance(content := turn.get("content"), str)
            and "<execute>" in content
            and "</execute>" in content
            for turn in turns
        )

    def parse(self, record: Any) -> Parsed:
        """The trajectory; the demonstration inside the first user message stays part of that message alone."""
        turns = _turns(record)
        if turns is None:
            raise FormatError("codeact: want a list of role/content messages, found none; check `state.history`")
        held: dict[str, Any] = record if isinstance(record, dict) else {}
        state = held["state"] if isinstance(held.get("state"), dict) else {}
        task = held["task"] if isinstance(held.get("task"), dict) else {}
        messages: list[Message] = []
        final_answer: str | None = None
        open_call = False
        for turn in turns:
            role = known_role(turn.get("role"), "codeact")
            text, images = content_text(turn.get("content"))
            if role == "assistant":
                said, answer = _assistant(text or "")
                messages.append(said)
                final_answer = answer or final_answer
                open_call = bool(said["tool_calls"])
                continue
            wrapper = _OBSERVATION.match(text) if text and role in ("user", "tool") else None
            if wrapper is None or text is None or not messages:
                messages.append(message(role, text, images=images))
                continue
            body = text[wrapper.end() :]
            if not open_call or _NO_RESULT.match(body):
                messages.append(message("user", body.strip("\n"), images=images))
            else:
                result, feedback = _split_feedback(body)
                messages.append(message("tool", result, images=images))
                if feedback:
                    messages.append(message("user", feedback))
            open_call = False
        reference = task.get("reference")
        success = state.get("success")
        parsed = Parsed(
            messages=pair_by_position(messages),
            prompt=_prompt(task, messages),
            final_answer=final_answer,
            ground_truth=None if reference is None else str(reference),
            success=success if isinstance(success, bool) else None,
            metadata=_metadata(state, task),
        )
        return read_beside(parsed, record, ("state", "task", "messages", "conversations"))


def _assistant(text: str) -> tuple[Message, str | None]:
    """The message of one assistant turn, and the answer it proposes."""
    solutions = [body.strip() for _, _, _, body in enclosed(text, _SOLUTION)]
    answer = solutions[-1] or None if solutions else None
    blocks = list(enclosed(text, _EXECUTE))
    if not blocks:
        return message("assistant", _ROLE_ECHO.sub("", text)), answer
    start, end = blocks[0][0], blocks[-1][1]
    first, *more = (code.strip("\n") for _, _, _, code in blocks)
    code = "\n".join([first.strip(), *(each.strip() for each in more)]) if more else first
    call = tool_call("python", {"code": code})
    if more or text[end:].strip():
        return message("assistant", text, tool_calls=[call]), answer
    before = _ROLE_ECHO.sub("", text[:start])
    thoughts: list[str] = []
    words: list[str] = []
    position = 0
    for opened, closed, _, thought in enclosed(before, _THOUGHT):
        words.append(before[position:opened])
        thoughts.append(thought.strip())
        position = closed
    content = ("".join(words) + before[position:]).strip() or None
    return message("assistant", content, reasoning="\n\n".join(thoughts) or None, tool_calls=[call]), answer


def _split_feedback(body: str) -> tuple[str, str | None]:
    """What the code printed, and the environment's budget line or expert feedback behind it.

    The last budget line counts: code may print one itself.
    """
    found = list(_FEEDBACK.finditer(body))
    if not found:
        return body.rstrip("\n"), None
    expert = next((match for match in found if match[0].startswith("Expert")), None)
    cut = (expert or found[-1]).start()
    return body[:cut].rstrip("\n"), body[cut:].strip()


def _prompt(task: dict[str, Any], messages: list[Message]) -> str | None:
    """The task alone: as recorded, else what stands behind the last `Task:` of the first user message."""
    if isinstance(task.get("prompt"), str) and task["prompt"]:
        return task["prompt"]
    first = next((m["content"] for m in messages if m["role"] == "user"), None)
    if first is None or _TASK not in first:
        return first
    return first.rpartition(_TASK)[2].strip() or first


def _metadata(state: dict[str, Any], task: dict[str, Any]) -> dict[str, Any]:
    """The task's name and id, and the state's counters."""
    kept: dict[str, Any] = {}
    for key in ("task_name", "task_id", "metadata"):
        if task.get(key) not in (None, {}):
            kept["task_metadata" if key == "metadata" else key] = task[key]
    for key in ("finished", "agent_action_count", "terminate_reason", "error", "token_counter"):
        if state.get(key) not in (None, {}):
            kept[key] = state[key]
    return kept


def _turns(record: Any) -> list[dict[str, Any]] | None:
    """The role/content messages: the record itself, `state.history`, `messages` or `conversations`."""
    if isinstance(record, dict):
        state = record.get("state")
        if isinstance(state, dict):
            return turns_of(state, "history")
    return turns_of(record, "messages", "conversations")


CODEACT = CodeActFormat()
