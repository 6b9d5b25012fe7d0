"""PID 1 of the sandbox: a fork server. Runs inside, with the standard library alone and any Python from 3.9 on.

    python worker.py '{"preload": ["numpy"], "rlimits": {"RLIMIT_CPU": 20}, "memory_bytes": 2147483648, ...}'

Imports the modules to preload once. For each trajectory it forks a process that runs all of its calls, watches over
it, and in the end kills and reaps everything there is and empties the scratch folders. Descriptor 3 is the channel to
the machine: protocol.py says what goes over it. The process of a trajectory has nothing of this but a socket of its
own; what it answers is passed on unread, up to a size, so it can forge no more than its own result.
"""

# ruff: noqa: PTH100, PTH110, PTH112, PTH120, PTH123  # system calls by their own names

from __future__ import annotations

import _signal  # pyright: ignore[reportMissingImports]  # what signal.signal calls, without its enumerations
import contextlib
import ctypes
import gc
import itertools
import json
import os
import random
import resource
import select
import signal
import socket
import struct
import sys
import time
import traceback
from typing import Any

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from holdings import emptied, memory_bytes, num_files  # files beside this one, outside of any package
from interpreter import LENGTH, Interpreter
from preload import collapse, preload, reseed

del sys.path[0]
for _name in ("holdings", "interpreter", "notebook", "preload", "streams"):  # code may have modules of these names
    sys.modules.pop(_name, None)

CHANNEL = 3
_leave = os._exit  # before the interpreter takes its place
_prctl = ctypes.CDLL(None).prctl
RESET, CALL, HELLO, OUTCOME, RECYCLE = b"R", b"C", b"H", b"O", b"X"
REQUEST = struct.Struct("!cI")
REPLY = struct.Struct("!cII")
SHARED = "/dev/shm"
_TICK_MS = 15
_IDLE_TICKS = 14
"""After so many ticks without a call everything is stopped, so that what was left running takes no processor."""
_PART = 2**16
_BROKEN = 70
"""Exit status of a child that could not be set up, which is not its code's doing."""
_ROOM = 16
"""Times the cap that programs may write past the interpreter before the call is ended."""
_SET_DUMPABLE = 4


class Server:
    """Holds the process of one trajectory at a time."""

    def __init__(self, told: dict[str, Any], interpreter: Interpreter, descriptors: dict[int, int]) -> None:
        self._limits = {getattr(resource, name): value for name, value in told["rlimits"].items()}
        self._told = told
        self._interpreter = interpreter
        self._reply_cap = 6 * told["output_bytes"] + 2**17
        self._pipes = descriptors
        """Where processes' own writing to 1 and 2 is read: descriptor to read from, to which of the two it is."""
        self._folders = [folder for folder in (told["scratch"], SHARED) if os.path.isdir(folder)]
        self._empty = {folder: num_files(folder) for folder in self._folders}
        self._own_memory = memory_bytes(exact=True)
        self._poll = select.poll()
        for descriptor in (CHANNEL, *descriptors):
            self._poll.register(descriptor, select.POLLIN)
        self._sees_children = os.path.exists("/proc/1/task/1/children")
        self._seed: int | None = None
        self._child = 0
        self._status: tuple[int, float] | None = None
        """How the child ended, and the processor time it took."""
        self._socket = -1
        self._requests = bytearray()
        self._unsent = b""
        self._answer = bytearray()
        self._chunks: list[tuple[int, bytes]] = []
        self._written = 0
        self._is_called = self._is_stopped = self._is_late = False
        self._idle = _IDLE_TICKS
        self._patience = 0
        self._next_look = self._deadline = 0.0

    def serve(self) -> None:
        """Do what comes over the channel, until its other end is closed."""
        while True:
            watching = self._is_called or self._idle < _IDLE_TICKS
            events = self._poll.poll(_TICK_MS if watching else None)
            for descriptor, happened in events:
                if descriptor in self._pipes:
                    self._drain(descriptor)
                elif descriptor == self._socket and self._is_called:
                    if happened & select.POLLOUT:
                        self._send_call()
                    if happened & ~select.POLLOUT:
                        self._take_answer()
            if any(descriptor == CHANNEL for descriptor, _ in events):
                part = os.read(CHANNEL, _PART)
                if not part:
                    return
                self._requests += part
                self._take_requests()
            # by the clock: whoever writes without pause must not keep us from looking
            if watching and time.monotonic() >= self._next_look:
                self._next_look = time.monotonic() + _TICK_MS / 1000
                self._look()

    def _take_requests(self) -> None:
        while len(self._requests) >= REQUEST.size:
            kind, size = REQUEST.unpack_from(self._requests)
            end = REQUEST.size + size
            if len(self._requests) < end:
                return
            body = bytes(self._requests[REQUEST.size : end])
            del self._requests[:end]
            if kind == RESET:
                self._reset(int(body))
            elif kind == CALL:
                self._call(body)

    def _reset(self, seed: int) -> None:
        """A fresh process in a fresh scratch folder; if that cannot be had here, the machine is told.

        What was there is dying while the next process is made, which waits for its first call: the two take as long,
        and may each have a core.
        """
        if seed != self._seed:
            reseed(seed)
            self._seed = seed
        self._strike()
        if not self._sees_children:
            self._bury()
        try:
            self._fork(seed)
        except OSError:
            self._strike()
        self._bury(but=self._child)
        self._drop_output()
        lives = self._child and self._status is None  # the dying may have struck once more
        if not lives or not all(emptied(folder, self._empty[folder]) for folder in self._folders):
            self._kill()
            _send(RECYCLE)

    def _fork(self, seed: int) -> None:
        """Make the process of a trajectory. Raises OSError."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        with ours, theirs:
            child = os.fork()
            if child == 0:
                status = _BROKEN
                try:
                    self._become_child(theirs.fileno(), seed)
                    status = 1
                    self._interpreter.serve(CHANNEL)
                finally:
                    _leave(status)
            self._child, self._socket, self._status = child, ours.detach(), None
        os.set_blocking(self._socket, False)
        self._idle, self._is_stopped = 0, False

    def _become_child(self, descriptor: int, seed: int) -> None:
        os.dup2(descriptor, CHANNEL)
        os.closerange(CHANNEL + 1, 64)
        os.setsid()
        for limit, value in self._limits.items():
            resource.setrlimit(limit, (value, value))
        _prctl(_SET_DUMPABLE, 1, 0, 0, 0)
        _signal.signal(signal.SIGINT, signal.default_int_handler)
        sys.path.insert(0, "")
        random.seed(seed)
        gc.enable()

    def _call(self, code: bytes) -> None:
        if self._socket < 0:
            self._finish({"end": "gone"})
            return
        if self._is_stopped:
            os.kill(-1, signal.SIGCONT)
            self._is_stopped = False
        self._unsent = LENGTH.pack(len(code)) + code
        self._answer.clear()
        self._written = sum(len(chunk) for _, chunk in self._chunks)
        self._is_called, self._is_late, self._patience = True, False, 0
        now = time.monotonic()
        self._next_look, self._deadline = now + _TICK_MS / 1000, now + self._told["timeout_s"]
        self._poll.register(self._socket, select.POLLIN)
        self._send_call()

    def _send_call(self) -> None:
        try:
            sent = os.write(self._socket, self._unsent)
        except BlockingIOError:
            sent = 0
        except OSError:
            sent = len(self._unsent)  # the end of the child is seen when its answer is read
        self._unsent = self._unsent[sent:]
        self._poll.modify(self._socket, select.POLLIN | select.POLLOUT if self._unsent else select.POLLIN)

    def _take_answer(self) -> None:
        """Read what the child sent; its bytes are not looked into."""
        try:
            part = os.read(self._socket, _PART)
        except OSError:
            part = b""
        if not part:
            self._lost()
            return
        self._answer += part
        if len(self._answer) < LENGTH.size:
            return
        (size,) = LENGTH.unpack_from(self._answer)
        if size > self._reply_cap:
            self._end({"end": "forged"})
        elif len(self._answer) >= LENGTH.size + size:
            for descriptor in self._pipes:
                self._drain(descriptor)
            if self._is_called:
                self._finish({}, bytes(self._answer[LENGTH.size : LENGTH.size + size]))

    def _lost(self) -> None:
        """The child has closed its socket: it ended, or will be."""
        for _ in range(200):
            self._reap()
            if self._status is not None:
                break
            time.sleep(0.001)
        if self._status is None:
            self._end({"end": "closed"})
            return
        status, cpu_s = self._status
        code = os.waitstatus_to_exitcode(status)
        if code == -signal.SIGKILL and cpu_s > self._told["cpu_s"] - 1:
            self._end({"end": "cpu"})
        else:
            self._end({"end": "signal", "number": -code} if code < 0 else {"end": "exit", "number": code})

    def _drain(self, descriptor: int) -> None:
        """Take what processes wrote to 1 or 2, and keep what there is room for."""
        cap = self._told["output_bytes"]
        with contextlib.suppress(BlockingIOError):
            while part := os.read(descriptor, _PART):
                room = cap - self._written
                self._written += len(part)
                if room >= 0:
                    self._chunks.append((self._pipes[descriptor], part[: room + 1]))
                if self._written > _ROOM * cap:
                    self._end({"end": "output"})
                    return

    def _look(self) -> None:
        """Look after the processes there are."""
        self._reap()
        if self._told["memory_bytes"] < self._memory():
            self._end({"end": "memory"})
        elif sum(map(num_files, self._folders)) > self._told["num_files"] + sum(self._empty.values()):
            self._end({"end": "files"})
        elif self._is_called and not self._is_late and time.monotonic() > self._deadline:
            # as a notebook is interrupted: what ends by that keeps its state; the machine ends what does not
            self._is_late = True
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._child, signal.SIGINT)
        if self._is_called:
            return
        self._idle += 1
        if self._idle == _IDLE_TICKS and self._child:
            with contextlib.suppress(ProcessLookupError):
                os.kill(-1, signal.SIGSTOP)
            self._is_stopped = True

    def _memory(self) -> int:
        """Bytes that the trajectory's processes hold, never too few.

        Pages that they share are first counted for each; only if that is too much does it pay to look closer.
        """
        if not self._told["has_proc"]:
            return 0
        held = memory_bytes(exact=False) - self._own_memory
        if held > self._told["memory_bytes"]:
            if self._patience:
                self._patience -= 1
                return 0
            held = memory_bytes(exact=True) - self._own_memory
            self._patience = 3
        return held

    def _reap(self) -> None:
        """Bury the dead, and note how the child ended."""
        try:
            while True:
                dead = os.wait4(-1, os.WNOHANG)
                if not dead[0]:
                    return
                self._note(dead)
        except ChildProcessError:
            return

    def _note(self, dead: tuple[int, int, resource.struct_rusage]) -> None:
        pid, status, usage = dead
        if pid == self._child:
            self._status = status, usage.ru_utime + usage.ru_stime

    def _end(self, how: dict[str, Any]) -> None:
        """Kill the trajectory, and say why if a call waits; one that nothing waits for is told with the next."""
        self._kill()
        if self._is_called:
            self._finish(how)
        else:
            self._chunks = []

    def _finish(self, how: dict[str, Any], answer: bytes = b"") -> None:
        """Tell the machine how the call ended: our own words, then those of the child."""
        chunks, self._chunks = self._chunks, []
        if chunks:
            grouped = itertools.groupby(chunks, key=lambda chunk: chunk[0])
            how["output"] = [
                [stream, b"".join([part for _, part in parts]).decode("utf-8", "replace")] for stream, parts in grouped
            ]
            how["cut"] = self._written > self._told["output_bytes"]
        if self._is_late:
            how["late"] = True
        if self._is_called and self._socket >= 0:
            self._poll.unregister(self._socket)
        self._is_called, self._is_late, self._idle = False, False, 0
        _send(OUTCOME, json.dumps(how).encode() if how else b"", answer)

    def _kill(self) -> None:
        """End every process but this one."""
        self._strike()
        self._bury()

    def _strike(self) -> None:
        """Send every process but this one to its death, and forget the trajectory."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(-1, signal.SIGKILL)
        if self._socket >= 0:
            if self._is_called:
                self._poll.unregister(self._socket)
            os.close(self._socket)
        self._child, self._socket, self._idle = 0, -1, _IDLE_TICKS

    def _bury(self, but: int = 0) -> None:
        """Wait until no process is left beside this one, and `but`, which has no children yet."""
        with contextlib.suppress(ChildProcessError):
            while not but or _children() != [but]:
                self._note(os.wait4(-1, 0))

    def _drop_output(self) -> None:
        """Forget what the last trajectory still wrote."""
        self._is_called, self._chunks = False, []
        for descriptor in self._pipes:
            with contextlib.suppress(BlockingIOError):
                while os.read(descriptor, _PART):
                    pass


def _children() -> list[int]:
    """Our own; every orphan is among them."""
    with open("/proc/1/task/1/children", "rb", buffering=0) as file:
        return [int(child) for child in file.read().split()]


def _send(kind: bytes, words: bytes = b"", answer: bytes = b"") -> None:
    data = REPLY.pack(kind, len(words), len(answer)) + words + answer
    while data:
        data = data[os.write(CHANNEL, data) :]


def main() -> None:
    """Load, say hello, serve."""
    told = json.loads(sys.argv[1])
    # what PID 1 has no handler for cannot be sent to it from inside; nor can its memory be read
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    _prctl(_SET_DUMPABLE, 0, 0, 0, 0)
    absent = preload(told["preload"])
    interpreter = Interpreter(told["output_bytes"])
    pipes = {}
    for stream in (1, 2):
        reader, writer = os.pipe()
        os.set_blocking(reader, False)
        os.dup2(writer, stream)
        os.close(writer)
        pipes[reader] = stream
    interpreter.install()
    collapse()
    gc.collect()
    gc.freeze()
    gc.disable()
    server = Server(told, interpreter, pipes)
    _send(HELLO, json.dumps({"absent": absent, "python": sys.version.split()[0]}).encode())
    server.serve()


if __name__ == "__main__":
    try:
        main()
    except BaseException:
        traceback.print_exc()  # to bwrap's stderr, as long as it is ours
    finally:
        _leave(1)
