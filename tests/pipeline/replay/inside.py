"""A plain worker: runs one text of Python in a limited child, inside a sandbox, and sends what it printed.

Stands where worker.py stands, so that a test can leave a protection of the sandbox out and see what the same text then
achieves. The standard library alone.
"""

import contextlib
import json
import os
import resource
import socket
import sys
import time
import traceback

_WAIT_S = 20.0


def main() -> None:
    """Run `code`, answer with its output, wait to be ended."""
    told = json.loads(sys.argv[1])
    channel = socket.socket(fileno=3)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        if not told.get("share"):
            channel.close()
        run(told, writer)
    os.close(writer)
    os.set_blocking(reader, False)
    output, deadline, ended = b"", time.monotonic() + _WAIT_S, False
    while not ended and time.monotonic() < deadline:
        ended = os.waitpid(child, os.WNOHANG)[0] == child
        output += drain(reader)
        time.sleep(0.005)
    if os.getpid() == 1 and told.get("sweep", True):
        with contextlib.suppress(ProcessLookupError):  # no other is left
            os.kill(-1, 9)
    channel.sendall(json.dumps({"output": output.decode(errors="replace"), "ended": ended}).encode())
    channel.shutdown(socket.SHUT_WR)
    channel.recv(1)


def run(told: dict, writer: int) -> None:
    """The child: limits, then the code."""
    for name, value in told["rlimits"].items():
        resource.setrlimit(getattr(resource, name), (value, value))
    os.dup2(writer, 1)
    os.dup2(writer, 2)
    try:
        exec(compile(told["code"], "<attack>", "exec"), {"__name__": "__main__"})
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def drain(reader: int) -> bytes:
    """What is there now."""
    try:
        return os.read(reader, 2**16)
    except BlockingIOError:
        return b""


if __name__ == "__main__":
    main()
