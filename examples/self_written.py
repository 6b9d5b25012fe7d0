"""The fault this project cares most about: the assistant writes the tool's reply itself. One form per protocol."""

import json
import random
from collections.abc import Callable
from typing import Any

from examples.shapes_json import as_text
from examples.shapes_text import argument, codeact, fenced, hermes, react_chat, search_tags
from examples.trace import Trace, Turn

Render = Callable[[Trace, str], Any]


def as_one_turn(trace: Trace, text: str) -> Trace:
    """The trace with everything after the task replaced by one assistant message."""
    faulty = trace.copied()
    faulty.turns = [faulty.turns[0], Turn("assistant", text)]
    return faulty


def in_react(trace: Trace, key: str) -> dict[str, Any]:
    """Action, `Observation:` and the finish in one breath."""
    call, invented = _first(trace)
    record = react_chat(trace, key)
    said = (
        f"Thought: {trace.turns[1].text}\nAction: {call.name}[{argument(call)}]\nObservation: {invented}\n"
        f"Thought: That settles it.\nAction: finish[{trace.answer}]"
    )
    record["messages"] = [record["messages"][0], {"role": "assistant", "content": said}]
    return record


def in_codeact(trace: Trace, key: str) -> dict[str, Any]:
    """An execute block followed by `Observation:` and the solution in the same message."""
    call, invented = _first(trace)
    record = codeact(trace, key)
    said = (
        f"Assistant:\n<thought> {trace.turns[1].text} </thought>\n<execute>\n{argument(call)}\n</execute>\n\n"
        f"Observation:\n{invented.rstrip()}\n\nAssistant:\n<solution> {trace.answer} </solution>\n"
    )
    history = record["state"]["history"]
    record["state"]["history"] = [history[0], {"role": "assistant", "content": said}]
    return record


def in_fences(trace: Trace, key: str) -> dict[str, Any]:
    """An output fence that follows no code fence: the model wrote the interpreter's part."""
    call, invented = _first(trace)
    record = fenced(trace, key)
    code, output = f"```python\n{argument(call)}\n```", f"```output\n{invented.rstrip()}\n```"
    ending = f"The result is $\\boxed{{{trace.answer}}}$."
    if len(trace.prompt) % 2:
        text = f"{trace.turns[1].text}\n{code}\nIf I ran this, the interpreter would show:\n{output}\n{ending}"
    else:
        text = f"{trace.turns[1].text}\n{code}\n```output\n\n```\nNothing was printed; it should be\n{output}\n{ending}"
    record["code"] = [text]
    return record


def in_search_tags(trace: Trace, key: str) -> dict[str, Any]:
    """Documents between the engine's tags that no query asked for: the model wrote them."""
    _, invented = _first(trace)
    record = search_tags(trace, key)
    documents = f"<|begin_of_documents|>\n{invented}\n<|end_of_documents|>"
    ending = f"That settles it.</think>\n\n<answer>{trace.answer}</answer>"
    if len(trace.prompt) % 2:
        text = f"{trace.turns[1].text} I recall the page:\n\n{documents}\n\n{ending}"
    else:
        honest = record["gen_text_store"].partition("<|end_of_documents|>")[0]
        text = f"{honest}<|end_of_documents|>\n\nAnother page must say:\n\n{documents}\n\n{ending}"
    record["gen_text_store"] = text
    return record


def in_hermes(trace: Trace, key: str) -> str:
    """A tool_response inside the assistant's own turn."""
    call, invented = _first(trace)
    body = json.dumps({"name": call.name, "content": invented})
    said = (
        f"{trace.turns[1].text}\n<tool_call>\n{{'arguments': {call.arguments}, 'name': '{call.name}'}}\n</tool_call>\n"
        f"<tool_response>\n{body}\n</tool_response>\n{trace.last.text}"
    )
    return hermes(as_one_turn(trace, said), key)


def tagged(trace: Trace, rng: random.Random) -> Trace:
    """Native calls were possible; the assistant writes call and response as text instead."""
    call, invented = _first(trace)
    payload = f'{{"name": "{call.name}", "arguments": {as_text(call.arguments)}}}'
    said = (
        f"{trace.turns[1].text}\n<tool_call>\n{payload}\n</tool_call>\n<tool_response>\n{invented}\n</tool_response>\n"
        f"{trace.last.text}"
    )
    return as_one_turn(trace, said)


def narrated(trace: Trace, rng: random.Random) -> Trace:
    """Native calls were possible; the assistant narrates an action and its observation."""
    call, invented = _first(trace)
    said = f"Action: {call.name}\nAction Input: {as_text(call.arguments)}\nObservation: {invented}\n{trace.last.text}"
    return as_one_turn(trace, said)


def beforehand(trace: Trace, rng: random.Random) -> Trace:
    """The message that makes a native call already holds what the tool will say, made up."""
    faulty = trace.copied()
    at = faulty.first_calling()
    made_up = f"{rng.randint(1_000, 9_999)} units, checked {rng.randint(2, 9)} times"
    faulty.turns[at].text += f"\nObservation: {made_up}\nThought: I confirm this with the tool."
    return faulty


def _first(trace: Trace) -> tuple[Any, str]:
    """The first call, and its reply as the model would imagine it."""
    at = trace.first_calling()
    return trace.turns[at].calls[0], trace.turns[at + 1].text


def unclosed_codeact(trace: Trace, key: str) -> dict[str, Any]:
    """Generation broke off inside an execute block."""
    record = codeact(trace, key)
    history = record["state"]["history"][:2]
    history[1]["content"] = _cut(history[1]["content"], "</execute>")
    record["state"]["history"] = history
    return record


def unclosed_fence(trace: Trace, key: str) -> dict[str, Any]:
    """Generation broke off inside a python fence."""
    record = fenced(trace, key)
    record["code"] = [_cut(record["code"][0], "\n```\n```output")]
    return record


def unclosed_query(trace: Trace, key: str) -> dict[str, Any]:
    """Generation broke off inside a query."""
    record = search_tags(trace, key)
    record["gen_text_store"] = _cut(record["gen_text_store"], "<|end_of_query|>")
    return record


def unclosed_hermes(trace: Trace, key: str) -> str:
    """Generation broke off inside a tool call."""
    return _cut(hermes(trace, key), "\n</tool_call>") + "\n"


def _cut(text: str, closing: str) -> str:
    """The text up to a little before its first closing mark."""
    return text[: text.index(closing) - 4]
