"""What a block of Python does to the names of its module, by its syntax."""

import ast
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from pipeline.replay.clocks import novelty_of
from pipeline.replay.parsing import OpaqueCodeError, has_magic, parse_code
from pipeline.replay.uses import EVERYTHING, Uses, uses_of

_CACHED_BLOCKS = 4096


@dataclass(slots=True)
class Effects:
    """What a block reads, binds and changes."""

    reads: set[str] = field(default_factory=set)
    """Names it reads before it surely bound them itself, inside of functions too."""
    binds: set[str] = field(default_factory=set)
    """Names it may bind or delete."""
    sets: set[str] = field(default_factory=set)
    """Names it binds whatever path is taken."""
    mutates: set[str] = field(default_factory=set)
    """Names whose value it may change in place."""
    given: dict[str, set[str]] = field(default_factory=dict)
    """Function to the names it is given, which it may change."""
    later: dict[str, frozenset[str]] = field(default_factory=dict)
    """Function or class to the names its body reads whenever it is called."""
    imports: set[str] = field(default_factory=set)
    """Names that are bound by imports alone."""
    touches_files: bool = False
    is_volatile: bool = False
    """Whether it asks for the time, for the system's randomness, or for a random number it did not seed."""
    draws: bool = False
    seeds: bool = False
    """Whether it takes from the interpreter's random generators, and whether it seeds them."""
    is_readable: bool = True
    """Whether it is Python that can be read. What is none raises the same SyntaxError whatever the state is."""


OPAQUE = Effects(reads=set(EVERYTHING), binds=set(EVERYTHING), is_readable=False)
"""Of what cannot be known."""


@lru_cache(_CACHED_BLOCKS)
def effects_of(code: str) -> Effects:
    """The effects of a block, which no caller may change."""
    try:
        tree = parse_code(code)
        if tree is None:
            return Effects(reads=set(EVERYTHING) if has_magic(code) else set(), is_readable=False)
        block = _Block()
        block.run(tree.body)
        effects = block.finish()
        novelty = novelty_of(code, tree)
    except (OpaqueCodeError, RecursionError):
        return OPAQUE
    effects.is_volatile, effects.draws, effects.seeds = novelty.is_volatile, novelty.draws, novelty.seeds
    return effects


class _Block:
    """Statements read in order, with the names that are surely bound at each point."""

    def __init__(self) -> None:
        self._effects = Effects()
        self._bound: set[str] = set()
        self._waiting: dict[str, frozenset[str]] = {}
        """Functions not called so far, with what their bodies read."""
        self._plain: set[str] = set()
        """Names bound by something other than an import."""

    def run(self, statements: Sequence[ast.stmt]) -> None:
        for statement in statements:
            self._run(statement)

    def finish(self) -> Effects:
        """The effects of all that was run; bodies of functions that were never called are read now."""
        while self._waiting:
            self._read([next(iter(self._waiting))])
        self._effects.sets = self._bound
        self._effects.imports -= self._plain
        return self._effects

    def _run(self, node: ast.stmt) -> None:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                self._define(node)
            case ast.ClassDef():
                self._define(node)
            case ast.If():
                self._use(node.test)
                self._branches([node.body, node.orelse], is_sure=_is_main(node.test))
            case ast.For() | ast.AsyncFor():
                self._use(node.iter)
                before = set(self._bound)
                self._use(node.target)
                self.run(node.body)
                self._bound = before | (self._bound if _surely_iterates(node.iter) else set())
                self._branches([node.orelse, []])
            case ast.While():
                self._use(node.test)
                self._branches([node.body, []], is_sure=isinstance(node.test, ast.Constant) and bool(node.test.value))
                self._branches([node.orelse, []])
            case ast.Try() | ast.TryStar():
                self._try(node)
            case ast.With() | ast.AsyncWith():
                for item in node.items:
                    self._use(item.context_expr)
                    if item.optional_vars is not None:
                        self._use(item.optional_vars)
                self.run(node.body)
            case ast.Match():
                self._use(node.subject)
                before = set(self._bound)
                for case in node.cases:
                    self._bound = set(before)
                    self._use(case.pattern)
                    if case.guard is not None:
                        self._use(case.guard)
                    self.run(case.body)
                self._bound = before
            case ast.Import() | ast.ImportFrom():
                self._import(node)
            case ast.Delete():
                self._use(node)
                for target in node.targets:
                    if isinstance(target, ast.Name):
                        self._bound.discard(target.id)
            case ast.Assign() | ast.AnnAssign() if node.value is not None:
                self._use(node.value)
                for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                    self._use(target)
                if isinstance(node, ast.AnnAssign):
                    self._use(node.annotation)
            case ast.AnnAssign():
                self._use(node.annotation)
            case _:
                self._use(node)

    def _branches(self, branches: Iterable[Sequence[ast.stmt]], *, is_sure: bool = False) -> None:
        """Run the branches, of which one is taken: `is_sure` of the first, else nobody knows which."""
        before = set(self._bound)
        after: list[set[str]] = []
        for branch in branches:
            self._bound = set(before)
            self.run(branch)
            after.append(self._bound)
        self._bound = after[0] if is_sure else set.intersection(*after)

    def _try(self, node: ast.Try | ast.TryStar) -> None:
        before = set(self._bound)
        self.run(node.body)
        self.run(node.orelse)
        after = [self._bound]
        for handler in node.handlers:
            self._bound = set(before)
            if handler.type is not None:
                self._use(handler.type)
            if handler.name is not None:
                self._bind(handler.name)
            self.run(handler.body)
            after.append(self._bound - {handler.name or ""})
        self._bound = set.intersection(*after)
        self.run(node.finalbody)

    def _import(self, node: ast.Import | ast.ImportFrom) -> None:
        for alias in node.names:
            if alias.name == "*":
                self._effects.binds |= EVERYTHING
                continue
            name = alias.asname or alias.name.partition(".")[0]
            self._bind(name)
            self._plain.discard(name)
            self._effects.imports.add(name)

    def _define(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> None:
        uses = uses_of(node)
        self._apply(uses)
        body = frozenset(uses.deferred)
        self._bind(node.name)
        self._waiting[node.name] = self._effects.later[node.name] = body

    def _use(self, node: ast.AST) -> None:
        uses = uses_of(node)
        self._apply(uses)
        self._read(uses.deferred)

    def _apply(self, uses: Uses) -> None:
        """Reads first, then what is bound: in one expression the order hardly matters."""
        self._read(uses.loads)
        for name in uses.stores:
            self._bind(name)
        effects = self._effects
        effects.binds |= uses.global_stores
        effects.mutates |= uses.mutated - effects.imports
        effects.touches_files = effects.touches_files or uses.touches_files
        for function, names in uses.given.items():
            effects.given.setdefault(function, set()).update(names)

    def _read(self, names: Iterable[str]) -> None:
        waiting = list(names)
        while waiting:
            name = waiting.pop()
            if name not in self._bound:
                self._effects.reads.add(name)
            waiting += self._waiting.pop(name, ())

    def _bind(self, name: str) -> None:
        self._bound.add(name)
        self._plain.add(name)
        self._effects.binds.add(name)
        self._waiting.pop(name, None)
        self._effects.later.pop(name, None)


def _is_main(test: ast.expr) -> bool:
    """Whether it is the test of `if __name__ == "__main__":`, which holds in an interpreter."""
    return isinstance(test, ast.Compare) and isinstance(test.left, ast.Name) and test.left.id == "__name__"


def _surely_iterates(iterable: ast.expr) -> bool:
    """Whether a loop over it runs at least once, for all that syntax tells."""
    if isinstance(iterable, ast.List | ast.Tuple | ast.Set):
        return bool(iterable.elts) and not all(isinstance(item, ast.Starred) for item in iterable.elts)
    if isinstance(iterable, ast.Call) and isinstance(iterable.func, ast.Name) and iterable.func.id == "range":
        bounds = [item.value for item in iterable.args if isinstance(item, ast.Constant) and type(item.value) is int]
        return len(bounds) == len(iterable.args) <= 2 and len(range(*bounds)) > 0
    return False
