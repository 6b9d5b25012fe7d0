"""mini-swe-agent: one bash fence in each assistant turn, `<returncode>` and `<output>` in the user turn behind it."""

import re
from typing import Any

from pipeline.errors import FormatError
from pipeline.formats.base import Parsed, content_text, message, pair_by_position, tool_call
from pipeline.formats.chat_turns import read_beside, turns_of
from pipeline.formats.inline import known_role
from pipeline.schema import Message

_FENCE = re.compile(r"```(mswea_bash_command|bash)[ \t]*\r?\n(.*?)\r?\n?```", re.DOTALL)
_COMPLAINT = re.compile(
    r"\A\s*(?:Please always provide EXACTLY ONE action|Format error|Tool call error)", re.IGNORECASE
)
_SUBMIT = "COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT"
_TASK = re.compile(r"\A\s*(?:Please solve this issue|<pr_description>|Your task):?\s*")
_INSTRUCTIONS = "\n\nYou can execute bash"


class MiniSweFormat:
    """The fence is a call to `bash`; the observation keeps its `<returncode>` and `<output>`, as the model saw it."""

    name = "mini_swe"

    def detects(self, record: Any) -> bool:
        """Whether an assistant turn has the agent's own fence, or a bash fence that a `<returncode>` answers."""
        turns = _turns(record)
        if turns is None:
            return False
        answered = any(
            turn["role"] == "user" and isinstance(text := turn.get("content"), str) and "<returncode>" in text[:40]
            for turn in turns
        )
        wanted = "```bash" if answered else "```mswea_bash_command"
        return any(
            turn["role"] == "assistant"
            and isinstance(text := turn.get("content"), str)
            and (wanted in text or "```mswea_bash_command" in text)
            and not turn.get("tool_calls")
            for turn in turns
        )

    def parse(self, record: Any) -> Parsed:
        """The trajectory; `info.submission`, or what the submit command printed, is the answer.

        Words behind the fence keep the turn's content verbatim.
        """
        turns = _turns(record)
        if turns is None:
            raise FormatError("mini_swe: want a list of role/content messages, found none; check `messages`")
        held = record.get("info") if isinstance(record, dict) else None
        info: dict[str, Any] = held if isinstance(held, dict) else {}
        submission = info.get("submission")
        messages: list[Message] = []
        open_call = submits = False
        for turn in turns:
            role = known_role(turn["role"], "mini_swe")
            text, images = content_text(turn.get("content"))
            if role == "assistant":
                messages.append(_assistant(text or ""))
                called = messages[-1]["tool_calls"]
                open_call = bool(called)
                submits = bool(called) and _SUBMIT in (called[0]["arguments"] or "")
            elif role in ("user", "tool") and open_call and not (text and _COMPLAINT.match(text)):
                if submits:
                    submission = text or submission
                messages.append(message("tool", text, images=images))
                open_call = False
            else:
                messages.append(message(role, text, images=images))
        first = next((m["content"] for m in messages if m["role"] == "user"), None)
        task = _TASK.sub("", first.partition(_INSTRUCTIONS)[0]).strip() if first else None
        parsed = Parsed(
            messages=pair_by_position(messages),
            prompt=task or first,
            final_answer=submission if isinstance(submission, str) and submission else None,
            metadata={k: v for k, v in info.items() if k in ("exit_status", "model_stats", "mini_version")},
        )
        return read_beside(parsed, record, ("messages", "info"))


def _assistant(text: str) -> Message:
    """The message of one turn. The agent runs a turn with exactly one fence; with more, it answers with an error."""
    fences = list(_FENCE.finditer(text))
    if not fences:
        return message("assistant", text)
    call = tool_call("bash", {"command": fences[0][2]})
    if text[fences[0].end() :].strip():
        return message("assistant", text, tool_calls=[call])
    return message("assistant", text[: fences[0].start()].strip() or None, tool_calls=[call])


def _turns(record: Any) -> list[dict[str, Any]] | None:
    """The role/content messages: the record itself, or its `messages`."""
    return turns_of(record, "messages")


MINI_SWE = MiniSweFormat()
