"""What a fork server has ready before any trajectory. Runs inside: standard library alone, Python from 3.9 on."""

# ruff: noqa: PTH123  # loads as little as it can

from __future__ import annotations

import ctypes
import importlib
import sys
import warnings

_COLLAPSE, _HUGE_PAGE = 25, 2**21
_COMMON = (
    "bisect", "calendar", "cmath", "collections", "copy", "csv", "dataclasses", "datetime", "decimal", "enum",
    "fractions", "functools", "heapq", "inspect", "itertools", "json", "math", "operator", "random", "re",
    "statistics", "string", "textwrap", "time", "typing",
)  # fmt: skip
_WARM_UP = {
    "numpy": "import numpy as np\nrepr(np.linalg.solve(np.eye(2), np.ones(2)) / 3)\nnp.random.seed(0)\n",
    "pandas": (
        "import pandas as pd, io\n"
        "held = pd.read_csv(io.StringIO('a,b,c\\n1,x,2020-01-01\\n2,y,2020-01-02\\n'), parse_dates=['c'])\n"
        "held['d'] = held['a'].astype(float) / 3\n"
        "repr(held), repr(held['a']), repr(held.describe()), repr(held.groupby('b')['d'].mean())\n"
        "repr(held.sort_values('d').merge(held, on='a')), held['b'].str.upper().value_counts(), held.to_string()\n"
    ),
    "sympy": (
        "from sympy import *\n"
        "x, y = symbols('x y')\n"
        "repr(solve(x**2 - 5*x + 6, x)), repr(solve([x + y - 3, x - y - 1], [x, y])), repr(Eq(x, y))\n"
        "repr(simplify(sin(x)**2 + cos(x)**2)), repr(diff(x**3, x)), repr(integrate(x**2, x))\n"
        "repr(expand((x + 1)**2)), repr(factor(x**2 - 1)), repr(Rational(1, 3)), repr(sqrt(8)), N(pi)\n"
        "solve(x - 1.5), Matrix([[1, 2], [3, 4]]).inv()\n"
    ),
}
"""What loads the parts of a library that it leaves for later, so that they are not loaded again in every fork."""


def preload(names: list[str]) -> list[str]:
    """Import the modules and let them load what they left for later; returns those that are not there."""
    absent = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in (*_COMMON, *names):
            try:
                importlib.import_module(name)
                exec(_WARM_UP.get(name, ""), {})
            except Exception:
                absent.append(name)
    return absent


def collapse() -> None:
    """Put what was loaded on huge pages, where the kernel can: a fork then copies fewer entries."""
    madvise = ctypes.CDLL(None).madvise
    madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    try:
        with open("/proc/self/maps") as maps:
            lines = [line.split() for line in maps]
    except OSError:
        return
    for place, access, *rest in lines:
        if access == "rw-p" and (len(rest) == 3 or rest[-1] == "[heap]"):
            start, end = (int(address, 16) // _HUGE_PAGE * _HUGE_PAGE for address in place.split("-"))
            start += _HUGE_PAGE
            if end > start:
                madvise(start, end - start, _COLLAPSE)


def reseed(seed: int) -> None:
    """Start the libraries' random numbers, for every fork from now on; that of Python itself, each fork starts anew."""
    if (numpy_random := sys.modules.get("numpy.random")) is not None:
        numpy_random.seed(seed % 2**32)
    if (sympy_random := sys.modules.get("sympy.core.random")) is not None:
        sympy_random.seed(seed)
