"""What the observations of one or two runs say of each recorded step of a trajectory."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from pipeline.replay.arguments import code_of
from pipeline.replay.comparison.compare import compare
from pipeline.replay.comparison.normalise import view_of
from pipeline.replay.dependence import reads_clock, tainted_steps
from pipeline.replay.environment import Observation, Status
from pipeline.replay.plan import Step
from pipeline.schema import Verdict

UNMAPPED = "no environment takes this tool"
NEVER = "its environment is not declared read_only or reset"
WRITES = "its environment is read-only, and this tool is declared to write"
AFTER_WRITE = "comes after a call that was declared to write"
GIVEN_UP = "its environment was unavailable to several trajectories before; the next run tries again"
NOTHING_RECORDED = "nothing was recorded to compare with"
DEPENDS = "depends on the state an unverified call left"


@dataclass(frozen=True, slots=True)
class StepVerdict:
    """One step with its verdict and the evidence for it."""

    step: Step
    verdict: Verdict
    detail: str = ""
    version: str | None = None
    recorded: str | None = None
    """Normalised; None where the step was not compared."""
    rerun: str | None = None
    difference: str | None = None
    observed: Observation | None = None
    """What the first run gave, as the environment told it."""


def decide(
    steps: Sequence[Step],
    runs: Sequence[Sequence[Observation]],
    *,
    version: str,
    helpers: frozenset[str] = frozenset(),
    is_python: bool = False,
    is_stateful: bool = True,
) -> list[StepVerdict]:
    """The verdicts of one environment's steps, in order.

    `runs` holds one or two runs of the same calls, an observation a step each. A step that contradicts its record, but
    depends on the state of an earlier one that could not be verified, is unverified: its contradiction may be the
    earlier one's. Python's dependence is read off the code; in any other stateful environment everything depends on
    all that came before.
    """
    codes = [code_of(step.arguments) if is_python else None for step in steps]
    verdicts = [
        _compared(step, [run[place] for run in runs], code, version, helpers)
        for place, (step, code) in enumerate(zip(steps, codes, strict=True))
    ]
    bad = [verdict.verdict in (Verdict.NONDETERMINISTIC, Verdict.UNEXECUTABLE) for verdict in verdicts]
    if not is_stateful or not any(bad):
        return verdicts
    completed = [seen.status is Status.RETURNED and view_of(seen.text).raised is None for seen in runs[0]]
    tainted = tainted_steps(codes, bad, completed=completed)
    return [
        replace(verdict, verdict=Verdict.UNVERIFIED, detail=DEPENDS)
        if is_tainted and verdict.verdict is Verdict.MISMATCH
        else verdict
        for verdict, is_tainted in zip(verdicts, tainted, strict=True)
    ]


def not_run(step: Step, detail: str, *, verdict: Verdict = Verdict.UNEXECUTABLE) -> StepVerdict:
    """The verdict of a step that was not called again."""
    return StepVerdict(step, verdict, detail)


def _compared(
    step: Step, observations: list[Observation], code: str | None, version: str, helpers: frozenset[str]
) -> StepVerdict:
    first = observations[0]
    if step.recorded is None:
        verdict = Verdict.FAILED if first.status is Status.FAILED else Verdict.UNVERIFIED
        return StepVerdict(step, verdict, NOTHING_RECORDED, version, observed=first)
    volatile = code is not None and reads_clock(code)
    found = compare(step.recorded, observations, volatile=volatile, helpers=helpers)
    return StepVerdict(
        step, found.verdict, found.detail, version, found.recorded, found.rerun, found.difference, observed=first
    )
