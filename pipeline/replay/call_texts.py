"""What a call in an assistant's own text asks for: the tool and its arguments, in each protocol's spelling."""

import ast
import re
from typing import Any, NamedTuple

import orjson

PYTHON = "python"
"""The tool that code in a tag or fence is for, as in the formats that know these protocols."""

_MAX_LITERAL = 100_000
"""Characters that `ast.literal_eval` is asked to read."""
_JSON_NAME = re.compile(r"""["']name["']\s*:\s*["']([^"']+)["']""")
_BRACKET = re.compile(r"\A\s*([A-Za-z_][\w .-]*)\[(.*)\][ \t.]*\s*\Z", re.DOTALL)
_ACTION_INPUT = re.compile(
    r"\A[ \t]*([^\s\[][^\n]*?)[ \t]*\n+[ \t]*Action[ _]Input[ \t]*\d*[ \t]*:[ \t]*(.*)\Z", re.DOTALL
)
_PARAMETER = re.compile(
    r"<(?:antml:)?parameter(?:=| name=[\"'])([\w.-]+)[\"']?>(.*?)</(?:antml:)?parameter>", re.DOTALL
)
_FUNCTION = re.compile(r"<function=([\w.-]+)>(.*?)(?:</function>|\Z)", re.DOTALL)
_GLM_ARGUMENT = re.compile(r"<arg_key>(.*?)</arg_key>\s*<arg_value>(.*?)</arg_value>", re.DOTALL)
_DOTTED_CALL = re.compile(r"\A\s*([A-Za-z_]\w*)\.call\((.*)\)\s*\Z", re.DOTALL)
_DEEPSEEK = re.compile("\\A(?:function)?(?:<\uff5ctool▁sep\uff5c>)?[ \\t]*([\\w.-]+)", re.DOTALL)
_QWEN = re.compile(r"\A[ \t]*([^\n✿]*?)[ \t]*(?:\n\s*✿ARGS✿[ \t]*:?[ \t]*(.*))?\Z", re.DOTALL)
_JSON_FENCE = re.compile(r"\A\s*```(?:json)?[ \t]*\n(.*?)\n?[ \t]*```\s*\Z", re.DOTALL)


class Call(NamedTuple):
    """The tool, None where the text names none, and the arguments as JSON text, or as written."""

    tool_name: str | None
    arguments: str


def code_call(_: re.Match[str], body: str) -> list[Call]:
    """Code in a tag or block."""
    return [_code(body)]


def fenced_call(opening: re.Match[str], body: str) -> list[Call]:
    """Code in a Markdown fence, for the shell where the fence says so."""
    is_shell = opening[1] in ("bash", "sh", "mswea_bash_command")
    return [Call("bash", _json({"command": body.strip("\n")})) if is_shell else _code(body)]


def search_call(_: re.Match[str], body: str) -> list[Call]:
    """A query in a tag."""
    return [Call("search", _json({"query": body.strip()}))]


def action_call(_: re.Match[str], body: str) -> list[Call]:
    """ReAct's `tool[argument]`, or a tool and its `Action Input:`; none for `finish[answer]`."""
    found = _BRACKET.match(body) or _ACTION_INPUT.match(body)
    if found is None or found[1].strip().lower() == "finish":
        return []
    text = found[2].strip()
    return [Call(found[1].strip(), text if isinstance(_read(text), dict) else _json({"input": text}))]


def json_calls(_: re.Match[str], body: str) -> list[Call]:
    """One payload, a list of them, or one a line; or the XML that Qwen and GLM write in the same tag."""
    text = body.strip()
    payload = _read(text)
    if payload is None and "\n" in text:
        lines = [_read(line) for line in text.splitlines() if line.strip()]
        payload = lines if all(isinstance(line, dict) for line in lines) else None
    listed = [item for item in (payload if isinstance(payload, list) else [payload]) if isinstance(item, dict)]
    if listed:
        return [_payload_call(item) for item in listed]
    if (tagged := _FUNCTION.search(text)) is not None:
        return function_call(tagged, tagged[2])
    if not text.startswith(("{", "[")):  # GLM: the name, then pairs of tags
        name = text.split("\n", 1)[0].split("<", 1)[0].strip()
        given = {key.strip(): _value(value) for key, value in _GLM_ARGUMENT.findall(text)}
        return [Call(name or None, _json(given))]
    name = _JSON_NAME.search(text)
    return [Call(name[1] if name else None, text)]


def function_call(opening: re.Match[str], body: str) -> list[Call]:
    """`<function=name>`, or `<invoke name="name">`, around JSON or parameter tags."""
    given = {name: value.strip("\n") for name, value in _PARAMETER.findall(body)}
    text = body.strip()
    return [Call(opening[1], text if text and not given else _json(given))]


def named_call(opening: re.Match[str], body: str) -> list[Call]:
    """A call whose opening names the tool: the body is the arguments."""
    text = body.strip()
    is_code = opening[1].lower() in (PYTHON, "code_interpreter") and not isinstance(_read(text), dict)
    return [Call(opening[1], _json({"code": text}) if is_code else text)]


def python_tag_call(_: re.Match[str], body: str) -> list[Call]:
    """What stands behind Llama's `<|python_tag|>`: a JSON call, a built-in tool's `name.call(…)`, or Python."""
    if isinstance(payload := _read(body.strip()), dict) and "name" in payload:
        return [_payload_call(payload)]
    if (dotted := _DOTTED_CALL.match(body)) is not None:
        return [Call(dotted[1], dotted[2].strip())]
    return [_code(body)]


def qwen_call(_: re.Match[str], body: str) -> list[Call]:
    """The name and, behind `✿ARGS✿:`, the arguments: JSON, or the code itself."""
    found = _QWEN.match(body.strip())
    if found is None:
        return []
    text = (found[2] or "").strip()
    is_code = found[1] in (PYTHON, "code_interpreter") and not isinstance(_read(text), dict)
    return [Call(found[1].strip() or None, _json({"code": text}) if is_code else text or "{}")]


def deepseek_call(_: re.Match[str], body: str) -> list[Call]:
    """`function<sep>name`, then JSON, in a fence or not."""
    found = _DEEPSEEK.match(body.strip())
    if found is None:
        return []
    rest = body.strip()[found.end() :].removeprefix("<\uff5ctool▁sep\uff5c>").strip()
    fenced = _JSON_FENCE.match(rest)
    return [Call(found[1], (fenced[1].strip() if fenced else rest) or "{}")]


def _code(body: str) -> Call:
    return Call(PYTHON, _json({"code": body.strip("\n")}))


def _payload_call(payload: dict[str, Any]) -> Call:
    name = payload.get("name")
    given = payload.get("arguments", payload.get("parameters", {}))
    return Call(name if isinstance(name, str) else None, given if isinstance(given, str) else _json(given))


def _read(text: str) -> Any:
    """The value of a payload that is JSON or a Python literal; None where it is neither."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        pass
    if not text.startswith(("{", "[")) or len(text) > _MAX_LITERAL:
        return None
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        return None


def _value(text: str) -> Any:
    """An argument's value as JSON where it is that, else its text."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text.strip()


def _json(value: Any) -> str:
    try:
        return orjson.dumps(value).decode()
    except TypeError:  # an integer beyond 64 bits, a set, bytes: what a Python literal may hold
        return orjson.dumps(repr(value)).decode()
