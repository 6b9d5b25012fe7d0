"""What an agent said to itself, apart from what it said and did.

A judge that reads the agent's reasoning believes it: rewriting nothing but the chain of thought raised false positives
by up to 90% (arXiv:2601.14691).
"""

import re
from typing import Any

import orjson

LEFT_OUT = "[private reasoning left out]"

_NAMES = (
    r"(?:antml:|seed:)?(?:think|thinking|thoughts?|reasoning|reflection|scratchpad|cot|chain_of_thought|monologue"
    r"|inner_(?:monologue|thoughts?))"
)
_MARK = re.compile(
    rf"(?P<open><\s?{_NAMES}(?:\s[^<>]{{0,80}})?>|\[THINK\]|◁think▷|<\|(?:begin_of_thought|START_THINKING|thinking)\|>"
    r"|<\|channel\|>\s?(?:analysis|commentary)\s?<\|message\|>)"
    rf"|(?P<close><\s?/\s?{_NAMES}\s?>|\[/THINK\]|◁/think▷|<\|(?:end_of_thought|END_THINKING|/thinking)\|>"
    r"|(?:<\|end\|>)?(?:<\|start\|>assistant)?<\|channel\|>\s?final\s?<\|message\|>)",
    re.IGNORECASE,
)
_MAY_HOLD_MARK = re.compile(r"think|thought|reason|reflection|scratchpad|cot>|monologue|channel", re.IGNORECASE)
_THOUGHT = re.compile(
    r"^[ \t]*\**(?:Thought|Thinking|Reasoning)(?:[ \t]*\d+)?[ \t]*:\**(?:(?!\n[ \t]*(?:\n|<|```|\**[A-Z][A-Za-z ]{0,20}"
    r"(?:[ \t]*\d+)?[ \t]*:)).)*",
    re.DOTALL | re.MULTILINE,
)
_THINKING_TOOL = re.compile(r"^(?:\w+[.:/_-])?(?:think|thinking|thought|reason|reasoning|reflect|sequential_?thinking"
                            r"|scratchpad)$", re.IGNORECASE)  # fmt: skip
_KEYS = ("thought", "thoughts", "thinking", "reasoning", "inner_thoughts", "inner_monologue", "chain_of_thought")


def without_reasoning(content: str) -> str:
    """An agent's text without its thinking: tagged blocks, also open or nested ones, and paragraphs called Thought.

    A closing tag that nothing opened ends thinking that began in the prompt; an open one runs to the end.
    """
    if not _MAY_HOLD_MARK.search(content):
        return content
    parts: list[str] = []
    depth = position = 0
    is_first = True
    for found in _MARK.finditer(content):
        if found["open"]:
            if depth == 0:
                parts += [content[position : found.start()], LEFT_OUT]
            depth += 1
        elif depth:
            depth -= 1
        elif is_first:
            parts.append(LEFT_OUT)
        if depth == 0:
            position = found.end()
        is_first = False
    if depth == 0:
        parts.append(content[position:])
    return _THOUGHT.sub(LEFT_OUT, "".join(parts))


def is_thinking_tool(name: str | None) -> bool:
    """Whether a tool is a place to think: what goes in, and what it echoes, is reasoning."""
    return name is not None and _THINKING_TOOL.match(name) is not None


def arguments_without_reasoning(arguments: str) -> str:
    """A call's arguments without those that hold reasoning; text that is no JSON object stays as it is."""
    if not any(f'"{key}"' in arguments for key in _KEYS):
        return arguments
    try:
        held: Any = orjson.loads(arguments)
    except orjson.JSONDecodeError:
        return arguments
    if not isinstance(held, dict):
        return arguments
    return orjson.dumps({key: LEFT_OUT if key in _KEYS else value for key, value in held.items()}).decode()
