"""The outer watch looks at processes that come and go."""

import subprocess

from pipeline.replay.sandbox.watchdog import descendants, memory_bytes


def test_processes_that_end_while_they_are_looked_at_are_left_out() -> None:
    come_and_go = "i=0; while [ $i -lt 1500 ]; do true & i=$((i+1)); done; wait"
    with subprocess.Popen(["sh", "-c", come_and_go]) as shell:
        seen = looks = 0
        while shell.poll() is None:
            seen = max(seen, len(descendants(shell.pid)))
            memory_bytes(shell.pid)
            looks += 1
    assert looks > 20
    assert seen > 0


def test_a_process_that_is_gone_has_neither_descendants_nor_memory() -> None:
    with subprocess.Popen(["true"]) as gone:
        gone.wait()
    assert descendants(gone.pid) == []
    assert memory_bytes(gone.pid) == 0
