"""SWE-agent runs as chat rows (nebius): role and text, one fenced command in each agent turn."""

import re
from typing import Any

from pipeline.errors import FormatError
from pipeline.formats.base import Parsed, message, pair_by_position, tool_call
from pipeline.formats.chat_messages import ROLES
from pipeline.formats.outcomes import read_outcome
from pipeline.schema import Message

_FENCE = re.compile(r"^```[^\n]*\n(.*?)^```[ \t]*$", re.DOTALL | re.MULTILINE)
COMMAND_TOOL = "bash"


class SweAgentChatFormat:
    """`{instance_id, trajectory: [{role, text, system_prompt}], target, exit_status}`."""

    name = "swe_agent_chat"

    def detects(self, record: Any) -> bool:
        """A trajectory of turns with role and text, or an empty one of a run with an exit status."""
        if type(record) is not dict or "exit_status" not in record:
            return False
        turns = record.get("trajectory")
        if type(turns) is not list:
            return False
        if not turns:
            return "model_name" in record and "target" in record
        first = turns[0]
        return type(first) is dict and type(first.get("role")) is str and "text" in first and "content" not in first

    def parse(self, record: dict[str, Any]) -> Parsed:
        """The run; SWE-agent executes the last fenced block of a turn, and the next user turn is its output."""
        messages: list[Message] = []
        called = False
        for index, turn in enumerate(record["trajectory"]):
            where = f"trajectory[{index}]"
            role = ROLES.get(str(turn.get("role"))) if type(turn) is dict else None
            if role is None:
                raise FormatError(f"{where}.role: want system, user or ai, found {turn!r:.60}")
            text = turn.get("text")
            if text is None and role == "system":
                text = turn.get("system_prompt")
            if text is not None and not isinstance(text, str):
                raise FormatError(f"{where}.text: want text, found {type(text).__name__}")
            if role == "assistant":
                blocks = list(_FENCE.finditer(text or ""))
                called = bool(blocks)
                messages.append(_action(text or "", blocks[-1]) if blocks else message("assistant", text))
            elif role == "user" and called:
                called = False
                messages.append(message("tool", text))
            else:
                messages.append(message(role, text))
        outcome = read_outcome(record)
        left = {"trajectory", *outcome.used}
        return Parsed(
            pair_by_position(messages),
            ground_truth=outcome.ground_truth,
            reward=outcome.reward,
            success=outcome.success,
            metadata={key: value for key, value in record.items() if key not in left},
        )


def _action(text: str, block: re.Match[str]) -> Message:
    """The turn with its command as a call; what stands around the fence is the agent's text."""
    said = (text[: block.start()].rstrip() + text[block.end() :].rstrip()).strip()
    return message(
        "assistant", said or None, tool_calls=[tool_call(COMMAND_TOOL, {"command": block.group(1).rstrip("\n")})]
    )


SWE_AGENT_CHAT = SweAgentChatFormat()
