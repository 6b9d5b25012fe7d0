"""What becomes bwrap: runs as a process of its own, outside the sandbox, with the standard library alone.

    python -I -S launcher.py '{"channel": 7, "info": 8, "seccomp": "2000...", "identity": [65534, 65534],
                               "stage": [["/closed/py", "py"]], "command": ["bwrap", ...], "program": ["python", ...]}'

It puts the channel at descriptor 3, and as root gives up root: RLIMIT_NPROC does not hold for uid 0. bwrap, no longer
root, could then not enter a folder such as /root, through which the interpreter or the checkout may be reached, and
takes no descriptor in place of a path (0.11 resolves `--ro-bind-fd` to the path again). So what lies in such places is
first mounted, in a mount namespace of our own that ends with the sandbox, under a folder that anybody may enter. A
process of its own because Python code between fork and exec can hang a program that has threads.
"""

import fcntl
import json
import os
import resource
import sys

CHANNEL = 3
STAGE = "/tmp"
"""Hidden by a tmpfs in a mount namespace of our own; bwrap itself needs it to be there."""
NOT_NOBODY = "limits do not hold for root, who here cannot become nobody"


def main(job: dict) -> None:
    """Become bwrap."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.umask(0o022)
    if job["stage"]:
        _stage(job["stage"])
    if job["identity"]:
        uid, gid = job["identity"]
        try:
            os.setgroups([])
            os.setresgid(gid, gid, gid)
            os.setresuid(uid, uid, uid)
        except OSError as error:
            sys.exit(f"{NOT_NOBODY}: {error.strerror}")
    os.chdir("/")
    channel, info = _out_of_the_way(job["channel"]), _out_of_the_way(job["info"])
    command = [*job["command"], "--info-fd", str(info)]
    if job["seccomp"]:
        reader, writer = os.pipe()
        os.write(writer, bytes.fromhex(job["seccomp"]))  # far below the 64 KiB that a pipe holds
        os.close(writer)
        command += ["--seccomp", str(_out_of_the_way(reader))]
    os.dup2(channel, CHANNEL)
    for passed in {channel, job["channel"], job["info"]} - {CHANNEL}:
        os.close(passed)
    os.execv(command[0], [*command, "--", *job["program"]])


def _out_of_the_way(descriptor: int) -> int:
    """A copy that survives exec and is not where the channel goes."""
    return fcntl.fcntl(descriptor, fcntl.F_DUPFD, CHANNEL + 1)


def _stage(sources: list[list[str]]) -> None:
    """Mount every source under STAGE, unseen by the rest of the machine.

    Sources are opened first: one of them may lie in STAGE.
    """
    import ctypes
    from pathlib import Path

    libc = ctypes.CDLL(None, use_errno=True)
    new_namespace, private, bind, recursive, nosuid, nodev = 0x20000, 1 << 18, 1 << 12, 1 << 14, 2, 4

    def mount(source: str, target: str, kind: str | None, flags: int, options: str | None = None) -> None:
        encoded = [text and text.encode() for text in (source, target, kind)]
        if libc.mount(*encoded, ctypes.c_ulong(flags), options and options.encode()):
            sys.exit(f"mounting {target}: {os.strerror(ctypes.get_errno())}")

    if libc.unshare(new_namespace):
        sys.exit(f"a mount namespace to pass closed folders through: {os.strerror(ctypes.get_errno())}")
    mount("none", "/", None, recursive | private)
    opened = [(os.open(source, os.O_PATH), Path(source).is_dir(), name) for source, name in sources]
    mount("tmpfs", STAGE, "tmpfs", nosuid | nodev, "mode=0755,size=1m")
    for held, is_folder, name in opened:
        target = Path(STAGE, name)
        (target if is_folder else target.parent).mkdir(parents=True, exist_ok=True)
        if not is_folder:
            target.touch()
        mount(f"/proc/self/fd/{held}", str(target), None, bind | recursive)
        os.close(held)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
