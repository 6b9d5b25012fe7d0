"""Whether Python code asks for what is new in every run: the time, identities, random numbers without a seed."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass

_HINT = re.compile(
    r"time|now|today|uuid|rand|secrets|token_|getpid|tempfile|mkd?s?temp|sample|shuffle|choice|train_test_split|gauss|uniform"
    r"|rvs|get_ident|normal|bernoulli|multinomial"
)
"""Code without any of these words asks for nothing of the kind."""

_CLOCKS = re.compile(
    r"time\.(?:time|time_ns|clock|(?:perf_counter|monotonic|process_time|thread_time)(?:_ns)?|localtime|gmtime|ctime"
    r"|asctime|strftime)"
    r"|(?:\w+\.)*(?:now|utcnow|today)|uuid\.(?:uuid1|uuid4|getnode)|os\.(?:urandom|getpid|getppid|times|getrandom)"
    r"|secrets\.\w+|tempfile\.\w+|timeit\.\w+|random\.SystemRandom|threading\.get_ident|get_ident"
)
_DRAWS = re.compile(r"(?P<library>random|numpy\.random|torch)\.(?P<function>\w+)")
_TORCH_DRAWS = re.compile(r"rand\w*|normal|bernoulli|multinomial")
_SEEDS = {"seed", "manual_seed", "set_state", "setstate"}
_GENERATORS = {
    "Random",
    "RandomState",
    "default_rng",
    "Generator",
    "PCG64",
    "MT19937",
    "Philox",
    "SFC64",
    "SeedSequence",
}
"""Seeded by their argument, if they have one."""
_NO_DRAWS = {"get_state", "getstate", "BitGenerator", "get_rng_state", "random_raw", "mtrand"}
_ENOUGH_ARGUMENTS = {"time.localtime": 1, "time.gmtime": 1, "time.ctime": 1, "time.asctime": 1, "time.strftime": 2}
"""Functions that ask for the time only where they are not given one."""
_NAMED_TIMES = {"now", "today"}
_READ_TIMES = {"to_datetime", "datetime64", "Timestamp"}
_SEEDED_BY_KEYWORD = {"sample", "rvs", "train_test_split"}
"""Functions of pandas, scipy and scikit-learn that take numpy's generator unless they are given another."""
_SEED_KEYWORDS = {"random_state", "seed", "rng"}

_CONVENTIONS = {
    "np": "numpy", "numpy": "numpy", "random": "random", "time": "time", "os": "os", "uuid": "uuid", "torch": "torch",
    "secrets": "secrets", "tempfile": "tempfile", "timeit": "timeit", "threading": "threading",
    "randint": "random.randint", "randrange": "random.randrange", "getrandbits": "random.getrandbits",
    "default_rng": "numpy.random.default_rng", "uuid4": "uuid.uuid4", "uuid1": "uuid.uuid1", "urandom": "os.urandom",
    "perf_counter": "time.perf_counter", "monotonic": "time.monotonic", "token_hex": "secrets.token_hex",
    "token_urlsafe": "secrets.token_urlsafe",
}  # fmt: skip
"""What a name that the code neither imports nor binds is taken for: an earlier step imported it."""
_STAR = {
    "random": {"random", "randint", "uniform", "choice", "choices", "sample", "shuffle", "gauss", "randrange", "seed"},
    "time": {"time", "perf_counter", "monotonic", "time_ns", "process_time", "ctime", "localtime", "strftime"},
    "numpy.random": {"rand", "randn", "randint", "normal", "uniform", "choice", "shuffle", "permutation", "seed"},
    "secrets": {"token_hex", "token_bytes", "token_urlsafe", "choice", "randbelow"},
    "uuid": {"uuid1", "uuid4"},
}


@dataclass(frozen=True, slots=True)
class Novelty:
    """What of a block's results is new in every run."""

    is_volatile: bool = False
    draws: bool = False
    """Whether it takes numbers from a generator that all code of the interpreter shares."""
    seeds: bool = False
    """Whether it seeds that generator."""


def novelty_of(code: str, tree: ast.Module) -> Novelty:
    """What the code asks for, by the names it uses; a seed anywhere in it is taken to come before the draws."""
    if _HINT.search(code) is None:
        return Novelty()
    names = _Names(tree)
    drawn: set[str] = set()
    seeded: set[str] = set()
    is_volatile = "%time" in code
    for node, call in _uses(tree):
        path = names.path_of(node)
        if path is None:
            continue
        last = path.rpartition(".")[2]
        if call is not None and _is_given(path, last, call):
            if last in _SEEDS and (found := _DRAWS.fullmatch(path)) is not None:
                seeded.add(found["library"])
        elif _CLOCKS.fullmatch(path) or _names_the_time(last, call):
            is_volatile = True
        elif last in _SEEDED_BY_KEYWORD and call is not None and not _DRAWS.fullmatch(path):
            drawn.add("numpy.random")
        elif (found := _DRAWS.fullmatch(path)) is not None and last not in _NO_DRAWS and last not in _SEEDS:
            if last in _GENERATORS:
                is_volatile = is_volatile or call is not None
            elif found["library"] != "torch" or _TORCH_DRAWS.fullmatch(last):
                drawn.add(found["library"])
    return Novelty(is_volatile or bool(drawn - seeded), bool(drawn), bool(seeded))


def _is_given(path: str, last: str, call: ast.Call) -> bool:
    """Whether the call is handed what it would else take from the clock or the system."""
    num = len(call.args) + len(call.keywords)
    if last in _SEEDS or (last in _GENERATORS and _DRAWS.fullmatch(path)):
        first = call.args[0] if call.args else call.keywords[0].value if call.keywords else None
        return first is not None and not (isinstance(first, ast.Constant) and first.value is None)
    if last in _SEEDED_BY_KEYWORD:
        return any(keyword.arg in _SEED_KEYWORDS for keyword in call.keywords)
    return num >= _ENOUGH_ARGUMENTS.get(path, num + 1)


def _names_the_time(last: str, call: ast.Call | None) -> bool:
    """Whether a time is asked for by word, as in `pd.Timestamp("now")`."""
    return (
        call is not None
        and last in _READ_TIMES
        and any(isinstance(given, ast.Constant) and given.value in _NAMED_TIMES for given in call.args)
    )


def _uses(tree: ast.Module) -> Iterator[tuple[ast.expr, ast.Call | None]]:
    """Names and attributes that are read, each once, with the call they are the function of."""
    inner: set[int] = set()
    calls: dict[int, ast.Call] = {}
    for node in ast.walk(tree):  # parents come before what they hold
        if isinstance(node, ast.Call):
            calls[id(node.func)] = node
        elif isinstance(node, ast.Attribute):
            inner.add(id(node.value))
            if id(node) not in inner:
                yield node, calls.get(id(node))
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and id(node) not in inner:
            yield node, calls.get(id(node))


class _Names:
    """What the names of a block stand for."""

    def __init__(self, tree: ast.Module) -> None:
        self._aliases: dict[str, str] = {}
        self._bound: set[str] = set()
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    root = alias.name.partition(".")[0]
                    self._aliases[alias.asname or root] = alias.name if alias.asname else root
            elif isinstance(node, ast.ImportFrom) and node.module is not None:
                for alias in node.names:
                    if alias.name == "*":
                        starred = _STAR.get(node.module, set())
                        self._aliases |= {name: f"{node.module}.{name}" for name in starred}
                    else:
                        self._aliases[alias.asname or alias.name] = f"{node.module}.{alias.name}"
            elif isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
                self._bound.add(node.id)
            elif isinstance(node, ast.arg):
                self._bound.add(node.arg)
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                self._bound.add(node.name)

    def path_of(self, node: ast.expr) -> str | None:
        """The dotted path of a name or attribute, `datetime.datetime.now`; None for a plain name of the block's own."""
        parts: list[str] = []
        while isinstance(node, ast.Attribute):
            parts.append(node.attr)
            node = node.value
        root = self._root_of(node.id) if isinstance(node, ast.Name) else None
        if root is None and not parts:
            return None
        return ".".join([root or "_", *reversed(parts)])

    def _root_of(self, name: str) -> str | None:
        if name in self._aliases:
            return self._aliases[name]
        return None if name in self._bound else _CONVENTIONS.get(name)
