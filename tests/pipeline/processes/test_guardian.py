"""Nothing outlives whoever started it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.processes.guardian import STDERR_BYTES, guarded
from tests.pipeline.replay.processes import is_gone, lives


def start(script: str, *, grace_s: float = 0.3, keep: tuple[str, ...] | None = None) -> subprocess.Popen[bytes]:
    command = guarded(["sh", "-c", script], grace_s=grace_s, keep=keep)
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def lines(process: subprocess.Popen[bytes], count: int) -> list[int]:
    assert process.stdout is not None
    return [int(process.stdout.readline()) for _ in range(count)]


def test_input_output_and_exit_status_are_the_commands() -> None:
    with start("cat; exit 7") as process:
        assert process.communicate(b"hello", timeout=10) == (b"hello", b"")
        assert process.returncode == 7


def test_a_missing_program_is_named() -> None:
    command = guarded(["nonesuch"], grace_s=0.1)
    done = subprocess.run(command, input=b"", capture_output=True, timeout=10, check=False)
    assert (done.returncode, done.stderr) == (127, b"nonesuch: No such file or directory\n")


def test_only_the_end_of_an_endless_log_is_passed_on() -> None:
    with start("yes error >&2") as process:
        _, errors = process.communicate(timeout=10)
        assert len(errors) == STDERR_BYTES
        assert errors.endswith(b"error\n")


def test_the_command_sees_the_named_variables_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOOLWISE_TEST_SECRET", "s")
    with start("env", keep=("PATH", "HOME")) as process:
        seen, _ = process.communicate(timeout=10)
        # The shell adds PWD and the like by itself.
        assert b"PATH=" in seen
        assert b"TOOLWISE_TEST_SECRET" not in seen
    with start("env") as process:
        assert b"TOOLWISE_TEST_SECRET=s" in process.communicate(timeout=10)[0]


def test_a_daemon_does_not_outlive_the_command() -> None:
    with start("setsid sleep 600 >/dev/null 2>&1 & echo $!; exit 0") as process:
        (daemon,) = lines(process, 1)
        assert process.wait(10) == 0
        assert is_gone(daemon)


@pytest.mark.parametrize(
    "script", ["echo $$; exec sleep 600", "trap '' TERM HUP; echo $$; while true; do sleep 1; done"]
)
def test_a_command_that_ignores_the_end_of_its_input_is_killed_after_the_grace(script: str) -> None:
    with start(script) as process:
        (pid,) = lines(process, 1)
        assert process.stdin is not None
        begun = time.monotonic()
        process.stdin.close()
        process.wait(10)
        assert 0.2 < time.monotonic() - begun < 3
        assert is_gone(pid)


def test_terminated_it_kills_the_whole_tree_at_once() -> None:
    with start("setsid sleep 600 & echo $!; echo $$; wait", grace_s=60) as process:
        pids = lines(process, 2)
        process.terminate()
        process.wait(10)
        assert all(is_gone(pid) for pid in pids)


def test_killed_itself_it_takes_the_command_along() -> None:
    with start("echo $$; exec sleep 600", grace_s=60) as process:
        (pid,) = lines(process, 1)
        process.kill()
        assert is_gone(pid)


def test_nothing_is_left_when_whoever_started_it_is_killed_and_a_fork_still_holds_the_pipe(tmp_path: Path) -> None:
    script = tmp_path / "host.py"
    script.write_text(
        "import os, subprocess, sys, time\n"
        "process = subprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE)\n"
        "if os.fork() == 0:\n"
        "    time.sleep(20)\n"
        "    os._exit(0)\n"
        "time.sleep(600)\n"
    )
    command = guarded(["sh", "-c", "setsid sleep 600 & echo $!; echo $$; wait"], grace_s=0.2)
    with subprocess.Popen(
        [sys.executable, str(script), *command], stdout=subprocess.PIPE, start_new_session=True
    ) as host:
        pids = lines(host, 2)
        assert all(map(lives, pids))
        os.kill(host.pid, signal.SIGKILL)
        assert all(is_gone(pid) for pid in pids)
        os.killpg(host.pid, signal.SIGKILL)
