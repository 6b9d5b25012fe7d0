"""What hostile code tries, as texts of Python, and the protections without which it succeeds.

A text prints ESCAPED and what it got, or what stopped it. It is made for a `Machine`: listeners, a secret and a process
outside, which the text must neither reach nor read.
"""

import contextlib
import os
import secrets
import socket
import subprocess
import tempfile
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.replay.sandbox.command import Protection as P


@dataclass(frozen=True, slots=True)
class Machine:
    """What there is to reach outside."""

    secret: str
    folder: Path
    port: int
    listeners: tuple[socket.socket, ...]

    def fill(self, text: str) -> str:
        """An attack's text with this machine's names in it."""
        # the secret backwards: an attack's text is in its worker's command line, and must not find itself there
        names = {"@FOLDER@": str(self.folder), "@PORT@": str(self.port), "@TERCES@": self.secret[::-1], "@HOLD@": "1"}
        for name, value in names.items():
            text = text.replace(name, value)
        return text

    def visitors(self) -> int:
        """Connections that arrived from anywhere."""
        arrived = 0
        for listener in self.listeners:
            with contextlib.suppress(BlockingIOError):
                listener.accept()[0].close()
                arrived += 1
        return arrived


@contextlib.contextmanager
def machine() -> Iterator[Machine]:
    """A secret file and a process with a secret in its command line, both open to everybody, and three listeners."""
    secret = secrets.token_hex(16)
    with contextlib.ExitStack() as stack:
        # not in /tmp: there a mount of ours may hide it, and the test would see that instead
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir="/var/tmp")))
        folder.chmod(0o755)
        (folder / "secret").write_text(secret)
        tcp = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        path, abstract = (stack.enter_context(socket.socket(socket.AF_UNIX)) for _ in range(2))
        path.bind(str(folder / "listener"))
        (folder / "listener").chmod(0o777)
        abstract.bind(f"\0{folder}")
        for listener in (tcp, path, abstract):
            listener.listen()
            listener.setblocking(False)
        owner = {"user": 65534, "group": 65534, "extra_groups": []} if os.getuid() == 0 else {}
        sleeper = stack.enter_context(
            subprocess.Popen(["/bin/sleep", "600", "0." + str(int(secret, 16))], env={"SECRET": secret}, **owner)
        )
        stack.callback(sleeper.kill)
        yield Machine(secret, folder, tcp.getsockname()[1], (tcp, path, abstract))


@dataclass(frozen=True, slots=True)
class Attack:
    """One attempt, and what it needs to be absent."""

    name: str
    text: str
    without: frozenset[P]
    """Left out, the text prints ESCAPED: this is what held it."""
    config: dict = field(default_factory=dict)
    """Settings of the sandbox that make the attempt quick."""
    held_by_worker: bool = False
    """Whether it is worker.py that ends it."""


def _attack(name: str, text: str, *without: P, held_by_worker: bool = False, **config: object) -> Attack:
    return Attack(name, textwrap.dedent(text).strip() + "\n", frozenset(without), config, held_by_worker)


ATTACKS = (
    _attack(
        "read host files",
        """
        import os
        for path in ("@FOLDER@/secret", "/proc/1/root@FOLDER@/secret", "/proc/self/root@FOLDER@/secret",
                     "/proc/1/cwd/../@FOLDER@/secret", "/work/../@FOLDER@/secret", "/etc/passwd", "/etc/shadow"):
            try:
                print("ESCAPED", path, open(path).read())
            except OSError as error:
                print(path, error)
        """,
        P.FILES,
    ),
    _attack(
        "read the repository, home and other packages",
        f"""
        import os
        for path in ({str(Path(__file__).parents[3])!r}, "/root", "/home", "/etc", "/var"):
            try:
                print("ESCAPED", path, os.listdir(path))
            except OSError as error:
                print(error)
        try:
            import polars
            print("ESCAPED", polars.__file__)
        except ImportError as error:
            print(error)
        """,
        P.FILES,
    ),
    _attack(
        "read other processes' environment and command line",
        """
        import glob
        secret = "@TERCES@"[::-1]
        for path in glob.glob("/proc/[0-9]*/environ") + glob.glob("/proc/[0-9]*/cmdline"):
            try:
                text = open(path, "rb").read().decode(errors="replace")
            except OSError:
                continue
            if secret in text or str(int(secret, 16)) in text:
                print("ESCAPED", path, text)
        """,
        P.PROCESSES,
    ),
    _attack(
        "find secrets in its own environment",
        """
        import os
        known = {"PATH", "LD_LIBRARY_PATH", "PYTHONPATH", "HOME", "TMPDIR", "LANG", "TZ", "PWD", "LC_CTYPE"}
        for name in os.environ:
            if name not in known and not name.startswith("PYTHON") and not name.endswith("_NUM_THREADS"):
                print("ESCAPED", name)
        """,
        P.ENVIRONMENT,
    ),
    _attack(
        "write outside the scratch folder",
        """
        import os
        for folder, folders, _ in os.walk("/"):
            folders[:] = [name for name in folders if os.path.join(folder, name) not in ("/proc", "/work", "/dev/shm")]
            if folder.count("/") > 3:
                folders.clear()
            try:
                open(os.path.join(folder, "left"), "w")
                print("ESCAPED", folder)
            except OSError:
                pass
        """,
        P.READ_ONLY,
    ),
    _attack(
        "reach a port on loopback",
        """
        import socket
        try:
            socket.create_connection(("127.0.0.1", @PORT@), timeout=2)
            print("ESCAPED")
        except OSError as error:
            print(error)
        """,
        P.NETWORK,
        P.SYSTEM_CALLS,
    ),
    _attack(
        "reach an abstract socket",
        """
        import socket
        try:
            socket.socket(socket.AF_UNIX).connect("\\0@FOLDER@")
            print("ESCAPED")
        except OSError as error:
            print(error)
        """,
        P.NETWORK,
    ),
    _attack(
        "reach a socket by its path",
        """
        import socket
        try:
            socket.socket(socket.AF_UNIX).connect("@FOLDER@/listener")
            print("ESCAPED")
        except OSError as error:
            print(error)
        """,
        P.FILES,
    ),
    _attack(
        "make internet sockets",
        """
        import socket
        for family in (socket.AF_INET, socket.AF_INET6, socket.AF_NETLINK, socket.AF_PACKET):
            try:
                socket.socket(family, socket.SOCK_RAW if family == socket.AF_NETLINK else socket.SOCK_DGRAM)
                print("ESCAPED", family)
            except OSError as error:
                print(error)
        """,
        P.SYSTEM_CALLS,
    ),
    _attack(
        "make many processes",
        """
        import os, time
        made = 0
        try:
            while made < 40:
                if os.fork() == 0:
                    time.sleep(2)
                    os._exit(0)
                made += 1
            print("ESCAPED", made)
        except OSError as error:
            print(made, error)
        """,
        P.LIMITS,
    ),
    _attack(
        "take more memory than there is for it in one process",
        """
        held = bytearray(500 << 20)
        held[::4096] = b"x" * len(held[::4096])
        print("ESCAPED", len(held))
        """,
        P.MEMORY,
        memory_bytes=2**27,
    ),
    _attack(
        "take ten gigabytes of address space",
        """
        import mmap
        try:
            held = mmap.mmap(-1, 10 << 30, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000)
            print("ESCAPED", len(held))
        except (OSError, MemoryError) as error:
            print(error)
        """,
        P.LIMITS,
    ),
    _attack(
        "take it in twelve processes",
        """
        import os, time
        for _ in range(12):
            if os.fork() == 0:
                held = bytearray(50 << 20)
                held[::4096] = b"x" * len(held[::4096])
                time.sleep(@HOLD@)
                os._exit(0)
        if not any([os.wait()[1] for _ in range(12)]):
            print("ESCAPED")
        """,
        P.MEMORY,
        memory_bytes=2**28,
    ),
    _attack(
        "hide memory in shared pages that nobody maps",
        """
        import ctypes, mmap, os
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.syscall(319, b"x", 0) >= 0:
            print("ESCAPED memfd")
        if libc.shmget(0, 1 << 20, 0o1600) >= 0:
            print("ESCAPED shmget")
        try:
            mmap.mmap(-1, 1 << 20)
            print("ESCAPED mmap")
        except OSError as error:
            print(error)
        """,
        P.SYSTEM_CALLS,
    ),
    _attack(
        "trace, read or write another process",
        """
        import ctypes, os
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.ptrace(0, 0, None, None) == 0:
            print("ESCAPED ptrace")
        one = ctypes.create_string_buffer(8)
        vector = (ctypes.c_void_p * 2)(ctypes.addressof(one), 8)
        if libc.process_vm_readv(os.getpid(), vector, 1, vector, 1, 0) == 8:
            print("ESCAPED process_vm_readv")
        """,
        P.SYSTEM_CALLS,
    ),
    _attack(
        "make system calls by their 32-bit numbers",
        """
        import ctypes, mmap, os, signal
        page = mmap.mmap(-1, 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, prot=7)
        page.write(bytes.fromhex("b814000000cd80c3"))  # mov eax, getpid; int 0x80; ret
        child = os.fork()
        if child == 0:
            call = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))
            os._exit(0 if call() == os.getpid() else 1)
        status = os.waitpid(child, 0)[1]
        print("ESCAPED" if status == 0 else f"ended with {status}")
        """,
        P.SYSTEM_CALLS,
    ),
    _attack(
        "make user namespaces",
        """
        import ctypes, os
        libc = ctypes.CDLL(None, use_errno=True)
        for flags in (0x10000000, 0x10020000, 0x40000000):
            if libc.unshare(flags) == 0:
                print("ESCAPED unshare", hex(flags))
        child = libc.syscall(56, 0x10000000 | 17, 0, 0, 0, 0)
        if child == 0:
            os._exit(0)
        if child > 0:
            print("ESCAPED clone")
        """,
        P.SYSTEM_CALLS,
        P.NESTING,
    ),
    _attack(
        "mount",
        """
        import ctypes
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.unshare(0x10020000) == 0 and libc.mount(b"none", b"/work", b"tmpfs", 0, None) == 0:
            print("ESCAPED")
        """,
        P.SYSTEM_CALLS,
        P.NESTING,
    ),
    _attack(
        "make a million files",
        """
        made = 0
        try:
            for made in range(30_000):
                open(f"/work/{made}", "w").close()
            print("ESCAPED", made)
        except OSError as error:
            print(made, error)
        """,
        P.SIZES,
        held_by_worker=True,
    ),
    _attack(
        "write one huge file",
        """
        import signal
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        written = 0
        try:
            with open("/work/huge", "wb") as file:
                while written < 100:
                    file.write(bytes(1 << 20))
                    file.flush()
                    written += 1
            print("ESCAPED", written)
        except OSError as error:
            print(written, error)
        """,
        P.LIMITS,
        P.SIZES,
    ),
    _attack(
        "fill the scratch folder with many large files",
        """
        try:
            for number in range(10):
                with open(f"/work/{number}", "wb") as file:
                    file.write(bytes(10 << 20))
            print("ESCAPED", number)
        except OSError as error:
            print(number, error)
        """,
        P.SIZES,
    ),
    _attack(
        "follow a symbolic link out",
        """
        import os
        for target in ("@FOLDER@/secret", "../../..@FOLDER@/secret", "/proc/1/root@FOLDER@/secret"):
            link = f"/work/link{len(os.listdir('/work'))}"
            os.symlink(target, link)
            try:
                print("ESCAPED", open(link).read())
            except OSError as error:
                print(error)
        """,
        P.FILES,
    ),
    _attack(
        "change the limits or priority of the fork server",
        """
        import os, resource
        try:
            resource.prlimit(1, resource.RLIMIT_CPU, (1, 1))
            print("ESCAPED prlimit")
        except OSError as error:
            print(error)
        for change in (lambda: os.setpriority(os.PRIO_PROCESS, 1, 19), lambda: os.sched_setaffinity(1, {0}),
                       lambda: os.sched_setscheduler(1, os.SCHED_IDLE, os.sched_param(0))):
            try:
                change()
                print("ESCAPED priority")
            except OSError as error:
                print(error)
        """,
        P.SYSTEM_CALLS,
    ),
)
