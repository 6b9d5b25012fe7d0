"""Nothing outlives whoever started it."""

import fcntl
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.processes.guardian import STDERR_BYTES, guarded
from tests.pipeline.replay.processes import is_gone, lives


def start(
    script: str,
    *,
    grace_s: float = 0.3,
    keep: tuple[str, ...] | None = None,
    ask: signal.Signals | None = None,
    scratch: Path | None = None,
    pass_fds: tuple[int, ...] = (),
) -> subprocess.Popen[bytes]:
    command = guarded(["sh", "-c", script], grace_s=grace_s, keep=keep, ask=ask, scratch=scratch)
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, pass_fds=pass_fds)


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


def test_a_command_that_is_asked_to_leave_gets_the_signal_and_its_grace() -> None:
    script = "trap 'echo asked; exit 5' TERM; echo 1; while true; do sleep 0.05; done"
    with start(script, grace_s=60, ask=signal.SIGTERM) as process:
        lines(process, 1)
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.close()
        assert process.stdout.read() == b"asked\n"
        assert process.wait(10) == 5


@pytest.mark.parametrize("how", ["ignored", "blocked"])
def test_it_is_heard_though_whoever_started_us_has_the_signal_off(how: str) -> None:
    before, mask = signal.getsignal(signal.SIGTERM), signal.pthread_sigmask(signal.SIG_BLOCK, ())
    if how == "ignored":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    else:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        process = start(
            "trap 'echo asked; exit 5' TERM; echo 1; while true; do sleep 0.05; done", grace_s=10, ask=signal.SIGTERM
        )
    finally:
        signal.signal(signal.SIGTERM, before)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    with process:
        lines(process, 1)
        assert process.communicate(timeout=30)[0] == b"asked\n"
        assert process.returncode == 5


def test_the_scratch_folder_goes_with_the_last_process(tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    with start("echo 1; exec sleep 600", grace_s=60, scratch=scratch) as process:
        lines(process, 1)
        (scratch / "file").write_text("x")
        process.terminate()
        process.wait(10)
    assert not scratch.exists()
    assert tmp_path.exists()


def test_a_lock_handed_over_is_held_until_nothing_of_the_command_is_left(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    with lock.open("w") as theirs:
        fcntl.flock(theirs, fcntl.LOCK_EX)
        high = fcntl.fcntl(theirs, fcntl.F_DUPFD, 100)  # beyond what a short list of descriptors would close
        process = start("setsid sleep 600 & echo $!; ls /proc/$$/fd | wc -l; wait", grace_s=60, pass_fds=(high,))
        os.close(high)
    with process, lock.open() as ours:
        daemon, num_open = lines(process, 2)
        assert num_open == 3
        with pytest.raises(BlockingIOError):
            fcntl.flock(ours, fcntl.LOCK_EX | fcntl.LOCK_NB)
        process.terminate()
        process.wait(10)
        assert not lives(daemon)
        fcntl.flock(ours, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_shared_memory_of_killed_processes_is_freed() -> None:
    script = (
        "import time; from multiprocessing import shared_memory; "
        "held = shared_memory.SharedMemory(create=True, size=4096); "
        "print(1, flush=True); print(held.name, flush=True); time.sleep(600)"
    )
    with start(f"exec {sys.executable} -c '{script}'", grace_s=60) as process:
        lines(process, 1)
        assert process.stdout is not None
        shared = Path("/dev/shm", process.stdout.readline().decode().strip())
        assert shared.exists()
        process.terminate()
        process.wait(10)
    assert not shared.exists()
