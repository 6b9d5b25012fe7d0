"""The sandbox itself, below the fork server: what holds attacks, and that they succeed once it is left out."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import SandboxUnavailableError
from pipeline.replay.config import PythonSandbox
from pipeline.replay.sandbox.bubblewrap import start_isolated
from pipeline.replay.sandbox.canaries import check_isolation, probe, require_isolation
from pipeline.replay.sandbox.command import ALL, Backend, Protection, candidates
from pipeline.replay.sandbox.running import Isolated, launch
from pipeline.replay.sandbox.watchdog import descendants
from tests.pipeline.replay.attacks import ATTACKS, Attack, Machine, machine
from tests.pipeline.replay.processes import lives, num_descriptors, wait_until

INSIDE = Path(__file__).with_name("inside.py")
ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def outside() -> Iterator[Machine]:
    with machine() as found:
        yield found


@pytest.fixture(scope="module")
def backend() -> Backend:
    return require_isolation(PythonSandbox())


def attempt(
    text: str, backend: Backend, protections: frozenset[Protection] = ALL, program: Path = INSIDE, **config: Any
) -> str:
    """What the text printed in a sandbox of its own; empty if that was ended first."""
    started = launch(
        PythonSandbox(**config), backend, hash_seed=0, program=program, protections=protections, facts={"code": text}
    )
    try:
        return answer(started)
    finally:
        started.kill()


def answer(started: Isolated) -> str:
    started.channel.settimeout(30)
    got = b""
    while part := started.channel.recv(2**16):
        got += part
    return json.loads(got)["output"] if got else started.complaint()


@pytest.mark.parametrize("attack", [attack for attack in ATTACKS if not attack.held_by_worker], ids=lambda a: a.name)
def test_an_attack_comes_to_nothing(attack: Attack, outside: Machine, backend: Backend) -> None:
    printed = attempt(outside.fill(attack.text), backend, **attack.config)
    assert "ESCAPED" not in printed
    assert "Traceback" not in printed
    assert outside.visitors() == 0


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_it_succeeds_without_the_protection_that_held_it(attack: Attack, outside: Machine, backend: Backend) -> None:
    printed = attempt(outside.fill(attack.text), backend, ALL - attack.without, **attack.config)
    assert "ESCAPED" in printed
    outside.visitors()


def test_canaries_hold_here() -> None:
    canaries = check_isolation(PythonSandbox())
    assert [canary for canary in canaries if not canary.holds] == []
    assert [canary.name for canary in canaries] == [
        "sandbox", "read host file", "see other processes", "have environment", "write outside", "connect",
        "make namespace", "mount", "have rights", "hide memory", "fork freely", "watched from outside",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("without", "dead"),
    [
        ({Protection.FILES}, {"read host file"}),
        ({Protection.PROCESSES}, {"see other processes"}),
        ({Protection.ENVIRONMENT}, {"have environment"}),
        ({Protection.READ_ONLY}, {"write outside"}),
        ({Protection.NETWORK, Protection.SYSTEM_CALLS}, {"connect", "have rights", "hide memory"}),
        (
            {Protection.NESTING, Protection.SYSTEM_CALLS},
            {"connect", "make namespace", "have rights", "hide memory"},
        ),
        ({Protection.LIMITS}, {"fork freely"}),
    ],
    ids=lambda names: "-".join(sorted(names)),
)
def test_a_canary_dies_without_its_protection(without: set[Protection], dead: set[str], backend: Backend) -> None:
    found = {canary.name: canary for canary in probe(PythonSandbox(), backend, protections=ALL - without)}
    assert {name for name, canary in found.items() if not canary.holds} == dead
    assert all(found[name].mend for name in dead)


def test_a_bwrap_that_cannot_start_says_why() -> None:
    with pytest.raises(SandboxUnavailableError, match="false: no process came to be"):
        probe(PythonSandbox(), Backend("false", Path("/bin/false")))


def test_an_interpreter_that_cannot_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(SandboxUnavailableError, match=r"interpreter .*absent does not run.*leave `interpreter` out"):
        start_isolated(PythonSandbox(interpreter=str(tmp_path / "absent")), hash_seed=0)


def test_killing_leaves_no_process_and_no_descriptor(backend: Backend) -> None:
    text = "import os, time\nfor _ in range(5):\n    if os.fork() == 0: time.sleep(60)\ntime.sleep(60)\n"
    config = PythonSandbox()
    launch(config, backend, hash_seed=0, program=INSIDE, facts={"code": "print(1)"}).kill()
    before = num_descriptors()
    for _ in range(3):
        started = launch(config, backend, hash_seed=0, program=INSIDE, facts={"code": text})
        wait_until(lambda: len(descendants(started.pid)) == 6)  # noqa: B023 - asked before the next round
        inside = descendants(started.pid)
        started.kill()
        started.kill()
        assert [pid for pid in (started.process.pid, started.pid, *inside) if lives(pid)] == []
    assert num_descriptors() == before


def test_a_sandbox_ends_with_the_process_that_started_it() -> None:
    text = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from pipeline.replay.config import PythonSandbox\n"
        "from pipeline.replay.sandbox.canaries import require_isolation\n"
        "from pipeline.replay.sandbox.running import launch\n"
        "config = PythonSandbox()\n"
        "facts = {'code': 'import time; time.sleep(60)'}\n"
        "started = launch(config, require_isolation(config), hash_seed=0, program=Path(sys.argv[1]), facts=facts)\n"
        "print(started.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", text, str(INSIDE)], stdout=subprocess.PIPE, cwd=ROOT) as parent:
        assert parent.stdout
        pid = int(parent.stdout.readline())
        # before bwrap has become the program, only the closed channel would end it
        wait_until(lambda: len(descendants(pid)) == 1)
        parent.send_signal(signal.SIGKILL)
    wait_until(lambda: not lives(pid))


def test_two_sandboxes_do_not_eat_each_others_processes(backend: Backend) -> None:
    text = (
        "import os, time\n"
        "made = 0\n"
        "try:\n"
        "    while True:\n"
        "        if os.fork() == 0:\n"
        "            time.sleep(5)\n"
        "            os._exit(0)\n"
        "        made += 1\n"
        "except OSError:\n"
        "    time.sleep(1)\n"
        "    print(made)\n"
    )
    with ThreadPoolExecutor(3) as pool:
        made = list(pool.map(lambda _: attempt(text, backend), range(3)))
    assert made == ["22\n"] * 3  # 24, less the first process and the one that forks


def test_memory_is_watched_from_outside_where_proc_is_masked(backend: Backend) -> None:
    masked = next(each for each in candidates() if each.binary == backend.binary and not each.has_proc)
    hidden = "held = bytearray(100 << 20)\nheld[::4096] = b'x' * len(held[::4096])\nprint('held')\n"
    assert attempt(hidden, masked, memory_bytes=2**28) == "held\n"
    twelve = next(attack for attack in ATTACKS if attack.name == "take it in twelve processes")
    started = launch(
        PythonSandbox(memory_bytes=2**28),
        masked,
        hash_seed=0,
        program=INSIDE,
        facts={"code": twelve.text.replace("@HOLD@", "5")},
    )
    assert answer(started) == ""
    assert started.ended_for_memory
    started.kill()


def test_memory_that_processes_share_is_counted_once(backend: Backend) -> None:
    masked = next(each for each in candidates() if each.binary == backend.binary and not each.has_proc)
    text = (
        "import os, time\n"
        "held = bytearray(100 << 20)\n"
        "held[::4096] = b'x' * len(held[::4096])\n"
        "for _ in range(12):\n"
        "    if os.fork() == 0:\n"
        "        time.sleep(0.5)\n"
        "        os._exit(0)\n"
        "print(sum(os.wait()[1] for _ in range(12)))\n"
    )
    assert attempt(text, masked, memory_bytes=2**28) == "0\n"


TELL = (
    "from pipeline.replay.config import PythonSandbox\n"
    "from pipeline.replay.sandbox.bubblewrap import start_isolated\n"
    "from pipeline.replay.sandbox.canaries import check_isolation\n"
    "for canary in check_isolation(PythonSandbox()):\n"
    "    print(canary.name, canary.holds, canary.told, canary.mend, sep=' | ')\n"
    "try:\n"
    "    start_isolated(PythonSandbox(), hash_seed=0).kill()\n"
    "    print('started')\n"
    "except Exception as error:\n"
    "    print(type(error).__name__, error)\n"
)


def test_nothing_starts_where_user_namespaces_are_denied(backend: Backend) -> None:
    denied = [backend.binary, "--unshare-user", "--uid", "12345", "--disable-userns", "--dev-bind", "/", "/", "--"]
    told = subprocess.run(
        [*denied, sys.executable, "-c", TELL], capture_output=True, text=True, check=True, cwd=ROOT
    ).stdout.splitlines()
    name, holds, why, mend = told[0].split(" | ")
    assert (name, holds, len(told)) == ("sandbox", "False", 2)
    assert "Creating new namespace failed" in why
    assert mend
    assert told[1].startswith("SandboxUnavailableError untrusted code cannot be isolated here, so none is run.")
    assert mend in told[1]


@pytest.mark.skipif(os.getuid() != 0, reason="only root can mask /proc")
def test_a_masked_proc_is_done_without() -> None:
    command = f'mount --bind /dev/null /proc/version && exec {sys.executable} -c "$0"'
    told = subprocess.run(
        ["unshare", "--mount", "--propagation", "private", "/bin/sh", "-c", command, TELL.partition("try:")[0]],
        capture_output=True, text=True, check=True, cwd=ROOT,
    ).stdout.splitlines()  # fmt: skip
    assert told[0].startswith("sandbox | True | ")
    assert "without /proc" in told[0]
    assert [line for line in told if " | True | " not in line] == []


def make_closed_python(folder: Path) -> PythonSandbox:
    """A venv with one distribution in it, in a folder that only its owner enters; and the configuration that asks."""
    folder.mkdir(mode=0o700)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", "--copies", folder / "venv"], check=True)
    site = next((folder / "venv" / "lib").glob("python*/site-packages"))
    (site / "thing.py").write_text("WORD = 'found'\n")
    (site / "other.py").write_text("WORD = 'hidden'\n")
    (site / "thing-1.5.dist-info").mkdir()
    (site / "thing-1.5.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: thing\nVersion: 1.5\n")
    (site / "thing-1.5.dist-info" / "RECORD").write_text("thing.py,,\nthing-1.5.dist-info/METADATA,,\n")
    return PythonSandbox(interpreter=str(folder / "venv" / "bin" / "python"), packages=("thing",), preload=())


def test_files_in_a_folder_closed_to_others_reach_the_sandbox(tmp_path: Path, backend: Backend) -> None:
    config = make_closed_python(tmp_path / "closed")
    program = Path(shutil.copy(INSIDE, tmp_path / "closed"))
    if os.getuid() == 0:
        entering = subprocess.run(["/bin/ls", tmp_path / "closed"], user=65534, capture_output=True, check=False)
        assert entering.returncode != 0
    text = "import thing\nprint(thing.WORD)\ntry:\n    import other\nexcept ImportError as error:\n    print(error)\n"
    printed = attempt(text, backend, program=program, **config.model_dump(exclude={"kind"}))
    assert printed == "found\nNo module named 'other'\n"


@pytest.mark.skipif(os.getuid() != 0, reason="already an ordinary user: the rest of this file has shown it")
def test_attacks_come_to_nothing_for_an_ordinary_user_too(tmp_path: Path) -> None:
    base = Path(sys.base_prefix).resolve()
    closed = next((folder for folder in reversed(base.parents) if not folder.stat().st_mode & 0o001), None)
    if shutil.which("unshare") is None or shutil.which("setpriv") is None:
        pytest.skip("no unshare or setpriv to become an ordinary user with")
    if any(not folder.stat().st_mode & 0o001 for folder in (ROOT, *ROOT.parents)):
        pytest.skip("the checkout lies in a folder that no ordinary user may enter")
    # a view of the machine in which the folder above the interpreter is open
    opening = (
        f"mount --bind {base} /mnt && mount -t tmpfs -o mode=755 none {closed} && mkdir -p {base} && "
        f"mount --bind /mnt {base} && umount /mnt && "
        if closed
        else ""
    )
    tests = f"{sys.executable} -m pytest -q -p no:cacheprovider -p no:xdist {Path(__file__).name}"
    command = (
        f"{opening} cd {Path(__file__).parent} && exec setpriv --reuid 12345 --regid 12345 --clear-groups {tests} "
        f"-k 'comes_to_nothing or canaries_hold or killing or two_sandboxes' --basetemp /var/tmp/toolwise-{os.getpid()}"
    )
    done = subprocess.run(
        ["unshare", "--mount", "--propagation", "private", "/bin/sh", "-c", command],
        capture_output=True, text=True, check=False, timeout=120, env={"PATH": "/usr/bin:/bin:/usr/sbin:/sbin"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    assert " passed" in done.stdout
