"""Traces in the formats that write calls as text: ReAct, CodeAct tags, fences, search tags, Hermes, Qwen XML."""

import json
from typing import Any

from examples.shapes_json import SYSTEM, as_text, tool_schemas
from examples.trace import Call, Trace, Turn

CODEACT_DEMO = """You solve tasks with an interactive Python interpreter. Write your reasoning between <thought> tags, \
code between <execute> tags, and your result between <solution> tags.

---

Task:
A rope of 96 metres is cut into pieces of 8 metres. How many pieces? Solution output format: an integer.

Assistant:
<thought> I divide the length by the piece. </thought>
<execute>
print(96 // 8)
</execute>

Observation:
12

Assistant:
<thought> The interpreter printed 12. </thought>
<solution> 12 </solution>

---

Task:
"""


def argument(call: Call) -> str:
    """The one thing a text protocol passes: the query or the code."""
    return call.arguments if isinstance(call.arguments, str) else str(next(iter(call.arguments.values()), ""))


def react_chat(trace: Trace, key: str) -> dict[str, Any]:
    """ReAct over chat turns: observations come back as user messages, `finish[...]` ends the walk."""
    messages: list[dict[str, str]] = []
    for turn in trace.turns:
        if turn.role == "user":
            messages.append({"role": "user", "content": f"Question: {turn.text}"})
        elif turn.role == "tool":
            messages.append({"role": "user", "content": f"Observation: {turn.text}"})
        else:
            messages.append({"role": "assistant", "content": _react_turn(trace, turn)})
    if trace.success is not None:
        messages.append({"role": "user", "content": f"Observation: Episode finished, reward = {int(trace.success)}"})
    record: dict[str, Any] = {"id": key, "messages": messages}
    return record | ({"ground_truth": trace.truth} if trace.truth is not None else {})


def _react_turn(trace: Trace, turn: Turn) -> str:
    if not turn.text.strip():
        return turn.text
    thought = f"Thought: {turn.text}"
    if turn.calls:
        return "\n".join([thought, *(f"Action: {call.name}[{argument(call)}]" for call in turn.calls)])
    return (
        f"{thought}\nAction: finish[{trace.answer}]" if turn is trace.last and trace.finish_reason is None else thought
    )


def codeact(trace: Trace, key: str) -> dict[str, Any]:
    """A code agent's history in tags, after a prompt with a worked demonstration."""
    history: list[dict[str, str]] = []
    left = 9
    for turn in trace.turns:
        if turn.role == "user":
            history.append({"role": "user", "content": f"{CODEACT_DEMO}{turn.text}\n"})
        elif turn.role == "tool":
            history.append(
                {"role": "user", "content": f"Observation:\n{turn.text.rstrip()}\nYou have {left} steps left.\n"}
            )
            left -= 1
        else:
            history.append({"role": "assistant", "content": _codeact_turn(trace, turn)})
    state: dict[str, Any] = {"history": history, "finished": True}
    if trace.success is not None:
        state["success"] = trace.success
    task: dict[str, Any] = {"task_name": "sevrin", "task_id": key, "prompt": trace.prompt}
    if trace.truth is not None:
        task["reference"] = trace.truth
    return {"state": state, "task": task}


def _codeact_turn(trace: Trace, turn: Turn) -> str:
    if not turn.text.strip():
        return turn.text
    thought = f"Assistant:\n<thought> {turn.text} </thought>\n"
    if turn.calls:
        return thought + "\n".join(f"<execute>\n{argument(call)}\n</execute>\n" for call in turn.calls)
    return f"{thought}<solution> {trace.answer} </solution>\n" if trace.finish_reason is None else thought


def fenced(trace: Trace, key: str) -> dict[str, Any]:
    """One text of rationale, python fences and output fences, ending in a box."""
    parts: list[str] = []
    for turn in trace.turns[1:]:
        if turn.role == "tool":
            parts.append(f"```output\n{turn.text.rstrip()}\n```")
        elif turn.calls:
            parts.append(turn.text)
            parts += [f"```python\n{argument(call)}\n```" for call in turn.calls]
        elif turn.text.strip():
            parts.append(f"{turn.text}\nThe result is $\\boxed{{{trace.answer}}}$.")
    record: dict[str, Any] = {"idx": key, "question": trace.prompt, "code": ["\n".join(parts)], "pred": [trace.answer]}
    return record | ({"gt": trace.truth} if trace.truth is not None else {})


def search_tags(trace: Trace, key: str) -> dict[str, Any]:
    """One generation with queries and injected documents in special tags."""
    parts: list[str] = []
    for turn in trace.turns[1:]:
        if turn.role == "tool":
            parts.append(f"<|begin_of_documents|>\n{turn.text}\n<|end_of_documents|>\n\n")
        elif turn.calls:
            queries = "\n".join(f"<|begin_of_query|> {argument(call)}<|end_of_query|>" for call in turn.calls)
            parts.append(f"{turn.text} {queries}\n\n")
        elif turn.text.strip():
            parts.append(f"{turn.text}</think>\n\n<answer>{trace.answer}</answer>")
    record: dict[str, Any] = {
        "id": key,
        "question": trace.prompt,
        "pred_ans": trace.answer,
        "stop_reason_final": "finished" if trace.finish_reason is None else trace.finish_reason,
        "gen_text_store": "".join(parts),
    }
    return record | ({"answer": trace.truth} if trace.truth is not None else {})


def hermes(trace: Trace, key: str) -> str:
    """A ChatML conversation with tools, calls and responses in XML tags; calls in Python-dict syntax."""
    system = (
        "You are a function calling AI model. You are provided with function signatures within <tools></tools> XML "
        f"tags. Conversation {key}.\n<tools>\n{json.dumps(tool_schemas(trace))}\n</tools>"
    )
    parts = [_chatml("system", system)]
    for turn in trace.turns:
        if turn.role == "tool":
            content: Any = turn.text
            if turn.text.startswith("{"):
                content = json.loads(turn.text)
            body = json.dumps({"name": turn.name, "content": content})
            parts.append(_chatml("tool", f"<tool_response>\n{body}\n</tool_response>\n"))
        else:
            calls = "".join(f"\n<tool_call>\n{_hermes_call(call)}\n</tool_call>" for call in turn.calls)
            parts.append(_chatml(turn.role, f"{turn.text}{calls}"))
    return "".join(parts)


def _chatml(role: str, text: str) -> str:
    return f"<|im_start|>{role}\n{text}<|im_end|>\n"


def _hermes_call(call: Call) -> str:
    if isinstance(call.arguments, str):
        return f'{{"name": "{call.name}", "arguments": {call.arguments}}}'
    return str({"arguments": call.arguments, "name": call.name})


def metis(trace: Trace, key: str) -> dict[str, Any]:
    """A multimodal cold-start row: messages as a JSON string, images as base64 beside them."""
    system = (
        f"{SYSTEM}\n\n# Tools\n\n<tools>\n" + "\n".join(json.dumps(tool) for tool in tool_schemas(trace)) + "\n</tools>"
    )
    messages = [{"role": "system", "content": system}]
    for k, turn in enumerate(trace.turns):
        if turn.role == "tool":
            messages.append({"role": "user", "content": f"<tool_response>\n{turn.text}\n</tool_response>"})
        elif turn.role == "user":
            messages.append({"role": "user", "content": f"<image>\n{turn.text}" if k == 0 else turn.text})
        elif turn.calls:
            calls = "\n".join(
                f'<tool_call>\n{{"name": "{c.name}", "arguments": {as_text(c.arguments)}}}\n</tool_call>'
                for c in turn.calls
            )
            messages.append({"role": "assistant", "content": f"<reason>{turn.text}</reason>\n{calls}"})
        else:
            answer = (
                f"<reason>{turn.text}</reason>\n<answer>{trace.answer}</answer>" if turn.text.strip() else turn.text
            )
            messages.append({"role": "assistant", "content": answer})
    return {"id": key, "messages": json.dumps(messages), "images": trace.images}
