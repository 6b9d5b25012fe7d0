"""Starting an isolated Python: nothing is executed before this machine has shown that isolation holds."""

from pipeline.replay.config import PythonSandbox
from pipeline.replay.sandbox.canaries import require_isolation
from pipeline.replay.sandbox.running import Isolated, launch

__all__ = ["Isolated", "start_isolated"]


def start_isolated(config: PythonSandbox, *, hash_seed: int) -> Isolated:
    """A sandbox whose PID 1 runs worker.py, with the channel at its descriptor 3 and its limits as JSON in argv[1].

    It takes 30 ms, the first in a process a few hundred, and ends with the thread that started it at the latest.

    Raises SandboxUnavailableError where isolation does not hold; there is no way to run without.
    """
    return launch(config, require_isolation(config), hash_seed=hash_seed)
