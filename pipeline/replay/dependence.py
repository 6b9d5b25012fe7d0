"""Which steps of a trajectory depend on the state that bad ones left, by the names their code binds and reads."""

from collections.abc import Iterable, Mapping, Sequence

from pipeline.replay.effects import OPAQUE, Effects, effects_of
from pipeline.replay.uses import EVERYTHING

_RANDOM_STATE = "random state"
"""Stands for the state of the interpreter's random generators, which is no name."""


def binds(code: str) -> frozenset[str]:
    """The names a block may bind at module level, deletions included; with `*` where syntax cannot tell all."""
    return frozenset(effects_of(code).binds)


def reads(code: str) -> frozenset[str]:
    """The names a block reads before it surely bound them itself; with `*` where syntax cannot tell all.

    The body of a function counts where the block calls it, else at its end. Built-in names are names like others, since
    an earlier step may have bound them.
    """
    return frozenset(effects_of(code).reads)


def mutates(code: str) -> frozenset[str]:
    """The names whose value a block may change in place: by method, item, attribute or a function known for it."""
    return frozenset(effects_of(code).mutates)


def reads_clock(code: str) -> bool:
    """Whether a block asks for the time, for the system's randomness, or for a random number it did not seed."""
    return effects_of(code).is_volatile


def tainted_steps(
    codes: Sequence[str | None], bad: Sequence[bool], *, completed: Sequence[bool] | None = None
) -> list[bool]:
    """Whether each step depends on the state that a bad step before it left, itself or through others.

    A step that reads a tainted name taints all it binds; one that binds a name from clean values cleans it. What is no
    Python (None) depends on everything before it, and everything behind a bad one depends on that. `completed` says
    which steps ran to their end: their imports and functions are sound however bad their results are.
    """
    tainted = [False] * len(codes)
    if not any(bad):
        return tainted
    names: set[str] = set()
    modules: set[str] = set()
    later: dict[str, frozenset[str]] = {}
    is_any = False
    for place, (code, is_bad) in enumerate(zip(codes, bad, strict=True)):
        effects = OPAQUE if code is None else effects_of(code)
        wanted = _wanted(effects, later)
        tainted[place] = is_any and (
            "*" in wanted or "*" in names or effects.touches_files or not names.isdisjoint(wanted)
        )
        modules = (modules - effects.binds) | effects.imports
        later = {name: held for name, held in later.items() if name not in effects.sets} | effects.later
        if is_bad or tainted[place]:
            is_any = True
            changed = _changed(effects, later, modules)
            if completed is not None and completed[place]:
                changed -= effects.imports | (effects.later.keys() - effects.mutates)
            if is_bad and not effects.is_readable:
                changed |= EVERYTHING
            names |= changed
        else:
            names -= effects.sets
            if effects.seeds:
                names.discard(_RANDOM_STATE)
    return tainted


def _wanted(effects: Effects, later: Mapping[str, frozenset[str]]) -> set[str]:
    """The names a step reads, those that the functions it calls read included."""
    wanted = _closure(effects.reads, later)
    if effects.draws and not effects.seeds:
        wanted.add(_RANDOM_STATE)
    return wanted


def _changed(effects: Effects, later: Mapping[str, frozenset[str]], modules: set[str]) -> set[str]:
    """The names whose value a step may change. A call through a module changes nothing of the module."""
    changed = effects.binds | (effects.mutates - modules)
    for function, given in effects.given.items():
        if function in later:  # one of the trajectory's own: a library's does not change what it is given
            changed |= given - modules
    if effects.draws or effects.seeds:
        changed.add(_RANDOM_STATE)
    return changed


def _closure(names: Iterable[str], later: Mapping[str, frozenset[str]]) -> set[str]:
    """The names, and what the functions among them read when they are called."""
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += later.get(name, ())
    return found
