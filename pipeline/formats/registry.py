"""All known trace formats, and how a file's values become records of one of them."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from pipeline.errors import FormatError
from pipeline.formats.adp import ADP
from pipeline.formats.agent_reward_bench import AGENT_REWARD_BENCH
from pipeline.formats.alpaca_tool import ALPACA_TOOL
from pipeline.formats.anthropic_managed import ANTHROPIC_MANAGED
from pipeline.formats.anthropic_messages import ANTHROPIC_MESSAGES
from pipeline.formats.api_bank import API_BANK
from pipeline.formats.atif import ATIF
from pipeline.formats.base import Format
from pipeline.formats.bfcl import BFCL, BFCL_REPLAY
from pipeline.formats.blocks import BLOCKS
from pipeline.formats.claude_code import CLAUDE_CODE
from pipeline.formats.codeact import CODEACT
from pipeline.formats.display_text import DISPLAY_TEXT
from pipeline.formats.graded_sample import GRADED_SAMPLE
from pipeline.formats.hermes import HERMES
from pipeline.formats.langsmith import LANGSMITH
from pipeline.formats.mini_swe import MINI_SWE
from pipeline.formats.openai_chat import OPENAI_CHAT
from pipeline.formats.openhands import OPENHANDS
from pipeline.formats.openinference import OPENINFERENCE
from pipeline.formats.otlp import OTLP_GENAI
from pipeline.formats.questions import QUESTIONS
from pipeline.formats.react import REACT_ALPACA, REACT_CHAT, REACT_TEXT
from pipeline.formats.search_tags import SEARCH_TAGS
from pipeline.formats.sharegpt import SHAREGPT
from pipeline.formats.swe_agent import SWE_AGENT
from pipeline.formats.tir import TIR
from pipeline.formats.toolbench import TOOLBENCH
from pipeline.formats.tooltalk import TOOLTALK
from pipeline.formats.verl import VERL
from pipeline.formats.who_and_when import MULTI_AGENT_CHAT

FORMATS: tuple[Format, ...] = (
    # event streams, spans and step lists: recognised by their envelope
    CLAUDE_CODE,
    ANTHROPIC_MANAGED,
    OPENINFERENCE,
    OTLP_GENAI,
    LANGSMITH,
    ATIF,
    OPENHANDS,
    SWE_AGENT,
    ADP,
    AGENT_REWARD_BENCH,
    GRADED_SAMPLE,
    ANTHROPIC_MESSAGES,
    # recognised by keys that no other family has
    VERL,
    BFCL_REPLAY,
    BFCL,
    TOOLTALK,
    MULTI_AGENT_CHAT,
    DISPLAY_TEXT,
    # text protocols: their markers are narrower than a chat's
    API_BANK,
    TOOLBENCH,
    ALPACA_TOOL,
    SEARCH_TAGS,
    TIR,
    BLOCKS,
    REACT_ALPACA,
    REACT_TEXT,
    CODEACT,
    MINI_SWE,
    HERMES,
    REACT_CHAT,
    # any chat, then any question with an answer: every other format stands above this line
    SHAREGPT,
    OPENAI_CHAT,
    QUESTIONS,
)


_BROKEN = (FormatError, AttributeError, IndexError, KeyError, RecursionError, TypeError, ValueError)
"""What a format raises on a value nobody foresaw; it then stays whole, and `parse` says what is wrong with it."""


def detect(record: Any) -> Format | None:
    """The first registered format that recognises the record; None where none does."""
    return next((known for known in FORMATS if known.detects(record)), None)


@dataclass(slots=True)
class Grouped:
    """A record and the positions, in its file, of the values it was made of."""

    record: Any
    positions: list[int]
    inner: int | None = None
    """Position inside the container value it was unpacked from; None where the value is the record."""


def group_values(
    values: Iterable[tuple[int, Any]], formats: tuple[Format, ...] | None = None, *, ready: tuple[type, ...] = ()
) -> Iterator[Grouped]:
    """Records in the order their first value stands in the file.

    A value of a session format joins its session, which comes out when the file ends; a container is unpacked; any
    other value is a record, and so is one of the types in `ready`, unseen by any format. Memory: one file's session
    values, else one value.
    """
    formats = FORMATS if formats is None else formats
    keyed = [(known.name, getattr(known, "session_key", None)) for known in formats]
    session_formats = [(name, session_key) for name, session_key in keyed if session_key is not None]
    openers = _openers(formats)
    sessions: dict[tuple[str, str], Grouped] = {}
    for position, value in values:
        if isinstance(value, ready):
            yield Grouped(value, [position])
            continue
        for name, session_key in session_formats:
            try:
                key = session_key(value)
            except _BROKEN:
                continue
            if key is not None:
                group = sessions.setdefault((name, key), Grouped([], []))
                group.record.append(value)
                group.positions.append(position)
                break
        else:
            inner = _open(value, openers)
            if inner is None:
                yield Grouped(value, [position])
            else:
                for k, record in enumerate(inner):
                    yield Grouped(record, [position], inner=k)
    yield from sessions.values()


def unpack(value: Any, formats: tuple[Format, ...] | None = None) -> list[Any] | None:
    """The records inside a container value; None if no format knows it as one, or it is empty."""
    return _open(value, _openers(FORMATS if formats is None else formats))


def _openers(formats: tuple[Format, ...]) -> list[Callable[[Any], list[Any] | None]]:
    found = [getattr(known, "unpack", None) for known in formats]
    return [opener for opener in found if opener is not None]


def _open(value: Any, openers: list[Callable[[Any], list[Any] | None]]) -> list[Any] | None:
    """What the first opener that knows the value finds inside; a broken container is left whole, for `parse` to say."""
    for opener in openers:
        try:
            records = opener(value)
        except _BROKEN:
            return None
        if records:
            return records
    return None


def split_text(text: str, formats: tuple[Format, ...] | None = None) -> list[str]:
    """The record texts of a plain-text file: as the first format that claims it splits it, else the text whole."""
    for known in FORMATS if formats is None else formats:
        splitter = getattr(known, "split", None)
        try:
            parts = splitter(text) if splitter is not None else None
        except _BROKEN:
            return [text]
        if parts:
            return _without_blanks(parts)
    return [text]


def _without_blanks(parts: list[str]) -> list[str]:
    """The parts, those of white space alone joined to their neighbour: they are no records."""
    joined: list[str] = []
    for part in parts:
        if joined and not (part.strip() and joined[-1].strip()):
            joined[-1] += part
        else:
            joined.append(part)
    return joined
