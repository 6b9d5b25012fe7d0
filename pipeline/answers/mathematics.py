"""Whether two mathematical texts are equal, asked of math-verify in a child process that can be stopped."""

import atexit
import json
import os
import re
import select
import subprocess
import sys
import threading
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import IO, Any

TIMEOUT_S = 5.0
"""A comparison takes 5-150 ms; one that takes this long is left undecided."""

START_TIMEOUT_S = 60.0
"""Importing sympy takes 1 s on an idle machine."""

MAX_CHARS = 300
"""Longer texts are no final answers, and parsing is not linear."""

_WORKER = Path(__file__).with_name("math_worker.py")
_WORD = re.compile(r"(?<![\\A-Za-z])[A-Za-z]{3,}")
_FUNCTIONS = frozenset(
    {"sin", "cos", "tan", "log", "exp", "sqrt", "lim", "max", "min", "mod", "and", "arcsin", "arccos"}
)
_TEXT = re.compile(r"\\(?:text|mathrm|mbox|textbf|operatorname)\s*\{([^{}]*)\}")
_SIGNAL = re.compile(
    r"\\[A-Za-z]+|[\^_=<>≤≥∞√π+*/]|\d\s*[A-Za-z]\b|[([{].*,.*[)\]}]|^-?[A-Za-z]$|\d\s*,\s*-?\d|[A-Za-z]\s*-\s*\w|\d\s*-\s*[A-Za-z]|!"
)
_UNFINISHED = re.compile(
    r"(?:\^|\*\*)[^,;=]{0,40}?(?:\^|\*\*)[^,;=]{0,40}?(?:\^|\*\*)|(?:\^|\*\*)\s*\{?\(?-?\d{4,}|\d{4,}\s*\)?!|!\s*!"
    r"|\\(?:int|sum|prod|lim)(?![A-Za-z])"
)
_PLAIN = (
    (re.compile(r"\*\*"), "^"),
    (re.compile(r"\\?\bsqrt\s*\(([^()]*)\)"), r"\\sqrt{\1}"),
    (re.compile(r"√\s*\(([^()]*)\)"), r"\\sqrt{\1}"),
    (re.compile(r"√\s*(\d+|[a-z])"), r"\\sqrt{\1}"),
    (re.compile(r"π|(?<![\\A-Za-z])pi\b"), r"\\pi "),
    (re.compile(r"∞|(?<![\\A-Za-z])(?:infinity|inf|oo)\b"), r"\\infty "),
    (re.compile("\u222a"), r"\\cup "),
    (re.compile(r"≤|<="), r"\\le "),
    (re.compile(r"≥|>="), r"\\ge "),
    (re.compile(r"[\u00d7·]|(?<!\^)\*"), r"\\cdot "),
    (re.compile(r"(?<![\\A-Za-z])(sin|cos|tan|log|ln|exp)\b"), r"\\\1"),
    (re.compile(r"\^\(([^()]*)\)"), r"^{\1}"),
)


class Compared:
    """The outcomes of a comparison that are not a plain yes or no."""

    UNREADABLE = "unreadable"
    TIMED_OUT = "timed out"


def both_mathematical(answer: str, truth: str) -> bool:
    """Whether two texts read as formulas: no prose, nothing that explodes, and in one of them a sign of mathematics."""
    return (
        _is_formula(answer) and _is_formula(truth) and any(_SIGNAL.search(_TEXT.sub(" ", x)) for x in (answer, truth))
    )


def _is_formula(text: str) -> bool:
    """Whether there is nothing in the text but what formulas are made of."""
    if not text or len(text) > MAX_CHARS or "\n" in text:
        return False
    bare = _TEXT.sub(" ", text)
    return _UNFINISHED.search(bare) is None and all(word.lower() in _FUNCTIONS for word in _WORD.findall(bare))


@lru_cache(maxsize=16_384)
def compare_mathematics(answer: str, truth: str) -> bool | str | tuple[float, float]:
    """True or False; two floats where both are unequal numbers; else one of Compared: unreadable, timed out.

    Works on any thread. Cost: 5-150 ms, once per pair; the first call starts the child process, 1 s.
    """
    reply = _WORKER_PROCESS.ask(to_latex(answer), to_latex(truth))
    if reply is None:
        return Compared.TIMED_OUT
    if reply["equal"] is None:
        return Compared.UNREADABLE
    values = reply.get("values")
    return (values[1], values[0]) if values else bool(reply["equal"])


def to_latex(text: str) -> str:
    """A formula as typed in plain text (`**`, `sqrt(2)`, `π`, `<=`) in LaTeX; LaTeX stays as it is."""
    for pattern, replacement in _PLAIN:
        text = pattern.sub(replacement, text)
    return text.strip().strip("$").strip()


class _MathProcess:
    """The child process: started at the first question, replaced when it hangs or dies, one question at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._owner = 0

    def ask(self, answer: str, truth: str) -> dict[str, Any] | None:
        """The reply; None if there was none in TIMEOUT_S, whereupon the process is killed."""
        request = json.dumps({"answer": answer, "truth": truth, "timeout_s": TIMEOUT_S}) + "\n"
        with self._lock:
            process = self._process
            # A fork must not share its parent's pipes, so a process asks only the child it started itself.
            if process is None or self._owner != os.getpid() or process.poll() is not None:
                process = self._start()
            try:
                _pipe(process.stdin).write(request)
                _pipe(process.stdin).flush()
                return json.loads(_read_line(process, TIMEOUT_S))
            except (BrokenPipeError, json.JSONDecodeError):
                self._kill()
                return None

    def close(self) -> None:
        """End the child, if this process has one."""
        with self._lock:
            self._kill()

    def _start(self) -> subprocess.Popen[str]:
        """A new child that has said it is ready."""
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(_WORKER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._owner = os.getpid()
        _read_line(self._process, START_TIMEOUT_S)
        return self._process

    def _kill(self) -> None:
        if self._process is not None and self._owner == os.getpid():
            self._process.kill()
            with suppress(BrokenPipeError):
                self._process.communicate()
        self._process = None


def _read_line(process: subprocess.Popen[str], timeout_s: float) -> str:
    """The next line the child writes, empty if none comes in time. Replies are shorter than a pipe's atomic write."""
    stdout = _pipe(process.stdout)
    ready, _, _ = select.select([stdout], [], [], timeout_s)
    return stdout.readline() if ready else ""


def _pipe(pipe: IO[str] | None) -> IO[str]:
    """The pipe, which Popen types as optional."""
    if pipe is None:
        raise BrokenPipeError
    return pipe


_WORKER_PROCESS = _MathProcess()
atexit.register(_WORKER_PROCESS.close)
