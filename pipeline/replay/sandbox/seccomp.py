"""The system calls that sandboxed code may not make, as a classic BPF program for the kernel.

Assembled here rather than by libseccomp, which a fresh machine may lack. x86-64 alone, like our whole installation;
elsewhere there is no filter and so no sandbox. Numbers: arch/x86/entry/syscalls/syscall_64.tbl of Linux.
"""

import errno
import platform
import struct
from collections.abc import Iterable
from dataclasses import dataclass

from pipeline.errors import SandboxUnavailableError

_AUDIT_ARCH_X86_64 = 0xC000003E
_X32 = 0x40000000
_NEWEST = 452
"""fchmodat2, Linux 6.6. What came later is unknown here, so it does not exist for the sandbox."""

DENIED = {
    # other processes
    "ptrace": 101, "process_vm_readv": 310, "process_vm_writev": 311, "process_madvise": 440, "kcmp": 312,
    "pidfd_getfd": 438, "perf_event_open": 298,
    # namespaces and mounts
    "unshare": 272, "setns": 308, "mount": 165, "umount2": 166, "pivot_root": 155, "chroot": 161, "open_tree": 428,
    "move_mount": 429, "fsopen": 430, "fsconfig": 431, "fsmount": 432, "fspick": 433, "mount_setattr": 442,
    "name_to_handle_at": 303, "open_by_handle_at": 304, "quotactl": 179, "quotactl_fd": 443,
    # the kernel's wider surface
    "bpf": 321, "userfaultfd": 323, "io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427,
    "keyctl": 250, "add_key": 248, "request_key": 249, "personality": 135, "modify_ldt": 154, "iopl": 172,
    "ioperm": 173, "init_module": 175, "finit_module": 313, "delete_module": 176, "kexec_load": 246,
    "kexec_file_load": 320, "reboot": 169, "swapon": 167, "swapoff": 168, "acct": 163, "syslog": 103, "_sysctl": 156,
    "settimeofday": 164, "clock_settime": 227, "clock_adjtime": 305, "adjtimex": 159, "lookup_dcookie": 212,
    "fanotify_init": 300, "inotify_init": 253, "inotify_init1": 294, "uselib": 134, "vhangup": 153,
    # the priority of the fork server that watches over this process
    "setpriority": 141, "sched_setparam": 142, "sched_setscheduler": 144, "sched_setattr": 314,
    "sched_setaffinity": 203, "ioprio_set": 251, "migrate_pages": 256, "move_pages": 279,
    # memory that belongs to no process, so that the watch over memory would not see it
    "shmget": 29, "shmat": 30, "shmctl": 31, "msgget": 68, "msgsnd": 69, "semget": 64, "mq_open": 240, "vmsplice": 278,
    "io_setup": 206, "memfd_secret": 447,
}  # fmt: skip
"""Denied with EPERM."""

ABSENT = {"clone3": 435, "memfd_create": 319}
"""Answered with ENOSYS. glibc then takes clone, whose flags a filter can read; a memfd's pages belong to no process."""

_NAMESPACES = 0x7E020000
"""CLONE_NEW* but CLONE_NEWTIME, which clone does not take."""
_AF_UNIX, _TIOCSTI, _TIOCLINUX, _SHARED_ANONYMOUS = 1, 0x5412, 0x541C, 0x21

_LOAD, _JUMP_EQUAL, _JUMP_ABOVE, _AND, _RETURN = 0x20, 0x15, 0x25, 0x54, 0x06
_NUMBER, _ARCH, _ARGUMENTS = 0, 4, 16
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000


@dataclass(frozen=True, slots=True)
class _Argument:
    """A call whose argument decides: it fails with `error` if (argument & mask) == value, or != value if `unless`."""

    name: str
    number: int
    index: int
    value: int
    error: int
    mask: int = 0xFFFFFFFF
    unless: bool = False


ARGUMENTS = (
    # local sockets alone: with no network namespace of its own a sandbox would still reach nobody
    _Argument("socket", 41, 0, _AF_UNIX, errno.EACCES, unless=True),
    _Argument("socketpair", 53, 0, _AF_UNIX, errno.EACCES, unless=True),
    _Argument("clone", 56, 0, 0, errno.EPERM, mask=_NAMESPACES, unless=True),
    # input forged on a terminal
    _Argument("ioctl", 16, 1, _TIOCSTI, errno.EPERM),
    _Argument("ioctl", 16, 1, _TIOCLINUX, errno.EPERM),
    # shared memory without a file outlives its mapping pages: unmapped, it is in no process's count
    _Argument("mmap", 9, 3, _SHARED_ANONYMOUS, errno.EPERM, mask=_SHARED_ANONYMOUS),
    # the limits of another process, such as the fork server
    _Argument("prlimit64", 302, 0, 0, errno.EPERM, unless=True),
)


def seccomp_filter(machine: str | None = None) -> bytes:
    """The program, an array of `struct sock_filter` as `bwrap --seccomp` reads it.

    Raises SandboxUnavailableError on a machine that is not x86-64.
    """
    machine = machine or platform.machine()
    if machine not in ("x86_64", "AMD64"):
        raise SandboxUnavailableError(f"want x86-64, whose system calls the filter names; found {machine}")
    program = [
        _step(_LOAD, _ARCH),
        _step(_JUMP_EQUAL, _AUDIT_ARCH_X86_64, then=1),
        _step(_RETURN, _KILL),  # 32-bit calls have other numbers
        _step(_LOAD, _NUMBER),
        _step(_JUMP_ABOVE, _X32 - 1, otherwise=1),
        _step(_RETURN, _KILL),
        _step(_JUMP_ABOVE, _NEWEST, otherwise=1),
        _step(_RETURN, _ERRNO | errno.ENOSYS),
    ]
    program += _refuse(ABSENT.values(), errno.ENOSYS)
    program += _refuse(DENIED.values(), errno.EPERM)
    for rule in ARGUMENTS:
        program += _judge(rule)
    return b"".join([*program, _step(_RETURN, _ALLOW)])


def _refuse(numbers: Iterable[int], error: int) -> list[bytes]:
    refusals = []
    for number in sorted(numbers):
        refusals += [_step(_JUMP_EQUAL, number, otherwise=1), _step(_RETURN, _ERRNO | error)]
    return refusals


def _judge(rule: _Argument) -> list[bytes]:
    """Steps for one argument; they leave the call's number loaded where they do not return.

    The upper half of the argument is not looked at: the kernel takes all of these as 32 bits, but mmap's and clone's
    flags, whose upper half means nothing.
    """
    equal, other = (0, 1) if not rule.unless else (1, 0)
    return [
        _step(_JUMP_EQUAL, rule.number, otherwise=5),
        _step(_LOAD, _ARGUMENTS + 8 * rule.index),
        _step(_AND, rule.mask),
        _step(_JUMP_EQUAL, rule.value, then=equal, otherwise=other),
        _step(_RETURN, _ERRNO | rule.error),
        _step(_LOAD, _NUMBER),
    ]


def _step(code: int, operand: int, *, then: int = 0, otherwise: int = 0) -> bytes:
    return struct.pack("=HBBI", code, then, otherwise, operand)
