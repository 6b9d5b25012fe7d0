"""ToolBench: search trees with their training messages, and tooleval's result files.

`Finish` is the protocol's last word, not a tool: its answer is the final assistant message.
"""

import re
from collections.abc import Iterable
from typing import Any

from pipeline.errors import FormatError
from pipeline.formats.base import Parsed, content_text, message, pair_by_position, tool_call
from pipeline.formats.hermes import read_payload
from pipeline.formats.inline import known_role
from pipeline.schema import Message

_ROOT_KEYS = ("win", "tree", "answer_generation")
_CUT_CALL = re.compile(
    r"\{'name': '(?P<name>[^']+)', 'arguments': '(?P<arguments>.*?)(?:', 'response': '?(?P<response>.*)|\Z)", re.DOTALL
)
_ANSWER_OPENS = re.compile(r'\A\s*\{\s*"return_type"\s*:\s*"give_answer"\s*,\s*"final_answer"\s*:\s*"')
_ANSWERED = 3
"""`observation_code` of a node whose `Finish` gave an answer."""


class ToolBenchFormat:
    """One tree is one trajectory: the recorded chain to the answer, else the winning path, else the last explored."""

    name = "toolbench"

    def detects(self, record: Any) -> bool:
        """Whether the record is a search tree with its outcome, or one tooleval result."""
        if not isinstance(record, dict):
            return False
        return all(key in record for key in _ROOT_KEYS) or _is_result(record)

    def unpack(self, value: Any) -> list[Any] | None:
        """The results of a tooleval file: an object from query id to result."""
        if not isinstance(value, dict) or not value or not all(_is_result(item) for item in value.values()):
            return None
        return [{"query_id": key, **item} for key, item in value.items()]

    def parse(self, record: Any) -> Parsed:
        """The trajectory; `win` is the success a tree recorded."""
        return _result(record) if _is_result(record) else _tree(record)


def _tree(record: dict[str, Any]) -> Parsed:
    """The trajectory of one search tree."""
    told, tree = record["answer_generation"], record["tree"]
    root = tree.get("tree") if isinstance(tree, dict) else None
    if not isinstance(told, dict) or not isinstance(root, dict):
        raise FormatError("toolbench: want objects under `tree.tree` and `answer_generation`; check the file")
    chains = told.get("train_messages")
    query = told.get("query")
    if isinstance(chains, list) and chains and isinstance(chains[-1], list):
        messages = _chat(chains[-1])
    else:
        opening = [message("user", query)] if isinstance(query, str) else []
        messages = [*opening, *_path_messages(_path(root))]
    win = record["win"]
    finish = _finish(told.get("final_answer"))
    return Parsed(
        messages=pair_by_position(messages),
        prompt=query if isinstance(query, str) else None,
        tools=_schemas(told.get("function")),
        final_answer=_final_answer(finish),
        success=win if isinstance(win, bool) else None,
        metadata={key: told[key] for key in ("finish_type", "query_count", "total_tokens", "valid_data") if key in told}
        | ({"forward_args": record["forward_args"]} if "forward_args" in record else {}),
    )


def _result(record: dict[str, Any]) -> Parsed:
    """The trajectory of one tooleval result; the last branch of each step is the one the answer came from."""
    answer = record["answer"]
    messages: list[Message] = []
    told = answer.get("final_answer")
    steps = answer["answer_details"]
    while isinstance(steps, list) and steps:
        step = steps[-1]
        if not isinstance(step, dict):
            raise FormatError("toolbench: want objects in `answer_details`, found another value; check the file")
        role, text = step.get("role"), step.get("message")
        called = _called(text) if role == "tool" and isinstance(text, str) else None
        if called is not None and called.get("name") == "Finish":
            _append_call(messages, "Finish", told or called.get("arguments"))  # the step is cut short, `told` is not
        elif called is not None:
            _append_call(messages, called.get("name"), called.get("arguments"), called.get("response"))
        elif role == "tool":
            messages.append(message("tool", text if isinstance(text, str) else None))
        elif text:
            messages.append(message(known_role(role, "toolbench"), str(text)))
        steps = step.get("next")
    finish = _finish(told)
    query = record["query"]
    return Parsed(
        messages=pair_by_position(messages),
        prompt=query if isinstance(query, str) else None,
        tools=_schemas(record.get("available_tools")),
        final_answer=_final_answer(finish) or (told or None if finish is None and isinstance(told, str) else None),
        success=False if _gave_up(finish) else None,
        metadata={key: answer[key] for key in ("method", "total_steps") if key in answer}
        | ({"query_id": record["query_id"]} if "query_id" in record else {}),
    )


def _called(text: str) -> dict[str, Any] | None:
    """Name, arguments and response of a call in tooleval's spelling: a Python literal, which the file may cut short."""
    payload = read_payload(text)
    if isinstance(payload, dict):
        return payload
    found = _CUT_CALL.match(text)
    if found is None:
        return None
    arguments = found["arguments"]
    if found["response"] is not None:
        whole = read_payload(f"'{arguments}'")
        arguments = whole if isinstance(whole, str) else arguments
    return {"name": found["name"], "arguments": arguments, "response": found["response"]}


def _chat(turns: Iterable[Any]) -> list[Message]:
    """The messages of OpenAI's legacy function calls."""
    messages: list[Message] = []
    for turn in turns:
        if not isinstance(turn, dict):
            raise FormatError("toolbench: want messages in `train_messages`, found another value; check the file")
        role, called = known_role(turn.get("role"), "toolbench"), turn.get("function_call")
        text = content_text(turn.get("content"))[0]
        if role == "assistant" and isinstance(called, dict):
            if text:
                messages.append(message("assistant", text))
            _append_call(messages, called.get("name"), called.get("arguments"))
        elif role == "tool":
            messages.append(message("tool", text, name=_word(turn.get("name"))))
        else:
            messages.append(message(role, text))
    return messages


def _path(root: dict[str, Any]) -> list[dict[str, Any]]:
    """The nodes from the root to the first leaf that gave an answer, else to the leaf explored last."""
    stack: list[tuple[dict[str, Any], list[dict[str, Any]]]] = [(root, [])]
    last: list[dict[str, Any]] = []
    while stack:
        node, above = stack.pop()
        path = [*above, node]
        listed = node.get("children")
        children = [child for child in listed if isinstance(child, dict)] if isinstance(listed, list) else []
        if not children:
            if node.get("observation_code") == _ANSWERED:
                return path[1:]
            last = path
        stack.extend((child, path) for child in reversed(children))
    return last[1:]


def _path_messages(path: Iterable[dict[str, Any]]) -> list[Message]:
    """The messages of a path: a thought is content, an action with its input a call, its observation a tool message."""
    messages: list[Message] = []
    name: str | None = None
    for node in path:
        kind, text = node.get("node_type"), node.get("description")
        if kind == "Thought":
            messages.append(message("assistant", _word(text)))
        elif kind == "Action":
            name = _word(text)
        elif kind == "Action Input":
            _append_call(messages, name, text, node.get("observation"))
            name = None
    if name is not None:
        _append_call(messages, name, None)
    return messages


def _append_call(messages: list[Message], name: Any, arguments: Any, observation: Any = None) -> None:
    """Add a call to the thought before it, and its observation if there is one; `Finish` becomes the closing words."""
    last = messages[-1] if messages and messages[-1]["role"] == "assistant" and not messages[-1]["tool_calls"] else None
    if name == "Finish":
        finish = _finish(arguments)
        words = _final_answer(finish) or (arguments if isinstance(arguments, str) else "Finish")
        if last is not None and last["content"]:
            last["reasoning"], last["content"] = last["content"], words
        else:
            messages.append(message("assistant", words))
        return
    call = tool_call(_word(name), arguments)
    if last is not None:
        last["tool_calls"] = [call]
    else:
        messages.append(message("assistant", tool_calls=[call]))
    if observation is not None:
        messages.append(
            message("tool", observation if isinstance(observation, str) else str(observation), name=_word(name))
        )


def _word(value: Any) -> str | None:
    """The value if it is a text."""
    return value if isinstance(value, str) else None


def _finish(arguments: Any) -> Any:
    """What `Finish` was called with; the answer also where a line end in it, or a cut, makes the text no JSON."""
    if not isinstance(arguments, str):
        return arguments
    payload = read_payload(arguments)
    opening = _ANSWER_OPENS.match(arguments) if payload is None else None
    if opening is None:
        return payload
    answer = arguments[opening.end() :].rstrip().removesuffix("}").rstrip(" \r\n\t,").removesuffix('"')
    return {"return_type": "give_answer", "final_answer": answer}


def _gave_up(finish: Any) -> bool:
    """Whether the agent itself said that it found no answer."""
    return isinstance(finish, dict) and str(finish.get("return_type")).startswith("give_up")


def _final_answer(finish: Any) -> str | None:
    """The answer in the arguments of `Finish`."""
    answer = finish.get("final_answer") if isinstance(finish, dict) else None
    return answer or None if isinstance(answer, str) else None


def _schemas(functions: Any) -> list[dict[str, Any]] | None:
    """OpenAI-style schemas of the listed functions, without `Finish`."""
    if not isinstance(functions, list):
        return None
    listed = [item for item in functions if isinstance(item, dict) and item.get("name") not in (None, "Finish")]
    return [{"type": "function", "function": item} for item in listed] or None


def _is_result(value: Any) -> bool:
    """Whether the value is one tooleval result."""
    if not isinstance(value, dict) or "query" not in value or "available_tools" not in value:
        return False
    answer = value.get("answer")
    return isinstance(answer, dict) and isinstance(answer.get("answer_details"), list)


TOOLBENCH = ToolBenchFormat()
