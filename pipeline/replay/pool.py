"""Trajectories replayed many at a time, each in environments of its own lane."""

import contextlib
import os
import threading
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from fnmatch import fnmatchcase
from functools import partial

import orjson

from pipeline.errors import EnvironmentUnavailableError, SandboxUnavailableError
from pipeline.replay.cache import ObservationCache, run_key
from pipeline.replay.config import EnvironmentConfig, PythonSandbox, ReplayConfig
from pipeline.replay.environment import Environment, Observation, Status
from pipeline.replay.environments.registry import open_environment
from pipeline.replay.plan import Plan, Step
from pipeline.replay.verdicts import AFTER_WRITE, GIVEN_UP, NEVER, WRITES, StepVerdict, decide, not_run
from pipeline.schema import Verdict

SEEDS = (1, 2)
"""Seeds of the first run and of the second, which is made where the first contradicts the record."""
_ATTEMPTS = 3
"""Times a run is begun anew where its environment broke."""
_GIVEN_UP_AFTER = 3
"""Trajectories in a row that find an environment unavailable, before the run asks it no more."""
_AHEAD = 4
"""Plans queued a lane, so that a lane never waits for the reader."""
_MAPPING = {"tools", "sources", "max_parallel", "recycle_after", "headers"}
"""Settings that change no observation."""


class ReplayPool:
    """Lanes over the configured environments; a context manager, as environments hold processes."""

    def __init__(self, config: ReplayConfig, cache: ObservationCache | None = None) -> None:
        self._config = config
        self._cache = cache
        self._lanes = config.workers or os.cpu_count() or 1
        self._settings = {name: _settings_of(held) for name, held in config.environments.items()}
        self._parallel = {
            name: threading.BoundedSemaphore(held.max_parallel)
            for name, held in config.environments.items()
            if not isinstance(held, PythonSandbox)
        }
        self._threads = ThreadPoolExecutor(self._lanes, thread_name_prefix="replay")
        self._local = threading.local()
        self._opened: list[Environment] = []
        self._lock = threading.Lock()
        self._cancelled = threading.Event()
        self._refusals: Counter[str] = Counter()
        self.versions: dict[str, str] = {}
        """Environment to its version, of those that were needed."""
        self.num_executed = 0
        """Runs that were made."""
        self.num_cached = 0
        """Runs that the cache knew."""

    def __enter__(self) -> "ReplayPool":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def replay(self, plans: Iterable[Plan]) -> Iterator[tuple[Plan, list[StepVerdict]]]:
        """Each plan with a verdict a step, in the order of the plans.

        Raises SandboxUnavailableError if code would have to run and this machine cannot isolate it.
        """
        pending: deque[tuple[Plan, Future[list[StepVerdict]]]] = deque()
        try:
            for plan in plans:
                pending.append((plan, self._threads.submit(self._replay, plan)))
                if len(pending) >= self._lanes * _AHEAD:
                    first, future = pending.popleft()
                    yield first, future.result()
            while pending:
                first, future = pending.popleft()
                yield first, future.result()
        finally:
            for _, future in pending:  # behind an error or a Ctrl-C
                future.cancel()

    def close(self) -> None:
        """End every environment, and what still runs in one."""
        self._cancelled.set()
        self._threads.shutdown(wait=True, cancel_futures=True)
        with self._lock:
            opened, self._opened = self._opened, []
        for environment in opened:
            environment.close()

    def _replay(self, plan: Plan) -> list[StepVerdict]:
        """The verdicts of a plan's steps, those of each environment together, in order."""
        verdicts: list[StepVerdict] = []
        for name in plan.environments():
            verdicts += self._verdicts(plan, name, [step for step in plan.steps if step.environment == name])
        return verdicts

    def _verdicts(self, plan: Plan, name: str, steps: Sequence[Step]) -> list[StepVerdict]:
        """The verdicts of one environment's steps of a plan."""
        held = self._config.environments[name]
        if not isinstance(held, PythonSandbox) and held.repeat == "never":
            return [not_run(step, NEVER) for step in steps]
        steps, behind = _before_writes(steps, held)
        if not steps:
            return behind
        if self._refusals[name] >= _GIVEN_UP_AFTER:
            return [not_run(step, GIVEN_UP, verdict=Verdict.FAILED) for step in steps] + behind
        with self._parallel.get(name) or contextlib.nullcontext():
            try:
                runs = [self._observations(plan, name, steps, run=0)]
                judge = partial(
                    decide,
                    steps,
                    runs,
                    version=self.versions[name],
                    helpers=plan.helpers,
                    is_python=isinstance(held, PythonSandbox),
                    is_stateful=isinstance(held, PythonSandbox) or held.repeat == "reset",
                )
                verdicts = judge()
                if not held.deterministic and any(each.verdict is Verdict.MISMATCH for each in verdicts):
                    runs.append(self._observations(plan, name, steps, run=1))
                    verdicts = judge()
                self._refusals[name] = 0
            except SandboxUnavailableError:
                raise
            except EnvironmentUnavailableError as error:
                self._refusals[name] += 1
                return [not_run(step, str(error), verdict=Verdict.FAILED) for step in steps] + behind
        return verdicts + behind

    def _observations(self, plan: Plan, name: str, steps: Sequence[Step], *, run: int) -> list[Observation]:
        """One run of a plan's calls in one environment, an observation each."""
        calls = [(step.tool_name, step.arguments) for step in steps]
        environment = self._environment(name, run)
        with self._lock:
            self.versions[name] = environment.version
        is_python = isinstance(self._config.environments[name], PythonSandbox)
        state = "" if is_python else orjson.dumps(plan.episode, option=orjson.OPT_SORT_KEYS).decode()
        key = run_key(environment.version, self._settings[name], calls, SEEDS[run], state)
        known = self._cache.get(key, plan.episode.trajectory_id) if self._cache is not None else None
        if known is not None and len(known) == len(calls):
            with self._lock:
                self.num_cached += 1
            return known
        observations = self._run(environment, plan, calls, SEEDS[run])
        with self._lock:
            self.num_executed += 1
        if self._cache is not None and observations[-1].status is not Status.FAILED:
            self._cache.put(key, plan.episode.trajectory_id, observations)
        return observations

    def _run(
        self, environment: Environment, plan: Plan, calls: Sequence[tuple[str, str]], seed: int
    ) -> list[Observation]:
        """An observation a call; where the environment keeps breaking, `failed` from there to the end."""
        observations: list[Observation] = []
        for _ in range(_ATTEMPTS):
            if self._cancelled.is_set():
                raise EnvironmentUnavailableError("replay was cancelled; run the stage again")
            environment.reset(plan.episode, seed)
            observations = []
            for name, arguments in calls:
                observations.append(environment.call(name, arguments))
                if observations[-1].status is Status.FAILED:
                    break
            else:
                return observations
        return observations + [observations[-1]] * (len(calls) - len(observations))

    def _environment(self, name: str, run: int) -> Environment:
        """This lane's environment for first or second runs, opened when first needed."""
        lane: dict[tuple[str, int], Environment] = self._local.__dict__.setdefault("environments", {})
        if (name, run) not in lane:
            opened = open_environment(name, self._config.environments[name])
            with self._lock:
                self._opened.append(opened)
            lane[name, run] = opened
        return lane[name, run]


def _before_writes(steps: Sequence[Step], config: EnvironmentConfig) -> tuple[Sequence[Step], list[StepVerdict]]:
    """The steps up to the first call that alters a read-only environment, and the verdicts of it and all behind it."""
    if isinstance(config, PythonSandbox) or config.repeat != "read_only":
        return steps, []
    writes = [any(fnmatchcase(step.tool_name, glob) for glob in config.writes) for step in steps]
    first = writes.index(True) if True in writes else len(steps)
    behind = [
        not_run(step, WRITES) if wrote else not_run(step, AFTER_WRITE, verdict=Verdict.UNVERIFIED)
        for step, wrote in zip(steps[first:], writes[first:], strict=True)
    ]
    return steps[:first], behind


def _settings_of(config: EnvironmentConfig) -> str:
    """The settings of an environment that its observations depend on, as text."""
    return config.model_dump_json(exclude=_MAPPING)
