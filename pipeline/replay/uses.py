"""The names that a piece of a syntax tree uses, with Python's scopes told apart."""

import ast
import builtins
from dataclasses import dataclass, field

EVERYTHING = frozenset({"*"})
"""Names that syntax cannot tell: a star import, `exec`, code that cannot be read."""

_DYNAMIC = {"exec", "eval", "globals", "locals", "get_ipython", "__import__"}
_FILES = {
    "open", "read_csv", "read_json", "read_excel", "read_table", "read_parquet", "read_pickle", "read_html",
    "read_text", "read_bytes", "read_sql", "read_feather", "read_hdf", "loadtxt", "genfromtxt", "fromfile", "memmap",
    "connect", "listdir", "glob", "iglob", "rglob", "iterdir", "exists", "isfile", "isdir", "is_file", "is_dir",
    "getsize", "system", "popen", "Popen", "check_output", "imread",
}  # fmt: skip
"""Functions and methods that see what an earlier step left outside of the names."""
_MUTATORS = {
    "shuffle", "heappush", "heappop", "heapify", "heappushpop", "heapreplace", "insort", "insort_left", "insort_right",
    "next", "setattr", "delattr", "fill_diagonal", "copyto", "putmask",
}  # fmt: skip
"""Functions that change what they are given, by their last name."""
_PURE_METHODS = {
    "format", "join", "split", "splitlines", "strip", "lstrip", "rstrip", "upper", "lower", "title", "capitalize",
    "startswith", "endswith", "find", "index", "count", "encode", "decode", "isdigit", "isalpha", "items", "keys",
    "values", "get", "copy", "subs", "evalf", "simplify", "expand", "factor", "diff", "integrate", "doit", "mean",
    "sum", "std", "min", "max", "head", "tail", "describe", "groupby", "astype", "reshape", "tolist", "to_string",
    "union", "intersection", "difference", "issubset",
}  # fmt: skip
"""Methods that leave what they are called on as it was."""
_BUILTINS = frozenset(dir(builtins))
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


@dataclass(slots=True)
class Uses:
    """Names of the enclosing scope."""

    loads: set[str] = field(default_factory=set)
    deferred: set[str] = field(default_factory=set)
    """Names that the bodies of functions read when they are called."""
    stores: set[str] = field(default_factory=set)
    global_stores: set[str] = field(default_factory=set)
    """Names that a function declares global, and binds."""
    declared: dict[str, bool] = field(default_factory=dict)
    """Names that this scope declares to be another's, and whether the module's."""
    mutated: set[str] = field(default_factory=set)
    """Names whose value may be changed in place."""
    given: dict[str, set[str]] = field(default_factory=dict)
    """Function to the names it is given."""
    touches_files: bool = False

    def take_in(self, inner: "Uses", own: set[str], *, is_deferred: bool) -> None:
        """Add what an inner scope uses of this one; `own` are the names that are the inner scope's."""
        loads = inner.loads - own
        (self.deferred if is_deferred else self.loads).update(loads)
        self.deferred |= inner.deferred - own
        self.global_stores |= inner.global_stores
        self.mutated |= inner.mutated - own
        self.touches_files = self.touches_files or inner.touches_files
        for function, names in inner.given.items():
            if function not in own and (outer := names - own):
                self.given.setdefault(function, set()).update(outer)


def uses_of(node: ast.AST) -> Uses:
    """The names that a statement or expression uses; a definition's own name is left to the caller."""
    uses = Uses()
    if isinstance(node, ast.ClassDef):
        _class(node, uses)
    elif isinstance(node, _FUNCTIONS):
        _function(node, uses)
    else:
        _visit(node, uses)
    return uses


def _visit(node: ast.AST, uses: Uses) -> None:
    if isinstance(node, ast.Name):
        _name(node, uses)
    elif isinstance(node, ast.Constant):
        return
    elif isinstance(node, ast.Attribute | ast.Subscript):
        if not isinstance(node.ctx, ast.Load) and (root := _root(node)) is not None:
            uses.mutated.add(root)
        _visit_children(node, uses)
    elif isinstance(node, ast.Call):
        _call(node, uses)
        _visit_children(node, uses)
    elif isinstance(node, ast.AugAssign):
        if isinstance(node.target, ast.Name):
            uses.loads.add(node.target.id)
        _visit_children(node, uses)
    elif isinstance(node, _COMPREHENSIONS):
        _comprehension(node, uses)
    elif isinstance(node, _FUNCTIONS):
        _function(node, uses)
        if not isinstance(node, ast.Lambda):
            uses.stores.add(node.name)
    elif isinstance(node, ast.ClassDef):
        _class(node, uses)
        uses.stores.add(node.name)
    elif isinstance(node, ast.Global | ast.Nonlocal):
        uses.declared |= dict.fromkeys(node.names, isinstance(node, ast.Global))
    elif isinstance(node, ast.Import | ast.ImportFrom):
        uses.stores |= {alias.asname or alias.name.partition(".")[0] for alias in node.names}
    elif isinstance(node, ast.MatchAs | ast.MatchStar | ast.MatchMapping | ast.ExceptHandler):
        name = node.rest if isinstance(node, ast.MatchMapping) else node.name
        if name is not None:
            uses.stores.add(name)
        _visit_children(node, uses)
    else:
        _visit_children(node, uses)


def _visit_children(node: ast.AST, uses: Uses) -> None:
    for child in ast.iter_child_nodes(node):
        _visit(child, uses)


def _name(node: ast.Name, uses: Uses) -> None:
    if not isinstance(node.ctx, ast.Load):
        uses.stores.add(node.id)
        if isinstance(node.ctx, ast.Store):
            return
    uses.loads.add(node.id)
    if node.id in _DYNAMIC:
        uses.loads |= EVERYTHING
        uses.global_stores |= EVERYTHING


def _call(node: ast.Call, uses: Uses) -> None:
    """What a call may change: what its method is called on, and what it is given."""
    function = node.func
    last = (
        function.attr if isinstance(function, ast.Attribute) else function.id if isinstance(function, ast.Name) else ""
    )
    if isinstance(function, ast.Attribute) and last not in _PURE_METHODS and (root := _root(function)) is not None:
        uses.mutated.add(root)
    uses.touches_files = uses.touches_files or last in _FILES
    given = {root for item in node.args if (root := _root(item)) is not None}
    if last in _MUTATORS:
        uses.mutated |= given
    elif given and isinstance(function, ast.Name) and last not in _BUILTINS:
        uses.given.setdefault(last, set()).update(given)


def _comprehension(node: ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp, uses: Uses) -> None:
    _visit(node.generators[0].iter, uses)  # in the scope around it
    inner = Uses()
    for place, generator in enumerate(node.generators):
        _visit(generator.target, inner)
        if place:
            _visit(generator.iter, inner)
        for test in generator.ifs:
            _visit(test, inner)
    targets = set(inner.stores)
    for part in (node.key, node.value) if isinstance(node, ast.DictComp) else (node.elt,):
        _visit(part, inner)
    uses.take_in(inner, targets, is_deferred=False)
    uses.stores |= inner.stores - targets  # `:=` binds outside


def _function(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda, uses: Uses) -> None:
    arguments = node.args
    named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    named += [item for item in (arguments.vararg, arguments.kwarg) if item is not None]
    outside: list[ast.expr] = [*arguments.defaults, *(item for item in arguments.kw_defaults if item is not None)]
    if not isinstance(node, ast.Lambda):
        outside += node.decorator_list
        outside += [item.annotation for item in named if item.annotation is not None]
        outside += [node.returns] if node.returns is not None else []
    for item in outside:
        _visit(item, uses)
    inner = Uses()
    body = [node.body] if isinstance(node, ast.Lambda) else node.body
    for item in body:
        _visit(item, inner)
    own = (inner.stores - inner.declared.keys()) | {item.arg for item in named}
    uses.global_stores |= {name for name in inner.stores if inner.declared.get(name)}
    uses.take_in(inner, own, is_deferred=True)


def _class(node: ast.ClassDef, uses: Uses) -> None:
    for item in [*node.bases, *node.decorator_list, *(keyword.value for keyword in node.keywords)]:
        _visit(item, uses)
    inner = Uses()
    for item in node.body:
        _visit(item, inner)
    # methods do not see the names of the class body, the body itself does
    uses.deferred |= inner.deferred
    inner.deferred = set()
    uses.take_in(inner, inner.stores, is_deferred=False)


def _root(node: ast.AST) -> str | None:
    """The name at the root of `x.y[0].z`; of anything else None."""
    while isinstance(node, ast.Attribute | ast.Subscript | ast.Starred):
        node = node.value
    return node.id if isinstance(node, ast.Name) else None
