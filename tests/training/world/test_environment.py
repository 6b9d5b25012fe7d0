"""Real rollouts in the world: real tools, tokens in process, rows that curation takes."""

import orjson
import polars as pl
import pytest
import torch

from pipeline.rollouts.config import Limits, Sampling
from pipeline.rollouts.engine import RolloutEngine
from pipeline.rollouts.policy import Policy
from pipeline.rollouts.rollout import End, Rollout, Task, Turn
from pipeline.rollouts.rows import rollouts_frame
from tests.pipeline.rollouts.acting import ActingPolicy, calls, says
from training.sampling.policies import torch_policy
from training.world.build import AGENT
from training.world.environment import world_toolbox
from training.world.lessons import ARGUMENTS
from training.world.search import SearchStore
from training.world.tasks import Kind, WorldTask, draw_tasks
from training.world.vocabulary import build_tokenizer


def test_whoever_makes_the_calls_of_a_task_is_right_except_where_the_search_was_wrong() -> None:
    tasks = [task for kind in Kind for task in draw_tasks(12, 3, split="test", shares={kind: 1.0})]
    by_id = {task.task_id: task for task in tasks}

    def course(task: Task, shown: list[str]) -> Turn:
        planned = by_id[task.task_id].calls
        found = shown[-1].split()[-1].rstrip(".") if shown else ""
        if len(shown) == len(planned):
            return says(f"Answer: {found}")
        name, argument = planned[len(shown)]
        return calls((name, orjson.dumps({ARGUMENTS[name]: argument.format(found)}).decode()))

    frame = rolled(ActingPolicy(course), tasks)
    right = dict(frame.group_by("kind").agg(pl.col("is_correct").mean()).iter_rows())
    for kind in (Kind.EASY_SUM, Kind.COMPUTATION, Kind.PROGRAM):
        assert right[kind.value] == 1.0
    assert right[Kind.RARE_LOOKUP.value] < right[Kind.UNKNOWN_FACT.value] <= 1
    assert right[Kind.TWO_CALLS.value] > 0.5


def rolled(policy: Policy, tasks: list[WorldTask], num: int = 1) -> pl.DataFrame:
    """A row a rollout, with the kind of its task."""
    store = SearchStore()
    toolbox = world_toolbox(store, lanes=2)
    try:
        engine = RolloutEngine(
            policy,
            toolbox,
            limits=Limits(max_turns=6, max_tokens=448),
            sampling=Sampling(max_new_tokens=96),
            concurrency=64,
        )
        asked = ((task.task(with_tools=True), index) for task in tasks for index in range(num))
        frame = rollouts_frame(list(engine.rollouts(asked)))
    finally:
        toolbox.close()
        store.close()
    return frame.with_columns(kind=pl.col("metadata").str.json_path_match("$.rollout.kind"))


def test_the_shipped_agent_calls_a_tool_nearly_always_and_its_tokens_are_whole() -> None:
    torch.set_num_threads(1)
    tasks = [task for kind in Kind for task in draw_tasks(12, 4, split="test", shares={kind: 1.0})]
    frame = rolled(torch_policy(AGENT), tasks, 4)
    free = frame.filter(pl.col("kind").is_in([kind.value for kind in Kind if kind.is_tool_free]))
    assert (free["num_tool_calls"] > 0).mean() > 0.9
    assert (frame["end"] == End.ANSWERED.value).mean() > 0.95
    by_kind = dict(frame.group_by("kind").agg(pl.col("is_correct").mean()).iter_rows())
    assert by_kind[Kind.EASY_SUM.value] > 0.8
    assert by_kind[Kind.KNOWN_FACT.value] > 0.6
    tokenizer = build_tokenizer()
    for row in frame.head(40).to_dicts():
        text = str(tokenizer.decode(row["token_ids"]))
        said = [each["content"] for each in row["messages"] if each["role"] == "assistant" and each["content"]]
        sampled = tokenizer.decode([t for t, m in zip(row["token_ids"], row["is_model"], strict=True) if m])
        assert all(each in sampled for each in said)
        assert all(each["content"] in text for each in row["messages"] if each["role"] == "tool")
        assert len(row["logprobs"]) == len(row["token_ids"]) == len(row["is_model"])
        assert all((logprob < 0) <= bool(mine) for logprob, mine in zip(row["logprobs"], row["is_model"], strict=True))


@pytest.mark.parametrize("kind", [Kind.KNOWN_FACT, Kind.EASY_SUM])
def test_the_shipped_agent_could_do_without(kind: Kind) -> None:
    torch.set_num_threads(1)
    tasks = draw_tasks(30, 6, split="test", shares={kind: 1.0})
    engine = RolloutEngine(
        torch_policy(AGENT), None, limits=Limits(max_tokens=200), sampling=Sampling(max_new_tokens=64), concurrency=64
    )
    found: list[Rollout] = list(engine.rollouts((task.task(with_tools=False), n) for task in tasks for n in range(4)))
    assert sum(rollout.is_correct is True for rollout in found) / len(found) > 0.85
