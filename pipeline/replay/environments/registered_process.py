"""The process a registered class lives in, seen from ours."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from pipeline.processes.guardian import guarded
from pipeline.replay.environments.channel import BrokenChannelError, Channel

START_S = 120.0
"""How long the class may take to load."""

_HOST = str(Path(__file__).with_name("registered_host.py"))
_GRACE_S = 1.0
_END_S = 10.0


class LoadError(Exception):
    """The class does not load."""


class RegisteredProcess:
    """A guarded process with the class loaded; `version` is what its results depend on."""

    def __init__(self, group: str, name: str, options: dict[str, Any], hash_seed: int) -> None:
        """Start it; raises LoadError with what it said."""
        self.hash_seed = hash_seed
        # The guardian passes on no more than a few kilobytes of what the class prints.
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed by kill
        self._socket, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                guarded([sys.executable, "-P", _HOST, json.dumps(sys.path)], grace_s=_GRACE_S),
                stdin=theirs.fileno(),
                stdout=theirs.fileno(),
                stderr=self._errors,
                start_new_session=True,
                env=os.environ | {"PYTHONHASHSEED": str(hash_seed)},  # passed on, not read
            )
        self._channel = Channel(self._socket.fileno(), self._socket.fileno())
        try:
            told = self.ask({"group": group, "name": name, "options": options}, START_S)
        except TimeoutError as error:
            self.kill()
            raise LoadError(f"nothing after {START_S:g} s") from error
        except BrokenChannelError as error:
            raise LoadError(f"its process {error}{self.kill()}") from error
        if "error" in told:
            self.kill()
            raise LoadError(told["error"])
        self.version: str = told["version"]

    def ask(self, asked: dict[str, Any], timeout_s: float) -> dict[str, Any]:
        """Its answer; raises TimeoutError or BrokenChannelError, after which it is of no more use."""
        self._channel.send(asked, timeout_s)
        return self._channel.receive(timeout_s)

    def close(self) -> None:
        """Let the class close what it holds, then end the process."""
        self._socket.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_END_S)
        self.kill()

    def kill(self) -> str:
        """End the process and all it started; returns the last line it wrote to its standard error, in brackets."""
        self._process.terminate()
        try:
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._socket.close()
        with self._errors:
            self._errors.seek(0)
            lines = [line.strip() for line in self._errors.read().decode(errors="replace").splitlines() if line.strip()]
        return f" ({lines[-1][:300]})" if lines else ""
