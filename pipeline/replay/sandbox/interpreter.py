"""A Python that takes code as a notebook does: runs inside the sandbox, in the process of one trajectory.

State lives from call to call, the last expression of a call is echoed, output is kept in the order it was written.
Standard library alone, and any Python from 3.9 on: it may be another than ours. What is not there (a file, a module,
a shell, somebody to type) is told apart from what the code got wrong, as far as that can be told from inside.
"""

# ruff: noqa: PTH100, PTH120  # code may have patched pathlib

from __future__ import annotations

import ast
import builtins
import json
import linecache
import os
import re
import struct
import sys
import traceback
import types
from collections.abc import Callable
from typing import Any

from notebook import MISSING_CALL, parsed, split
from streams import Input, Output, Stream

RETURNED, MISSING, NETWORK, MEMORY, CAPPED = "returned", "missing", "network", "memory", "capped"
LENGTH = struct.Struct("!I")
_encode = json.JSONEncoder(ensure_ascii=False, check_circular=False).encode
_ERROR_ROOM = 4096
_FUTURES = 0x1FE0000
"""Compiler flags of `from __future__` imports, which hold for later calls."""
_COROUTINE = 0x80
_CELL = "<cell "
_HERE = os.path.dirname(os.path.abspath(__file__)) + "/"
_NETWORK_MODULES = ("socket", "ssl", "http.client", "urllib.request", "ftplib", "smtplib", "asyncio.base_events")
_LIMIT_ERRORS = {11: "processes", 23: "files", 24: "files", 27: "file size", 28: "disk space", 122: "disk space"}
_DENIED_ERRORS = (1, 13, 30, 38)
_NO_MEMORY = 12


class Missing(BaseException):
    """Ends a call that wants what a sandbox does not have; no `except Exception` of the code takes it."""


class Interpreter:
    """Runs calls, one after the other, in the namespace of a `__main__` of its own."""

    def __init__(self, output_bytes: int) -> None:
        self.output = Output(output_bytes)
        self.wanted: str | None = None
        """What a call asked for that is not there, even if it then went on without."""
        self._removed: set[str] = set()
        self._module = types.ModuleType("__main__")
        self.namespace = self._module.__dict__
        self._inputs: list[str] = [""]
        self._results: dict[int, Any] = {}
        self._last: Any = None
        self._flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        self._loop: Any = None
        self.namespace.update(__builtins__=builtins, In=self._inputs, Out=self._results, display=_display)

    def install(self) -> None:
        """Take the place of `__main__` and of what leads out of a call: streams, input, shells, the end of programs."""
        sys.modules["__main__"] = self._module
        sys.argv = [""]
        sys.stdout = sys.__stdout__ = Stream(self.output, 1, "<stdout>")  # type: ignore[assignment,misc]
        sys.stderr = sys.__stderr__ = Stream(self.output, 2, "<stderr>")  # type: ignore[assignment,misc]
        sys.stdin = sys.__stdin__ = Input(self._want_input)  # type: ignore[assignment,misc]
        builtins.input = self._input
        setattr(builtins, MISSING_CALL, self._miss)
        for name in ("exit", "quit"):
            setattr(builtins, name, sys.exit)
        for name in ("system", "popen"):
            setattr(os, name, lambda *_, **__: self._miss("shell"))
        for name in ("remove", "unlink", "rename", "replace", "rmdir"):
            setattr(os, name, self._remembering(getattr(os, name)))
        os.register_at_fork(before=self._go_direct)
        import subprocess

        subprocess.Popen._execute_child = self._directing(subprocess.Popen._execute_child)  # type: ignore[attr-defined]

    def serve(self, descriptor: int) -> None:
        """Answer calls that come from the descriptor, each a length and the code, until it is closed."""
        home, leave = os.getpid(), os._exit

        def send(told: dict[str, Any]) -> None:
            data = _encode(told).encode("utf-8", "backslashreplace")
            data = LENGTH.pack(len(data)) + data
            while data:
                data = data[os.write(descriptor, data) :]

        def end(status: int = 0, *, kind: str = RETURNED, detail: str = "") -> None:
            if os.getpid() == home:
                send({**_nothing(kind, detail), "output": self.output.taken(), "ended": True})
            leave(status)

        os._exit = end  # type: ignore[assignment]
        self.output.give_up = lambda: end(kind=CAPPED, detail="output")
        while True:
            try:
                header = _read(descriptor, LENGTH.size)
            except KeyboardInterrupt:
                continue  # meant for a call that has just come back
            if not header:
                return
            told = self.run(_read(descriptor, LENGTH.unpack(header)[0]).decode("utf-8", "surrogatepass"))
            if os.getpid() != home:
                leave(0)  # code that forks, and has both go on
            send(told)

    def run(self, code: str) -> dict[str, Any]:
        """What the code wrote, the echo of its last expression, its exception, and the kind of end it came to."""
        self.output.begin()
        self.wanted = None
        told = _nothing(RETURNED)
        try:
            value = self._executed(code)
            if value is not None:
                told["value"] = self._echoed(value)
                told["shown"] = _as_ipython(value)
        except Missing as missing:
            told["status"], told["detail"] = MISSING, str(missing)
        except BaseException as error:
            told["error"] = _described(error, max(self.output.room, _ERROR_ROOM))
            told["status"], told["detail"] = self._judged(error)
        if told["status"] == RETURNED and self.wanted:
            told["status"], told["detail"] = MISSING, self.wanted
        if self.output.is_cut:
            told["status"], told["detail"] = CAPPED, "output"
        told["output"] = self.output.taken()
        return told

    def _executed(self, code: str) -> Any:
        """The value of the last expression; None if there is none to show."""
        filename = f"{_CELL}{len(self._inputs)}>"
        self._inputs.append(code)
        compiled = split(code, filename, self._flags)
        has_value = compiled is not None
        if compiled is None:
            code, compiled, has_value = self._compiled(code, filename)
            self._inputs[-1] = code
        linecache.cache[filename] = (len(code), None, [f"{line}\n" for line in code.split("\n")], filename)
        value = None
        for part in compiled:
            self._flags |= part.co_flags & _FUTURES
            value = eval(part, self.namespace)
            if part.co_flags & _COROUTINE:
                value = self._awaited(value)
        return value if has_value else None

    def _compiled(self, code: str, filename: str) -> tuple[str, list[Any], bool]:
        """The code as plain Python, compiled, and whether its last part is an expression whose value is shown."""
        code, tree = parsed(code, filename, self._flags)
        last = tree.body[-1] if tree.body else None
        parts: list[tuple[Any, str]] = []
        if isinstance(last, ast.Expr) and not _is_suppressed(code, last):
            tree.body.pop()
            parts.append((ast.Expression(last.value), "eval"))
        has_value = bool(parts)
        if tree.body:
            parts.insert(0, (tree, "exec"))
        return code, [compile(part, filename, mode, self._flags, dont_inherit=True) for part, mode in parts], has_value

    def _awaited(self, coroutine: Any) -> Any:
        import asyncio

        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            asyncio.set_event_loop(self._loop)
        return self._loop.run_until_complete(coroutine)

    def _echoed(self, value: Any) -> str:
        text = repr(value)
        if self.namespace.get("_", self._last) is self._last:
            self.namespace["_"] = self._last = value
        number = len(self._inputs) - 1
        self.namespace[f"_{number}"] = self._results[number] = value
        if len(text) > self.output.room:
            self.output.is_cut = True
            text = text[: max(self.output.room, 0)]
        return text

    def _input(self, prompt: object = "") -> str:
        sys.stdout.write(str(prompt))
        self._want_input()
        raise EOFError("EOF when reading a line")

    def _want_input(self) -> None:
        self.wanted = "input"

    def _miss(self, wanted: str) -> None:
        self.wanted = wanted
        raise Missing(wanted)

    def _go_direct(self) -> None:
        self.output.is_direct = True

    def _directing(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, behind which what a program writes comes in its place among what the code prints."""

        def directing(*args: Any, **named: Any) -> Any:
            self._go_direct()
            return function(*args, **named)

        return directing

    def _remembering(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function; a path it took away is then known to be missing by the code's own doing."""

        def remembering(path: Any, *args: Any, **named: Any) -> Any:
            result = function(path, *args, **named)
            if isinstance(path, (str, bytes, os.PathLike)):
                self._removed.add(_absolute(path))
            return result

        remembering.__name__ = remembering.__qualname__ = function.__name__
        remembering.__doc__ = function.__doc__
        return remembering

    def _judged(self, error: BaseException) -> tuple[str, str]:
        """Status and detail of a call that this exception ended."""
        network = next((each for each in _chain(error) if _is_of_network(each)), None)
        if network is not None:
            return NETWORK, _line(network)
        number = error.errno if isinstance(error, OSError) else None
        if isinstance(error, MemoryError) or number == _NO_MEMORY:
            return MEMORY, _line(error)
        if isinstance(error, ModuleNotFoundError) and error.name:
            return MISSING, f"module {error.name}"
        if isinstance(error, FileNotFoundError):
            return self._judged_file(error)
        if number in _LIMIT_ERRORS:
            return CAPPED, _LIMIT_ERRORS[number]
        if number in _DENIED_ERRORS:
            return CAPPED, f"denied: {_line(error)}"
        if isinstance(error, RuntimeError) and "can't start new thread" in str(error):
            return CAPPED, "processes"
        return RETURNED, _unknown(error)

    def _judged_file(self, error: FileNotFoundError) -> tuple[str, str]:
        if error.errno is None and _frame(error).f_code.co_filename.startswith(_CELL):
            return RETURNED, ""  # the code's own `raise`
        name = error.filename
        if not isinstance(name, (str, bytes)):
            return MISSING, f"file {_line(error)}"
        path = _absolute(name)
        if path == "/bin/sh":
            return MISSING, "shell"
        while path not in self._removed:
            above = os.path.dirname(path)
            if above == path:
                return MISSING, f"file {os.fsdecode(name)}"
            path = above
        return RETURNED, ""


def _nothing(status: str, detail: str = "") -> dict[str, Any]:
    return {
        "output": [],
        "value": None,
        "shown": None,
        "error": None,
        "status": status,
        "detail": detail,
        "ended": False,
    }


def _read(descriptor: int, size: int) -> bytes:
    """Just so many bytes; none at the end."""
    data = b""
    while len(data) < size:
        part = os.read(descriptor, size - len(data))
        if not part:
            return b""
        data += part
    return data


def _is_suppressed(code: str, last: ast.Expr) -> bool:
    """Whether a semicolon stands behind the last expression."""
    line = code.split("\n")[(last.end_lineno or 1) - 1]
    return line.encode("utf-8", "replace")[last.end_col_offset :].lstrip().startswith(b";")


def _display(*values: object, **_: object) -> None:
    for value in values:
        print(repr(value))


def _as_ipython(value: Any) -> str | None:
    """How IPython shows a class or a function, None for anything else."""
    if not isinstance(value, (type, types.FunctionType)):
        return None
    name = value.__qualname__
    if value.__module__ not in (None, "builtins"):
        name = f"{value.__module__}.{name}"
    if isinstance(value, type):
        return name
    import inspect

    return f"<function {name}{inspect.signature(value)}>"


def _described(error: BaseException, room: int) -> list[str]:
    """[`Type: message`, the traceback that ends in it], each at most `room` long."""
    kind = type(error)
    try:
        message = error.msg if isinstance(error, SyntaxError) else str(error)
    except BaseException:
        message = "<exception str() failed>"
    short = whole = f"{kind.__name__}: {message}" if message else kind.__name__
    try:
        if not isinstance(error, SystemExit):
            whole = _traced(error)
    except BaseException:  # an exception that breaks whoever looks at it
        whole = short
    return [_shortened(short, room), _shortened(whole, room)]


def _traced(error: BaseException) -> str:
    kind, frames = type(error), error.__traceback__
    while frames is not None and not frames.tb_frame.f_code.co_filename.startswith(_CELL):
        frames = frames.tb_next
    told = link = traceback.TracebackException(kind, error, frames)
    while link is not None:  # functions of ours that stand in for the real ones
        link.stack[:] = [frame for frame in link.stack if not frame.filename.startswith(_HERE)]
        link = link.__cause__ or link.__context__
    whole = "".join(told.format()).rstrip("\n")
    if kind.__module__ in ("builtins", "__main__"):
        return whole
    # as IPython does, without the module: LinAlgError, not numpy.linalg.LinAlgError
    qualified = f"{kind.__module__}.{kind.__qualname__}"
    at = whole.rfind(f"\n{qualified}") + 1
    return whole[:at] + kind.__name__ + whole[at + len(qualified) :] if at else whole


def _shortened(text: str, room: int) -> str:
    return text if len(text) <= room else f"{text[: room // 2]}\n...\n{text[len(text) - room // 2 :]}"


def _chain(error: BaseException) -> list[BaseException]:
    """The exception with those that led to it, as a traceback would show them."""
    found: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and len(found) < 8:
        found.append(link)
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
    return found


def _is_of_network(error: BaseException) -> bool:
    if type(error).__name__ in ("URLError", "gaierror", "herror"):
        return True
    module = str(_frame(error).f_globals.get("__name__", "")) if error.__traceback__ else ""
    return isinstance(error, OSError) and module.startswith(_NETWORK_MODULES)


def _frame(error: BaseException) -> types.FrameType:
    """The innermost frame of an exception that was raised."""
    place: Any = error.__traceback__
    while place.tb_next is not None:
        place = place.tb_next
    return place.tb_frame


def _unknown(error: BaseException) -> str:
    """The name that is not there, for whoever has the record to judge whether it once was."""
    if type(error) is NameError:
        found = re.match(r"name '(\w+)' is not defined", str(error))
        return f"name {found[1]}" if found else ""
    if type(error) is ImportError and error.name:
        found = re.match(r"cannot import name '(\w+)'", str(error))
        return f"attribute {error.name}.{found[1]}" if found else ""
    if type(error) is AttributeError:
        found = re.match(r"module '([\w.]+)' has no attribute '(\w+)'", str(error))
        return f"attribute {found[1]}.{found[2]}" if found else ""
    return ""


def _line(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:200].rstrip(": ")


def _absolute(path: Any) -> str:
    return os.path.abspath(os.fsdecode(path))
