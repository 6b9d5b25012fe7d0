"""A source of clean traces that are all clearly different, so that every near duplicate is one we meant."""

import random
import re
from collections.abc import Callable, Sequence

from examples.trace import Trace

Kind = Callable[[random.Random], Trace]
MAX_SIMILARITY = 0.5
_WORD = re.compile(r"\w+")
_SHINGLE_WORDS = 5


def shingles(trace: Trace) -> frozenset[tuple[str, ...]]:
    """The runs of five words of a trace: task, thoughts, calls and observations."""
    parts = [turn.text for turn in trace.turns]
    parts += [str(value) for turn in trace.turns for call in turn.calls for value in _values(call.arguments)]
    words = _WORD.findall(" ".join(parts).lower())
    return frozenset(tuple(words[k : k + _SHINGLE_WORDS]) for k in range(max(1, len(words) - _SHINGLE_WORDS + 1)))


def _values(arguments: dict[str, object] | str) -> list[object]:
    return [arguments] if isinstance(arguments, str) else list(arguments.values())


class Pool:
    """Draws traces, refusing any that resembles one drawn before."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self._drawn: list[frozenset[tuple[str, ...]]] = []
        self._prompts: set[str] = set()

    def draw(self, kinds: Sequence[Kind], *, accept: Callable[[Trace], bool] = lambda trace: True) -> Trace:
        """A new trace of one of the kinds. Raises RuntimeError when the world has no more to tell."""
        for _ in range(400):
            trace = self.rng.choice(kinds)(self.rng)
            if trace.prompt in self._prompts or not trace.grounded or not accept(trace):
                continue
            candidate = shingles(trace)
            if any(len(candidate & other) > MAX_SIMILARITY * len(candidate | other) for other in self._drawn):
                continue
            self._prompts.add(trace.prompt)
            self._drawn.append(candidate)
            return trace
        raise RuntimeError(f"no new trace among {[kind.__name__ for kind in kinds]}; enlarge the world or the kinds")
