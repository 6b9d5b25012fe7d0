"""How each protocol writes a call and its result in plain text, for what an assistant wrote in its own content."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from pipeline.replay.call_texts import (
    Call,
    action_call,
    code_call,
    deepseek_call,
    fenced_call,
    function_call,
    json_calls,
    named_call,
    python_tag_call,
    qwen_call,
    search_call,
)

_BAR = "\uff5c"
"""The full-width bar of DeepSeek's role tokens."""
_OBSERVATION = r"Observation[ \t]*\d*[ \t]*:[ \t]*\n?"
_LABEL = r"^[ \t]*(?:Thought|Action|Final Answer|Observation)[ \t]*\d*[ \t]*:"
_SPOKEN = (
    r"(?=<thought>|<think>|<execute>|(?<!answer is )<solution>|<answer>"
    r"|<\|(?:im_start|im_end|eot_id|endoftext|start_header_id)\|>|</s>"
    r"|^[ \t]*\**(?:Assistant|User|Human|Expert feedback)[ \t]*:|^You have \d+ steps? left\b"
    r"|^Your answer is (?:wrong|correct|right)\b|^I don't understand your input"
    rf"|{_LABEL})"
)
"""Where a result without a closing tag ends: the next part of the protocol, or the next role."""
_OWN_WORDS = re.compile(
    r"\n[ \t]*The answer is <solution>|\n[ \t]*\n[ \t]*(?:The (?:final )?answer is|Therefore,|Thus,|Hence,"
    r"|So,? (?:the|we|I|it)\b|Now,? (?:that|I|we|let)\b|Since (?:the|we|I|-?\d)|We (?:can|have|need|see)\b"
    r"|I(?:'ll|'m| will| can| have| am| apologize| need)\b|Based on\b|From (?:this|the (?:output|result|observation))\b"
    r"|This means\b|It seems\b|Let me\b|Let's\b|\(Note:)"
)
"""A new paragraph in which the assistant clearly speaks again."""
_TURN_ENDS = (
    r"<\|(?:im_end|eot_id|eom_id|endoftext)\|>|(?=<\|(?:im_start|start_header_id|user|assistant|observation)\|>)"
)
_TURN_ENDS += r"|(?=<tool_call>|<function=|<think>|<answer>)"
_CHATML_TOOL = r"<\|im_start\|>[ \t]*(?:tool|function|observation|ipython)\b[^\n]*\n"
_LLAMA_TOOL = r"<\|start_header_id\|>[ \t]*(?:ipython|tool)[ \t]*<\|end_header_id\|>\s*"
_HARMONY_HEADER = r"[^<]{0,99}(?:<\|(?!message)\w{1,20}\|>[^<]{0,99}){0,3}<\|message\|>"


@dataclass(frozen=True, slots=True)
class Piece:
    """A call or a result: from `opening` to `closing`."""

    opening: str
    closing: str
    read: Callable[[re.Match[str], str], list[Call]] | None = None
    """Of a call: what it asks for, from its opening and its body."""


def _call(opening: str, closing: str, read: Callable[[re.Match[str], str], list[Call]]) -> Piece:
    return Piece(opening, closing, read)


def _result(opening: str, closing: str) -> Piece:
    return Piece(opening, closing)


def _tagged(*names: str) -> tuple[Piece, ...]:
    """Results in tags of these names."""
    return tuple(_result(f"<{name}>", f"</{name}>") for name in names)


@dataclass(frozen=True, slots=True)
class Protocol:
    """What a protocol's calls and results look like, and which result belongs to which call."""

    name: str
    hint: str
    """A text that every content with a call holds."""
    pieces: tuple[Piece, ...]
    between: str | None = None
    """What may stand between a call and its result, whole; None: anything, in which case calls may be parallel."""
    _openings: re.Pattern[str] = field(init=False, repr=False)
    _each: tuple[re.Pattern[str], ...] = field(init=False, repr=False)
    _closings: tuple[re.Pattern[str], ...] = field(init=False, repr=False)
    _between: re.Pattern[str] | None = field(init=False, repr=False)

    def __post_init__(self) -> None:
        joined = "|".join(f"(?P<p{k}>{piece.opening})" for k, piece in enumerate(self.pieces))
        object.__setattr__(self, "_openings", re.compile(joined, re.MULTILINE))
        object.__setattr__(self, "_each", tuple(re.compile(piece.opening, re.MULTILINE) for piece in self.pieces))
        closings = tuple(re.compile(piece.closing, re.MULTILINE) for piece in self.pieces)
        object.__setattr__(self, "_closings", closings)
        object.__setattr__(self, "_between", None if self.between is None else re.compile(self.between))

    def claims(self, text: str) -> list[tuple[Call, str | None]]:
        """The calls of the text in order, each with the result written behind it, None where there is none.

        A result belongs to the oldest open call where calls may be parallel, else to the call right before it.
        """
        found: list[tuple[Call, str | None]] = []
        waiting: list[int] = []
        call_end = 0
        is_answered = False
        for start, end, calls, body in self._parts(text):
            if calls is not None:
                waiting = [] if is_answered else waiting
                waiting += range(len(found), len(found) + len(calls))
                found += [(call, None) for call in calls]
                call_end, is_answered = end, False
            elif waiting and (self._between is None or self._between.fullmatch(text, call_end, start)):
                place = waiting.pop(0 if self._between is None else -1)
                found[place] = (found[place][0], body)
                is_answered = True
                if self._between is not None:
                    waiting = []
        return found

    def results(self, text: str) -> list[str]:
        """The results of the text in order, whatever they are of."""
        return [body for _, _, calls, body in self._parts(text) if calls is None]

    def _parts(self, text: str) -> Iterator[tuple[int, int, list[Call] | None, str]]:
        """Start, end, calls (None of a result) and body of each piece; none inside another. Linear in the text."""
        never_closed: set[int] = set()
        found = self._openings.search(text)
        while found is not None:
            place = int((found.lastgroup or "p0")[1:])
            piece = self.pieces[place]
            closing = None if place in never_closed else self._closings[place].search(text, found.end())
            if closing is None:
                never_closed.add(place)
            if closing is None and piece.read is not None:  # a call that is not closed was never made
                position = found.end()
            else:
                stop, position = (closing.start(), closing.end()) if closing else (len(text), len(text))
                body = text[found.end() : stop]
                opened = self._each[place].match(text, found.start())
                if piece.read is None:
                    yield found.start(), position, None, _told(body)
                elif opened is not None:
                    yield found.start(), position, piece.read(opened, body), body
                position = max(position, found.end())
            if position >= len(text):
                return
            found = self._openings.search(text, position)


def _told(body: str) -> str:
    """A result without the blank lines around it, and without the assistant's own words behind it."""
    words = _OWN_WORDS.search(body)
    return (body[: words.start()] if words else body).strip("\r\n").rstrip()


PROTOCOLS = (
    Protocol(
        "codeact",
        "</execute>",
        (_call("<execute>", "</execute>", code_call), _result(rf"{_OBSERVATION}|^(?:Output|Result)s?:", _SPOKEN)),
        between=r"\s*(?:\d+\.\s*|<step>[^<]*)?",
    ),
    Protocol(
        "react",
        "Action",
        (
            _call(
                r"^[ \t]*Action[ \t]*\d*[ \t]*:",
                rf"(?={_LABEL})|(?<=\])(?=[ \t.]*Observation[ \t]*\d*[ \t]*:)|\Z",
                action_call,
            ),
            _result(_OBSERVATION, _SPOKEN),
        ),
        between=r"[\s.]*(?:Thought[^\n]*\s*)?",
    ),
    Protocol(
        "fenced_output",
        "```",
        (
            _call(
                r"^[ \t]*```(python|py|tool_code|bash|sh|mswea_bash_command)[ \t]*\r?\n",
                r"^[ \t]*```[ \t]*$",
                fenced_call,
            ),
            _result(r"^[ \t]*```(?:tool_)?outputs?[ \t]*\r?\n", r"^[ \t]*```[ \t]*$"),
            _result(r"^[ \t]*(?=<returncode>)", r"(?<=</output>)|^[ \t]*```"),
            _result(r"^[ \t]*<output>", "</output>"),
        ),
        between=r"\s*",
    ),
    Protocol(
        "tags",
        "<",
        (
            _call("<search>", "</search>", search_call),
            _call(r"<\|begin_of_query\|>", r"<\|end_of_query\|>", search_call),
            _call("<python>", "</python>", code_call),
            *_tagged("information", "result", "document", "documents", "observation", "output"),
            _result(r"<\|begin_of_documents\|>", r"<\|end_of_documents\|>"),
        ),
        between=r"\s*",
    ),
    Protocol(
        "blocks",
        "<|code|>",
        (
            _call(r"<\|code\|>", r"<\|endofblock\|>|(?=<\|execution\|>)", code_call),
            _result(r"<\|execution\|>", r"<\|endofblock\|>|(?=<\|(?:text|code)\|>)"),
        ),
    ),
    Protocol(
        "tool_call_tags",
        "<tool_call>",
        (
            _call("<tool_call>", "</tool_call>", json_calls),
            _result(rf"{_CHATML_TOOL}(?:\s*<tool_response>)?|<tool_response>", rf"</tool_response>|{_TURN_ENDS}"),
            _result("<tool_result>", f"</tool_result>|{_TURN_ENDS}"),
            _result("<obs>", f"</obs>|{_TURN_ENDS}"),
            _result(r"<\|observation\|>", _TURN_ENDS),
        ),
    ),
    Protocol(
        "function_tags",
        "<function=",
        (
            _call(r"<function=([\w.-]+)>", "</function>", function_call),
            _result(rf"{_CHATML_TOOL}|{_LLAMA_TOOL}", _TURN_ENDS),
            _result(r"^(?:OBSERVATION:|EXECUTION RESULT of \[[\w.-]+\]:)[ \t]*\n?", rf"(?=<function=)|{_SPOKEN}"),
        ),
    ),
    Protocol(
        "llama",
        "<|python_tag|>",
        (
            _call(r"<\|python_tag\|>", r"<\|(?:eom|eot)_id\|>|(?=<\|start_header_id\|>)", python_tag_call),
            _result(_LLAMA_TOOL, _TURN_ENDS),
        ),
    ),
    Protocol(
        "mistral",
        "[TOOL_CALLS]",
        (
            _call(r"\[TOOL_CALLS\]", r"</s>|(?=\[TOOL_RESULTS\])", json_calls),
            _result(r"\[TOOL_RESULTS\]", r"\[/TOOL_RESULTS\]|</s>"),
        ),
    ),
    Protocol(
        "qwen",
        "✿FUNCTION✿",
        (
            _call(r"✿FUNCTION✿[ \t]*:?", "(?=✿(?:RESULT|RETURN|FUNCTION)✿)", qwen_call),
            _result(r"✿RESULT✿[ \t]*:?[ \t]*", "(?=✿(?:RESULT|RETURN|FUNCTION)✿)"),
        ),
    ),
    Protocol(
        "deepseek",
        f"<{_BAR}tool▁calls▁begin{_BAR}>",
        (
            _call(
                rf"<{_BAR}tool▁calls▁begin{_BAR}>\s*(?:<{_BAR}tool▁call▁begin{_BAR}>)?|<{_BAR}tool▁call▁begin{_BAR}>",
                rf"<{_BAR}tool▁calls?▁end{_BAR}>",
                deepseek_call,
            ),
            _result(
                rf"<{_BAR}tool▁outputs▁begin{_BAR}>\s*(?:<{_BAR}tool▁output▁begin{_BAR}>)?|<{_BAR}tool▁output▁begin{_BAR}>",
                rf"<{_BAR}tool▁outputs?▁end{_BAR}>|(?=<{_BAR}Assistant{_BAR}>)",
            ),
        ),
    ),
    Protocol(
        "glm",
        "<|observation|>",
        (
            _call(r"<\|assistant\|>[ \t]*([\w.-]+)[ \t]*\n", r"(?=<\|(?:observation|user|assistant)\|>)", named_call),
            _result(r"<\|observation\|>[ \t]*", r"(?=<\|(?:assistant|user|observation)\|>)"),
        ),
    ),
    Protocol(
        "harmony",
        "<|call|>",
        (
            _call(
                rf"to=(?:functions\.)?([\w.-]{{1,99}}+){_HARMONY_HEADER}",
                r"<\|call\|>",
                named_call,
            ),
            _result(
                rf"<\|start\|>[ \t]*(?:functions\.|python|browser|tool){_HARMONY_HEADER}",
                r"<\|end\|>|(?=<\|start\|>)",
            ),
        ),
    ),
    Protocol(
        "invocations",
        "invoke",
        (
            _call(r"<(?:antml:)?invoke name=[\"']([\w.-]+)[\"']>", "</(?:antml:)?invoke>", function_call),
            _result("<function_results?>", f"</function_results?>|{_TURN_ENDS}"),
        ),
    ),
)
"""Tried in order: the first that finds a call with a result in a content is what the content speaks."""

NATIVE_RESULTS = Protocol(
    "native",
    "",
    (
        *_tagged("tool_response", "tool_result", "function_results?", "function_response", "information", "obs"),
        _result(r"^[ \t]*(?=<returncode>)", r"(?<=</output>)"),
        _result(r"\[TOOL_RESULTS\]", r"\[/TOOL_RESULTS\]|</s>"),
        _result(r"<\|begin_of_documents\|>", r"<\|end_of_documents\|>"),
        _result(r"<\|execution\|>", r"<\|endofblock\|>"),
        _result(rf"{_CHATML_TOOL}|{_LLAMA_TOOL}|<\|observation\|>", _TURN_ENDS),
        _result(r"✿RESULT✿[ \t]*:?[ \t]*", "(?=✿RETURN✿)"),
        _result(rf"<{_BAR}tool▁outputs?▁begin{_BAR}>", rf"<{_BAR}tool▁outputs?▁end{_BAR}>"),
        _result(r"^[ \t]*```(?:tool_)?outputs?[ \t]*\r?\n", r"^[ \t]*```[ \t]*$"),
        _result(
            r"^[ \t]*\**(?:Observation|(?i:tool|function)[ \t](?i:result|output|response)s?|Result)[ \t]*\d*[ \t]*"
            r"(?:\*\*[ \t]*:|:\*\*|:)[ \t]*\n?",
            _SPOKEN,
        ),
    ),
)
"""Results in a content whose calls stand beside it."""

CALL_ENDS = ("</execute>", "</tool_call>", "</search>", "</python>", "<|end_of_query|>", "```mswea_bash_command")
"""Markup of calls: a content with it holds its calls itself."""
