"""The simulators of the Berkeley function-calling leaderboard as an environment: `kind = "registered", name = "bfcl"`.

They come with the package bfcl-eval, of which nothing else is used; it installs without what it requires.
"""

import importlib
import importlib.metadata
import importlib.resources
import json
import re
from collections.abc import Callable
from typing import Any

from pipeline.replay.environment import Episode

_POSITIONAL = re.compile(r"arg\d+")


class BfclSimulators:
    """One instance of every simulator that a question involves: file system, tickets, trading, travel and so on.

    The classes and their state come from the trajectory's metadata (`involved_classes`, `initial_config`), or else from
    the question of its `id` among those that the package brings.
    """

    def __init__(self) -> None:
        self.version = importlib.metadata.version("bfcl-eval")
        backend = importlib.import_module("bfcl_eval.constants.executable_backend_config")
        self._modules: dict[str, str] = backend.CLASS_FILE_PATH_MAPPING
        self._stateless: list[str] = backend.STATELESS_CLASSES
        self._questions: dict[str, dict[str, Any]] = {}
        self._methods: dict[str, Callable[..., Any]] = {}

    def reset(self, episode: Episode, seed: int) -> None:
        """Build the simulators of the question; they bring a random seed of their own."""
        del seed
        question_id = str(episode.metadata.get("id", ""))
        asked = episode.metadata
        if "initial_config" not in asked:
            asked = {**self._question(question_id), **asked}
        self._methods = {}
        for name in asked["involved_classes"]:
            simulator = getattr(importlib.import_module(self._modules[name]), name)()
            if name not in self._stateless:
                # A copy of its own, since simulators write into it.
                state = json.loads(json.dumps(asked["initial_config"].get(name, {})))
                simulator._load_scenario(state, long_context="long_context" in question_id)
            for method in dir(simulator):
                if not method.startswith("_") and callable(getattr(simulator, method)):
                    self._methods[method] = getattr(simulator, method)

    def call(self, name: str, arguments: dict[str, Any]) -> str:
        """The result in the leaderboard's own words: JSON of an object, `str` of anything else."""
        if name not in self._methods:
            raise NotImplementedError(name)
        # The parser names the k-th positional argument arg<k>; no simulator has a parameter of such a name.
        positional = sorted((key for key in arguments if _POSITIONAL.fullmatch(key)), key=lambda key: int(key[3:]))
        named = {key: value for key, value in arguments.items() if key not in positional}
        try:
            result = self._methods[name](*(arguments[key] for key in positional), **named)
        except Exception as error:  # the leaderboard shows the agent whatever a simulator raises
            return f"Error during execution: {error}"
        if not isinstance(result, dict):
            return str(result)
        try:
            return json.dumps(result)
        except TypeError:
            return str(result)

    def close(self) -> None:
        """Forget the simulators."""
        self._methods = {}

    def _question(self, question_id: str) -> dict[str, Any]:
        """The question as the package holds it; KeyError where it does not."""
        if question_id not in self._questions:
            category = question_id.rpartition("_")[0]
            held = importlib.resources.files("bfcl_eval") / "data" / f"BFCL_v4_{category}.json"
            if not category or not held.is_file():
                raise KeyError(f"no initial_config, and bfcl-eval {self.version} has no question {question_id!r}")
            for line in held.read_text(encoding="utf-8").splitlines():
                question = json.loads(line)
                self._questions[question["id"]] = question
        return self._questions[question_id]
