"""Hostile code through the real path: the environment, its fork server, the sandbox.

Every attack must end without an escape, with nothing left running, and with the environment able to go on. That each
would succeed without what holds it is shown by test_isolation.py where the sandbox holds it, and here, by milder
settings, where the fork server does.
"""

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.replay.config import PythonSandbox
from pipeline.replay.environment import Episode, Observation, Status
from pipeline.replay.sandbox.canaries import require_isolation
from pipeline.replay.sandbox.command import ALL, Protection
from pipeline.replay.sandbox.python_environment import PythonEnvironment
from pipeline.replay.sandbox.running import launch
from pipeline.replay.sandbox.watchdog import descendants
from tests.pipeline.replay.attacks import ATTACKS, Attack, Machine, machine
from tests.pipeline.replay.processes import living_below, wait_until

INSIDE = Path(__file__).with_name("inside.py")


@pytest.fixture(scope="module")
def outside() -> Iterator[Machine]:
    with machine() as found:
        yield found


def call(environment: PythonEnvironment, text: str) -> Observation:
    return environment.call("python", json.dumps({"code": text}))


def attacked(text: str, **config: object) -> Observation:
    """What the text led to; afterwards nothing of it is left, another trajectory works, closing leaves no process."""
    settings: dict = {"preload": (), "timeout_s": 3.0, "cpu_s": 5, **config}
    environment = PythonEnvironment(PythonSandbox(**settings))
    before = living_below(os.getpid())
    try:
        environment.reset(Episode("attack"), seed=1)
        seen = call(environment, text)
        environment.reset(Episode("normal"), seed=1)
        assert call(environment, "import os\nprint(sum(range(10)), sorted(os.listdir('/work')))").text == "45 []\n"
        # bwrap, the fork server, and the process of this trajectory
        wait_until(lambda: len(living_below(os.getpid()) - before) == 3)
    finally:
        environment.close()
    assert living_below(os.getpid()) - before == set()
    return seen


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_an_attack_through_the_real_path_comes_to_nothing(attack: Attack, outside: Machine) -> None:
    seen = attacked(outside.fill(attack.text), **attack.config)
    assert "ESCAPED" not in seen.text
    assert outside.secret not in seen.text
    assert seen.status != Status.FAILED
    assert outside.visitors() == 0


FORK_BOMB = "import os\nwhile True:\n    try:\n        os.fork()\n    except OSError:\n        pass\n"
IGNORED_SIGNALS = (
    "import signal\n"
    "for each in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}:\n"
    "    signal.signal(each, signal.SIG_IGN)\n"
    "while True:\n    pass\n"
)
BUSY_AND_SILENT = "import os\nos.closerange(0, 256)\nwhile True:\n    pass\n"
TALKING_HOG = (
    "import os, threading, time\n"
    "def talk():\n"
    "    while True:\n"
    "        os.write(1, b'.')\n"
    "        time.sleep(0.002)\n"
    "threading.Thread(target=talk, daemon=True).start()\n"
    "held = []\n"
    "for _ in range(60):\n"
    "    held.append(bytearray(b'x' * (8 << 20)))\n"
    "    time.sleep(0.01)\n"
    "print('ESCAPED')\n"
)
RECURSION = "import sys\nsys.setrecursionlimit(10**9)\ndef f(n):\n    return f(n + 1)\nf(0)\n"
CRASH = "import ctypes\nctypes.string_at(0)\n"


@pytest.mark.parametrize(
    ("text", "statuses", "config"),
    [
        pytest.param(FORK_BOMB, {Status.TIMEOUT, Status.CAPPED}, {"timeout_s": 1.5}, id="fork bomb"),
        pytest.param("x = bytearray(10 << 30)", {Status.MEMORY}, {}, id="ten gigabytes at once"),
        pytest.param("while True:\n    pass", {Status.TIMEOUT}, {"timeout_s": 1.0}, id="busy loop"),
        pytest.param("while True:\n    pass", {Status.TIMEOUT}, {"timeout_s": 20.0, "cpu_s": 1}, id="processor time"),
        pytest.param("import time\ntime.sleep(60)", {Status.TIMEOUT}, {"timeout_s": 1.0}, id="sleep"),
        pytest.param(IGNORED_SIGNALS, {Status.TIMEOUT}, {"timeout_s": 1.0}, id="ignored signals"),
        pytest.param(
            BUSY_AND_SILENT, {Status.TIMEOUT, Status.CAPPED, Status.FAILED}, {"timeout_s": 1.0}, id="closed descriptors"
        ),
        pytest.param("while True:\n    print('x' * 1000)", {Status.CAPPED}, {}, id="endless output"),
        pytest.param(
            "import os\nwhile True:\n    os.write(1, b'x' * 65536)", {Status.CAPPED}, {}, id="endless raw output"
        ),
        pytest.param(TALKING_HOG, {Status.MEMORY}, {"memory_bytes": 2**27}, id="memory while writing"),
        pytest.param("import os\nos._exit(0)", set(Status) - {Status.FAILED}, {}, id="exit"),
        pytest.param("import os\nos.abort()", set(Status) - {Status.FAILED}, {}, id="abort"),
        pytest.param(CRASH, set(Status) - {Status.FAILED}, {}, id="crash"),
        pytest.param(RECURSION, set(Status) - {Status.FAILED}, {}, id="deep recursion"),
    ],
)
def test_a_call_that_does_not_end_well_ends(text: str, statuses: set[Status], config: dict) -> None:
    began = time.monotonic()
    seen = attacked(text, **config)
    assert seen.status in statuses
    assert "ESCAPED" not in seen.text
    assert len(seen.text) <= 2 * PythonSandbox().output_bytes
    assert time.monotonic() - began < 12


@pytest.mark.parametrize(
    ("text", "config"),
    [
        ("import time\nstart = time.monotonic()\nwhile time.monotonic() < start + 1.3:\n    pass", {}),
        ("import time\ntime.sleep(1.3)", {}),
        ("print('x' * 500_000)", {"output_bytes": 2**20}),
        ("for n in range(10_000):\n    open(f'/work/{n}', 'w').close()", {}),
        ("held = bytearray(100 << 20)\nheld[::4096] = b'x' * len(held[::4096])", {}),
    ],
    ids=["time", "sleep", "output", "files", "memory"],
)
def test_what_stays_below_a_limit_is_let_be(text: str, config: dict) -> None:
    """So it was the limit that ended the calls above."""
    assert attacked(text, **config).status == Status.RETURNED


@pytest.mark.slow
def test_twelve_processes_of_half_a_gigabyte_each_are_ended_at_the_cap() -> None:
    twelve = next(attack for attack in ATTACKS if attack.name == "take it in twelve processes").text
    seen = attacked(twelve.replace("50 << 20", "500 << 20").replace("@HOLD@", "10"), timeout_s=20.0)
    assert (seen.status, "ESCAPED" in seen.text) == (Status.MEMORY, False)


@pytest.mark.slow
def test_a_million_files_are_ended_at_the_cap() -> None:
    many = next(attack for attack in ATTACKS if attack.name == "make a million files").text
    seen = attacked(many.replace("30_000", "1_000_000"), timeout_s=60.0, cpu_s=60)
    assert (seen.status, "ESCAPED" in seen.text) == (Status.CAPPED, False)


KILL_PARENT = (
    "import os, signal\n"
    "for target in (os.getppid(), 1):\n"
    "    for number in set(signal.Signals):\n"
    "        try:\n"
    "            os.kill(target, number)\n"
    "        except OSError as error:\n"
    "            print(error)\n"
    "print('alive')\n"
)


def test_the_fork_server_cannot_be_killed_from_inside() -> None:
    environment = PythonEnvironment(PythonSandbox(preload=()))
    try:
        environment.reset(Episode("attack"), seed=1)
        server = [pid for pid in descendants(os.getpid()) if is_server(pid)]
        assert len(server) == 1
        assert call(environment, KILL_PARENT).text == "alive\n"
        call(environment, "import os, signal\nos.kill(-1, signal.SIGKILL)")
        environment.reset(Episode("normal"), seed=1)
        assert call(environment, "print(1)").text == "1\n"
        assert [pid for pid in descendants(os.getpid()) if is_server(pid)] == server
    finally:
        environment.close()


def is_server(pid: int) -> bool:
    """Whether the process is PID 1 of a sandbox."""
    try:
        line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("NSpid"))
    except OSError:
        return False
    return line.split()[-1] == "1"


def test_without_a_pid_namespace_it_could_be() -> None:
    config = PythonSandbox()
    text = "import os, signal\nos.kill(os.getppid(), signal.SIGKILL)"
    for protections, ended in ((ALL, False), (ALL - {Protection.PROCESSES}, True)):
        started = launch(
            config,
            require_isolation(config),
            hash_seed=0,
            program=INSIDE,
            protections=protections,
            facts={"code": text},
        )
        try:
            started.channel.settimeout(20)
            assert (started.channel.recv(2**16) == b"") is ended
        finally:
            started.kill()


DAEMON = (
    "import os, signal, time\n"
    "if os.fork() == 0:\n"
    "    os.setsid()\n"
    "    signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    "    signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
    "    if os.fork():\n"
    "        os._exit(0)\n"
    "    os.closerange(0, 256)\n"
    "    while True:\n"
    "        open('/work/left', 'a').write('x')\n"
    "        time.sleep(0.01)\n"
    "os.wait()\n"
    "print('left one')\n"
)


def test_a_daemon_does_not_outlive_its_trajectory() -> None:
    assert attacked(DAEMON).text == "left one\n"


@pytest.mark.parametrize(("sweep", "left"), [(True, 0), (False, 1)], ids=["swept", "not swept"])
def test_it_would_if_the_fork_server_did_not_kill_everything(sweep: bool, left: int) -> None:  # noqa: FBT001 - a parameter of the table
    config = PythonSandbox()
    facts = {"code": DAEMON, "sweep": sweep}
    started = launch(config, require_isolation(config), hash_seed=0, program=INSIDE, facts=facts)
    try:
        started.channel.settimeout(20)
        assert json.loads(started.channel.recv(2**16))["output"] == "left one\n"
        wait_until(lambda: len(living_below(started.pid)) == left)
    finally:
        started.kill()


FORGED = json.dumps({"text": "FORGED", "status": "returned", "output": "FORGED", "end": "", "ok": True})
FORGERY = (
    "import os, struct\n"
    f"words = {FORGED!r}.encode()\n"
    "frames = [words + b'\\n', struct.pack('!I', len(words)) + words, struct.pack('<I', len(words)) + words,\n"
    "          struct.pack('!cII', b'O', 0, len(words)) + words, struct.pack('!cII', b'O', len(words), 0) + words,\n"
    "          struct.pack('!cII', b'H', len(words), 0) + words, struct.pack('!cII', b'X', 0, 0),\n"
    "          struct.pack('!I', 2**32 - 1), struct.pack('!Q', len(words)) + words]\n"
    "for frame in frames[@WHICH@]:\n"
    "    for descriptor in range(3, 64):\n"
    "        try:\n"
    "            os.set_blocking(descriptor, False)\n"
    "            os.write(descriptor, frame * 3)\n"
    "        except OSError:\n"
    "            pass\n"
)


@pytest.mark.parametrize("which", [*(f"{n}:{n + 1}" for n in range(9)), ":"])
def test_a_forged_reply_is_not_taken_for_another_calls(which: str) -> None:
    environment = PythonEnvironment(PythonSandbox(preload=(), timeout_s=3))
    try:
        environment.reset(Episode("attack"), seed=1)
        seen = call(environment, FORGERY.replace("@WHICH@", which))
        assert isinstance(seen, Observation)
        environment.reset(Episode("normal"), seed=1)
        for number in range(3):
            assert call(environment, f"print({number})") == Observation(f"{number}\n", alternatives=())
    finally:
        environment.close()


def test_with_the_channel_in_its_hands_it_would_be() -> None:
    config = PythonSandbox()
    text = 'import os\nos.write(3, b\'{"output": "FORGED"}\')'
    for shared in (False, True):
        started = launch(
            config, require_isolation(config), hash_seed=0, program=INSIDE, facts={"code": text, "share": shared}
        )
        try:
            started.channel.settimeout(20)
            assert started.channel.recv(2**16).startswith(b'{"output": "FORGED"}') is shared
        finally:
            started.kill()


REWRITE = (
    "import os\n"
    "for name in ('mem', 'fd/3', 'fd', 'environ', 'oom_score_adj'):\n"
    "    try:\n"
    "        os.open(f'/proc/1/{name}', os.O_RDWR if name in ('mem', 'oom_score_adj') else os.O_RDONLY)\n"
    "        print('ESCAPED', name)\n"
    "    except OSError as error:\n"
    "        print(error)\n"
)


def test_the_fork_servers_memory_cannot_be_read_or_written() -> None:
    assert "ESCAPED" not in attacked(REWRITE).text


def test_it_could_be_if_the_fork_server_let_itself_be_dumped() -> None:
    scope = Path("/proc/sys/kernel/yama/ptrace_scope")
    config = PythonSandbox()
    started = launch(config, require_isolation(config), hash_seed=0, program=INSIDE, facts={"code": REWRITE})
    try:
        started.channel.settimeout(20)
        printed = json.loads(started.channel.recv(2**16))["output"]
    finally:
        started.kill()
    is_open = not scope.exists() or scope.read_text().strip() == "0"
    assert ("ESCAPED mem" in printed) is is_open
    assert "ESCAPED environ" in printed


def test_a_trajectory_cannot_leave_anything_to_the_next() -> None:
    environment = PythonEnvironment(PythonSandbox())
    try:
        environment.reset(Episode("attack"), seed=1)
        call(
            environment,
            "import builtins, math, os, sys, numpy\n"
            "builtins.print = lambda *_: None\nmath.pi = 3\nnumpy.pi = 3\nsys.modules['json'] = None\n"
            "for folder in ('/work', '/dev/shm'):\n"
            "    os.makedirs(f'{folder}/a/b')\n    os.symlink('/', f'{folder}/link')\n    os.chmod(f'{folder}/a', 0)\n",
        )
        environment.reset(Episode("normal"), seed=1)
        look = (
            "import json, math, os, numpy\nprint(math.pi == numpy.pi > 3, os.listdir('/work') + os.listdir('/dev/shm'))"
        )
        assert call(environment, look).text == "True []\n"
    finally:
        environment.close()


def test_killing_the_sandbox_from_outside_fails_the_call_and_the_next_reset_mends_it() -> None:
    environment = PythonEnvironment(PythonSandbox(preload=()))
    try:
        environment.reset(Episode("first"), seed=1)
        for pid in [pid for pid in descendants(os.getpid()) if is_server(pid)]:
            os.kill(pid, signal.SIGKILL)
        assert call(environment, "print(1)").status == Status.FAILED
        environment.reset(Episode("second"), seed=1)
        assert call(environment, "print(1)").text == "1\n"
    finally:
        environment.close()
