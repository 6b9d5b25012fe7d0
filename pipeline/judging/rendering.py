"""Rows as questions: a rubric that is the same for every row, then the row as quoted text.

The first message of a criterion is the same bytes for every row, so that a server computes it once; the row comes last.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import polars as pl

from pipeline.judging.blocks import Block, Look, TraceBlocks, number_images, trace_blocks
from pipeline.judging.config import JudgeConfig
from pipeline.judging.criteria import Criterion
from pipeline.judging.images import sendable_images
from pipeline.judging.instructions import system_message
from pipeline.judging.layout import fit_blocks, fit_steps, fit_trace, tools_block
from pipeline.judging.questions import Question
from pipeline.judging.untrusted import seal
from pipeline.privacy.redaction import redact_columns, redact_messages, redact_strings
from pipeline.schema import SPAN
from pipeline.stages.privacy import find_spans
from pipeline.stages.steps import explode_steps

MAX_IMAGES = 8
"""Most images sent with one question."""

_STEPS = ("trajectory_id", "message_index", "call_index", "observation_index")
_COLUMNS = ("trajectory_id", "prompt", "messages", "tools", "final_answer")
_PROMPT_COLUMNS = ("task_id", "prompt", "ground_truth", "tools", "images")


def questions_of(
    rows: pl.DataFrame, criteria: Sequence[Criterion], config: JudgeConfig, *, defended: bool = True
) -> list[Question]:
    """The questions about trajectories: in order of the rows, then of the criteria, then of the calls.

    What an agent said to itself is not shown, secrets and personal data are redacted, and what is too long loses its
    middle. Calls are numbered as in REPLAYS. A criterion on images is asked where one can be sent: it came as a data
    URI, for nothing is fetched; with `config.vision` it goes along. `defended` is False only to measure what the
    defences against text that attacks the judge are worth.

    Reads: rows: trajectory_id, unique; prompt, messages, tools, final_answer, and `spans`, which are looked for where
        that column is missing or null.
    """
    look = Look(defended, config.max_message_chars)
    system = {each.name: system_message(each, defended=defended) for each in criteria}
    steps: dict[str, list[tuple[int, int, int | None]]] = {}
    for trajectory_id, *step in explode_steps(rows)[0].select(_STEPS).iter_rows():
        steps.setdefault(trajectory_id, []).append((step[0], step[1], step[2]))
    questions: list[Question] = []
    for row in _redacted(rows).select(_COLUMNS).iter_rows(named=True):
        blocks = trace_blocks(row, steps.get(row["trajectory_id"], []), look)
        called = {call["name"] for message in row["messages"] or () for call in message["tool_calls"] or ()}
        traces = _Traces(blocks, tools_block(row["tools"], called), look, config.max_prompt_chars)
        sendable = sendable_images(blocks.images, MAX_IMAGES)
        for each in criteria:
            if not _applies(each, blocks, sendable):
                continue
            images = sendable if each.applies == "has_images" and config.vision else {}
            for step_index, told in traces.of(each):
                asked = _asked(each.question, told, images, look, step_index)
                held = [system[each.name], asked]
                questions.append(Question(row["trajectory_id"], each.name, each.rubric_version, held, step_index))
    return questions


def prompt_questions_of(
    rows: pl.DataFrame, criteria: Sequence[Criterion], config: JudgeConfig, *, defended: bool = True
) -> list[Question]:
    """The questions about prompts: in order of the rows, then of the criteria.

    Reads: rows: task_id, unique; prompt, ground_truth, tools String; images List[String].
    """
    whole = Look(defended, config.max_prompt_chars)
    system = {each.name: system_message(each, defended=defended) for each in criteria}
    clean = rows.with_columns(redact_strings(rows[name]).alias(name) for name in ("prompt", "ground_truth"))
    questions: list[Question] = []
    for row in clean.select(_PROMPT_COLUMNS).iter_rows(named=True):
        blocks = [Block("TASK", row["prompt"], row["images"] or ()), Block("REFERENCE ANSWER", row["ground_truth"])]
        tools = tools_block(row["tools"])
        numbered = number_images(blocks)
        sendable = sendable_images(numbered, MAX_IMAGES)
        told = fit_blocks([*blocks, *([] if tools is None else [tools])], whole, config.max_prompt_chars)
        for each in criteria:
            if each.applies == "always" or (each.applies == "has_images" and sendable):
                images = sendable if each.applies == "has_images" and config.vision else {}
                held = [system[each.name], _asked(each.question, told, images, whole)]
                questions.append(Question(row["task_id"], each.name, each.rubric_version, held))
    return questions


class _Traces:
    """The texts of one trajectory, each made once, when a criterion first needs it."""

    def __init__(self, blocks: TraceBlocks, tools: Block | None, look: Look, limit: int) -> None:
        self._held = blocks, look, limit
        self._tools = tools
        self._whole: dict[bool, str] = {}
        self._steps: list[str] | None = None

    def of(self, criterion: Criterion) -> Iterator[tuple[int | None, str]]:
        """step_index and text of each question of the criterion."""
        blocks, look, limit = self._held
        if criterion.grain == "call":
            if self._steps is None:
                self._steps = fit_steps(blocks, self._tools, look, limit)
            yield from enumerate(self._steps)
            return
        with_tools = criterion.applies == "calls_tools"
        if with_tools not in self._whole:
            self._whole[with_tools] = fit_trace(blocks, self._tools if with_tools else None, look, limit)
        yield None, self._whole[with_tools]


def _applies(criterion: Criterion, blocks: TraceBlocks, sendable: dict[int, str]) -> bool:
    """Whether a criterion is asked of a row."""
    if criterion.applies == "calls_tools":
        return bool(blocks.calls)
    if criterion.applies == "has_observations":
        return blocks.last_observation is not None
    return criterion.applies == "always" or bool(sendable)


def _asked(
    question: str, told: str, images: dict[int, str], look: Look, step_index: int | None = None
) -> dict[str, Any]:
    """The last message: the record between its tags, then the question in one line."""
    tag = f"record-{seal(told)}" if look.defended else "record"
    named = f"Images attached, in this order: {', '.join(map(str, images))}.\n" if images else ""
    about = "" if step_index is None else f" The marked call is call {step_index}."
    text = f"<{tag}>\n{told}\n</{tag}>\n{named}{question}{about} Answer yes or no."
    if not images:
        return {"role": "user", "content": text}
    parts = [{"type": "image_url", "image_url": {"url": url}} for url in images.values()]
    return {"role": "user", "content": [*parts, {"type": "text", "text": text}]}


def _redacted(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows without secrets and personal data in what is shown of them."""
    looked = rows if "spans" in rows.columns else rows.with_columns(spans=pl.lit(None, pl.List(SPAN)))
    if looked["spans"].null_count():
        unseen = looked.filter(pl.col("spans").is_null())
        found = find_spans(unseen).rename({"spans": "_found"})
        looked = looked.join(found, on="trajectory_id", how="left", maintain_order="left")
        looked = looked.with_columns(spans=pl.coalesce("spans", "_found")).drop("_found")
    return redact_columns(redact_messages(looked), ("prompt", "final_answer"))
