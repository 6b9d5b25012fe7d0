"""What code binds and reads is told by its syntax, and what depends on a bad step follows from it."""

import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.replay.dependence import binds, mutates, reads, reads_clock, tainted_steps

NAMES: list[tuple[str, str, set[str], set[str]]] = [
    ("binding", "x = y", {"x"}, {"y"}),
    ("bound before it is read", "x = 1\nx", {"x"}, set()),
    ("read before it is bound", "x\nx = 1", {"x"}, {"x"}),
    ("its own old value", "x = x + 1", {"x"}, {"x"}),
    ("augmented", "x += y", {"x"}, {"x", "y"}),
    ("annotated", "x: int = y", {"x"}, {"int", "y"}),
    ("unpacked", "(a, *b), c = d", {"a", "b", "c"}, {"d"}),
    ("walrus", "print(n := m)", {"n"}, {"print", "m"}),
    ("deleted", "del x", {"x"}, {"x"}),
    ("deleted, then read", "x = 1\ndel x\nx", {"x"}, {"x"}),
    ("attributes", "a.b.c(d.e)", set(), {"a", "d"}),
    ("items", "a[i] = b[j]", set(), {"a", "i", "b", "j"}),
    ("imports", "import numpy as np, os.path\nfrom math import sin as s\nnp, os, s", {"np", "os", "s"}, set()),
    ("star import", "from sympy import *\nx", {"*"}, {"x"}),
    ("one branch", "if c:\n    x = 1\nx", {"x"}, {"c", "x"}),
    ("both branches", "if c:\n    x = 1\nelse:\n    x = 2\nx", {"x"}, {"c"}),
    ("main", "if __name__ == '__main__':\n    x = 1\nx", {"x"}, {"__name__"}),
    ("a loop that may not run", "for i in a:\n    x = i\nx", {"i", "x"}, {"a", "x"}),
    ("a loop that runs", "for i in range(3):\n    x = i\nx, i", {"i", "x"}, {"range"}),
    ("an empty range", "for i in range(3, 3):\n    x = i\nx", {"i", "x"}, {"range", "x"}),
    ("while", "while c:\n    x = 1\nx", {"x"}, {"c", "x"}),
    ("while true", "while True:\n    x = 1\n    break\nx", {"x"}, set()),
    ("try", "try:\n    x = 1\nexcept E as e:\n    print(e)\nx", {"x", "e"}, {"E", "print", "x"}),
    ("try and handler", "try:\n    x = 1\nexcept E:\n    x = 2\nx", {"x"}, {"E"}),
    ("with", "with f() as g:\n    x = g\nx", {"g", "x"}, {"f"}),
    ("match", "match m:\n    case [a, *b]:\n        c = a\n    case {'k': d, **e}:\n        pass\nc",
     {"a", "b", "c", "d", "e"}, {"m", "c"}),
    ("comprehension", "[f(i) for i in a if i > t]", set(), {"f", "a", "t"}),
    ("dictionary comprehension", "{k: v for k, v in d}", set(), {"d"}),
    ("lambda", "g = lambda x, y=z: x + y + w", {"g"}, {"z", "w"}),
    ("function", "def f(a, b=c, *d, **e):\n    x = a + g\n    return x", {"f"}, {"c", "g"}),
    ("recursion", "def f(n):\n    return f(n - 1)", {"f"}, set()),
    ("a function before its helper", "def f():\n    return g()\ndef g():\n    return 1\nf()", {"f", "g"}, set()),
    ("a call before the helper", "def f():\n    return g()\nf()\ndef g():\n    return 1", {"f", "g"}, {"g"}),
    ("a call through another function", "def f():\n    return g()\ndef g():\n    return x\nx = 1\nf()",
     {"f", "g", "x"}, set()),
    ("global", "def f():\n    global x\n    x = y", {"f", "x"}, {"y"}),
    ("nested", "def f():\n    a = 1\n    def g():\n        nonlocal a\n        a += b\n    return g", {"f"}, {"b"}),
    ("decorated", "@d\ndef f():\n    pass", {"f"}, {"d"}),
    ("class", "class A(B):\n    x = y\n    z = x\n    def m(self):\n        return x, self.q", {"A"}, {"B", "y", "x"}),
    ("exec", "exec(s)", {"*"}, {"exec", "s", "*"}),
    ("eval in a function", "def f():\n    return eval('x')", {"f", "*"}, {"eval", "*"}),
    ("indented", "    x = 1\n    y = x", {"x", "y"}, set()),
    ("indented behind a comment", "# add\n    x = 1\n    x", {"x"}, set()),
    ("magics", "%matplotlib inline\n!pip install q\nx = !ls\nx?\ny", {"x"}, {"y"}),
    ("cell magic", "%%time\nx = y", {"x"}, {"y"}),
    ("no Python", "x = = y", set(), set()),
    ("another language", "%%bash\nls | wc", set(), {"*"}),
    ("null byte", "x = 1\x00", set(), set()),
    ("lone surrogate", "x = '\ud800'", set(), set()),
    ("invalid escape", "x = '\\d'", {"x"}, set()),
    ("nothing", "", set(), set()),
    ("bomb of brackets", "[" * 5000 + "]" * 5000, set(), set()),
    ("bomb of operators", "+".join(["x"] * 60_000), {"*"}, {"*"}),
    ("bomb of minus signs", "-" * 50_000 + "1", {"*"}, {"*"}),
    ("too long", "x = 1\n" * 100_000, {"*"}, {"*"}),
]  # fmt: skip


@pytest.mark.parametrize(("code", "bound", "read"), [case[1:] for case in NAMES], ids=[case[0] for case in NAMES])
def test_the_names_a_block_binds_and_reads(code: str, bound: set[str], read: set[str]) -> None:
    assert (binds(code), reads(code)) == (bound, read)


MUTATIONS: list[tuple[str, set[str]]] = [
    ("x.append(1)", {"x"}),
    ("x.y.append(1)", {"x"}),
    ("x['a'].append(1)", {"x"}),
    ("x[0] = 1", {"x"}),
    ("x.a = 1", {"x"}),
    ("x[0] += 1", {"x"}),
    ("del x[0]", {"x"}),
    ("random.shuffle(x)", {"random", "x"}),
    ("import random\nrandom.shuffle(x)", {"x"}),
    ("heappush(h, v)", {"h", "v"}),
    ("next(it)", {"it"}),
    ("x.upper()", set()),
    ("print(x)", set()),
    ("x + y", set()),
    ("def f(a):\n    a.append(1)\n    b.append(1)", {"b"}),
]


@pytest.mark.parametrize(("code", "changed"), MUTATIONS)
def test_the_names_whose_values_a_block_may_change(code: str, changed: set[str]) -> None:
    assert mutates(code) == changed


CLOCKS = [
    ("import time\ntime.time()", True),
    ("import time as t\nt.perf_counter()", True),
    ("from time import time\nstart = time()", True),
    ("time.sleep(1)", False),
    ("time.strftime('%Y')", True),
    ("import time\ntime.strftime('%Y', t)", False),
    ("time.localtime(0)", False),
    ("from datetime import datetime as dt\ndt.now()", True),
    ("import datetime as d\nd.date.today()", True),
    ("datetime.utcnow()", True),
    ("datetime(2020, 1, 1)", False),
    ("pd.Timestamp.now()", True),
    ("pd.to_datetime('today')", True),
    ("pd.to_datetime('2020-01-01')", False),
    ("import uuid\nuuid.uuid4()", True),
    ("uuid.uuid5(n, 'x')", False),
    ("import os\nos.urandom(3)", True),
    ("import secrets\nsecrets.token_hex()", True),
    ("import random\nrandom.random()", True),
    ("import random\nrandom.seed(3)\nrandom.random()", False),
    ("import random\nrandom.seed()\nrandom.random()", True),
    ("import random\nrandom.seed(time.time())\nrandom.random()", True),
    ("from random import randint\nrandint(1, 6)", True),
    ("from random import *\nrandint(1, 6)", True),
    ("randint(1, 6)", True),
    ("def randint(a, b):\n    return a\nrandint(1, 6)", False),
    ("random = 3\nrandom", False),
    ("import random\nr = random.Random(3)\nr.random()", False),
    ("import random\nr = random.Random()", True),
    ("sorted(a, key=random.random)", True),
    ("np.random.rand(3)", True),
    ("import numpy as n\nn.random.seed(0)\nn.random.rand(3)", False),
    ("import random\nrandom.seed(0)\nnp.random.rand(3)", True),
    ("from numpy import random\nrandom.randn()", True),
    ("np.random.default_rng(0).normal()", False),
    ("np.random.default_rng().normal()", True),
    ("df.sample(3)", True),
    ("df.sample(3, random_state=1)", False),
    ("np.random.seed(1)\ndf.sample(3)", False),
    ("%timeit f()", True),
    ("'time.time()'", False),
    ("now = 3\nnow", False),
    ("print(1)", False),
    ("time.time(", False),
]


@pytest.mark.parametrize(("code", "wanted"), CLOCKS)
def test_whether_a_block_asks_for_what_is_new_in_every_run(code: str, wanted: bool) -> None:  # noqa: FBT001 - a case
    assert reads_clock(code) is wanted


def test_warnings_about_the_code_of_a_trace_are_not_ours() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert binds("quiet = '\\q'") == {"quiet"}


TAINT: list[tuple[str, list[str | None], list[int], list[int]]] = [
    ("no bad step", ["x = 1", "x"], [], []),
    ("what reads it", ["x = now()", "x", "y"], [0], [1]),
    ("what was before it", ["x = 1", "x", "y = f()"], [2], []),
    ("through another", ["x = f()", "y = x", "z = y", "z", "w = 1"], [0], [1, 2, 3]),
    ("cleaned", ["x = f()", "x = 1", "x"], [0], []),
    ("cleaned on one path only", ["x = f()", "if c:\n    x = 1", "x"], [0], [2]),
    ("cleaned and tainted again", ["x = f()", "x = 1", "x = x + g", "g = f()", "x = g", "x"], [0, 3], [4, 5]),
    ("mutated", ["x = []", "x.append(f())", "x"], [1], [2]),
    ("an item", ["x = {}", "x['a'] = f()", "x"], [1], [2]),
    ("given to a function of its own", ["def add(a):\n    a.append(1)", "x = []", "add(x)", "x"], [2], [3]),
    ("given to a function of a library", ["from sympy import solve", "solve(x)", "x"], [1], []),
    ("a function that reads it when called", ["def f():\n    return x", "x = g()", "y = 1", "f()"], [1], [3]),
    ("a module it calls", ["import numpy as np", "x = np.zeros(3)", "np.ones(3)"], [1], []),
    ("a module it imports", ["import numpy as np\nx = np.zeros(3)", "np.ones(3)"], [0], [1]),
    ("exec", ["x = f()", "exec('print(x)')", "y"], [0], [1, 2]),
    ("a star import that failed", ["from q import *", "y = 1", "z"], [0], [1, 2]),
    ("files", ["open('a', 'w').write(f())", "print(1)", "open('a').read()"], [0], [2]),
    ("a frame read from a file", ["x = f()", "df = pd.read_csv('a')", "df"], [0], [1, 2]),
    ("no Python call before", [None, "x = 1"], [0], [1]),
    ("no Python call behind", ["x = f()", "y = 1", None, "y"], [0], [2, 3]),
    ("all other calls", [None, None, None], [1], [2]),
    ("what is no Python fails alike", ["x = f()", "x = = x", "x"], [0], [2]),
    ("what is no Python, bad itself", ["!pip install q", "x = 1"], [0], []),
    ("a bad step that cannot be read", ["x = = 1", "y"], [0], [1]),
    ("random state",
     ["import random\nrandom.seed(1)", "random.random()", "random.random()", "random.seed(2)", "random.random()"],
     [1], [2]),
]  # fmt: skip


@pytest.mark.parametrize(("codes", "bad", "wanted"), [case[1:] for case in TAINT], ids=[case[0] for case in TAINT])
def test_the_steps_that_depend_on_a_bad_one(codes: list[str | None], bad: list[int], wanted: list[int]) -> None:
    tainted = tainted_steps(codes, [place in bad for place in range(len(codes))])
    assert [place for place, is_tainted in enumerate(tainted) if is_tainted] == wanted


def test_imports_and_functions_of_a_bad_step_that_ran_to_its_end_are_sound() -> None:
    codes = ["import numpy as np\ndef f(a):\n    return a\nx = np.random.rand()", "np.ones(3)", "f(1)", "f(x)"]
    bad = [True, False, False, False]
    assert tainted_steps(codes, bad) == [False, True, True, True]
    assert tainted_steps(codes, bad, completed=[True] * 4) == [False, False, False, True]


BLOCKS = st.one_of(
    st.none(),
    st.sampled_from(
        ["x = 1", "y = x", "x = y", "x.append(y)", "def f():\n    return x", "z = f()", "exec(x)", "open('a')", "x = =",
         "import random\nx = random.random()", "del x", "from a import *", ""]
    ),
)  # fmt: skip
STEPS = st.lists(st.tuples(BLOCKS, st.booleans()), max_size=8)


@given(STEPS)
def test_without_a_bad_step_nothing_is_tainted_and_nothing_before_the_first_is(
    steps: list[tuple[str | None, bool]],
) -> None:
    codes, bad = [code for code, _ in steps], [is_bad for _, is_bad in steps]
    assert not any(tainted_steps(codes, [False] * len(codes)))
    first = bad.index(True) if any(bad) else len(bad)
    assert not any(tainted_steps(codes, bad)[: first + 1])


@given(STEPS, st.data())
def test_one_more_bad_step_cleans_none(steps: list[tuple[str | None, bool]], data: st.DataObject) -> None:
    codes, bad = [code for code, _ in steps], [is_bad for _, is_bad in steps]
    before = tainted_steps(codes, bad)
    if codes:
        place = data.draw(st.integers(0, len(codes) - 1))
        bad = [is_bad or k == place for k, is_bad in enumerate(bad)]
    after = tainted_steps(codes, bad)
    assert all(later or not earlier for earlier, later in zip(before, after, strict=True))


@settings(max_examples=200, deadline=None)
@given(st.text())
def test_any_text_has_names_and_never_raises(code: str) -> None:
    assert (binds(code) | mutates(code)) >= binds(code)
    assert reads_clock(code) in (True, False)
