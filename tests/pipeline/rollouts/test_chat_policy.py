"""A policy behind chat completions: what it is sent, what is read, and a server that dies while many are in flight."""

from typing import Any

import pytest

from pipeline.formats.base import message
from pipeline.rollouts.chat_policy import ChatPolicy
from pipeline.rollouts.config import Limits, PolicyConfig, Sampling
from pipeline.rollouts.engine import RolloutEngine
from pipeline.rollouts.rollout import End, Rollout, Task
from pipeline.rollouts.toolbox import Toolbox
from pipeline.serving.endpoint import Endpoint
from tests.pipeline.rollouts.acting import FakeCompletions, counted, make_task

QUICK = PolicyConfig(backoff_s=0.001, max_attempts=3, timeout_s=5.0, concurrency=8)


def called(arguments: str, call_id: str | None = "c1") -> dict[str, Any]:
    """A message that calls `count`."""
    call = {"id": call_id, "type": "function", "function": {"name": "count", "arguments": arguments}}
    return {"tool_calls": [call], "finish_reason": "tool_calls"}


def counts_once(messages: list[dict[str, Any]]) -> dict[str, Any]:
    """Calls a tool, then answers with the number of the question."""
    if messages[-1]["role"] == "tool":
        return {"content": f"Answer: {messages[0]['content'].split()[1].rstrip('?')}"}
    return called('{"x": 1}')


def roll(server: FakeCompletions, tasks: list[Task], **limits: Any) -> dict[str, Rollout]:
    """A rollout of each task, exactly one."""
    toolbox = Toolbox({"count": counted([], in_process=True)})
    policy = ChatPolicy(Endpoint(server.base_url, "m"), QUICK, "weights")
    engine = RolloutEngine(policy, toolbox, limits=Limits(**limits), sampling=Sampling(), concurrency=8)
    try:
        found = list(engine.rollouts((task, 0) for task in tasks))
    finally:
        toolbox.close()
    assert len(found) == len(tasks)
    return {each.task.task_id: each for each in found}


def test_tools_are_offered_called_and_what_they_show_is_read_under_their_id() -> None:
    task = make_task(42, "count")
    with FakeCompletions(speaks=counts_once) as server:
        [found] = roll(server, [task]).values()
        first, second = server.bodies
    assert (found.end, found.final_answer, found.is_correct, found.num_new_tokens) == (End.ANSWERED, "42", True, 10)
    assert found.tokens is None
    assert found.policy == "weights chat"
    assert first == {
        "model": "m", "messages": [{"role": "user", "content": "Question 42?"}], "temperature": 1.0, "top_p": 1.0,
        "max_tokens": 512, "tools": list(task.tools),
    }  # fmt: skip
    assert second["messages"][1:] == [
        {"role": "assistant", "content": "", "tool_calls": called('{"x": 1}')["tool_calls"]},
        {"role": "tool", "tool_call_id": "c1", "content": "1"},
    ]


def test_a_call_without_an_id_is_given_one_that_its_observation_carries() -> None:
    def speaks(messages: list[dict[str, Any]]) -> dict[str, Any]:
        return {"content": "42"} if len(messages) > 1 else called("{}", call_id=None)

    with FakeCompletions(speaks=speaks) as server:
        roll(server, [make_task(0, "count")])
        _, asked, told = server.bodies[1]["messages"]
    assert asked["tool_calls"][0]["id"] == told["tool_call_id"] == "call_1"


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
def test_reasoning_is_kept_and_not_said_back(name: str) -> None:
    def speaks(messages: list[dict[str, Any]]) -> dict[str, Any]:
        return {"content": "42"} if len(messages) > 1 else {**called("{}"), name: "let me count"}

    with FakeCompletions(speaks=speaks) as server:
        [found] = roll(server, [make_task(0, "count")]).values()
        said_back = server.bodies[1]["messages"][1]
    assert found.messages[1]["reasoning"] == "let me count"
    assert set(said_back) == {"role", "content", "tool_calls"}


def test_a_message_at_its_limit_ends_the_rollout() -> None:
    with FakeCompletions(speaks=lambda _: {"content": "so far", "finish_reason": "length"}) as server:
        [found] = roll(server, [make_task()]).values()
    assert (found.end, found.is_correct) == (End.TOKENS, False)


def test_what_the_server_counted_is_held_against_the_tokens_of_the_whole_rollout() -> None:
    with FakeCompletions(speaks=counts_once) as server:  # 15 tokens after the first turn
        [enough] = roll(server, [make_task(42, "count")], max_tokens=16).values()
        assert (enough.end, server.bodies[-1]["max_tokens"]) == (End.ANSWERED, 1)
        [too_few] = roll(server, [make_task(42, "count")], max_tokens=15).values()
    assert (too_few.end, too_few.num_tool_calls) == (End.TOKENS, 1)


def test_a_task_with_images_is_refused_and_the_others_go_on() -> None:
    seen = Task("seen", (message("user", "What is it?", images=["a.png"]),))
    with FakeCompletions(speaks=lambda _: {"content": "42"}) as server:
        found = roll(server, [seen, make_task()])
    assert (found["seen"].end, found["seen"].failure) == (
        End.POLICY,
        "refused: the task has images, and this policy is shown text",
    )
    assert found["task-0"].end is End.ANSWERED


def test_a_server_that_dies_loses_nothing_and_what_it_left_is_completed_by_the_next_run() -> None:
    tasks = [make_task(number, "count") for number in range(60)]
    with FakeCompletions(speaks=counts_once) as healthy:
        wanted = {name: each.messages for name, each in roll(healthy, tasks).items()}
    with FakeCompletions(speaks=counts_once, die_after=40, latency_s=0.002) as server:
        first = roll(server, tasks)
        answered = {name: each for name, each in first.items() if each.end is End.ANSWERED}
        left = [task for task in tasks if task.task_id not in answered]
        assert 10 <= len(answered) <= 20
        assert {first[task.task_id].end for task in left} == {End.POLICY}
        assert {first[task.task_id].is_correct for task in left} == {None}
        assert all(first[task.task_id].failure for task in left)
        assert len(server.bodies) < 40 + 8 * QUICK.max_attempts + 1
        server.die_after = None
        again = roll(server, left)
    assert {name: each.messages for name, each in (answered | again).items()} == wanted


def test_one_policy_is_asked_again_after_its_server_came_back() -> None:
    with FakeCompletions(speaks=lambda _: {"content": "42"}, die_after=0) as server:
        policy = ChatPolicy(Endpoint(server.base_url, "m"), QUICK, "weights")
        engine = RolloutEngine(policy, None, limits=Limits(), sampling=Sampling(), concurrency=8)
        assert {each.end for each in engine.rollouts((make_task(n), 0) for n in range(20))} == {End.POLICY}
        assert engine.down is not None
        assert engine.down.startswith(f"the policy at {server.base_url} stopped answering")
        server.die_after = None
        assert {each.end for each in engine.rollouts((make_task(n), 0) for n in range(20))} == {End.ANSWERED}
        assert engine.down is None
