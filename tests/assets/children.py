"""Real child processes over a data root and a Dagster home of a test's own."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]
DAGSTER = str(Path(sys.executable).with_name("dagster"))
DAEMON = str(Path(sys.executable).with_name("dagster-daemon"))
TOOLWISE = (sys.executable, "-m", "assets.cli")


class Place:
    """A data root, a Dagster home with the committed dagster.yaml, and the environment that names them."""

    def __init__(self, folder: Path, **variables: str) -> None:
        self.data, self.home, self._variables = folder / "data", folder / "home", variables
        self.data.mkdir(parents=True)
        self.home.mkdir()
        (self.home / "dagster.yaml").symlink_to(CHECKOUT / "dagster.yaml")

    @property
    def env(self) -> dict[str, str]:
        """The environment of the children; the landing sensor never finds a file old enough."""
        ours = ("TOOLWISE_", "DAGSTER_")
        kept = {
            name: value
            for name, value in os.environ.items()
            if name.startswith("TOOLWISE_JUDGE_") or not name.startswith(ours)
        }
        named = {"TOOLWISE_DATA": str(self.data), "DAGSTER_HOME": str(self.home), "TOOLWISE_QUIET_S": "86400"}
        return {**kept, **named, **self._variables, "OMP_NUM_THREADS": "1", "DO_NOT_TRACK": "1"}

    def start(self, command: Sequence[str]) -> subprocess.Popen[bytes]:
        """The running command; its output goes to files in the home."""
        with (self.home / f"{Path(command[0]).name}.log").open("ab") as log:
            return subprocess.Popen(command, cwd=CHECKOUT, env=self.env, stdout=log, stderr=log)

    def run(self, *command: str, timeout_s: float = 120) -> str:
        """What the command printed; it must end well."""
        done = subprocess.run(
            command, cwd=CHECKOUT, env=self.env, capture_output=True, text=True, timeout=timeout_s, check=False
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr


def wait_until(told: str, is_so: Callable[[], bool], *, timeout_s: float, every_s: float = 0.2) -> None:
    """Return once `is_so`; fail with what was waited for."""
    end = time.monotonic() + timeout_s
    while not is_so():
        assert time.monotonic() < end, f"not within {timeout_s} s: {told}"
        time.sleep(every_s)
