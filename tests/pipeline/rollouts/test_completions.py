"""Tokens in and out over HTTP: what is sent, what comes back, and servers that fail."""

import asyncio
from typing import Any

import pytest

from pipeline.errors import PolicyDownError, PolicyRequestError
from pipeline.rollouts.completions import CompletionsModel
from pipeline.rollouts.config import PolicyConfig, Sampling
from pipeline.rollouts.rollout import Completion
from pipeline.serving.endpoint import Endpoint
from tests.pipeline.rollouts.acting import FakeCompletions

QUICK = PolicyConfig(backoff_s=0.001, max_attempts=3, timeout_s=5.0, concurrency=8)


def sample(server: FakeCompletions, *prompts: list[int], config: PolicyConfig = QUICK, limit: int = 16) -> list[Any]:
    """A completion, or what was raised, for each prompt; all at once."""

    async def asked() -> list[Any]:
        model = CompletionsModel(Endpoint(server.base_url, "m"), config, "weights", stop_ids=frozenset({0, 7}))
        try:
            asking = (model.sample(prompt, Sampling(temperature=0.7), max_new_tokens=limit) for prompt in prompts)
            return await asyncio.gather(*asking, return_exceptions=True)
        finally:
            await model.close()

    return asyncio.run(asked())


def test_a_prompt_of_tokens_is_continued_with_tokens_and_their_logprobs() -> None:
    with FakeCompletions() as server:
        [found] = sample(server, [11, 12])
        assert found == Completion((28, 29, 30, 0), (-0.5, -0.75, -1.0, -1.25), is_cut=False)
        [body] = server.bodies
    assert body == {
        "model": "m", "prompt": [11, 12], "max_tokens": 16, "temperature": 0.7, "top_p": 1.0, "logprobs": 0,
        "return_token_ids": True, "stop_token_ids": [0, 7], "skip_special_tokens": False,
    }  # fmt: skip


def test_a_completion_at_its_limit_is_cut() -> None:
    with FakeCompletions() as server:
        [found] = sample(server, [11], limit=2)
    assert found.is_cut
    assert len(found.token_ids) == len(found.logprobs) == 2


@pytest.mark.parametrize("fault", ["500", "429", "cut", "garbage"])
def test_a_failure_is_tried_again(fault: str) -> None:
    with FakeCompletions(faults=[fault]) as server:
        [found] = sample(server, [1])
        assert isinstance(found, Completion)
        assert len(server.bodies) == 2


@pytest.mark.parametrize(
    ("faults", "told", "num"),
    [
        (["500"] * 9, r"server error \(500\); 3 tries", 3),
        (["garbage"] * 9, "malformed reply: no JSON; 3 tries", 3),
        (["no tokens"], "refused: want token ids and log-probabilities, .* use ChatPolicy", 1),
        (["400"], r"refused \(400\): the prompt is longer than the policy takes", 1),
    ],
)
def test_what_stays_wrong_ends_one_request_and_says_why(faults: list[str], told: str, num: int) -> None:
    with FakeCompletions(faults=faults) as server:
        [found] = sample(server, [1])
        assert isinstance(found, PolicyRequestError)
        with pytest.raises(PolicyRequestError, match=told):
            raise found
        assert len(server.bodies) == num


def test_a_server_that_does_not_let_us_in_is_down() -> None:
    with FakeCompletions(faults=["401"]) as server:
        [found] = sample(server, [1])
    assert isinstance(found, PolicyDownError)
    assert "TOOLWISE_POLICY_MODEL" in str(found)


def test_a_server_that_dies_in_the_middle_is_found_down_and_what_it_said_is_kept() -> None:
    with FakeCompletions(die_after=20, latency_s=0.002) as server:
        found = sample(server, *([number] for number in range(60)))
        said = [each for each in found if isinstance(each, Completion)]
        assert 10 <= len(said) <= 20
        assert all(isinstance(each, Completion | PolicyDownError | PolicyRequestError) for each in found)
        assert any(isinstance(each, PolicyDownError) for each in found)
        assert len(server.bodies) < 60 * 3
        server.die_after = None
        again = sample(server, *([number] for number in range(60)))
    assert all(isinstance(each, Completion) for each in again)
    assert [a for a, b in zip(again, found, strict=True) if isinstance(b, Completion)] == said


def test_one_of_three_requests_failing_changes_nothing_but_the_number_of_requests() -> None:
    prompts = [[number, 3] for number in range(40)]
    with FakeCompletions() as healthy:
        wanted = sample(healthy, *prompts)
    config = QUICK.model_copy(update={"max_attempts": 12})
    with FakeCompletions(faults=["500", "", "cut", "", "", "garbage", "", "429", ""] * 8) as failing:
        assert sample(failing, *prompts, config=config) == wanted
        assert len(failing.bodies) > len(prompts)
