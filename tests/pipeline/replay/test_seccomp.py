"""The filter, run by a small machine of our own; that the kernel agrees is in test_isolation.py."""

import errno
import struct

import pytest

from pipeline.errors import SandboxUnavailableError
from pipeline.replay.sandbox.seccomp import ABSENT, DENIED, seccomp_filter

X86_64, I386 = 0xC000003E, 0x40000003
ALLOWED, KILLED = "allowed", "killed"


def verdict(number: int, *arguments: int, arch: int = X86_64) -> str:
    """What the filter says of a call: allowed, killed, or the name of an error."""
    filled = (*arguments, *(0,) * (6 - len(arguments)))
    data = struct.pack("=IIQ6Q", number, arch, 0, *filled)
    program = list(struct.iter_unpack("=HBBI", seccomp_filter()))
    held, at = 0, 0
    while True:
        code, then, otherwise, operand = program[at]
        at += 1
        if code == 0x20:
            held = struct.unpack_from("=I", data, operand)[0]
        elif code == 0x54:
            held &= operand
        elif code == 0x15:
            at += then if held == operand else otherwise
        elif code == 0x25:
            at += then if held > operand else otherwise
        else:
            assert code == 0x06
            if operand >> 16 == 5:
                return errno.errorcode[operand & 0xFFFF]
            return {0x7FFF0000: ALLOWED, 0x80000000: KILLED}[operand]


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ((0,), ALLOWED),  # read
        ((57,), ALLOWED),  # fork
        ((59,), ALLOWED),  # execve
        ((452,), ALLOWED),
        ((453,), "ENOSYS"),
        ((0x40000000 + 0,), KILLED),  # x32 read
        ((41, 1, 1, 0), ALLOWED),  # socket, AF_UNIX
        ((41, 2, 1, 0), "EACCES"),
        ((41, 10, 2, 0), "EACCES"),
        ((41, 16, 3, 0), "EACCES"),
        ((41, 2 | 1 << 32, 1, 0), "EACCES"),  # the kernel reads 32 bits
        ((53, 1, 1, 0), ALLOWED),
        ((53, 30, 1, 0), "EACCES"),
        ((56, 17), ALLOWED),  # clone as fork does it
        ((56, 0x3D0F00), ALLOWED),  # as pthread_create does
        ((56, 17 | 0x10000000), "EPERM"),
        ((56, 17 | 0x00020000), "EPERM"),
        ((56, 17 | 0x40000000), "EPERM"),
        ((9, 0, 4096, 3, 0x22), ALLOWED),  # mmap, private and anonymous
        ((9, 0, 4096, 3, 0x01), ALLOWED),  # shared, of a file
        ((9, 0, 4096, 3, 0x21), "EPERM"),
        ((9, 0, 4096, 3, 0x4021), "EPERM"),
        ((16, 0, 0x5401), ALLOWED),  # ioctl TCGETS
        ((16, 0, 0x5412), "EPERM"),
        ((302, 0, 7), ALLOWED),  # prlimit64 of itself
        ((302, 1, 7), "EPERM"),
    ],
    ids=str,
)
def test_arguments_decide(call: tuple[int, ...], said: str) -> None:
    assert verdict(*call) == said


@pytest.mark.parametrize("name", DENIED)
def test_denied_calls_fail_whatever_their_arguments(name: str) -> None:
    assert verdict(DENIED[name]) == "EPERM"


@pytest.mark.parametrize("name", ABSENT)
def test_absent_calls_look_like_an_old_kernel(name: str) -> None:
    assert verdict(ABSENT[name]) == "ENOSYS"


def test_another_architectures_numbers_kill() -> None:
    assert verdict(20, arch=I386) == KILLED


def test_there_is_no_filter_for_another_machine() -> None:
    with pytest.raises(SandboxUnavailableError, match=r"want x86-64.*found aarch64"):
        seccomp_filter("aarch64")
