"""The verdict on one recorded observation, given what one or two reruns of its call gave."""

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from pipeline.replay.comparison.agreement import texts_agree
from pipeline.replay.comparison.difference import first_difference, shared_start, unified
from pipeline.replay.comparison.exceptions import exceptions_agree, undefined_name
from pipeline.replay.comparison.literals import STRING, parse
from pipeline.replay.comparison.normalise import View, view_of
from pipeline.replay.comparison.stable import contradicts_shape, contradicts_stable
from pipeline.replay.comparison.truncation import is_cut_from, kept_parts
from pipeline.replay.comparison.versions import gone_since, lacked_then
from pipeline.replay.environment import Observation, Status
from pipeline.schema import Verdict

_TIMED_OUT = re.compile(r"(?i)\btime[d ]{0,2}-?out\b|\btime limit\b|\btook too long\b|\bexceeded .{0,20}\bseconds\b")
_OUT_OF_MEMORY = re.compile(r"(?i)\bmemoryerror\b|\bout of memory\b|\bmemory limit\b")
_KINDS_OF_LIMIT = {
    Status.TIMEOUT: {"TimeoutError"},
    Status.MEMORY: {"MemoryError"},
    Status.MISSING: {"ModuleNotFoundError", "ImportError", "FileNotFoundError", "EOFError", "StdinNotImplementedError"},
    Status.NETWORK: {
        "ConnectionError", "ConnectionRefusedError", "ConnectTimeout", "HTTPError", "URLError", "gaierror",
        "NewConnectionError", "MaxRetryError", "SSLError", "ProxyError", "RemoteDisconnected",
    },
}  # fmt: skip
"""What a recorded exception is called where the same lack ended the recorded call."""
_LACKS = {kind: status for status, kinds in _KINDS_OF_LIMIT.items() for kind in kinds}
_LONGEST_LIMIT_NOTE = 400
"""Characters of a record that may be nothing but a loop's word on a limit."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """What a rerun says of a record, with the evidence."""

    verdict: Verdict
    recorded: str
    """Normalised."""
    rerun: str
    """Normalised, in the rendering nearest to the record."""
    difference: str | None
    """Unified diff of the two, bounded; None where they agree."""
    detail: str
    """One line: which rule decided."""


def compare(
    recorded: str, runs: Sequence[Observation], *, volatile: bool = False, helpers: Collection[str] = ()
) -> Comparison:
    """Whether the reruns bear the record out.

    `runs`: one observation, or two made under other seeds; what differs between those is volatile, and only the rest
    can contradict the record.
    `volatile`: the code reads the clock or unseeded randomness, though the runs may agree by chance.
    `helpers`: names the original environment is known to have offered, such as `wikipedia_search`; a rerun that only
    lacks one of them is unexecutable. Any other NameError is a result like any other.

    Raises: ValueError if there are no runs.
    """
    if not runs:
        raise ValueError("want one observation or two, found none")
    record = view_of(recorded)
    runs_views = [[view_of(text) for text in (run.text, *run.alternatives)] for run in runs]
    evidence = _Evidence(record, runs_views[0])
    for run in runs:
        if run.status is Status.FAILED:
            return evidence.decide(Verdict.FAILED, run.detail or "the environment failed")
    for run, views in zip(runs, runs_views, strict=True):
        for view in views:
            rule = _agreement(record, view) if run.status is Status.RETURNED else _same_failure(record, view)
            if rule is not None:
                return evidence.decide(Verdict.MATCH, rule, view)
    return _without_match(record, runs, runs_views, evidence, volatile=volatile, helpers=helpers)


@dataclass(frozen=True, slots=True)
class _Evidence:
    record: View
    views: list[View]

    def decide(self, verdict: Verdict, detail: str, view: View | None = None) -> Comparison:
        """The comparison, shown on this view or else on the one nearest to the record."""
        if view is None:
            view = max(self.views, key=lambda each: _nearness(self.record, each))
        difference = None if verdict is Verdict.MATCH else unified(self.record.text, view.text)
        return Comparison(verdict, self.record.text, view.text, difference, detail)


def _without_match(
    record: View,
    runs: Sequence[Observation],
    runs_views: list[list[View]],
    evidence: _Evidence,
    *,
    volatile: bool,
    helpers: Collection[str],
) -> Comparison:
    """The verdict on a record that no rerun agrees with."""
    for run in runs:
        if run.status is not Status.RETURNED:
            if _notes_limit(record, run.status):
                return evidence.decide(Verdict.MATCH, f"ended alike: {run.status.value}")
            return evidence.decide(Verdict.UNEXECUTABLE, _line(f"{run.status.value}: {run.detail}".rstrip(": ")))
    lacked = _lack_of(record)
    if lacked is not None:
        return evidence.decide(Verdict.UNEXECUTABLE, f"the recorded run ended in {lacked.value}; this one did not")
    if (new := lacked_then(record.raised)) is not None:
        return evidence.decide(Verdict.UNEXECUTABLE, f"the recorded run's version had no {new}")
    for views in runs_views:
        gone = next(filter(None, (gone_since(view.raised) for view in views)), None)
        if gone is not None:
            return evidence.decide(Verdict.UNEXECUTABLE, f"this version has no {gone}")
        name = next(filter(None, (undefined_name(view.raised) for view in views)), None)
        if name is not None and name in helpers:
            return evidence.decide(Verdict.UNEXECUTABLE, f"name {name} not defined here")
    is_cut = kept_parts(record.text) is not None
    if len(runs) > 1 and not texts_agree(runs_views[0][0].text, runs_views[1][0].text, rounded=False):
        pairs = zip(runs_views[0], runs_views[1], strict=False)
        if is_cut or not all(contradicts_stable(record.text, one.text, two.text) for one, two in pairs):
            return evidence.decide(Verdict.NONDETERMINISTIC, "runs differ, and the record differs in nothing else")
        return evidence.decide(Verdict.MISMATCH, "runs differ, and the record contradicts what they share")
    nearest = evidence.decide(Verdict.MISMATCH, "")
    if volatile and (is_cut or not all(contradicts_shape(record.text, view.text) for view in runs_views[0])):
        return evidence.decide(Verdict.NONDETERMINISTIC, "reads the clock or randomness, and has the record's shape")
    detail = first_difference(nearest.recorded, nearest.rerun)
    return Comparison(Verdict.MISMATCH, nearest.recorded, nearest.rerun, nearest.difference, detail)


def _agreement(record: View, rerun: View) -> str | None:
    """The rule by which a record and one rendering of a rerun agree, None where they do not."""
    return next((rule for rule in (each(record, rerun) for each in _RULES) if rule is not None), None)


def _same_text(record: View, rerun: View) -> str | None:
    return "same text" if record.text == rerun.text else None


def _both_silent(record: View, rerun: View) -> str | None:
    silent = rerun.says_nothing and (record.says_nothing or record.text == "None")
    return "no output" if silent else None


def _same_exception(record: View, rerun: View) -> str | None:
    if record.raised is None or rerun.raised is None:
        return None
    return exceptions_agree(record.raised, rerun.raised)


def _same_values(record: View, rerun: View) -> str | None:
    if not texts_agree(record.text, rerun.text):
        return None
    exact = texts_agree(record.text, rerun.text, rounded=False)
    return "same values" if exact else "float to recorded precision"


def _same_string(record: View, rerun: View) -> str | None:
    """One loop shows a string as it is, another quoted; a quoted number is no number."""
    for quoted, plain in ((record.text, rerun.text), (rerun.text, record.text)):
        if quoted[:1] in ("'", '"') and quoted[:1] != plain[:1] and quoted[-1:] == quoted[0]:
            lines = parse(quoted).items
            if len(lines) == 1 and len(lines[0]) == 1 and isinstance(lines[0][0], tuple) and lines[0][0][0] == STRING:
                content = view_of(lines[0][0][1]).text
                if content == plain and re.search(r"[^\W\d]", content) and content not in ("True", "False", "None"):
                    return "string, quoted in one"
    return None


def _cut_short(record: View, rerun: View) -> str | None:
    kept = kept_parts(record.text)
    return "truncated record: prefix and suffix" if kept is not None and is_cut_from(kept, rerun.text) else None


_RULES: tuple[Callable[[View, View], str | None], ...] = (
    _same_text,
    _both_silent,
    _same_exception,
    _same_values,
    _same_string,
    _cut_short,
)


def _same_failure(record: View, rerun: View) -> str | None:
    """As `_agreement`, for a rerun that a lack or a limit ended: only the same exception counts."""
    if record.raised is None or rerun.raised is None:
        return None
    return _same_text(record, rerun) or exceptions_agree(record.raised, rerun.raised)


def _notes_limit(record: View, status: Status) -> bool:
    """Whether the record tells of the same limit, in its own words."""
    if record.raised is not None and record.raised.kind in _KINDS_OF_LIMIT.get(status, ()):
        return status is not Status.MISSING
    note = record.text[:_LONGEST_LIMIT_NOTE] if len(record.text) <= _LONGEST_LIMIT_NOTE else ""
    if status is Status.TIMEOUT:
        return _TIMED_OUT.search(note) is not None
    return status is Status.MEMORY and _OUT_OF_MEMORY.search(note) is not None


def _lack_of(record: View) -> Status | None:
    """What the recorded run lacked, where it ended for that and the rerun did not."""
    return None if record.raised is None else _LACKS.get(record.raised.kind)


def _nearness(record: View, view: View) -> tuple[bool, int]:
    same_end = (record.raised is None) == (view.raised is None)
    return same_end, shared_start(record.text, view.text)


def _line(text: str) -> str:
    return " ".join(text.split())[:300]
