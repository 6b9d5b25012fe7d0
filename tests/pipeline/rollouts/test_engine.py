"""The engine: limits, tools that misbehave, policies that fail; whatever happens, every task ends as one rollout."""

import asyncio
import time
from typing import Any

import pytest

from pipeline.errors import PolicyDownError, PolicyRequestError
from pipeline.replay.config import PythonSandbox, ReplayConfig
from pipeline.rollouts.config import Limits, Sampling
from pipeline.rollouts.engine import RolloutEngine
from pipeline.rollouts.policy import Policy
from pipeline.rollouts.rollout import End, Rollout, Task, Turn
from pipeline.rollouts.toolbox import Toolbox
from tests.pipeline.rollouts.acting import ActingPolicy, Counting, calls, code, counted, in_turn, make_task, says

PYTHON = ReplayConfig(environments={"python": PythonSandbox(packages=(), preload=(), timeout_s=2.0)})
COUNT = ("count", "{}")


def roll(
    policy: Policy, tasks: list[Task], toolbox: Toolbox | None = None, *, concurrency: int = 16, **limits: Any
) -> dict[str, Rollout]:
    """The rollouts by task, exactly one each."""
    engine = RolloutEngine(policy, toolbox, limits=Limits(**limits), sampling=Sampling(), concurrency=concurrency)
    found = list(engine.rollouts((task, 0) for task in tasks))
    assert len(found) == len(tasks)
    return {rollout.task.task_id: rollout for rollout in found}


def one(policy: Policy, task: Task, toolbox: Toolbox | None = None, **limits: Any) -> Rollout:
    """The rollout of one task."""
    [found] = roll(policy, [task], toolbox, **limits).values()
    return found


@pytest.fixture
def opened() -> list[Counting]:
    return []


def test_an_answer_without_a_call_is_graded_by_the_checker() -> None:
    found = one(ActingPolicy(in_turn(says("I think.\nAnswer: 42"))), make_task())
    assert (found.end, found.final_answer, found.is_correct, found.rule) == (End.ANSWERED, "42", True, "exact")
    assert (found.num_turns, found.num_tool_calls, found.num_new_tokens) == (1, 0, 3)
    assert [each["role"] for each in found.messages] == ["user", "assistant"]
    assert one(ActingPolicy(in_turn(says("Answer: 41"))), make_task()).is_correct is False
    assert one(ActingPolicy(in_turn(says("Answer: 42"))), make_task(truth=None)).is_correct is None


def test_python_really_runs_and_its_state_lives_as_long_as_the_rollout() -> None:
    course = in_turn(calls(code("x = 40"), code("print(x + 1)")), says("?"), calls(code("print(x + 2)")), says("42"))
    toolbox = Toolbox.of(PYTHON, lanes=1)
    try:
        found = one(ActingPolicy(course), make_task(), toolbox)
        assert [each["content"] for each in found.messages if each["role"] == "tool"] == ["", "41\n", "42\n"]
        assert (found.num_tool_calls, found.is_correct) == (3, True)
        ids = [each["tool_call_id"] for each in found.messages if each["role"] == "tool"]
        assert ids == ["call_1", "call_2", "call_3"]
        again = one(ActingPolicy(in_turn(calls(code("print(x)")), says("42"))), make_task(1), toolbox)
        assert "NameError" in str(again.messages[2]["content"])
    finally:
        toolbox.close()


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (("search", "{}"), "Error: there is no tool 'search'. Tools: count, lost."),
        ((None, "{}"), "Error: there is no tool None. Tools: count, lost."),
        (("count", "{"), "Error: the arguments are no JSON."),
        (("count", "[1]"), "Error: the arguments are no JSON object."),
        (("lost", "{}"), "Error: lost cannot be called here."),
    ],
)
def test_what_a_call_gets_wrong_is_told_to_the_policy_and_it_goes_on(
    opened: list[Counting], call: tuple[str | None, str], told: str
) -> None:
    toolbox = Toolbox({"count": counted(opened)})
    found = one(ActingPolicy(in_turn(calls(call), says("42"))), make_task(0, "count", "lost"), toolbox)
    assert (found.messages[2]["content"], found.end, found.is_correct) == (told, End.ANSWERED, True)
    assert found.num_tool_calls == 1
    assert not opened
    toolbox.close()


@pytest.mark.parametrize(("max_turns", "end", "num_calls"), [(3, End.TURNS, 3), (4, End.ANSWERED, 3)])
def test_the_limit_of_turns(opened: list[Counting], max_turns: int, end: End, num_calls: int) -> None:
    toolbox = Toolbox({"count": counted(opened)})
    course = in_turn(calls(COUNT), calls(COUNT), calls(COUNT), says("42"))
    found = one(ActingPolicy(course), make_task(0, "count"), toolbox, max_turns=max_turns)
    assert (found.end, found.num_tool_calls) == (end, num_calls)
    assert found.is_correct is (end is End.ANSWERED)
    assert [each["content"] for each in found.messages if each["role"] == "tool"] == ["1", "2", "3"]
    toolbox.close()


def test_a_cut_turn_ends_the_rollout_and_its_calls_are_not_made(opened: list[Counting]) -> None:
    toolbox = Toolbox({"count": counted(opened)})
    cut = Turn("so far", tool_calls=calls(COUNT).tool_calls, is_cut=True, num_tokens=9)
    found = one(ActingPolicy(in_turn(cut)), make_task(0, "count"), toolbox)
    assert (found.end, found.is_correct, found.num_tool_calls, found.num_new_tokens) == (End.TOKENS, False, 0, 9)
    assert not opened
    toolbox.close()


def test_wall_time_ends_a_rollout_and_only_that(opened: list[Counting]) -> None:
    def course(task: Task, shown: list[str]) -> Turn:
        return calls(("count", '{"x": "hang"}')) if task.task_id == "task-1" else says("42")

    toolbox = Toolbox({"count": counted(opened)}, lanes=2)
    begun = time.monotonic()
    found = roll(ActingPolicy(course), [make_task(n, "count") for n in range(4)], toolbox, wall_s=0.3)
    assert {name: rollout.end for name, rollout in found.items()} == {
        "task-0": End.ANSWERED, "task-1": End.TIME, "task-2": End.ANSWERED, "task-3": End.ANSWERED,
    }  # fmt: skip
    assert found["task-1"].is_correct is False
    assert time.monotonic() - begun < 5
    toolbox.close()


@pytest.mark.parametrize("in_process", [True, False])
def test_a_tool_that_hangs_ends_its_rollout_and_the_others_go_on_in_the_same_number_of_lanes(
    opened: list[Counting], *, in_process: bool
) -> None:
    def course(task: Task, shown: list[str]) -> Turn:
        if shown:
            return says("42")
        return calls(("count", '{"x": "hang"}') if int(task.task_id[5:]) % 3 == 0 else COUNT)

    toolbox = Toolbox({"count": counted(opened, in_process=in_process)}, lanes=2, call_s=0.5)
    found = roll(ActingPolicy(course), [make_task(n, "count") for n in range(12)], toolbox)
    ends = {rollout.end for name, rollout in found.items() if int(name[5:]) % 3 == 0}
    assert ends == {End.TOOL}
    assert {rollout.end for name, rollout in found.items() if int(name[5:]) % 3} == {End.ANSWERED}
    assert found["task-0"].failure == "count: no answer within 0.5 s"
    assert found["task-0"].is_correct is None
    toolbox.close()


def test_a_policy_that_is_down_ends_every_other_rollout_at_once_and_nothing_is_lost(opened: list[Counting]) -> None:
    asked: list[str] = []

    def course(task: Task, shown: list[str]) -> Turn:
        asked.append(task.task_id)
        if len(asked) > 5:
            raise PolicyDownError("the policy stopped answering")
        return says("42")

    found = roll(ActingPolicy(course, latency_s=0.01), [make_task(n) for n in range(200)], concurrency=2)
    ends = [rollout.end for rollout in found.values()]
    assert (ends.count(End.ANSWERED), ends.count(End.POLICY)) == (5, 195)
    assert len(asked) <= 7
    failed = [rollout for rollout in found.values() if rollout.end is End.POLICY]
    assert {rollout.failure for rollout in failed} == {"the policy stopped answering"}
    assert {rollout.is_correct for rollout in failed} == {None}


def test_a_request_that_fails_for_good_ends_one_rollout() -> None:
    def course(task: Task, shown: list[str]) -> Turn:
        if task.task_id == "task-1":
            raise PolicyRequestError("refused (400)")
        return says("42")

    found = roll(ActingPolicy(course), [make_task(n) for n in range(3)])
    assert [found[f"task-{n}"].end for n in range(3)] == [End.ANSWERED, End.POLICY, End.ANSWERED]
    assert found["task-1"].failure == "refused (400)"


def test_no_more_than_the_configured_number_are_in_flight() -> None:
    policy = ActingPolicy(in_turn(says("42")), latency_s=0.005)
    roll(policy, [make_task(n) for n in range(60)], concurrency=7)
    assert policy.most_flying == 7


def test_many_more_rollouts_than_lanes_do_not_block_each_other_though_each_needs_two_environments(
    opened: list[Counting],
) -> None:
    others: list[Counting] = []
    second = counted(others)
    toolbox = Toolbox(
        {"count": counted(opened), "other": type(second)(lambda name: name == "other", second.open)}, lanes=4
    )

    def course(task: Task, shown: list[str]) -> Turn:
        order = ["count", "other"] if int(task.task_id[5:]) % 2 else ["other", "count"]
        return calls((order[len(shown)], "{}")) if len(shown) < 2 else says("42")

    found = roll(
        ActingPolicy(course, latency_s=0.001), [make_task(n, "count", "other") for n in range(200)], toolbox,
        concurrency=200, wall_s=60,
    )  # fmt: skip
    assert {rollout.end for rollout in found.values()} == {End.ANSWERED}
    assert len(opened) <= 4
    assert len(others) <= 4
    assert all(len(each.threads) == 1 for each in (*opened, *others))
    toolbox.close()
    assert all(each.is_closed for each in (*opened, *others))


def test_an_environment_that_breaks_is_brought_back_to_where_it_was(opened: list[Counting]) -> None:
    toolbox = Toolbox({"count": counted(opened)}, lanes=1)

    def course(task: Task, shown: list[str]) -> Turn:
        if len(shown) == 2:
            opened[0].breaks = 1
        return calls(COUNT) if len(shown) < 4 else says("42")

    found = one(ActingPolicy(course), make_task(0, "count"), toolbox)
    assert [each["content"] for each in found.messages if each["role"] == "tool"] == ["1", "2", "3", "4"]
    assert opened[0].num_resets == 2
    toolbox.close()


@pytest.mark.parametrize(("repeats", "breaks"), [(True, 9), (False, 1)])
def test_one_that_stays_broken_or_may_not_be_repeated_ends_the_rollout(
    opened: list[Counting], *, repeats: bool, breaks: int
) -> None:
    toolbox = Toolbox({"count": counted(opened, repeats=repeats)}, lanes=1)

    def course(task: Task, shown: list[str]) -> Turn:
        if shown:
            opened[0].breaks = breaks
        return calls(COUNT)

    found = one(ActingPolicy(course), make_task(0, "count"), toolbox)
    assert (found.end, found.failure) == (End.TOOL, "count: it broke")
    assert one(ActingPolicy(in_turn(calls(COUNT), says("42"))), make_task(1, "count"), toolbox).end in End
    toolbox.close()


def test_a_rollouts_seed_is_its_own_and_the_same_again(opened: list[Counting]) -> None:
    toolbox = Toolbox({"count": counted(opened, in_process=True)})
    policy = ActingPolicy(in_turn(calls(COUNT), says("42")))
    engine = RolloutEngine(policy, toolbox, limits=Limits(), sampling=Sampling(), concurrency=1)
    list(engine.rollouts([(make_task(0, "count"), 0), (make_task(0, "count"), 1), (make_task(0, "count"), 0)]))
    seeds = [each.seed for each in opened]
    assert seeds[0] == seeds[2] != seeds[1]
    toolbox.close()


def test_whoever_leaves_early_leaves_nothing_running() -> None:
    policy = ActingPolicy(in_turn(says("42")), latency_s=0.01)
    engine = RolloutEngine(policy, None, limits=Limits(), sampling=Sampling(), concurrency=4)
    rollouts = engine.rollouts((make_task(n), 0) for n in range(1000))
    next(rollouts)
    rollouts.close()
    num_turns = policy.num_turns
    time.sleep(0.1)
    assert policy.num_turns == num_turns < 100


def test_a_broken_promise_is_raised_and_not_swallowed() -> None:
    def course(task: Task, shown: list[str]) -> Turn:
        raise ZeroDivisionError("a bug of ours")

    with pytest.raises(ZeroDivisionError):
        roll(ActingPolicy(course), [make_task()])


def test_inside_a_loop_it_is_an_asynchronous_iterator() -> None:
    async def gathered() -> list[Rollout]:
        engine = RolloutEngine(
            ActingPolicy(in_turn(says("42"))), None, limits=Limits(), sampling=Sampling(), concurrency=2
        )
        return [rollout async for rollout in engine.run((make_task(n), 0) for n in range(5))]

    assert len(asyncio.run(gathered())) == 5
