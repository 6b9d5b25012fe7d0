"""A chat template as rollouts use it: rendered once before the first turn, and from there only what stands between."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from pipeline.errors import ConfigError
from pipeline.rollouts.guarded_text import MARK, SLOT
from pipeline.rollouts.text_protocol import observations_told

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Protocol = Literal["native", "text"]

_ASKED: dict[str, Any] = {"role": "user", "content": "What is it?"}
_TOOL: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "probe_tool",
        "description": "Looks it up.",
        "parameters": {"type": "object", "properties": {"query": {"type": "string"}}, "required": ["query"]},
    },
}
_AWKWARD = (" \n x\"'\\&<b>{}\t \n\n", "", '{"é": 1}', "<think>\n</think>")
"""Observations that a template may trim, escape or take for something else."""


_WRITTEN: tuple[Callable[[str], str], ...] = (str, str.strip, lambda text: json.dumps(text, ensure_ascii=False)[1:-1])
"""How templates write an observation: as it is, trimmed, as the inside of a JSON string."""


class RenderingError(ValueError):
    """A template refuses the messages, in its own words."""


@dataclass(frozen=True, slots=True)
class Frame:
    """What a template writes around generated turns."""

    turn_end: str
    """The token that ends a turn."""
    after_end: str
    """What stands between that token and the next message."""
    generation: str
    """What opens a turn for the model."""

    @property
    def opens_think(self) -> bool:
        """Whether the model finds itself inside a think block when its turn begins."""
        return self.generation.rfind("<think>") > self.generation.rfind("</think>")


@dataclass(frozen=True, slots=True)
class _Pattern:
    """A rendering with slots for what came back."""

    parts: tuple[str, ...]
    written: Callable[[str], str]

    def filled(self, texts: list[str]) -> str:
        """The rendering for these observations."""
        pairs = zip(self.parts, [*map(self.written, texts), ""], strict=True)
        return "".join(piece for pair in pairs for piece in pair)


class ChatTemplate:
    """Renders text; every string that it is given is guarded already."""

    def __init__(self, tokenizer: "PreTrainedTokenizerBase", protocol: Protocol) -> None:
        """Raises ConfigError if the template does not frame turns so that they can be continued token by token."""
        self._tokenizer = tokenizer
        self._protocol: Protocol = protocol
        self._patterns: dict[int, _Pattern | None] = {}
        self.frame = self._frame()
        self._takes_parallel = self.one_turn(2) is not None
        self._check_rounds()

    def render(
        self, messages: list[dict[str, Any]], tools: list[dict[str, Any]] | None = None, *, is_generating: bool = False
    ) -> str:
        """The text of the messages. Raises RenderingError."""
        from jinja2 import TemplateError

        try:
            rendered = self._tokenizer.apply_chat_template(
                messages, tools=[*tools] if tools else None, tokenize=False, add_generation_prompt=is_generating
            )
        except (TemplateError, TypeError, ValueError, KeyError, AttributeError) as error:
            raise RenderingError(str(error)) from error
        return str(rendered)

    def takes_system(self) -> bool:
        """Whether a system message is rendered."""
        try:
            return MARK in self.render([{"role": "system", "content": MARK}, _ASKED])
        except RenderingError:
            return False

    def one_turn(self, num_calls: int) -> str | None:
        """A turn of so many probe calls as the template writes it, its end left out; None if it refuses them."""
        try:
            begun, whole = self.render([_ASKED], is_generating=True), self.render([_ASKED, self._turn(num_calls)])
        except RenderingError:
            return None
        if whole.count(MARK) != num_calls or not whole.startswith(begun):
            return None
        return whole.removeprefix(begun).removesuffix(self.frame.turn_end + self.frame.after_end)

    def between(self, names: list[str], texts: list[str]) -> str:
        """What stands between the token that ends a turn and the next turn: observations, and what opens it.

        Raises RenderingError.
        """
        num = len(texts)
        if num not in self._patterns:
            self._patterns[num] = self._pattern(num)
        pattern = self._patterns[num]
        return self._between(names, texts) if pattern is None else pattern.filled(texts)

    def _pattern(self, num: int) -> _Pattern | None:
        """What stands around so many observations; None if it depends on what they are."""
        parts = tuple(self._between(["probe_tool"] * num, [SLOT] * num).split(SLOT))
        if len(parts) != num + 1:
            return None
        turned = [[_AWKWARD[(turn + place) % len(_AWKWARD)] for place in range(num)] for turn in range(len(_AWKWARD))]
        rendered = [self._between(["another_tool"] * num, texts) for texts in turned]
        patterns = (_Pattern(parts, written) for written in _WRITTEN)
        fits = (each for each in patterns if [each.filled(texts) for texts in turned] == rendered)
        return next(fits, None)

    def _between(self, names: list[str], texts: list[str], *, num_rounds: int = 0) -> str:
        """The same, rendered, behind a dialogue of so many earlier rounds."""
        turn = self._turn(len(texts) if self._takes_parallel else 1, names)
        dialogue = [_ASKED, *[turn, *self._replies(names, texts)] * num_rounds, turn]
        # Earlier turns may be rendered anew, without their reasoning say: only what follows the last one counts.
        ended = self.render(dialogue).rpartition(MARK)[2]
        whole = self.render([*dialogue, *self._replies(names, texts)], is_generating=True).rpartition(MARK)[2]
        if not whole.startswith(ended):
            raise RenderingError("a turn is rendered otherwise once something follows it")
        return self.frame.after_end + whole.removeprefix(ended)

    def _turn(self, num_calls: int, names: list[str] | None = None) -> dict[str, Any]:
        """A generated turn with a mark in every call, or as its words where the template knows no calls."""
        if self._protocol == "text":
            return {"role": "assistant", "content": MARK}
        called = (names or ["probe_tool"] * num_calls)[:num_calls]
        calls = [{"name": name, "arguments": {"query": MARK}} for name in called]
        listed = [{"type": "function", "id": _call_id(place), "function": call} for place, call in enumerate(calls)]
        return {"role": "assistant", "content": "", "tool_calls": listed}

    def _replies(self, names: list[str], texts: list[str]) -> list[dict[str, Any]]:
        if self._protocol == "text":
            return [{"role": "user", "content": observations_told(texts)}]
        return [
            {"role": "tool", "name": name, "tool_call_id": _call_id(place), "content": text}
            for place, (name, text) in enumerate(zip(names, texts, strict=True))
        ]

    def _frame(self) -> Frame:
        try:
            asked, begun = self.render([_ASKED]), self.render([_ASKED], is_generating=True)
            whole = self.render([_ASKED, self._turn(1)])
            offered = "text" if self._protocol == "text" else self.render([_ASKED], [_TOOL], is_generating=True)
        except RenderingError as error:
            raise refused(f"one it can render a task and a turn with, found: {error}", self._protocol) from error
        if self._protocol == "native" and _TOOL["function"]["name"] not in offered:
            raise refused("one that tells the model its tools, found none told", self._protocol)
        if not begun.startswith(asked) or begun == asked:
            raise refused("one that opens a turn for the model behind the messages, found none opened", self._protocol)
        if MARK not in whole or not whole.startswith(begun):
            raise refused("one that writes a turn where it opens one, found another beginning", self._protocol)
        ended = whole.rpartition(MARK)[2]
        tokens = [token.content for token in self._tokenizer.added_tokens_decoder.values() if token.content.strip()]
        ends = [token for token in tokens if ended.rstrip().endswith(token)]
        if not ends:
            raise refused(f"one that ends a turn with a token of the vocabulary, found {ended!r}", self._protocol)
        return Frame(max(ends, key=len), ended[len(ended.rstrip()) :], begun.removeprefix(asked))

    def _check_rounds(self) -> None:
        """Raises ConfigError unless what follows a turn is the same in every round and holds the observations."""
        for num in (1, 2):
            names, texts = ["probe_tool"] * num, [f"observation {place}" for place in range(num)]
            try:
                first, second = self._between(names, texts), self._between(names, texts, num_rounds=1)
            except RenderingError as error:
                raise refused(f"one that only appends, found: {error}", self._protocol) from error
            if first != second:
                raise refused("one that appends the same in every round, found another", self._protocol)
            if any(text not in first for text in texts):
                raise refused("one that shows what tools return, found it left out", self._protocol)
            if not first.endswith(self.frame.generation):
                raise refused("one that opens every turn alike, found another opening", self._protocol)


def refused(found: str, protocol: Protocol) -> ConfigError:
    """The error for a template that cannot carry the protocol."""
    move = 'set protocol = "text"' if protocol == "native" else "serve a model with another chat template"
    return ConfigError(f"chat template, protocol {protocol}: want {found}; {move}")


def _call_id(place: int) -> str:
    """Nine letters and digits, which is what templates that check ids want."""
    return f"call{place:05d}"
