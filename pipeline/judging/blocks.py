"""A row as blocks of quoted text: what a judge may see of it, before it is made to fit."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from pipeline.judging.private import LEFT_OUT, arguments_without_reasoning, is_thinking_tool, without_reasoning
from pipeline.judging.shortening import clip, width
from pipeline.judging.untrusted import neutralise, quote, visible
from pipeline.privacy.redaction import redact_text

_NO_TEXT = "(no text)"


@dataclass(frozen=True, slots=True)
class Look:
    """How untrusted text is shown."""

    defended: bool = True
    """False only to measure what the defences are worth."""
    max_message: int = 1500
    """Widest text of one message."""

    def body(self, text: str | None, limit: int) -> str:
        """A text of the row, cut, cleaned and quoted."""
        clean: Callable[[str], str] = _cleaned if self.defended else str
        told = clip((text or "").replace("<image>", "[image]").strip(), min(self.max_message, limit), clean) or _NO_TEXT
        return quote(told) if self.defended else told


@dataclass(slots=True)
class Block:
    """A header of ours and a text of theirs."""

    header: str
    text: str | None
    images: Sequence[str] = ()
    """References to the images that came with the text; they are named in the header once they are numbered."""
    _shown: dict[int, tuple[str, int]] = field(default_factory=dict)

    def shown(self, look: Look, limit: int) -> str:
        """The block as the judge sees it; made once for each limit."""
        return self._fitted(look, limit)[0]

    def width(self, look: Look, limit: int) -> int:
        """How much of the prompt it takes."""
        return self._fitted(look, limit)[1]

    def _fitted(self, look: Look, limit: int) -> tuple[str, int]:
        held = self._shown.get(limit)
        if held is None:
            told = f"{self.header}\n{look.body(self.text, limit)}"
            held = self._shown[limit] = told, width(told)
        return held


@dataclass(slots=True)
class TraceBlocks:
    """A trajectory: its task, then everything said, called and returned, in order, then its end."""

    task: Block
    events: list[Block]
    closing: list[Block]
    """Last words and final answer: shown whenever the whole is."""
    last_observation: int | None
    """Its place among the events."""
    calls: list[tuple[int, int]]
    """Of each call, by step_index: its place among the events, and that of its observation, its own where none came."""
    images: list[str]
    """In order: the first one is image 1."""


def trace_blocks(row: dict[str, Any], steps: Sequence[tuple[int, int, int | None]], look: Look) -> TraceBlocks:
    """The blocks of one trajectory, without its reasoning; its images are numbered from 1.

    Reads: row: prompt, messages and final_answer, redacted; steps: message_index, call_index and observation_index of
        each call, in order of step_index.
    """
    messages = row["messages"] or []
    call_numbers = {(message, call): number for number, (message, call, _) in enumerate(steps)}
    answered = {observation: number for number, (_, _, observation) in enumerate(steps) if observation is not None}
    task = Block("TASK", row["prompt"])
    events: list[Block] = []
    at_call, at_observation = [0] * len(steps), [-1] * len(steps)
    last_observation, last_words = None, None
    for index, message in enumerate(messages):
        role, images = message["role"], message["images"] or ()
        if role == "assistant":
            words = _agent_words(message["content"], look)
            if words.strip():
                last_words = len(events)
                events.append(Block("AGENT SAYS", words, images))
            for place, call in enumerate(message["tool_calls"] or ()):
                number = call_numbers[index, place]
                at_call[number] = len(events)
                events.append(Block(f"AGENT MAKES CALL {number}", _call_text(call)))
        elif role == "tool":
            number = answered.get(index)
            if number is not None:
                at_observation[number] = len(events)
            last_observation = len(events)
            events.append(_observation(message, number, messages, steps))
        elif role == "user" and _is_task(message["content"], row["prompt"]):
            task.images = [*task.images, *images]
        else:
            header = "INSTRUCTIONS TO THE AGENT" if role == "system" else "USER SAYS"
            events.append(Block(header, message["content"], images))
    closing = []
    if last_words is not None and last_words == len(events) - 1:
        closing.append(events.pop())
        closing[0].header = "FINAL ANSWER, AS THE AGENT SAYS IT"
    if not closing or not _holds(closing[0].text, row["final_answer"]):
        closing.append(Block("FINAL ANSWER, AS IT WAS RECORDED", _agent_words(row["final_answer"], look)))
    calls = [(call, max(call, came)) for call, came in zip(at_call, at_observation, strict=True)]
    return TraceBlocks(task, events, closing, last_observation, calls, number_images([task, *events, *closing]))


def _cleaned(text: str) -> str:
    """The text made safe to show."""
    return neutralise(_revealed(text))


def _revealed(text: str) -> str:
    """The text without invisible characters; what they had hidden from the detectors is redacted now."""
    seen = visible(text)
    return seen if len(seen) == len(text) else redact_text(seen)


def number_images(blocks: Iterable[Block]) -> list[str]:
    """The images of the blocks in order, after naming them in the headers: the first one is image 1."""
    found: list[str] = []
    for block in blocks:
        if block.images:
            names = ", ".join(f"image {len(found) + place}" for place in range(1, len(block.images) + 1))
            block.header += f" (with {names})"
            found.extend(block.images)
    return found


def _agent_words(content: str | None, look: Look) -> str:
    """What an agent says aloud."""
    return without_reasoning(_revealed(content or "") if look.defended else content or "")


def _call_text(call: dict[str, Any]) -> str:
    name, arguments = call["name"], call["arguments"] or ""
    told = LEFT_OUT if is_thinking_tool(name) else arguments_without_reasoning(arguments)
    return f"{name or '(no name)'} {told}"


def _observation(
    message: dict[str, Any],
    number: int | None,
    messages: Sequence[dict[str, Any]],
    steps: Sequence[tuple[int, int, int | None]],
) -> Block:
    """What came back; of a tool to think with nothing is told."""
    images = message["images"] or ()
    if number is None:
        return Block("RESULT OF NO CALL", message["content"], images)
    at, place, _ = steps[number]
    is_echo = is_thinking_tool(messages[at]["tool_calls"][place]["name"])
    return Block(f"RESULT OF CALL {number}", LEFT_OUT if is_echo else message["content"], images)


def _is_task(content: str | None, prompt: str | None) -> bool:
    return content is not None and prompt is not None and content.strip() == prompt.strip()


def _holds(words: str | None, answer: str | None) -> bool:
    """Whether the last words tell the answer, so that it need not be told apart."""
    return not (answer or "").strip() or (answer or "").strip() in (words or "")
