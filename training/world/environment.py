"""Where the world's calls are made: its own tools in process, Python in the sandbox."""

from dataclasses import replace

from pipeline.replay.config import PythonSandbox
from pipeline.replay.environment import Episode, Observation
from pipeline.replay.environments.registry import open_environment
from pipeline.rollouts.toolbox import Toolbox, Tooling, takes_names
from training.world.search import SearchStore
from training.world.tools import WorldTools

PYTHON = PythonSandbox(packages=(), preload=(), timeout_s=5.0)
"""Programs of the world import nothing, so that an interpreter costs next to nothing."""


class Printed:
    """Python in the sandbox, its output shown without the line end of print, as the calculator does."""

    def __init__(self) -> None:
        """Starts nothing yet. Raises SandboxUnavailableError on a machine that cannot isolate code."""
        self._python = open_environment("python", PYTHON)
        self.version = self._python.version

    def reset(self, episode: Episode, seed: int) -> None:
        """Start a trajectory in a fresh interpreter."""
        self._python.reset(episode, seed)

    def call(self, name: str, arguments: str) -> Observation:
        """Run the code."""
        observation = self._python.call(name, arguments)
        return replace(observation, text=observation.text.rstrip("\n"))

    def close(self) -> None:
        """End the interpreter."""
        self._python.close()


def world_toolbox(store: SearchStore, *, lanes: int = 4, call_s: float = 10.0) -> Toolbox:
    """The tools of the world for as many rollouts at a time as there are lanes; the store stays its owner's."""
    return Toolbox(
        {
            "world": Tooling(takes_names("calculator", "lookup"), lambda: WorldTools(store), in_process=True),
            "python": Tooling(takes_names("python"), Printed),
        },
        lanes=lanes,
        call_s=call_s,
    )
