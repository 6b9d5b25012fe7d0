"""vLLM's offline engine as the peer of a client: it answers the same prompts in a process of its own."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson

from benchmarks.processes import ROOT
from pipeline.serving.config import ServerConfig
from pipeline.serving.recipe import Seat, vllm_launch


class Offline:
    """vLLM's offline engine in a process of its own, with the flags of our server."""

    def __init__(
        self, model: Path, config: ServerConfig, prompts: Sequence[Any], asked: dict[str, Any], folder: Path
    ) -> None:
        """Load the model; `asked` is what offline_engine.py reads beside the prompts."""
        requests, self._log = folder / "requests.json", folder / "offline.log"
        requests.write_bytes(orjson.dumps({"prompts": list(prompts), **asked}))
        launched = vllm_launch(config, Seat(str(model), 1, "none", folder)).environment
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.offline_engine", str(model), str(requests)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=ROOT,
                env=os.environ | launched,
                text=True,
            )

    def __enter__(self) -> "Offline":
        self._line()
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._process.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()

    def seconds(self) -> float:
        """How long all prompts take."""
        if self._process.stdin is None:
            raise RuntimeError("its ends are pipes")
        self._process.stdin.write("again\n")
        self._process.stdin.flush()
        return float(self._line())

    def _line(self) -> str:
        line = "" if self._process.stdout is None else self._process.stdout.readline()
        if not line:
            raise ValueError(f"benchmark: the offline engine ended: {self._log.read_text(errors='replace')[-2000:]}")
        return line
