"""Servers of our own in tests, and a process that owns one."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from pipeline.serving.config import ServerConfig
from pipeline.serving.own import OwnServer
from pipeline.serving.recipe import Launch, Recipe, Seat

ROOT = Path(__file__).parents[3]
TINY = Path(__file__).with_name("tiny_server.py")


def tiny(*behaviour: str, grace_s: float = 0.5) -> Recipe:
    """The recipe of a tiny server."""

    def launch(_config: ServerConfig, seat: Seat) -> Launch:
        command = (sys.executable, "-S", str(TINY), str(seat.port), *behaviour)
        return Launch(command, {"TINY_KEY": seat.api_key}, "tiny 1.0", grace_s)

    return launch


def own(folder: Path, recipe: Recipe, say: Callable[[str], None] = print, **config: object) -> OwnServer:
    """A server whose weights and logs lie in `folder`."""
    held = ServerConfig.model_validate({"model": "some/model", "start_timeout_s": 20, **config})
    return OwnServer(held, cache=folder / "cache", logs=folder / "logs", say=say, recipe=recipe)


def pids(log: Path | str | None) -> list[int]:
    """The processes that told their ids in a server's log."""
    return [int(pid) for pid in re.findall(r"(?m)^pid (\d+)$", Path(str(log)).read_text())]


def own_elsewhere(folder: Path, *behaviour: str) -> subprocess.Popen[str]:
    """A process that owns a tiny server; a line of its output says where the log is, once the server answers."""
    script = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from tests.pipeline.serving.owners import own, tiny\n"
        "server = own(Path(sys.argv[1]), tiny(*sys.argv[2:]), say=lambda line: None)\n"
        "print(server.endpoint().log, flush=True)\n"
        "time.sleep(600)\n"
    )
    command = [sys.executable, "-c", script, str(folder), *behaviour]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)


def line_of(process: subprocess.Popen[str]) -> str:
    """The next line of its output."""
    assert process.stdout is not None
    return process.stdout.readline().strip()
