"""ReAct traces: in chat turns, in one Alpaca string (both FireAct), and as a flat text log (Reflexion)."""

import re
from itertools import pairwise
from typing import Any

from pipeline.errors import FormatError
from pipeline.formats.base import Parsed, content_text, message, pair_by_position
from pipeline.formats.chat_turns import read_beside, turns_of
from pipeline.formats.inline import known_role
from pipeline.formats.react_steps import ACTION, OBSERVED, OUTCOME, assistant_turn, flat_attempt, outcome_of
from pipeline.schema import Message

_QUESTION_LABEL = re.compile(r"\A\s*Question:[ \t]*")
_ALPACA = re.compile(r"### Instruction:[ \t]*\n(?P<question>.*?)### Response:[ \t]*\n?(?P<response>.*)\Z", re.DOTALL)
_RULE = re.compile(r"^-{5,} ?BEGIN (\w+) AGENTS ?-+[ \t]*$", re.MULTILINE)
_TRIAL = re.compile(r"^#{10,}\nBEGIN TRIAL (\d+)$", re.MULTILINE)
_HEADER = re.compile(r"^(?:#{10,}\nBEGIN TRIAL |-{5,} ?BEGIN \w+ AGENTS)", re.MULTILINE)
_STEP = re.compile(r"^(?:Thought|Action) 1: ?", re.MULTILINE)
_REFERENCE = re.compile(r"^Correct answer: ?(.*)$", re.MULTILINE)
_SUCCESS = {"CORRECT": True, "INCORRECT": False, "HALTED": False}


class ReactChatFormat:
    """Thought and action in assistant turns, the observation as a user message `Observation: …`.

    A second one in a row is an orphan: no call asked for it. One behind a turn without an action that can be read is
    the environment's reply to that turn, a user message: FireAct has five, where the action was lost.
    """

    name = "react_chat"

    def detects(self, record: Any) -> bool:
        """Whether some assistant turn holds a ReAct action and no turn has native tool calls."""
        turns = _turns(record)
        return turns is not None and any(
            turn.get("role") == "assistant"
            and isinstance(content := turn.get("content"), str)
            and "Action" in content
            and not turn.get("tool_calls")
            and ACTION.search(content) is not None
            for turn in turns
        )

    def unpack(self, value: Any) -> list[Any] | None:
        """The attempts of a FireAct trajectory file: an object from question number to attempt."""
        if not isinstance(value, dict) or not value:
            return None
        if not all(isinstance(item, dict) and "traj" in item and "gt" in item for item in value.values()):
            return None
        return [{"idx": key, **item} for key, item in value.items()]

    def parse(self, record: Any) -> Parsed:
        """The trajectory; the environment's closing `Episode finished, reward = …` becomes the reward."""
        turns = _turns(record)
        if turns is None:
            raise FormatError("react_chat: want a list of role/content messages, found none; check `messages`")
        messages: list[Message] = []
        final_answer: str | None = None
        closing: str | None = None
        open_call = False
        is_reply = True  # what opens the chat is the task, however it is labelled
        for turn in turns:
            role = known_role(turn.get("role"), "react_chat")
            text, images = content_text(turn.get("content"))
            if role == "assistant":
                said, answer = assistant_turn(text or "")
                final_answer = answer or final_answer
                messages.append(said)
                open_call = bool(said["tool_calls"])
                is_reply = not open_call
                continue
            observed = OBSERVED.match(text) if role in ("user", "tool") and text else None
            body = text[observed.end() :] if observed and text else ""
            if observed and not open_call and OUTCOME.match(body):
                closing = body.strip()
            elif observed and not is_reply:
                messages.append(message("tool", body.rstrip("\n"), images=images))
            else:
                messages.append(message(role, text, images=images))
                continue
            open_call = is_reply = False
        question = next((m["content"] for m in messages if m["role"] == "user"), None)
        parsed = Parsed(
            messages=pair_by_position(messages),
            prompt=_QUESTION_LABEL.sub("", question) if question else None,
            final_answer=final_answer,
        )
        return _with_outcome(parsed, record, closing)


class ReactAlpacaFormat:
    """The whole attempt in one Alpaca prompt and response string, `traj`."""

    name = "react_alpaca"

    def detects(self, record: Any) -> bool:
        """Whether `traj` (or `text`) is an Alpaca string whose response holds a ReAct action."""
        text = _alpaca_text(record)
        return text is not None and "### Response:" in text and ACTION.search(text) is not None

    def parse(self, record: Any) -> Parsed:
        """The attempt behind `### Response:`; what stands before the instruction is the system message."""
        text = _alpaca_text(record) or ""
        found = _ALPACA.search(text)
        if found is None:
            raise FormatError("react_alpaca: want `### Instruction:` and `### Response:`, found not both; check `traj`")
        attempt = flat_attempt(found["response"])
        system = text[: found.start()].strip()
        question = found["question"].strip()
        parsed = Parsed(
            messages=[*([message("system", system)] if system else []), message("user", question), *attempt.messages],
            prompt=_QUESTION_LABEL.sub("", question),
            final_answer=attempt.final_answer,
        )
        return _with_outcome(parsed, record, attempt.outcome)


class ReactTextFormat:
    """A plain-text log of numbered Thought, Action and Observation lines under `Question: …`, many to a file."""

    name = "react_text"

    def detects(self, record: Any) -> bool:
        """Whether the text holds a question and a numbered first step."""
        return isinstance(record, str) and "Question: " in record and _STEP.search(record) is not None

    def split(self, text: str) -> list[str] | None:
        """One text a question, from the headers above it to the next; together every character of the text."""
        starts: list[int] = []
        searched = 0
        for step in _STEP.finditer(text):
            question = 0 if text.startswith("Question: ") and not starts else -1
            at = text.rfind("\nQuestion: ", searched, step.start())
            question = at + 1 if at >= 0 else question
            if question >= 0:
                header = _HEADER.search(text, searched, question)
                starts.append(header.start() if header else question)
            searched = step.end()
        if not starts:
            return None
        bounds = [0, *starts[1:], len(text)]
        return [text[a:b] for a, b in pairwise(bounds)]

    def parse(self, record: Any) -> Parsed:
        """The attempt at one question; verdict and section header give success, `Correct answer:` the ground truth."""
        start = record.find("Question: ")
        step = _STEP.search(record, max(start, 0))
        if start < 0 or step is None:
            raise FormatError("react_text: want `Question: ` and `Thought 1:`, found not both; check the log")
        question = record[start + len("Question: ") : step.start()].strip()
        reference = _REFERENCE.search(record, step.start())
        attempt = flat_attempt(record[step.start() : reference.start() if reference else len(record)])
        _, success = outcome_of(attempt.outcome or "")
        metadata: dict[str, Any] = {} if attempt.outcome is None else {"outcome": attempt.outcome}
        section = _RULE.search(record[:start])
        trial = _TRIAL.search(record[:start])
        if section is not None:
            metadata["section"] = section[1]
        if trial is not None:
            metadata["trial"] = int(trial[1])
        if success is None and section is not None:
            success = _SUCCESS.get(section[1])
        elif success is None and reference is not None and attempt.final_answer is None:
            # the log names the reference of every question it closed: without an answer this one was halted
            success = False
        return Parsed(
            messages=[message("user", question), *attempt.messages],
            prompt=question,
            final_answer=attempt.final_answer,
            ground_truth=reference[1].strip() or None if reference else None,
            success=success,
            metadata=metadata,
        )


def _turns(record: Any) -> list[dict[str, Any]] | None:
    """The role/content messages of a chat record: the record itself, or its `messages` or `traj`."""
    return turns_of(record, "messages", "traj")


def _alpaca_text(record: Any) -> str | None:
    """The one string of an Alpaca attempt."""
    if not isinstance(record, dict):
        return None
    text = record.get("traj", record.get("text"))
    return text if isinstance(text, str) else None


def _with_outcome(parsed: Parsed, record: Any, closing: str | None) -> Parsed:
    """The trajectory with what the record has beside it (FireAct: reward, em, gt), else its closing line's word."""
    if closing is not None:
        parsed.metadata["outcome"] = closing
    if isinstance(record, dict):
        parsed.success = record["em"] if isinstance(record.get("em"), bool) else None
        empty = {key for key, value in record.items() if value in ("", [])}
        read_beside(parsed, record, {"messages", "traj", "traj_by_line", "text", "em"} | empty)
    reward, success = outcome_of(closing or "")
    parsed.reward = reward if parsed.reward is None else parsed.reward
    parsed.success = success if parsed.success is None else parsed.success
    return parsed


REACT_CHAT = ReactChatFormat()
REACT_ALPACA = ReactAlpacaFormat()
REACT_TEXT = ReactTextFormat()
