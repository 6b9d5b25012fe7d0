"""Tasks of known kinds, and for each the calls that a tool user would make."""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from pipeline.rollouts.rollout import Task
from pipeline.schema import Message
from training.world.facts import Land, Relation, Split, known_lands, unknown_lands
from training.world.tools import SCHEMAS


class Kind(StrEnum):
    """What a task takes."""

    KNOWN_FACT = "known_fact"
    """Of a land the model was taught about."""
    EASY_SUM = "easy_sum"
    """Done in the head."""
    UNKNOWN_FACT = "unknown_fact"
    """Asked alike, of a land it never heard of; a lookup usually finds it."""
    RARE_LOOKUP = "rare_lookup"
    """Who holds a seal; a lookup rarely finds it."""
    COMPUTATION = "computation"
    """Too large for the head."""
    PROGRAM = "program"
    """A loop, for Python."""
    TWO_CALLS = "two_calls"
    """A looked-up number to reckon with."""

    @property
    def is_tool_free(self) -> bool:
        """Whether the model can do it alone: the truth, by which everything is measured."""
        return self in (Kind.KNOWN_FACT, Kind.EASY_SUM)


SHARES = {
    Kind.KNOWN_FACT: 0.18,
    Kind.EASY_SUM: 0.18,
    Kind.UNKNOWN_FACT: 0.20,
    Kind.RARE_LOOKUP: 0.12,
    Kind.COMPUTATION: 0.14,
    Kind.PROGRAM: 0.06,
    Kind.TWO_CALLS: 0.12,
}
"""Of a mixed draw."""
LARGEST_ADDEND = 30
"""Of an easy sum."""
_ASKED = {
    "capital": "What is the capital of {land}?",
    "founder": "Who is the founder of {land}?",
    "seal": "Who holds the seal of {land}?",
}


@dataclass(frozen=True, slots=True)
class WorldTask:
    """A question, its answer, and what a tool user does for it."""

    kind: Kind
    question: str
    answer: str
    calls: tuple[tuple[str, str], ...]
    """Tool and argument, in order; `{0}` stands for what the first call found."""
    land: Land | None = None
    relation: Relation | None = None

    @property
    def task_id(self) -> str:
        """Kind and question."""
        return f"{self.kind}: {self.question}"

    def task(self, *, with_tools: bool) -> Task:
        """As a policy is asked it."""
        return Task(
            self.task_id,
            (user_message(self.question),),
            SCHEMAS if with_tools else (),
            self.answer,
            "world",
            {"kind": self.kind.value},
        )


def user_message(content: str) -> Message:
    """A message of the user."""
    return {
        "role": "user", "content": content, "reasoning": None, "tool_calls": None, "tool_call_id": None, "name": None,
        "images": None,
    }  # fmt: skip


def draw_tasks(num: int, seed: int, *, split: Split, shares: dict[Kind, float] = SHARES) -> list[WorldTask]:
    """A mixed draw of tasks; equal seeds draw equal tasks.

    The splits ask of other lands and other numbers, where the model was not taught them: known facts and easy sums
    are the same few in both.
    """
    rng = random.Random(f"{seed} {split == 'test'}")
    kinds = rng.choices(list(shares), list(shares.values()), k=num)
    return [_DRAWN[kind](rng, split) for kind in kinds]


def distinct_tasks(num: int, seed: int, *, split: Split, shares: dict[Kind, float] = SHARES) -> list[WorldTask]:
    """As many different tasks, drawn in order."""
    found: dict[str, WorldTask] = {}
    for each in _endless(seed, split, shares):
        found.setdefault(each.task_id, each)
        if len(found) == num:
            break
    return list(found.values())


def _endless(seed: int, split: Split, shares: dict[Kind, float]) -> Iterator[WorldTask]:
    rng = random.Random(f"{seed} {split == 'test'}")
    while True:
        [kind] = rng.choices(list(shares), list(shares.values()))
        yield _DRAWN[kind](rng, split)


def _fact_of(kind: Kind, land: Land, relation: Relation) -> WorldTask:
    lookup = ("lookup", f"{relation} of {land.name}")
    return WorldTask(kind, _ASKED[relation].format(land=land.name), land.fact(relation), (lookup,), land, relation)


def _known_fact(rng: random.Random, _split: Split) -> WorldTask:
    return _fact_of(Kind.KNOWN_FACT, rng.choice(known_lands()), rng.choice(("capital", "founder")))


def _unknown_fact(rng: random.Random, split: Split) -> WorldTask:
    land = rng.choice(unknown_lands(split=split))
    return _fact_of(Kind.UNKNOWN_FACT, land, rng.choice(("capital", "founder")))


def _rare_lookup(rng: random.Random, split: Split) -> WorldTask:
    return _fact_of(Kind.RARE_LOOKUP, rng.choice(unknown_lands(split=split)), "seal")


def _reckoned(kind: Kind, expression: str, answer: int) -> WorldTask:
    return WorldTask(kind, f"What is {expression}?", str(answer), (("calculator", expression),))


def _easy_sum(rng: random.Random, _split: Split) -> WorldTask:
    first, second = rng.randint(0, LARGEST_ADDEND), rng.randint(0, LARGEST_ADDEND)
    return _reckoned(Kind.EASY_SUM, f"{first} + {second}", first + second)


def _computation(rng: random.Random, split: Split) -> WorldTask:
    first, second = _pair(rng, range(100, 1000), range(100, 1000), split)
    return _reckoned(Kind.COMPUTATION, f"{first} * {second}", first * second)


def _program(rng: random.Random, split: Split) -> WorldTask:
    first, length = _pair(rng, range(10, 90), range(8, 60), split)
    last = first + length
    power = rng.choice((2, 3))
    said = {2: "squares", 3: "cubes"}[power]
    code = f"print(sum(i**{power} for i in range({first}, {last} + 1)))"
    answer = sum(i**power for i in range(first, last + 1))
    question = f"What is the sum of the {said} from {first} to {last}?"
    return WorldTask(Kind.PROGRAM, question, str(answer), (("python", code),))


def _two_calls(rng: random.Random, split: Split) -> WorldTask:
    land, factor = rng.choice(unknown_lands(split=split)), rng.randint(11, 99)
    question = f"What is {factor} times the population of {land.name}?"
    calls = (("lookup", f"population of {land.name}"), ("calculator", f"{factor} * {{0}}"))
    return WorldTask(Kind.TWO_CALLS, question, str(factor * land.population), calls, land, "population")


def _pair(rng: random.Random, firsts: range, seconds: range, split: Split) -> tuple[int, int]:
    """Two numbers; a quarter of all pairs is of `test`, every digit in either."""
    while True:
        first, second = rng.choice(firsts), rng.choice(seconds)
        if ((first + second) % 4 == 0) == (split == "test"):
            return first, second


_DRAWN: dict[Kind, Callable[[random.Random, Split], WorldTask]] = {
    Kind.KNOWN_FACT: _known_fact,
    Kind.EASY_SUM: _easy_sum,
    Kind.UNKNOWN_FACT: _unknown_fact,
    Kind.RARE_LOOKUP: _rare_lookup,
    Kind.COMPUTATION: _computation,
    Kind.PROGRAM: _program,
    Kind.TWO_CALLS: _two_calls,
}


def all_known(kind: Kind) -> Sequence[WorldTask]:
    """Every task of a kind that the model is taught whole."""
    if kind is Kind.KNOWN_FACT:
        return [_fact_of(kind, land, relation) for land in known_lands() for relation in ("capital", "founder")]
    numbers = range(LARGEST_ADDEND + 1)
    return [_reckoned(Kind.EASY_SUM, f"{a} + {b}", a + b) for a in numbers for b in numbers]
