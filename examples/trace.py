"""A sample trace before it takes a format: a task, the messages about it, and what is known of its outcome."""

import copy
import random
from dataclasses import dataclass, field
from typing import Any

from examples.tools import run


@dataclass(slots=True)
class Call:
    """One tool call; `arguments` is text only where the fault is that it is no JSON."""

    id: str
    name: str
    arguments: dict[str, Any] | str


@dataclass(slots=True)
class Turn:
    """One message."""

    role: str
    text: str = ""
    calls: list[Call] = field(default_factory=list)
    call_id: str | None = None
    name: str | None = None


@dataclass(slots=True)
class Trace:
    """One attempt at one task. `answer` is what was concluded, `truth` what is right, None where unrecorded."""

    prompt: str
    turns: list[Turn]
    tools: list[str]
    answer: str
    correct: str
    necessary: bool | None
    kind: str
    truth: str | None = None
    success: bool | None = None
    finish_reason: str | None = None
    grounded: bool = True
    images: list[str] = field(default_factory=list)

    def copied(self) -> "Trace":
        """A deep copy, for a fault to be put in."""
        return copy.deepcopy(self)

    @property
    def last(self) -> Turn:
        """The last message."""
        return self.turns[-1]

    def first_calling(self) -> int:
        """Position of the first message that calls a tool; Raises StopIteration where none does."""
        return next(k for k, turn in enumerate(self.turns) if turn.calls)


@dataclass(frozen=True, slots=True)
class Step:
    """A call to make, and the words that lead up to it."""

    thought: str
    name: str
    arguments: dict[str, Any]


CLOSINGS = ("The answer is {}.", "So the answer is {}.", "Answer: {}", "Final answer: {}")


def assemble(
    rng: random.Random,
    *,
    kind: str,
    prompt: str,
    steps: list[Step],
    reply: str,
    answer: str,
    tools: list[str],
    necessary: bool | None,
) -> Trace:
    """A clean trace: each step's call followed by what its tool really returns, then the reply and the answer."""
    turns = [Turn("user", prompt)]
    for step in steps:
        call_id = f"call_{rng.getrandbits(48):012x}"
        turns.append(Turn("assistant", step.thought, [Call(call_id, step.name, step.arguments)]))
        turns.append(Turn("tool", run(step.name, step.arguments), call_id=call_id, name=step.name))
    turns.append(Turn("assistant", f"{reply} {rng.choice(CLOSINGS).format(answer)}".strip()))
    return Trace(prompt, turns, tools, answer, answer, necessary, kind)
