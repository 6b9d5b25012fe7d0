"""Declared tools in one shape: a list of OpenAI-style function schemas."""

from functools import lru_cache
from typing import Any

import orjson

_MAX_KNOWN_BYTES = 16_384
"""Declarations up to this size are worth remembering."""

_PARAMETER_KEYS = ("parameters", "input_schema", "inputSchema", "args_schema")
# BFCL writes Python and Java type names where JSON schema wants its own; unlisted names stay as they are.
_TYPE_NAMES = {
    "dict": "object",
    "hashmap": "object",
    "float": "number",
    "double": "number",
    "long": "integer",
    "int": "integer",
    "str": "string",
    "char": "string",
    "bool": "boolean",
    "list": "array",
    "tuple": "array",
    "arraylist": "array",
}


def openai_tools(declared: Any) -> list[dict[str, Any]] | None:
    """The declared tools as `{"type": "function", "function": {...}}`; None where nothing readable is declared.

    Takes a list, a JSON text of one, a single schema, or a mapping of name to schema, of OpenAI tools (nested or flat),
    legacy functions, Anthropic tools or MCP tools. An empty list stays one: the source declared that there are none.
    """
    if isinstance(declared, str | bytes):
        try:
            declared = orjson.loads(declared)
        except orjson.JSONDecodeError:
            return None
    try:
        text = orjson.dumps(declared)
    except TypeError:
        return _openai_tools(declared)
    return _openai_tools(declared) if len(text) > _MAX_KNOWN_BYTES else _known_tools(text)


@lru_cache(maxsize=256)
def _known_tools(text: bytes) -> list[dict[str, Any]] | None:
    """The tools that a JSON text declares. A source declares the same ones record after record: nobody changes them."""
    return _openai_tools(orjson.loads(text))


def _openai_tools(declared: Any) -> list[dict[str, Any]] | None:
    """The tools of a decoded declaration."""
    if isinstance(declared, dict):
        if isinstance(declared.get("tools"), list):
            declared = declared["tools"]
        elif "name" in declared or "function" in declared:
            declared = [declared]
        else:
            declared = [
                {"name": name, **schema} if isinstance(schema, dict) else name for name, schema in declared.items()
            ]
    if not isinstance(declared, list):
        return None
    if any(isinstance(entry, list) for entry in declared):
        declared = [tool for entry in declared for tool in (entry if isinstance(entry, list) else (entry,))]
    tools = [_openai_tool(tool) for tool in declared]
    return [tool for tool in tools if tool is not None] if any(tools) or not declared else None


def _openai_tool(tool: Any) -> dict[str, Any] | None:
    if isinstance(tool, str):
        try:
            tool = orjson.loads(tool)
        except orjson.JSONDecodeError:
            return {"type": "function", "function": {"name": tool}}
    if not isinstance(tool, dict):
        return None
    held = tool.get("function")
    schema = held if isinstance(held, dict) else tool
    # A provider's built-in tool, such as {"type": "web_search"}, has no name but its type.
    name = schema.get("name") or (tool.get("type") if tool.get("type") != "function" else None)
    if not isinstance(name, str):
        return None
    function: dict[str, Any] = {"name": name}
    if isinstance(schema.get("description"), str):
        function["description"] = schema["description"]
    parameters = next((schema[key] for key in _PARAMETER_KEYS if schema.get(key) is not None), None)
    if isinstance(parameters, str):
        try:
            parameters = orjson.loads(parameters)
        except orjson.JSONDecodeError:
            parameters = None
    if isinstance(parameters, dict):
        function["parameters"] = json_schema(parameters)
    if isinstance(schema.get("strict"), bool):
        function["strict"] = schema["strict"]
    return {"type": "function", "function": function}


def json_schema(schema: Any) -> Any:
    """The schema with JSON schema's own type names and without the nulls that Arrow structs fill in.

    A column of structs gives every schema the keys of all of them; a null keyword or property means it is absent.
    Only `default` may be null on purpose, and an enum's members are not touched.
    """
    if isinstance(schema, list):
        return [json_schema(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    cleaned: dict[str, Any] = {}
    for key, value in schema.items():
        if key == "properties" and isinstance(value, dict):
            cleaned[key] = {name: json_schema(held) for name, held in value.items() if held is not None}
        elif key in ("default", "enum", "examples"):
            if value is not None or key == "default":
                cleaned[key] = value
        elif value is None:
            continue
        elif key == "type" and isinstance(value, str):
            if value.lower() != "any":
                cleaned[key] = _TYPE_NAMES.get(value.lower(), value)
        else:
            cleaned[key] = json_schema(value)
    return cleaned
