"""Exceptions as observations show them: plain and IPython tracebacks, cut ones, last lines only; and which agree."""

import re
from collections import deque
from dataclasses import dataclass

from pipeline.replay.comparison.agreement import texts_agree

CUT = "<cut>"
"""Stands for the message of an exception whose traceback was cut before it."""

_HEAD = "Traceback (most recent call last)"
_TYPE = r"(?:[A-Za-z_]\w*\.)*[A-Za-z_]\w*"
_IPYTHON_TYPE = re.compile(r"(?:^|[\s-])([A-Za-z_][\w.]{0,120})\s{2,}$")
_RULE = re.compile(r"-{10,}\s*$")
_LABEL = re.compile(
    r"(?i)(?:^|\n)[ \t]*(?:\[?(?:(?:runtime|execution|python) )?(?:error|exception|stderr)\]?:?|error executing code:)$"
)
_LAST_LINE = re.compile(rf"({_TYPE})(?::(.*))?$", re.DOTALL)
_BARE = re.compile(
    r"^ ?(?:(?:(?:Runtime |Execution |Python )?[Ee]rror|Exception|ERROR|\[ERROR\]|Error executing code|Error occurred)"
    r":? )?((?:[A-Za-z_]\w*\.)*(?:[A-Za-z_]\w*(?:Error|Exception|Interrupt|Iteration|Exit)|Exception))(?::[ \t]*|$)",
    re.MULTILINE,
)
_LOCATION = re.compile(r"^ *(?:Cell In ?\[\d+\]|Input In ?\[\d+\]|File [\"<]|File /)[^\n]*$", re.MULTILINE)
_IN_FILE = re.compile(r" \((?:<[^<>\n]{1,80}>|[\w./ -]{1,80}\.py), line \d+\)$")
_SYNTAX = {"SyntaxError", "IndentationError", "TabError"}
_TYPE_SAYS_ALL = _SYNTAX | {"ZeroDivisionError", "RecursionError", "KeyboardInterrupt", "TimeoutError", "MemoryError"}
_ALIASES = {
    "IOError": "OSError",
    "EnvironmentError": "OSError",
    "UFuncTypeError": "TypeError",
    "UFuncNoLoopError": "TypeError",
    "UFuncBinaryResolutionError": "TypeError",
    "TLEError": "TimeoutError",
    "TimeoutExpired": "TimeoutError",
    "TimeoutException": "TimeoutError",
    "FunctionTimedOut": "TimeoutError",
}
_REWORDINGS = tuple(
    (re.compile(pattern), becomes)
    for pattern, becomes in (
        (r"\. (?:Did you (?:mean|forget)|Perhaps you|Maybe you) [^\n]{1,120}$", ""),
        (r"\bcannot access local variable ('\w+') where it is not associated with a value", r"local variable \1 unset"),
        (r"\blocal variable ('\w+') referenced before assignment", r"local variable \1 unset"),
        (r"\bcannot access free variable ('\w+') where it is not associated with a value in", r"free \1 unset in"),
        (r"\bfree variable ('\w+') referenced before assignment in", r"free \1 unset in"),
        (r"^(?:(?:\w++|<locals>)\.)++(?=\w+\(\))", ""),
        (r"\bcan't\b", "cannot"),
        (r"\bCannot\b", "cannot"),
        (r"\ba string, a bytes-like object or a (?:real )?number\b", "a number"),
        (r"\ba string or a (?:real )?number\b", "a number"),
        (
            r"^(?:float\(\) argument )?must be (?:a |a real |real )?number, not '?complex'?",
            "cannot convert complex to float",
        ),
        (r"^int\(\) argument must be a number, not 'complex'", "cannot convert complex to int"),
        (
            r"^[Nn]o loop matching the specified signature and casting was found for ufunc (\w+)",
            r"ufunc '\1' has no loop",
        ),
        (r"^cannot cast ufunc '(\w+)' (?:in|out)put [^\n]*", r"ufunc '\1' has no loop"),
        (r"^ufunc '(\w+)' did not contain a loop with signature matching types[^\n]*", r"ufunc '\1' has no loop"),
        (r"\b(?:size-1|length-1|0-dimensional) arrays\b", "one-element arrays"),
        (r"\bis not a container or iterable\b", "is not iterable"),
        (r"^cannot use '\w+' as a (?:dict key|set element) \((unhashable type: '\w+')\)", r"\1"),
        (r"(\bexpected \d+), got \d+(?=\))", r"\1"),
        (r" from '[\w.]+' \([^()\n]*\)", ""),
        (r"\bInvalid comparison of non-real\b", "cannot compare non-real"),
    )
)
_SHORTEST_PREFIX = 12
_LONGEST_REWORDED = 2000
_FRAMES_LOOKED_BACK = 1500


@dataclass(frozen=True, slots=True)
class Raised:
    """An exception that ended a call."""

    before: str
    """What was printed until then."""
    kind: str
    """Its type, without module."""
    message: str | None
    """None where the record was cut before it."""
    chain: tuple[str, ...] = ()
    """Types of the exceptions that led to it, where a traceback told."""

    def render(self) -> str:
        """What was printed, then `Type: message`."""
        last = f"{self.kind}: {CUT}" if self.message is None else f"{self.kind}: {self.message}".rstrip(": \n")
        return f"{self.before}\n{last}" if self.before else last


def find_raised(text: str) -> Raised | None:
    """The exception that ends the text, None where it ends otherwise."""
    first = text.find(_HEAD)
    if first >= 0:
        return _from_traceback(text, first)
    if "rror" not in text and "xception" not in text and "nterrupt" not in text and "teration" not in text:
        return None
    return _from_last_line(text)


def exceptions_agree(record: Raised, rerun: Raised) -> str | None:
    """The rule by which two exceptions are the same, None where they are not."""
    if record.message is None:
        known = {rerun.kind, *rerun.chain}
        if record.kind in known or record.kind == "Traceback":
            return _with_output(record, rerun, "exception type; the recorded message is cut off")
        return None
    if record.kind != rerun.kind and not {record.kind, rerun.kind} <= _SYNTAX:
        return None
    if rerun.message is None:
        return None
    rule = _messages_agree(record.kind, record.message, rerun.message)
    return rule and _with_output(record, rerun, rule)


def undefined_name(raised: Raised | None) -> str | None:
    """The name of a NameError, None for anything else."""
    if raised is None or raised.kind != "NameError" or raised.message is None:
        return None
    found = re.match(r"name '(\w+)' is not defined", raised.message)
    return found and found[1]


def _with_output(record: Raised, rerun: Raised, rule: str) -> str | None:
    return rule if texts_agree(record.before, rerun.before) else None


def _messages_agree(kind: str, record: str, rerun: str) -> str | None:
    if record == rerun or texts_agree(record, rerun):
        return "exception message"
    one_line = "\n" not in record and "\n" not in rerun
    if kind in _SYNTAX:
        return "exception type; the wording is the parser's" if one_line else None
    if kind in _TYPE_SAYS_ALL:
        return "exception type" if one_line else None
    if max(len(record), len(rerun)) > _LONGEST_REWORDED:
        return None
    mine, ours = _reworded(record), _reworded(rerun)
    if mine == ours or texts_agree(mine, ours) or _is_shorter_form(mine, ours) or _is_shorter_form(ours, mine):
        return "exception message, as another version words it"
    return None


def _reworded(message: str) -> str:
    for pattern, becomes in _REWORDINGS:
        message = pattern.sub(becomes, message)
    return message.strip()


def _is_shorter_form(short: str, long: str) -> bool:
    """Whether one version adds an explanation: `string indices must be integers`, `..., not 'str'`."""
    if len(short) < _SHORTEST_PREFIX or not long.startswith(short):
        return False
    return long[len(short) :][:1] in ",.;:\n(" or long[len(short) :].startswith(" (")


def _kind_of(name: str) -> str:
    kind = name.rpartition(".")[2].lstrip("_")
    return _ALIASES.get(kind, kind)


def _from_traceback(text: str, first: int) -> Raised | None:
    last = text.rfind(_HEAD)
    before, kind = _split_head(text, first)
    chain = {kind} if kind else set()
    last_kind = kind if last == first else _split_head(text, last)[1]
    after = text[last + len(_HEAD) :]
    if last_kind:  # IPython names the type in the head
        found = _last(re.compile(rf"^ ?(?:[\w.]{{1,120}}\.)?{re.escape(last_kind)}(?::[ \t]*|$)", re.MULTILINE), after)
        message = None if found is None else after[found.end() :]
        return Raised(before, _kind_of(last_kind), _without_place(last_kind, message), _kinds(chain))
    for found in re.finditer(r"^[^\s:][^\n]*", after, re.MULTILINE):
        parsed = _LAST_LINE.match(after[found.start() :])
        if parsed is None:
            return None
        message = _without_place(parsed[1], (parsed[2] or "").strip())
        return Raised(before, _kind_of(parsed[1]), message, _kinds(chain))
    return Raised(before, "Traceback", None, _kinds(chain))


def _split_head(text: str, at: int) -> tuple[str, str | None]:
    """What stands before a traceback's head, and the type where the head names one."""
    start = max(text.rfind("\n", 0, at) + 1, at - 400)
    line = text[start:at]
    named = _IPYTHON_TYPE.search(line)
    kind = None
    if named is not None:
        kind, line = named[1], line[: named.start(1)]
    before = text[:start] + line
    tail_at = max(0, len(before) - 400)
    tail = before[tail_at:].rstrip()
    tail = _LABEL.sub("", _RULE.sub("", tail).rstrip())
    return (before[:tail_at] + tail).rstrip(), kind


def _from_last_line(text: str) -> Raised | None:
    found = _last(_BARE, text)
    if found is None:
        return None
    kind = _kind_of(found[1])
    message = text[found.end() :]
    if message == CUT:
        return Raised(text[: found.start()].rstrip(), kind, None, (kind,))
    before = text[: found.start()]
    if kind in _SYNTAX:
        before = _without_location(before)
    return Raised(before.rstrip(), kind, _without_place(kind, message), (kind,))


def _without_location(before: str) -> str:
    """The text without the cell, code line and caret that stand before a syntax error's last line."""
    found = _last(_LOCATION, before, max(0, len(before) - _FRAMES_LOOKED_BACK))
    return before if found is None else before[: found.start()]


def _without_place(kind: str, message: str | None) -> str | None:
    if message is None:
        return None
    message = message.strip()
    return _IN_FILE.sub("", message) if kind.rpartition(".")[2] in _SYNTAX else message


def _last(pattern: re.Pattern[str], text: str, start: int = 0) -> re.Match[str] | None:
    return next(iter(deque(pattern.finditer(text, start), maxlen=1)), None)


def _kinds(names: set[str]) -> tuple[str, ...]:
    return tuple(sorted(_kind_of(name) for name in names))
