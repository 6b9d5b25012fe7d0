"""Python in a sandbox as an environment: a trajectory's calls share one interpreter, as cells of a notebook do.

How a call's status comes about:
- `returned`: the code ran, or raised what is its own affair. A NameError carries the detail `name x`, an attribute
  that a module lacks `attribute module.x`: whoever has the record judges whether that was there once.
- `missing`: `module x`, `file x`, `input`, `shell`, `help`, `magic %x`, `no code`; also every call after one that ended
  the interpreter, with its state.
- `network`, `memory`, `capped`, `timeout`: as named. Where an exception ended the call, or the interrupt that comes
  when its time is up, the state is kept; where the process had to be killed, the fork server goes with it.
- `failed`: sandbox or fork server broke, by nothing the code is known to have done.
"""

from dataclasses import replace

from pipeline.errors import EnvironmentUnavailableError
from pipeline.replay.arguments import code_of
from pipeline.replay.config import PythonSandbox
from pipeline.replay.environment import Episode, Observation, Status
from pipeline.replay.sandbox.packages import environment_version
from pipeline.replay.sandbox.protocol import LARGEST_CODE, Answer, Words
from pipeline.replay.sandbox.zygote import GoneError, LostError, SilentError, WornError, Zygote

ENDED_EARLIER = "the interpreter was ended by an earlier call"
_BROKEN_EXIT = 70
"""With which worker.py leaves a process that it could not set up."""
_ENDS = {
    "gone": (Status.MISSING, ENDED_EARLIER),
    "memory": (Status.MEMORY, "all processes together"),
    "files": (Status.CAPPED, "files"),
    "output": (Status.CAPPED, "output"),
    "forged": (Status.CAPPED, "forged reply"),
    "closed": (Status.CAPPED, "closed its descriptors"),
    "cpu": (Status.TIMEOUT, "processor time"),
}


class PythonEnvironment:
    """One fork server, kept from trajectory to trajectory as long as they come with the same seed.

    It must be used from one thread that lives as long as it does: the kernel ends a sandbox with the thread that
    started it.
    """

    def __init__(self, config: PythonSandbox) -> None:
        """Start nothing yet. Raises SandboxUnavailableError if the configured interpreter cannot be run."""
        self.version = environment_version(config)
        self._config = config
        self._out_of_time = f"{config.timeout_s:g} s"
        self._zygote: Zygote | None = None
        self._seed = 0
        self._is_fresh = self._has_ended = False

    def reset(self, episode: Episode, seed: int) -> None:
        """Start a trajectory: an interpreter without state, its hash and random seeds from `seed`.

        Raises EnvironmentUnavailableError if no fork server comes up.
        """
        self._seed, self._is_fresh, self._has_ended = seed, True, False
        held = self._zygote
        if held and held.hash_seed == _hash_seed(seed) and held.num_trajectories < self._config.recycle_after:
            try:
                held.reset(seed)
            except LostError:
                self._start()
        else:
            self._start()

    def call(self, name: str, arguments: str) -> Observation:
        """Run the code in the arguments, and show what a notebook would show."""
        code = code_of(arguments)
        if code is None:
            return Observation("", Status.MISSING, "no code")
        data = code.encode("utf-8", "surrogatepass")
        if len(data) > LARGEST_CODE:
            return Observation("", Status.CAPPED, "code")
        if self._has_ended:
            return Observation("", Status.MISSING, ENDED_EARLIER)
        if self._zygote is None:
            return Observation("", Status.FAILED, "the sandbox was not reset")
        try:
            words, answer = self._called(data)
        except LostError as error:
            return self._lost(error)
        except EnvironmentUnavailableError as error:
            return self._lost(GoneError(str(error)))
        except BaseException:
            self.close()  # Ctrl-C: its answer would be taken for the next call's
            raise
        observation = _observation(words, answer)
        if words.is_late:
            observation = replace(observation, status=Status.TIMEOUT, detail=self._out_of_time)
        if words.end or (answer and answer.has_ended):
            self._retire()
        return observation

    def close(self) -> None:
        """End the sandbox and all in it."""
        if self._zygote is not None:
            self._zygote.close()
            self._zygote = None

    @property
    def pid(self) -> int | None:
        """The fork server as the machine numbers it, None where there is none."""
        return self._zygote and self._zygote.pid

    def _start(self) -> Zygote:
        self.close()
        self._zygote = started = Zygote(self._config, _hash_seed(self._seed))
        try:
            started.reset(self._seed)
        except LostError as error:
            raise EnvironmentUnavailableError(f"sandbox: the fork server ended as it came up: {error}") from error
        return started

    def _called(self, code: bytes) -> tuple[Words, Answer | None]:
        """The outcome; a first call that finds its server worn is made in another."""
        zygote, is_first = self._zygote, self._is_fresh
        self._is_fresh = False
        if zygote is None:
            raise LostError
        try:
            return zygote.call(code)
        except WornError:
            if not is_first:
                raise
        return self._start().call(code)

    def _lost(self, error: LostError) -> Observation:
        is_silent, for_memory = isinstance(error, SilentError), bool(self._zygote and self._zygote.ended_for_memory)
        self._retire()
        if is_silent:
            return Observation("", Status.TIMEOUT, self._out_of_time)
        if for_memory:
            return Observation("", Status.MEMORY, "all processes together")
        return Observation("", Status.FAILED, f"the fork server was lost: {error}".rstrip(": "))

    def _retire(self) -> None:
        self._has_ended = True
        self.close()


def _hash_seed(seed: int) -> int:
    return seed % 2**32


def _observation(words: Words, answer: Answer | None) -> Observation:
    """What an agent would have been shown, and how else loops would show it."""
    answer = answer or Answer([])
    output = [*answer.output, *words.output]
    everything = "".join([text for _, text in output])
    printed = everything if all(stream == 1 for stream, _ in output) else _of_stdout(output)
    if answer.error is not None:
        short, traceback = answer.error
        text, others = _joined(everything, traceback), [_joined(everything, short), _joined(printed, short), short]
        if short.partition(":")[0] == "SystemExit":  # a program that ended; only a notebook says so
            others.append(printed)
    elif answer.value is not None:
        text, others = _joined(everything, answer.value), [printed, _joined(printed, answer.value), answer.value]
        if answer.shown is not None:
            others += [_joined(everything, answer.shown), answer.shown]
    else:
        text, others = everything, [printed]
    status, detail = _ended(words, answer)
    alternatives = tuple(dict.fromkeys(each for each in others if each != text))
    return Observation(text, status, detail, alternatives)


def _ended(words: Words, answer: Answer) -> tuple[Status, str]:
    if words.end in _ENDS:
        return _ENDS[words.end]
    if words.end == "signal":
        return Status.CAPPED, f"signal {words.number}"
    if words.end:
        broken = words.number == _BROKEN_EXIT
        return (Status.FAILED, "no process for it") if broken else (Status.CAPPED, f"exit status {words.number}")
    if words.is_cut and answer.status is Status.RETURNED:
        return Status.CAPPED, "output"
    return answer.status, answer.detail


def _of_stdout(output: list[tuple[int, str]]) -> str:
    return "".join([text for stream, text in output if stream == 1])


def _joined(printed: str, shown: str) -> str:
    """The one below the other."""
    return f"{printed}\n{shown}" if printed and not printed.endswith("\n") else printed + shown
