"""Declared tools as text, and arguments held to them."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import jsonschema_rs
import orjson

_TYPE_NAMES = {
    "dict": "object",
    "dictionary": "object",
    "map": "object",
    "hashmap": "object",
    "hashtable": "object",
    "float": "number",
    "double": "number",
    "decimal": "number",
    "int": "integer",
    "long": "integer",
    "short": "integer",
    "byte": "integer",
    "bigint": "integer",
    "str": "string",
    "char": "string",
    "text": "string",
    "bool": "boolean",
    "list": "array",
    "tuple": "array",
    "set": "array",
    "arraylist": "array",
    "none": "null",
    "nonetype": "null",
    "object": "object",
    "number": "number",
    "integer": "integer",
    "string": "string",
    "boolean": "boolean",
    "array": "array",
    "null": "null",
}
"""Names of types as BFCL, Python, Java and Gemini write them, in lower case, and JSON schema's own."""

_ANY_TYPE = frozenset({"any", "mixed", "unknown"})
_SCHEMA_MAPS = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas")
_SCHEMA_LISTS = ("anyOf", "oneOf", "allOf", "prefixItems")
_SCHEMAS = ("items", "additionalProperties", "not", "if", "then", "else", "contains", "propertyNames")

_OPERANDS = (
    "types",
    "property",
    "limit",
    "options",
    "unexpected",
    "pattern",
    "expected_value",
    "multiple_of",
    "format",
)
"""Where an error says what the schema asked for."""

_UNDECIDED = (
    jsonschema_rs.ValidationErrorKind.BacktrackLimitExceeded,
    jsonschema_rs.ValidationErrorKind.RegexEngineFailure,
    jsonschema_rs.ValidationErrorKind.Referencing,
)
"""Errors about the schema's own pattern or reference, not about the arguments."""

MAX_FOUND = 200
"""Characters of a faulty value that go into evidence."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with the arguments of a call: where (a JSON pointer), what was wanted, and what stands there."""

    path: str
    wanted: str
    found: str


@dataclass(frozen=True, slots=True)
class BadSchema:
    """The declared schema itself is invalid, so it decides nothing."""

    why: str


def declared_tools(tools: str | None) -> dict[str, str | None] | None:
    """Name of each declared tool to the JSON text of its parameters' schema (null: it has none).

    Takes OpenAI-style wrappers, bare function objects and Anthropic's `input_schema`. None where the text declares
    nothing that can be read: null, not a JSON list of objects, or an empty list.
    """
    try:
        listed = orjson.loads(tools or "null")
    except orjson.JSONDecodeError:
        return None
    if not isinstance(listed, list) or not listed:
        return None
    declared: dict[str, str | None] = {}
    for entry in listed:
        held = entry.get("function", entry) if isinstance(entry, dict) else None
        if not isinstance(held, dict) or not isinstance(held.get("name"), str):
            return None
        schema = held.get("parameters", held.get("input_schema"))
        declared[held["name"]] = None if schema in (None, {}) else orjson.dumps(schema).decode()
    return declared


def check_arguments(schema: str | None, arguments: str | None) -> Fault | BadSchema | None:
    """What is wrong with `arguments`, None if nothing is: they must be a JSON object, valid under the schema.

    Null and blank arguments are taken as `{}`, as some servers write a call without any. Only the first fault is told.
    """
    text = arguments if arguments and not arguments.isspace() else "{}"
    try:
        instance = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        return Fault("", "a JSON object", _cut(f"not JSON from character {error.pos}: {text}"))
    if not isinstance(instance, dict):
        return Fault("", "a JSON object", _cut(text))
    if schema is None:
        return None
    validator = _compile(schema)
    if isinstance(validator, BadSchema):
        return validator
    try:
        error = next(validator.iter_errors(instance), None)
    except ValueError as refused:
        return Fault("", "JSON that can be validated", _cut(str(refused)))
    if error is None:
        return None
    if isinstance(error.kind, _UNDECIDED):
        return BadSchema(_cut(error.message))
    path = "".join(f"/{part}" for part in error.instance_path)
    return Fault(path, _wanted(error), _shown(error.instance))


@lru_cache(maxsize=65_536)
def _compile(schema: str) -> jsonschema_rs.Validator | BadSchema:
    """The validator of a schema text; `offline`, as a schema in a trace must not make us open a file or a URL."""
    try:
        return jsonschema_rs.validator_for(normalize_schema(orjson.loads(schema)), offline=True)
    except (ValueError, RecursionError) as error:
        return BadSchema(_cut(str(error).partition("\n")[0]))


def normalize_schema(schema: Any) -> Any:
    """The schema with the type names of other languages made JSON schema's, and `required: true` moved to its parent.

    Only schemas are touched: a property called `type`, an enum or a default keeps its value.
    """
    if not isinstance(schema, dict):
        return schema
    clean = dict(schema)
    _normalize_type(clean)
    for key in _SCHEMA_MAPS:
        if isinstance(clean.get(key), dict):
            clean[key] = {name: normalize_schema(value) for name, value in clean[key].items()}
    for key in _SCHEMA_LISTS:
        if isinstance(clean.get(key), list):
            clean[key] = [normalize_schema(value) for value in clean[key]]
    for key in _SCHEMAS:
        if isinstance(clean.get(key), dict):
            clean[key] = normalize_schema(clean[key])
    required = clean.get("required")
    if isinstance(required, bool) or required is None:
        clean.pop("required", None)
    properties = schema.get("properties")
    if isinstance(properties, dict):
        flagged = [k for k, value in properties.items() if isinstance(value, dict) and value.get("required") is True]
        if flagged:
            listed = required if isinstance(required, list) else []
            clean["required"] = [*listed, *(name for name in flagged if name not in listed)]
    return clean


def _normalize_type(schema: dict[str, Any]) -> None:
    """Replace the names in `type`; drop it where any type will do. An unknown name stays, and makes a bad schema."""
    kind = schema.get("type")
    names = kind if isinstance(kind, list) else [kind]
    if kind is None or any(isinstance(name, str) and name.lower() in _ANY_TYPE for name in names):
        schema.pop("type", None)
    else:
        plain = [_TYPE_NAMES.get(name.lower(), name) if isinstance(name, str) else name for name in names]
        schema["type"] = plain if isinstance(kind, list) else plain[0]


def _wanted(error: jsonschema_rs.ValidationError) -> str:
    """The keyword that failed, and its operand where the schema names one."""
    told = error.kind.as_dict()
    operand = next((told[name] for name in _OPERANDS if name in told), None)
    if operand is None:
        return error.kind.name
    if isinstance(operand, list):
        operand = sorted(operand, key=str) if "types" in told else operand
    return _cut(f"{error.kind.name}: {orjson.dumps(operand, default=str).decode()}")


def _shown(value: Any) -> str:
    """A value as JSON, cut; nested deeper than orjson writes, its type only."""
    try:
        return _cut(orjson.dumps(value).decode())
    except orjson.JSONEncodeError:
        return type(value).__name__


def _cut(text: str) -> str:
    return text if len(text) <= MAX_FOUND else text[: MAX_FOUND - 1] + "…"
