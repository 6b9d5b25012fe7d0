"""Every snippet of docs/design/environments.md is run."""

import contextlib
import re
import socket
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.config import CurationConfig
from pipeline.replay.config import EnvironmentConfig, HttpServer, McpServer, RegisteredClass
from pipeline.replay.environment import Episode, Observation, Status
from pipeline.replay.environments.registry import open_environment
from tests.pipeline.replay.environments.conftest import Register

ROOT = Path(__file__).parents[4]
PAGE = (ROOT / "docs" / "design" / "environments.md").read_text()
SNIPPETS: list[tuple[str, str]] = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
KNOWN = [
    "lending.py", "pyproject.toml", "toolwise.toml", "try_library.py", "", "toolwise.toml", "clock.py", "toolwise.toml",
    "counter.py", "toolwise.toml",
]  # fmt: skip


def snippet(file: str) -> str:
    """The snippet, or all snippets, that begin with the file's name as a comment."""
    return "\n".join(text for _, text in SNIPPETS if text.startswith(f"# {file}\n"))


@pytest.fixture
def configured(tmp_path: Path) -> dict[str, EnvironmentConfig]:
    """The environments of all configuration snippets together."""
    (tmp_path / "toolwise.toml").write_text(snippet("toolwise.toml"))
    return CurationConfig.from_toml(tmp_path / "toolwise.toml").replay.environments


@contextlib.contextmanager
def serving(script: Path) -> Iterator[int]:
    """The port of a server run from a script."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with subprocess.Popen([sys.executable, str(script), str(port)], stderr=subprocess.DEVNULL) as process:
        until = time.monotonic() + 20
        while time.monotonic() < until:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            time.sleep(0.02)
        try:
            yield port
        finally:
            process.kill()


def test_these_are_the_snippets() -> None:
    names = [text.partition("\n")[0].removeprefix("# ") if kind != "text" else "" for kind, text in SNIPPETS]
    assert names == KNOWN


def test_the_class_runs_as_shown(register: Register, tmp_path: Path) -> None:
    (tmp_path / "lending.py").write_text(snippet("lending.py"))
    declared = tomllib.loads(snippet("pyproject.toml"))["project"]["entry-points"]["toolwise.environments"]
    register("", "\n".join(f"{name} = {target}" for name, target in declared.items()))
    (tmp_path / "toolwise.toml").write_text(snippet("toolwise.toml"))
    (tmp_path / "try_library.py").write_text(snippet("try_library.py"))
    # The folder of a script is on its path, and so is what is registered there.
    done = subprocess.run(
        [sys.executable, "try_library.py"], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    (output,) = [text for kind, text in SNIPPETS if kind == "text"]
    assert done.stdout == output, done.stderr


def test_the_model_context_protocol_server_runs_as_shown(
    configured: dict[str, EnvironmentConfig], tmp_path: Path
) -> None:
    (tmp_path / "clock.py").write_text(snippet("clock.py"))
    clock, desk = configured["clock"], configured["desk"]
    assert isinstance(clock, McpServer)
    assert clock.command == ("python", "clock.py")
    assert isinstance(desk, McpServer)
    assert desk.repeat == "reset"
    here = clock.model_copy(update={"command": (sys.executable, str(tmp_path / "clock.py"))})
    with contextlib.closing(open_environment("clock", here)) as environment:
        environment.reset(Episode("t1"), 1)
        assert environment.call("add_minutes", '{"time": "23:50", "minutes": 15}') == Observation("00:05")


def test_the_http_server_runs_as_shown(configured: dict[str, EnvironmentConfig], tmp_path: Path) -> None:
    (tmp_path / "counter.py").write_text(snippet("counter.py"))
    counter = configured["counter"]
    assert isinstance(counter, HttpServer)
    with serving(tmp_path / "counter.py") as port:
        here = counter.model_copy(update={"url": f"http://127.0.0.1:{port}"})
        with contextlib.closing(open_environment("counter", here)) as environment:
            assert environment.version.endswith(" 1 1")
            environment.reset(Episode("t1", metadata={"start": 5}), 1)
            assert environment.call("count", '{"by": 2}') == Observation("7")
            assert environment.call("count", '{"by": 2}') == Observation("9")
            assert environment.call("nonesuch", "{}") == Observation("", Status.MISSING, "tool nonesuch")
            environment.reset(Episode("t2"), 1)
            assert environment.call("count", '{"by": 2}') == Observation("2")


def test_the_leaderboards_simulators_are_registered_under_the_name_shown(
    configured: dict[str, EnvironmentConfig],
) -> None:
    bfcl = configured["bfcl"]
    assert isinstance(bfcl, RegisteredClass)
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]
    assert declared["toolwise.environments"][bfcl.name] == "pipeline.replay.environments.bfcl:BfclSimulators"
    assert bfcl.takes("bfcl", "cd")
    assert not bfcl.takes("tau_bench", "cd")


def test_the_paths_on_the_page_exist() -> None:
    paths = re.findall(r"`((?:pipeline|tests|docs)/[\w/.]+)`", PAGE)
    assert len(paths) >= 4
    assert [path for path in paths if not (ROOT / path).exists()] == []
