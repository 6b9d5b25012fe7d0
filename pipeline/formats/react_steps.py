"""The ReAct protocol itself: Thought, Action, Observation lines, in `tool[argument]` or `Action Input:` spelling.

A call's arguments are `{"input": argument}`, unless the action input is a JSON object, which then is the arguments.
`finish[…]` and `Final Answer:` end the attempt: they are the answer, not a call.
"""

import re
from dataclasses import dataclass, field

import orjson

from pipeline.formats.base import message, pair_by_position, tool_call
from pipeline.schema import Message, ToolCall

_NUMBER = r"(?:[ \t]*\d+)?[ \t]*:[ \t]*"
_NEXT_LABEL = rf"\n[ \t]*(?:Observation|Thought|Action|Final Answer)(?:[ _]Input)?{_NUMBER}"
# an argument stops at the next label, so a text full of unclosed actions is still read in one pass
ACTION = re.compile(
    rf"^[ \t]*Action{_NUMBER}"
    rf"(?:(?P<name>[A-Za-z_][\w .-]*)\[(?P<argument>(?:[^\n]|(?!{_NEXT_LABEL})\n)*?)\][ \t]*(?:\.[ \t]*)?(?=\r?\n|\Z)"
    rf"|(?P<tool>[^\s\[][^\n\[]*)\n+[ \t]*Action[ _]Input{_NUMBER}(?P<input>[\s\S]*?)(?={_NEXT_LABEL}|\Z))",
    re.MULTILINE,
)
FINAL = re.compile(r"^[ \t]*Final Answer[ \t]*:[ \t]*([\s\S]*)\Z", re.MULTILINE)
OBSERVED = re.compile(rf"\A\s*Observation{_NUMBER}")
OUTCOME = re.compile(
    r"\A(?:Episode finished, reward = (?P<reward>\w+(?:\.\d+)?)|Answer is (?P<verdict>CORRECT|INCORRECT))"
)
_THOUGHT = re.compile(rf"\A\s*Thought{_NUMBER}")
_LABEL = r"^[ \t]*(Thought|Action[ _]Input|Action|Observation|Final Answer)"
_PLAIN = re.compile(_LABEL + _NUMBER, re.MULTILINE)
_NUMBERED = re.compile(_LABEL + r"[ \t]*\d+[ \t]*:[ \t]*", re.MULTILINE)
_BRACKET = re.compile(r"\A([A-Za-z_][\w .-]*)\[(.*)\][ \t]*\.?\Z", re.DOTALL)


@dataclass(slots=True)
class Attempt:
    """What a ReAct text says: its messages, the answer that ended it, and the environment's word on that answer."""

    messages: list[Message] = field(default_factory=list)
    final_answer: str | None = None
    outcome: str | None = None


def assistant_turn(content: str) -> tuple[Message, str | None]:
    """The message of one assistant turn in a chat, and its answer if the turn ends the attempt.

    Words behind the action are the model's own (an `Observation:` it made up, a next turn): such a turn keeps its
    content verbatim beside the call.
    """
    action = ACTION.search(content)
    if action is None:
        final = FINAL.search(content)
        if final is None:
            return message("assistant", content), None
        thought = _strip_thought(content[: final.start()])
        answer = final[1].strip()
        return message("assistant", answer or None, reasoning=thought), answer or None
    name = (action["name"] or action["tool"]).strip()
    argument = action["argument"] if action["name"] else action["input"]
    verbatim = content if content[action.end() :].strip() else None
    thought = None if verbatim else _strip_thought(content[: action.start()])
    if name.lower() == "finish":
        answer = argument.strip()
        return message("assistant", verbatim or answer or None, reasoning=thought), answer or None
    return message("assistant", verbatim, reasoning=thought, tool_calls=[_call(name, argument)]), None


def flat_attempt(text: str) -> Attempt:
    """The attempt in one text of labelled lines; a label's body runs to the next label.

    The environment wrote what directly follows an action. An observation with no action before it, or behind another
    observation, is the model's own and stays in an assistant content, label and all.
    """
    label = _NUMBERED if _NUMBERED.search(text) else _PLAIN
    found = list(label.finditer(text))
    attempt = Attempt()
    thought: list[str] = []
    pending: str | None = None
    calls: list[ToolCall] = []
    done = False
    lead = text[: found[0].start()].strip() if found else text.strip()
    if lead:
        attempt.messages.append(message("assistant", lead))

    def say(content: str | None) -> None:
        nonlocal calls
        reasoning = "\n".join(thought) or None
        if content or reasoning or calls:
            attempt.messages.append(message("assistant", content, reasoning=reasoning, tool_calls=calls))
        thought.clear()
        calls = []

    for k, piece in enumerate(found):
        end = found[k + 1].start() if k + 1 < len(found) else len(text)
        body = text[piece.end() : end].strip()
        kind = piece[1].replace("_", " ")
        if kind == "Observation":
            if calls:
                say(None)
                attempt.messages.append(message("tool", body))
            elif done and attempt.outcome is None:
                attempt.outcome = body
            else:
                say(text[piece.start() : end].strip())
            continue
        if kind == "Action Input" and pending is not None:
            calls, pending = [_call(pending, body)], None
            continue
        if calls:
            say(None)
        bracket = _BRACKET.match(body) if kind == "Action" else None
        answer = body if kind == "Final Answer" else None
        if bracket is not None and bracket[1].strip().lower() == "finish":
            answer = bracket[2].strip()
        if answer is not None:
            attempt.final_answer, done = answer or None, True
            say(answer or None)
        elif kind == "Thought":
            thought.append(body)
        elif bracket is not None:
            calls = [_call(bracket[1], bracket[2])]
        elif kind == "Action" and k + 1 < len(found) and found[k + 1][1].startswith("Action"):
            pending = body
        else:
            say(text[piece.start() : end].strip())
    say(None)
    pair_by_position(attempt.messages)
    return attempt


def outcome_of(text: str) -> tuple[float | None, bool | None]:
    """Reward and success as an environment's closing line states them."""
    found = OUTCOME.match(text.strip())
    if found is None:
        return None, None
    if found["verdict"]:
        return None, found["verdict"] == "CORRECT"
    word = found["reward"].lower()
    if word in ("true", "false"):
        return float(word == "true"), word == "true"
    try:
        return float(word), None
    except ValueError:
        return None, None


def _strip_thought(text: str) -> str | None:
    """The words before an action without their label."""
    return _THOUGHT.sub("", text).strip() or None


def _call(name: str, argument: str) -> ToolCall:
    """A call of the tool; a JSON object stays as emitted, anything else is the one argument `input`."""
    text = argument.strip()
    if text.startswith("{"):
        try:
            if isinstance(orjson.loads(text), dict):
                return tool_call(name.strip(), text)
        except orjson.JSONDecodeError:
            pass
    return tool_call(name.strip(), {"input": text})
