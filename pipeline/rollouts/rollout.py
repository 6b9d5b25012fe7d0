"""What goes into a rollout and what comes out of it."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from pipeline.schema import Message, ToolCall


class End(StrEnum):
    """Why a rollout ended."""

    ANSWERED = "answered"
    """A turn without a tool call."""
    TURNS = "turns"
    """It used its last turn on a call."""
    TOKENS = "tokens"
    """It ran out of tokens, in a turn or over all."""
    TIME = "time"
    """Its wall time was over."""
    TOOL = "tool"
    """A tool never came back, or its environment broke: the world's fault, not the policy's."""
    POLICY = "policy"
    """The policy's server failed: nothing is known of the rest, and the next run takes it up again."""


@dataclass(frozen=True, slots=True)
class Task:
    """What the policy is asked, and what it may use."""

    task_id: str
    messages: tuple[Message, ...]
    """What stands before the first generation: system and user messages."""
    tools: tuple[dict[str, Any], ...] = ()
    """OpenAI-style function schemas; none: it answers by itself."""
    ground_truth: str | None = None
    source: str = "rollouts"
    metadata: dict[str, Any] = field(default_factory=dict)
    """Beside the task: environments read their initial state from it, tables keep it."""


@dataclass(frozen=True, slots=True)
class Completion:
    """What a model generated after a prompt of tokens."""

    token_ids: tuple[int, ...]
    """As sampled, the token that ended it included."""
    logprobs: tuple[float, ...]
    """Nats, of each sampled token at temperature 1."""
    is_cut: bool
    """Whether it ran into the limit of new tokens rather than ending itself."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One generation as a message: text, reasoning, tool calls."""

    content: str | None
    reasoning: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    is_cut: bool = False
    num_tokens: int = 0
    """Tokens generated."""


@dataclass(slots=True)
class Tokens:
    """A whole rollout as the model read and wrote it, one entry a token; no text is ever tokenised again."""

    ids: list[int] = field(default_factory=list)
    is_model: bytearray = field(default_factory=bytearray)
    """1 where the model sampled the token, 0 where prompt, template or environment wrote it."""
    logprobs: list[float] = field(default_factory=list)
    """Nats at temperature 1 where is_model, 0.0 elsewhere."""

    def __len__(self) -> int:
        return len(self.ids)

    def add_written(self, ids: list[int] | tuple[int, ...]) -> None:
        """Tokens that the model did not sample."""
        self.ids += ids
        self.is_model += bytes(len(ids))
        self.logprobs += [0.0] * len(ids)

    def add_sampled(self, completion: Completion) -> None:
        """Tokens that it did."""
        self.ids += completion.token_ids
        self.is_model += b"\x01" * len(completion.token_ids)
        self.logprobs += completion.logprobs


@dataclass(slots=True)
class Rollout:
    """One trajectory that our own policy sampled."""

    task: Task
    index: int
    """Place in its group, from 0."""
    policy: str
    """Identity of the policy."""
    messages: list[Message] = field(default_factory=list)
    tokens: Tokens | None = None
    """None where the policy's server shows none."""
    end: End = End.POLICY
    failure: str | None = None
    """Why, for the ends `tool` and `policy`."""
    num_turns: int = 0
    num_tool_calls: int = 0
    num_new_tokens: int = 0
    """Tokens generated."""
    wall_s: float = 0.0
    final_answer: str | None = None
    is_correct: bool | None = None
    """Against the ground truth; None where there is none or no rule can decide."""
    rule: str | None = None
    """Which rule of the answer checker decided."""
