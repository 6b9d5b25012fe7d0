"""SWE-agent runs: .traj files (steps and the chat history they made), and nebius' rows of role and text."""

import re
from typing import Any

from pipeline.formats.base import Parsed, content_text, message, pair_by_position, tool_call
from pipeline.formats.chat_messages import read_calls
from pipeline.formats.fields import answer_last_call, dict_of, list_at, object_at, some, text_of, wanted, word_at
from pipeline.formats.outcomes import as_bool
from pipeline.schema import Message, ToolCall

_FENCE = re.compile(r"^```[^\n`]*\n(.*?)^```[ \t]*$", re.DOTALL | re.MULTILINE)
_ROLES = {"system": "system", "user": "user", "assistant": "assistant", "ai": "assistant", "tool": "tool"}
_SHELL = "bash"


class SweAgent:
    """The chat as the model saw it; what history lacks of the last steps comes from the recorded steps.

    An action typed at the prompt is a call of `bash` with that command line; native calls stay as emitted. Messages
    marked `is_demo` show another task and are counted, not kept.
    """

    name = "swe_agent"

    def detects(self, record: Any) -> bool:
        """Whether the record holds steps of action and observation, SWE-agent's history, or nebius' roles and texts."""
        if not isinstance(record, dict):
            return False
        steps, history = record.get("trajectory"), record.get("history")
        if isinstance(steps, list):
            if not steps:
                return "exit_status" in record and "generated_patch" in record
            first = steps[0]
            if isinstance(first, dict) and "role" in first:
                return "text" in first and word_at(first, "role") in _ROLES
            return isinstance(first, dict) and "action" in first and "observation" in first
        if not isinstance(history, list) or not history or not isinstance(history[0], dict):
            return False
        return "role" in history[0] and ("message_type" in history[0] or "agent" in history[0])

    def parse(self, record: Any) -> Parsed:
        """The run, with the submission as final answer."""
        steps = record.get("trajectory")
        if isinstance(steps, list) and (not steps or "text" in dict_of(steps[0], "trajectory[0]")):
            return _nebius(record, steps)
        return _traj(record)


def _nebius(record: dict[str, Any], turns: list[Any]) -> Parsed:
    """A row of nebius/SWE-agent-trajectories; `target` says whether the patch resolves the issue."""
    messages: list[Message] = []
    open_call = False
    for index, turn in enumerate(turns):
        turn = dict_of(turn, f"trajectory[{index}]")
        role, text = _role(turn, f"trajectory[{index}]"), text_of(turn.get("text"))
        if role == "system":
            messages.append(message("system", text if text is not None else text_of(turn.get("system_prompt"))))
        elif role == "assistant":
            said = _typed(text or "") if text is not None else message("assistant")
            open_call = said["tool_calls"] is not None
            messages.append(said)
        else:
            answer_last_call(messages, message("tool", text)) if open_call else messages.append(message("user", text))
            open_call = False
    return Parsed(
        messages=pair_by_position(messages),
        final_answer=text_of(record.get("generated_patch")) or None,
        success=as_bool(record.get("target")),
        metadata=some(
            instance_id=record.get("instance_id"),
            model=record.get("model_name"),
            exit_status=record.get("exit_status"),
            eval_logs=record.get("eval_logs"),
        ),
    )


def _traj(record: dict[str, Any]) -> Parsed:
    """A .traj file."""
    told = list_at(record, "trajectory", "swe_agent") if record.get("trajectory") else []
    steps = [dict_of(step, f"trajectory[{k}]") for k, step in enumerate(told)]
    history = list_at(record, "history", "swe_agent") if "history" in record else []
    messages: list[Message] = []
    demos = turns = 0
    open_call = False
    last_action: str | None = None
    for index, item in enumerate(history):
        where = f"history[{index}]"
        item = dict_of(item, where)
        if item.get("is_demo") is True:
            demos += 1
            continue
        role = _role(item, where)
        text, images = content_text(item.get("content"))
        if role == "assistant":
            said = _said(item, text, where)
            open_call = said["tool_calls"] is not None
            turns += 1
            last_action = text_of(item.get("action"))
            messages.append(said)
        elif role == "tool" or (role == "user" and open_call):
            ids = item.get("tool_call_ids")
            call_id = text_of(ids[0]) if isinstance(ids, list) and ids else text_of(item.get("tool_call_id"))
            observation = message("tool", text, tool_call_id=call_id, images=images)
            if open_call and role == "user":
                answer_last_call(messages, observation)
            else:
                messages.append(observation)
            open_call = role == "tool" and open_call
        else:
            messages.append(message(role, text, images=images))
    _append_missing(messages, steps, _steps_told(steps, turns, last_action))
    info = object_at(record, "info")
    submission = text_of(info.get("submission"))
    return Parsed(
        messages=pair_by_position(messages),
        final_answer=(submission.strip() or None) if submission else None,
        success=as_bool(info.get("resolved")) if "resolved" in info else as_bool(record.get("resolved")),
        metadata=some(
            environment=record.get("environment"),
            exit_status=info.get("exit_status"),
            model_stats=info.get("model_stats"),
            demonstrations=demos,
        ),
    )


def _steps_told(steps: list[dict[str, Any]], turns: int, last_action: str | None) -> int:
    """How many steps the history covers: to the step of its last action; history may leave out steps in between."""
    if turns and last_action is not None:
        for index in range(len(steps) - 1, -1, -1):
            if text_of(steps[index].get("action")) == last_action:
                return index + 1
    return turns


def _append_missing(messages: list[Message], steps: list[dict[str, Any]], told: int) -> None:
    """Append what history does not hold: the last told step's observation, and the steps after it."""
    native = any(call["name"] != _SHELL for item in messages for call in item["tool_calls"] or ())
    if 0 < told <= len(steps) and messages[-1]["role"] == "assistant":
        _append_observation(messages, steps[told - 1])
    for step in steps[told:]:
        action = (text_of(step.get("action")) or "").strip()
        said = message("assistant", (text_of(step.get("thought")) or "").strip() or None)
        if native and action.isidentifier():
            said["tool_calls"] = [tool_call(action, {})]
        elif action:
            said["tool_calls"] = [_shell(action)]
        messages.append(said)
        _append_observation(messages, step)


def _append_observation(messages: list[Message], step: dict[str, Any]) -> None:
    """Append what the environment answered to the last message, if that called something."""
    observation = step.get("observation")
    if observation is not None and messages[-1]["tool_calls"]:
        answer_last_call(messages, message("tool", text_of(observation)))


def _said(item: dict[str, Any], text: str | None, where: str) -> Message:
    """An assistant turn: native calls, else the recorded thought and action, else what stands in the last fence."""
    if item.get("tool_calls"):
        return message("assistant", text, tool_calls=read_calls(item["tool_calls"], f"{where}.tool_calls"))
    if isinstance(item.get("action"), str) and "thought" in item:
        action = item["action"].strip()
        # A turn whose action is its whole text was not understood by the parser: nothing ran.
        if action and action != (text or "").strip():
            thought = (text_of(item["thought"]) or "").strip()
            return message("assistant", thought or None, tool_calls=[_shell(action)])
        return message("assistant", text)
    return _typed(text or "")


def _typed(text: str) -> Message:
    """A turn in SWE-agent's text protocol: the last fenced block is the command, the text around it the thought."""
    fences = list(_FENCE.finditer(text))
    command = fences[-1].group(1).strip() if fences else ""
    if not command:
        return message("assistant", text)
    fence = fences[-1]
    thought = f"{text[: fence.start()].strip()}\n{text[fence.end() :].strip()}".strip()
    return message("assistant", thought or None, tool_calls=[_shell(command)])


def _shell(command: str) -> ToolCall:
    return tool_call(_SHELL, {"command": command})


def _role(item: dict[str, Any], where: str) -> str:
    """The role in our words. Raises FormatError for one SWE-agent does not have."""
    role = _ROLES.get(word_at(item, "role"))
    if role is None:
        raise wanted(f"{where}.role", f"one of {', '.join(_ROLES)}", item.get("role"))
    return role


SWE_AGENT = SweAgent()
