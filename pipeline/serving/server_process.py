"""The process of a model server, which never outlives ours."""

import contextlib
import os
import signal
import subprocess
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from pipeline.processes.guardian import guarded
from pipeline.serving.recipe import Launch

_KEPT_LOGS = 5
_SLACK_S = 10.0
_LOGS = "model-server-*.log"


class ServerProcess:
    """A server under a guardian, which ends all of it when we end, of whatever cause."""

    def __init__(self, launch: Launch, log: Path, *, held: int) -> None:
        """Start it; `held` is a locked descriptor that is let go when nothing of the server is left."""
        self.log = log
        self._grace_s = launch.grace_s
        self._is_stopped = False
        # The guardian passes on no more than the end of a standard error; this log is to hold all of it.
        scratch = Path(tempfile.mkdtemp(prefix="toolwise-server-"))
        command = ["sh", "-c", 'exec "$@" 2>&1', "sh", *launch.command]
        with log.open("ab") as out:
            self._process = subprocess.Popen(
                guarded(command, grace_s=launch.grace_s, ask=signal.SIGTERM, scratch=scratch),
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=out,
                pass_fds=(held,),
                start_new_session=True,  # Ctrl-C is for us: we end it in order
                env=os.environ | {"TMPDIR": str(scratch)} | launch.environment,  # passed on, not read
            )

    def status(self) -> int | None:
        """Its exit status, None while it runs."""
        return self._process.poll()

    def stop(self) -> None:
        """Ask it to leave, then kill what is left; returns once nothing is."""
        if self._is_stopped:
            return
        self._is_stopped = True
        if self._process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()
        try:
            self._process.wait(self._grace_s + _SLACK_S)
        except subprocess.TimeoutExpired:
            self._process.terminate()  # a fork of ours holds the pipe open; the guardian then kills at once
            try:
                self._process.wait(_SLACK_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()


def new_log(folder: Path) -> Path:
    """A file of its own for a server that starts, readable by us alone; the oldest of many are removed."""
    folder.mkdir(parents=True, exist_ok=True)
    found = sorted(folder.glob(_LOGS), key=lambda path: path.name)
    for old in found[: max(0, len(found) - _KEPT_LOGS + 1)]:
        old.unlink(missing_ok=True)
    log = folder / _LOGS.replace("*", f"{datetime.now(UTC):%Y%m%dT%H%M%S.%f}-{os.getpid()}")
    os.close(os.open(log, os.O_CREAT | os.O_WRONLY, 0o600))
    return log
