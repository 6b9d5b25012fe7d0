"""Which sources the sample tree has, and which kinds and faults each of them holds on each day."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from examples import faults, self_written, shapes_json, shapes_text
from examples.corpus import Entry
from examples.pool import Kind, Pool
from examples.tasks_images import IMAGE_KINDS
from examples.tasks_native import NATIVE_KINDS, needless_sum, plain_question
from examples.tasks_python import PYTHON_KINDS, needless_code, savings, sequence, weekday
from examples.tasks_search import SEARCH_KINDS, feast, home_port, lifespan
from examples.trace import Trace

Render = Callable[[Trace, str], Any]


@dataclass(frozen=True, slots=True)
class Planned:
    """A fault to put in: how, the reason it should get, and at which stage."""

    fault: faults.Fault
    reason: str
    stage: str = "screened"
    kinds: tuple[Kind, ...] | None = None
    spans: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Written:
    """A fault that only shows in the finished record."""

    render: Render
    reason: str


EMPTY = Planned(faults.empty_reply, "empty")
ENDS = Planned(faults.ends_on_observation, "truncated")
LENGTH = Planned(faults.cut_by_length, "truncated")
UNPAIRED = Planned(faults.unpaired_call, "unpaired_call")
ORPHAN = Planned(faults.orphan_observation, "orphan_observation")
UNDECLARED = Planned(faults.undeclared_tool, "undeclared_tool")
MISSING = Planned(faults.missing_argument, "bad_arguments")
TYPED = Planned(faults.wrong_type, "bad_arguments")
BROKEN = Planned(faults.broken_json, "bad_arguments")
LOOP = Planned(faults.repeated_call, "repeated_call")
WRONG = Planned(faults.wrong_answer, "wrong_answer")
FAILED = Planned(faults.failed_outcome, "wrong_answer")
TAGGED = Planned(self_written.tagged, "self_written_observation")
NARRATED = Planned(self_written.narrated, "self_written_observation")
BEFORE = Planned(self_written.beforehand, "self_written_observation")
LONG = Planned(faults.overlong, "overlong", kinds=(savings, sequence))
SECRET = Planned(faults.with_secret, "keep", spans=("secret",))
PERSONAL = Planned(faults.with_personal_data, "keep", spans=("personal_data",))
MISMATCH = Planned(faults.altered_observation, "observation_mismatch", "replayed", (sequence, weekday, savings))
NEEDLESS = Planned(faults.needless, "tool_unnecessary", "attempted", (needless_sum,))
NEEDLESS_CODE = Planned(faults.needless, "tool_unnecessary", "attempted", (needless_code,))
UNGROUNDED = Planned(faults.ungrounded, "ungrounded", "judged")
INCOHERENT = Planned(faults.incoherent, "incoherent", "judged")
MISUSE = Planned(faults.tool_misuse, "tool_misuse", "judged")
IRRELEVANT = Planned(faults.irrelevant, "irrelevant", "judged")


@dataclass(frozen=True, slots=True)
class Source:
    """A folder of the landing zone: its format, its tasks, and for each of the three days what it holds."""

    name: str
    shape: str
    render: Render
    kinds: tuple[Kind, ...]
    keep: int
    faults: tuple[tuple[Planned | Written, ...], ...]
    direct: float = 0.25
    truths: float = 0.45
    outcomes: float = 0.0


_JUDGED = (UNGROUNDED, INCOHERENT, MISUSE, IRRELEVANT)
_CALLS = (UNPAIRED, ORPHAN, UNDECLARED, MISSING, TYPED, BROKEN, LOOP, WRONG)
_NATIVE = (*NATIVE_KINDS, *PYTHON_KINDS, *SEARCH_KINDS)
_LONG_SEARCH = (home_port, lifespan, feast)

SOURCES = (
    Source(
        "harbour_desk",
        "openai_chat",
        shapes_json.openai_chat,
        _NATIVE,
        26,
        (
            (
                EMPTY,
                ENDS,
                LENGTH,
                *_CALLS,
                FAILED,
                TAGGED,
                BEFORE,
                LONG,
                LONG,
                SECRET,
                SECRET,
                PERSONAL,
                PERSONAL,
                MISMATCH,
                NEEDLESS,
            ),
            (
                EMPTY,
                LENGTH,
                *_CALLS,
                NARRATED,
                BEFORE,
                LONG,
                LONG,
                SECRET,
                SECRET,
                PERSONAL,
                PERSONAL,
                *_JUDGED,
                NEEDLESS_CODE,
            ),
            (ENDS, LENGTH, *_CALLS, FAILED, TAGGED, NARRATED, SECRET, PERSONAL, MISMATCH, NEEDLESS, *_JUDGED),
        ),
    ),
    Source(
        "pilots",
        "openai_chat",
        shapes_json.rewarded_chat,
        NATIVE_KINDS,
        7,
        ((FAILED, UNPAIRED), (FAILED, ORPHAN), (FAILED, LOOP)),
        truths=0.0,
    ),
    Source(
        "almanac",
        "sharegpt",
        shapes_json.sharegpt,
        (*NATIVE_KINDS, *SEARCH_KINDS),
        7,
        (
            (EMPTY, UNDECLARED, TYPED, WRONG, UNGROUNDED),
            (ORPHAN, MISSING, LOOP, TAGGED),
            (UNPAIRED, ENDS, NARRATED, NEEDLESS),
        ),
    ),
    Source(
        "lookup_walk",
        "react_chat",
        shapes_text.react_chat,
        SEARCH_KINDS,
        8,
        (
            (EMPTY, LOOP, FAILED, Written(self_written.in_react, "self_written_observation")),
            (ENDS, ORPHAN, WRONG, Written(self_written.in_react, "self_written_observation"), UNGROUNDED),
            (LOOP, FAILED, Written(self_written.in_react, "self_written_observation"), IRRELEVANT),
        ),
        direct=0.0,
        outcomes=0.5,
    ),
    Source(
        "workbench",
        "codeact",
        shapes_text.codeact,
        PYTHON_KINDS,
        6,
        (
            (Written(self_written.in_codeact, "self_written_observation"), WRONG, ENDS, MISMATCH),
            (
                Written(self_written.in_codeact, "self_written_observation"),
                EMPTY,
                FAILED,
                Written(self_written.unclosed_codeact, "truncated"),
            ),
            (
                Written(self_written.in_codeact, "self_written_observation"),
                LOOP,
                NEEDLESS_CODE,
                WRONG,
                INCOHERENT,
                MISUSE,
            ),
        ),
        direct=0.15,
        truths=1.0,
        outcomes=1.0,
    ),
    Source(
        "parley",
        "hermes",
        shapes_text.hermes,
        NATIVE_KINDS,
        6,
        (
            (Written(self_written.in_hermes, "self_written_observation"), MISSING, UNDECLARED, EMPTY),
            (Written(self_written.in_hermes, "self_written_observation"), TYPED, UNPAIRED, ENDS),
            (
                Written(self_written.in_hermes, "self_written_observation"),
                ORPHAN,
                LOOP,
                Written(self_written.unclosed_hermes, "truncated"),
            ),
        ),
        truths=0.0,
    ),
    Source(
        "reckoner",
        "tir",
        shapes_text.fenced,
        PYTHON_KINDS,
        8,
        (
            (
                Written(self_written.in_fences, "self_written_observation"),
                WRONG,
                Written(self_written.unclosed_fence, "truncated"),
            ),
            (Written(self_written.in_fences, "self_written_observation"), LOOP, MISMATCH, ENDS),
            (Written(self_written.in_fences, "self_written_observation"), WRONG, NEEDLESS_CODE),
        ),
        direct=0.0,
        truths=1.0,
    ),
    Source(
        "lantern",
        "search_tags",
        shapes_text.search_tags,
        SEARCH_KINDS,
        7,
        (
            (
                Written(self_written.in_search_tags, "self_written_observation"),
                WRONG,
                Written(self_written.unclosed_query, "truncated"),
            ),
            (Written(self_written.in_search_tags, "self_written_observation"), LOOP, UNGROUNDED),
            (Written(self_written.in_search_tags, "self_written_observation"), WRONG, MISUSE),
        ),
        direct=0.0,
        truths=1.0,
    ),
    Source(
        "notary",
        "claude_code",
        shapes_json.claude_session,
        (*PYTHON_KINDS, *NATIVE_KINDS),
        3,
        ((ENDS,), (UNPAIRED, TAGGED), (ORPHAN, LOOP)),
        truths=0.0,
    ),
    Source(
        "logbook",
        "atif",
        shapes_json.atif,
        NATIVE_KINDS,
        4,
        ((UNDECLARED, MISSING), (TYPED, NARRATED), (LOOP, UNPAIRED)),
        truths=0.0,
    ),
    Source(
        "beacon",
        "otlp_genai",
        lambda trace, key: (trace, key),
        NATIVE_KINDS,
        4,
        ((UNDECLARED,), (MISSING,), (LOOP, ENDS)),
        truths=0.0,
    ),
    Source(
        "lens",
        "metis",
        shapes_text.metis,
        IMAGE_KINDS,
        7,
        ((EMPTY, UNGROUNDED), (ENDS, INCOHERENT), (LOOP, IRRELEVANT)),
        direct=0.0,
        truths=0.0,
    ),
)


def entries(source: Source, day: int, pool: Pool) -> list[Entry]:
    """What the source holds on that day: clean traces, plain answers without a call, and the planned faults."""
    made = [_clean(source, pool, f"{source.name}-{day}-{k:03d}") for k in range(source.keep)]
    planned: Sequence[Planned | Written] = source.faults[day]
    made += [_faulty(source, plan, pool, f"{source.name}-{day}-{k:03d}") for k, plan in enumerate(planned, source.keep)]
    pool.rng.shuffle(made)
    return made


def _clean(source: Source, pool: Pool, key: str) -> Entry:
    kinds = (plain_question,) if pool.rng.random() < source.direct else source.kinds
    trace = _known(source, pool.draw(kinds), pool.rng)
    note = {False: "answered directly", True: "the tool was needed", None: ""}[trace.necessary]
    return Entry(source.render(trace, key), note=note, necessary=trace.necessary, shape=source.shape)


def _faulty(source: Source, plan: Planned | Written, pool: Pool, key: str) -> Entry:
    if isinstance(plan, Written):
        trace = pool.draw(source.kinds)
        note = _sentence(plan.render)
        return Entry(plan.render(trace, key), plan.reason, note=note, necessary=trace.necessary, shape=source.shape)
    calling = pool.draw(plan.kinds or source.kinds, accept=lambda trace: any(turn.calls for turn in trace.turns))
    trace = plan.fault(calling, pool.rng)
    note = _sentence(plan.fault)
    return Entry(
        source.render(trace, key),
        plan.reason,
        plan.stage,
        note,
        trace.necessary,
        source.shape,
        list(plan.spans),
    )


def _known(source: Source, trace: Trace, rng: random.Random) -> Trace:
    """The trace with its truth and outcome recorded, as often as the source does."""
    trace.truth = trace.correct if rng.random() < source.truths else None
    trace.success = True if rng.random() < source.outcomes else None
    return trace


def _sentence(function: Callable[..., Any]) -> str:
    """The first line of a docstring, as a note."""
    return (function.__doc__ or "").split("\n")[0].rstrip(".")
