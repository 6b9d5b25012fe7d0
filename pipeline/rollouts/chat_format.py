"""Dialogues as tokens: a task's prompt, a generated turn read back, and what stands between two turns.

Sampled tokens are never tokenised again and the history is never rendered again: a dialogue only grows. What a template
would change about earlier turns, as Qwen3 drops their reasoning, therefore stays as it was sampled.
"""

import hashlib
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pipeline.errors import PolicyRequestError
from pipeline.replay.environment import Observation
from pipeline.rollouts.chat_template import ChatTemplate, Protocol, RenderingError, refused
from pipeline.rollouts.guarded_text import MARK, GuardedText
from pipeline.rollouts.rollout import Task, Turn
from pipeline.rollouts.text_protocol import tools_told
from pipeline.rollouts.tool_texts import DIALECTS, HERMES, Dialect
from pipeline.schema import ToolCall

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_FURTHER_ENDS = ("<|eom_id|>",)
"""Tokens that end a turn beside the template's own: Llama's, when a call is to be run."""


class ChatFormat:
    """What a tokenizer's chat template makes of tasks, turns and observations.

    Text of the task and of observations stays text: nothing in it becomes a token that the template writes. Characters
    that no UTF-8 holds, and the noncharacters U+FDD0 to U+FDD2, are replaced by U+FFFD.
    """

    def __init__(self, tokenizer: "PreTrainedTokenizerBase", *, protocol: Protocol = "native") -> None:
        """Try the template out. Raises ConfigError saying what it does that cannot be continued token by token."""
        if not tokenizer.chat_template:
            raise refused("a chat template, found none", "text")
        self._tokenizer = tokenizer
        self._protocol: Protocol = protocol
        self._guarded = GuardedText(tokenizer)
        self._template = ChatTemplate(tokenizer, protocol)
        self._takes_system = self._template.takes_system()
        self._dialect = self._find_dialect()
        frame = self._template.frame
        vocabulary = tokenizer.get_vocab()
        ends = (str(tokenizer.eos_token), frame.turn_end, *_FURTHER_ENDS)
        self.stop_ids: frozenset[int] = frozenset(vocabulary[end] for end in ends if end in vocabulary)
        """The tokens that end a turn."""
        self._check_tokens()

    @property
    def identity(self) -> str:
        """Names the protocol and the template."""
        told = json.dumps(self._tokenizer.chat_template, sort_keys=True)
        told += tools_told([]) if self._protocol == "text" else ""
        return f"{self._protocol}-{hashlib.sha256(told.encode()).hexdigest()[:12]}"

    def begin(self, task: Task) -> list[int]:
        """The tokens before the first generation. Raises PolicyRequestError if the template refuses the task."""
        guard = self._guarded.guard
        if any(message["images"] for message in task.messages):
            raise PolicyRequestError(f"task {task.task_id}: want text alone, found images")
        messages: list[dict[str, Any]] = [
            {"role": message["role"], "content": guard(message["content"] or "")} for message in task.messages
        ]
        roles = {message["role"] for message in messages}
        if not messages or not roles <= {"system", "user"}:
            raise PolicyRequestError(f"task {task.task_id}: want system and user messages, found {sorted(roles)}")
        tools = self._guarded.guard_all(task.tools)
        if self._protocol == "text":
            messages, tools = self._with_tools_told(messages, tools), []
        try:
            return self._guarded.encode(self._template.render(messages, tools, is_generating=True))
        except RenderingError as error:
            raise PolicyRequestError(f"task {task.task_id}: the chat template refuses it: {error}") from error

    def read(self, token_ids: Sequence[int]) -> Turn:
        """The message that was generated: words, reasoning and calls, stripped of space around them.

        Never raises: a call that cannot be read keeps its text as arguments. A turn that no stop token ends is cut, and
        a call that is still open there was not made.
        """
        is_cut = not token_ids or token_ids[-1] not in self.stop_ids
        text = str(
            self._tokenizer.decode(
                list(token_ids if is_cut else token_ids[:-1]),
                skip_special_tokens=False,
                clean_up_tokenization_spaces=False,
            )
        )
        reasoning, words = self._split_thought(text)
        said = self._dialect.read(words, is_cut=is_cut)
        return Turn(said.content, reasoning, said.tool_calls, is_cut=is_cut, num_tokens=len(token_ids))

    def observed(self, observations: list[tuple[ToolCall, Observation]], *, is_closed: bool) -> list[int]:
        """The tokens between a generated turn and the next.

        `is_closed`: it ended itself. Of the tokens that end one any will do; a cut turn gets the template's here.
        Raises PolicyRequestError if the template refuses the observations.
        """
        if not observations:
            raise ValueError("observations: want at least one, found none")
        names = [self._guarded.guard(call["name"] or "") for call, _ in observations]
        texts = [self._guarded.guard(observation.text) for _, observation in observations]
        try:
            between = self._template.between(names, texts)
        except RenderingError as error:
            raise PolicyRequestError(f"the chat template refuses what tools returned: {error}") from error
        return self._guarded.encode(between if is_closed else self._template.frame.turn_end + between)

    def _with_tools_told(self, messages: list[dict[str, Any]], tools: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The messages with the tools in the system's; where the template has none, at the head of the first."""
        opening = [message["content"] for message in messages[:1] if message["role"] == "system"]
        rest = messages[len(opening) :]
        told = "\n\n".join([*opening, *([tools_told(tools)] if tools else [])])
        if not told:
            return rest
        if self._takes_system:
            return [{"role": "system", "content": told}, *rest]
        if not rest:
            return [{"role": "user", "content": told}]
        return [{**rest[0], "content": f"{told}\n\n{rest[0]['content']}"}, *rest[1:]]

    def _split_thought(self, text: str) -> tuple[str | None, str]:
        """Reasoning, and the text behind it."""
        if not (self._template.frame.opens_think or text.lstrip().startswith("<think>")):
            return None, text
        thought, _, words = text.lstrip().removeprefix("<think>").partition("</think>")
        return thought.strip() or None, words

    def _find_dialect(self) -> Dialect:
        """The dialect that reads the template's own calls. Raises ConfigError if none does."""
        texts = [text for text in map(self._template.one_turn, (1, 2)) if text is not None]
        turns = [self._split_thought(text)[1] for text in texts]
        if self._protocol == "text":
            if any(turn.strip() != MARK for turn in turns):
                raise refused(f"turns of words alone, found {texts}", "text")
            return HERMES
        for dialect in DIALECTS:
            if turns and all(_is_read(dialect, turn, num) for num, turn in enumerate(turns, 1)):
                return dialect
        raise refused(f"calls as one of {', '.join(dialect.name for dialect in DIALECTS)}, found {texts}", "native")

    def _check_tokens(self) -> None:
        """Raises ConfigError unless the tokens spell the template's text, and look-alikes stay text."""
        end = self._template.frame.turn_end
        between = self._template.between(["probe_tool"], [self._guarded.guard(f" é {end} <|im_end|>\n ")])
        for text in (self._template.render([{"role": "user", "content": "What  is it?"}], is_generating=True), between):
            try:
                spelled = self._tokenizer.decode(
                    self._guarded.encode(text), skip_special_tokens=False, clean_up_tokenization_spaces=False
                )
            except PolicyRequestError as error:
                raise refused(str(error), self._protocol) from error
            if spelled != self._guarded.unguarded(text):
                raise refused(f"a tokenizer that spells {text!r}, found {spelled!r}", self._protocol)


def _is_read(dialect: Dialect, turn: str, num_calls: int) -> bool:
    """Whether it reads the probe's calls, and nothing else, out of the turn."""
    said = dialect.read(turn, is_cut=False)
    calls = [(call["name"], _arguments(call)) for call in said.tool_calls]
    return said.content is None and calls == [("probe_tool", {"query": MARK})] * num_calls


def _arguments(call: ToolCall) -> Any:
    """The value of a call's arguments; None where they are no JSON."""
    try:
        return json.loads(call["arguments"] or "")
    except ValueError:
        return None
