"""What another version of Python or a library has or had: a result that only one of two runs could have."""

import re

from pipeline.replay.comparison.exceptions import Raised

_NO_ATTRIBUTE = re.compile(r"module '([\w.]+)' has no attribute '(\w+)'")
_NO_IMPORT = re.compile(r"cannot import name '(\w+)' from '([\w.]+)'")
_NO_METHOD = re.compile(r"'(DataFrame|Series|Index)' object has no attribute '(\w+)'")
_COUNT = re.compile(r"(\w+)(?:\(\))? expected (?:at (?:most|least) )?\d+ arguments?, got \d+$")
"""As functions written in C complain; `f() takes 1 positional argument` is about the code's own."""
_REMOVED = {
    "numpy": {
        "alltrue", "asfarray", "asscalar", "bool", "cast", "complex", "complex_", "cumproduct",
        "find_common_type", "float", "float_", "in1d", "Inf", "Infinity", "infty", "int", "issctype", "long",
        "mat", "maximum_sctype", "msort", "NaN", "NINF", "NZERO", "object", "PINF", "product", "PZERO",
        "round_", "row_stack", "sctypes", "sometrue", "source", "str", "string_", "trapz", "typeDict",
        "unicode_",
    },
    "scipy.integrate": {"cumtrapz", "simps", "trapz"},
    "scipy.misc": {"comb", "derivative", "factorial", "factorial2", "imread", "imresize", "logsumexp"},
    "scipy.signal": {"gaussian", "hamming", "hann"},
    "collections": {
        "Callable", "Hashable", "Iterable", "Iterator", "Mapping", "MutableMapping", "MutableSequence",
        "MutableSet", "Sequence", "Set",
    },
    "fractions": {"gcd"},
    "inspect": {"getargspec"},
    "time": {"clock"},
}  # fmt: skip
"""Attributes that modules had when traces were made and have no more. Any other name a module lacks was made up."""
_REMOVED_METHODS = {"append", "applymap", "iteritems", "ix", "lookup", "mad", "is_monotonic"}


def lacked_then(record: Raised | None) -> str | None:
    """What the recorded run had not yet, going by the exception it ended in; None where it does not tell."""
    if record is None or record.message is None:
        return None
    if record.kind == "AttributeError" and (found := _NO_ATTRIBUTE.match(record.message)):
        return f"{found[1]}.{found[2]}"
    if record.kind == "TypeError" and (found := _COUNT.match(record.message)):
        return f"{found[1]} of so many arguments"
    return None


def gone_since(rerun: Raised | None) -> str | None:
    """What the rerun has no more, going by the exception it ended in; None where that says nothing of versions."""
    if rerun is None or rerun.message is None or rerun.kind not in ("AttributeError", "ImportError"):
        return None
    if found := _NO_ATTRIBUTE.match(rerun.message):
        module, name = found[1], found[2]
    elif found := _NO_IMPORT.match(rerun.message):
        module, name = found[2], found[1]
    elif (found := _NO_METHOD.match(rerun.message)) and found[2] in _REMOVED_METHODS:
        return f"{found[1]}.{found[2]}"
    else:
        return None
    return f"{module}.{name}" if name in _REMOVED.get(module, ()) else None
