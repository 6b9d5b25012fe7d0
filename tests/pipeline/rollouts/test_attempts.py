"""Attempts over real HTTP: nothing asked twice, nothing lost, no failure taken for an answer."""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from pipeline.config import AnswerGate
from pipeline.judging.judge import Judge
from pipeline.rollouts.attempt_cache import AttemptCache
from pipeline.rollouts.attempts import Attempts
from pipeline.rollouts.config import AttemptsConfig, PolicyConfig, Sampling
from pipeline.schema import ATTEMPTS, MESSAGE
from tests.fake_judge import FakeServer
from tests.fake_policy import FakePolicy

POLICY = PolicyConfig(concurrency=8, timeout_s=5.0, max_attempts=4, backoff_s=0.001)
CONFIG = AttemptsConfig(policy=POLICY)
ALONE = CONFIG.model_copy(update={"policy": POLICY.model_copy(update={"concurrency": 1})})
WEARY = CONFIG.model_copy(update={"policy": POLICY.model_copy(update={"max_attempts": 1})})


def tasks(num: int, reference: str = "1") -> pl.DataFrame:
    """Questions in an order that is not that of their ids."""
    rows = [(f"t{k:03d}", f"Which of the four is number {k}?", reference) for k in reversed(range(num))]
    return pl.DataFrame(rows, schema=["task_id", "prompt", "reference"], orient="row")


def attempts_of(
    server: FakeServer, config: AttemptsConfig = CONFIG, cache: AttemptCache | None = None, judge: Judge | None = None
) -> Attempts:
    return Attempts(server, config, AnswerGate(), cache, judge)


def one(**columns: Any) -> pl.DataFrame:
    held = {"task_id": "t", "prompt": "What is it?", "reference": "1", **columns}
    schema = {"task_id": pl.String, "reference": pl.String, "messages": pl.List(MESSAGE)}
    return pl.DataFrame([held], schema_overrides={name: schema[name] for name in schema if name in held})


def message(role: str, content: str, images: Sequence[str] = ()) -> dict[str, Any]:
    return {"role": role, "content": content, "images": list(images)}


def with_k(k: int, config: AttemptsConfig = CONFIG) -> AttemptsConfig:
    return config.model_copy(update={"num_attempts": k})


def test_every_task_gets_its_attempts_in_order_by_one_request() -> None:
    with FakePolicy() as policy:
        attempts = attempts_of(policy.server())
        frame = attempts.ask(tasks(5))
    assert frame.schema == ATTEMPTS
    assert frame.select("task_id", "attempt_index").rows() == [
        (f"t{k:03d}", index) for k in range(5) for index in range(8)
    ]
    assert attempts.num_requests == len(policy.requests) == 5
    assert set(frame["policy"]) == {"policy-1"}
    assert frame["failure"].null_count() == frame.height
    for answer, is_correct in frame.select("answer", "is_correct").iter_rows():
        assert is_correct == answer.endswith(" 1")
    assert 0 < frame["is_correct"].sum() < frame.height
    assert set(frame["checked_by"]) == {"rule"}


def test_what_is_sent_is_the_instruction_the_users_words_and_how_to_sample() -> None:
    config = CONFIG.model_copy(update={"sampling": Sampling(temperature=0.7, top_p=0.9, max_new_tokens=33)})
    told = [message("system", "You have a search tool."), message("user", "What is it?")]
    with FakePolicy() as policy:
        attempts_of(policy.server(), config).ask(one(messages=told))
        attempts_of(policy.server(), config.model_copy(update={"instruction": ""})).ask(one(messages=told))
    asked = {"role": "user", "content": "What is it?"}
    first, second = policy.requests
    assert first["messages"] == [{"role": "system", "content": CONFIG.instruction}, asked]
    assert second["messages"] == [asked]
    assert {name: first[name] for name in ("n", "temperature", "top_p", "max_tokens")} == {
        "n": 8,
        "temperature": 0.7,
        "top_p": 0.9,
        "max_tokens": 33,
    }
    assert "tools" not in first


def test_a_task_without_a_reference_is_not_attempted() -> None:
    with FakePolicy() as policy:
        assert attempts_of(policy.server()).ask(one(reference=None)).is_empty()
    assert policy.requests == []


@pytest.mark.parametrize(
    ("columns", "failure"),
    [
        (
            {"messages": [message("user", "Which?", ["data:image/png;base64,iVBORw0KGgo="])]},
            "refused: the prompt has images",
        ),
        ({"prompt": ""}, "refused: there is no prompt"),
        ({"messages": [message("system", "Be kind.")]}, "refused: there is no prompt"),
        ({"prompt": "a" * 20_001}, "refused: the prompt has 20,001 characters"),
    ],
)
def test_what_cannot_be_attempted_is_refused_and_nobody_asked(columns: dict[str, Any], failure: str) -> None:
    with FakePolicy() as policy:
        frame = attempts_of(policy.server()).ask(one(**columns))
    assert policy.requests == []
    assert frame.height == 8
    assert all(told.startswith(failure) for told in frame["failure"])
    assert frame["answer"].null_count() == frame["is_correct"].null_count() == 8


def test_the_longest_prompt_is_attempted() -> None:
    with FakePolicy() as policy:
        assert attempts_of(policy.server()).ask(one(prompt="a" * 20_000))["failure"].null_count() == 8
    assert len(policy.requests) == 1


def test_equal_prompts_are_asked_once_and_graded_each(tmp_path: Path) -> None:
    rows = pl.concat([one(), one(task_id="u", reference="2")])
    cache = AttemptCache(tmp_path / "a.sqlite")
    with FakePolicy() as policy:
        frame = attempts_of(policy.server(), cache=cache).ask(rows)
        assert len(policy.requests) == 1
        assert frame["answer"][:8].to_list() == frame["answer"][8:].to_list()
        assert not (frame["is_correct"][:8] & frame["is_correct"][8:]).any()
        assert cache.forget(["u"]) == 8
    cache.close()


def test_an_unchanged_rerun_asks_nothing_and_a_larger_k_only_what_is_missing(tmp_path: Path) -> None:
    cache = AttemptCache(tmp_path / "a.sqlite")
    with FakePolicy() as policy:
        first = attempts_of(policy.server(), cache=cache).ask(tasks(6))
        again = attempts_of(policy.server(), cache=cache)
        assert_frame_equal(again.ask(tasks(6)), first)
        assert (again.num_requests, again.num_cached) == (0, 48)
        more = attempts_of(policy.server(), with_k(64), cache).ask(tasks(6))
        assert [body["n"] for body in policy.requests[6:]] == [56] * 6
        assert_frame_equal(more.filter(pl.col("attempt_index") < 8), first)
        fewer = attempts_of(policy.server(), with_k(8), cache)
        assert_frame_equal(fewer.ask(tasks(6)), first)
    cache.close()
    with FakePolicy() as policy:
        assert_frame_equal(attempts_of(policy.server(), with_k(64)).ask(tasks(6)), more)


@pytest.mark.parametrize(
    "change",
    [
        {"sampling": Sampling(temperature=0.5)},
        {"sampling": Sampling(max_new_tokens=9)},
        {"instruction": "Answer."},
    ],
)
def test_another_way_of_asking_is_asked_anew(tmp_path: Path, change: dict[str, Any]) -> None:
    cache = AttemptCache(tmp_path / "a.sqlite")
    with FakePolicy() as policy:
        attempts_of(policy.server(), cache=cache).ask(tasks(1))
        attempts_of(policy.server(), CONFIG.model_copy(update=change), cache).ask(tasks(1))
        attempts_of(policy.server("policy-2"), cache=cache).ask(tasks(1))
        assert len(policy.requests) == 3
        attempts_of(policy.server(), CONFIG.model_copy(update={"unnecessary": "once"}), cache).ask(tasks(1))
        assert len(policy.requests) == 3, "what counts as unnecessary is no part of the question"
    cache.close()


def test_a_better_checker_needs_no_model(tmp_path: Path) -> None:
    cache = AttemptCache(tmp_path / "a.sqlite")
    with FakePolicy(says=lambda *_: "Answer: 3.15") as policy:
        strict = Attempts(policy.server(), CONFIG, AnswerGate(), cache).ask(one(reference="3.14"))
        lax = Attempts(policy.server(), CONFIG, AnswerGate(relative_tolerance=0.01), cache).ask(one(reference="3.14"))
        assert len(policy.requests) == 1
    assert (strict["is_correct"].sum(), lax["is_correct"].sum()) == (0, 8)
    cache.close()


def test_a_purge_takes_what_a_task_was_answered(tmp_path: Path) -> None:
    cache = AttemptCache(tmp_path / "a.sqlite")
    with FakePolicy() as policy:
        owned = tasks(3).with_columns(subject_ids=pl.concat_list("task_id", pl.lit("somebody")))
        attempts_of(policy.server(), cache=cache).ask(owned)
        assert cache.forget(["t001"]) == 8
        assert len(cache) == 16
        assert cache.forget(["somebody"]) == 16
    cache.close()


@pytest.mark.parametrize("shape", [{"refuses_many": True}, {"most_choices": 1}, {"most_choices": 3}])
def test_a_server_that_gives_fewer_at_a_time_is_asked_singly(shape: dict[str, Any]) -> None:
    with FakePolicy(**shape) as policy, FakePolicy() as whole:
        attempts = attempts_of(policy.server())
        assert_frame_equal(
            attempts.ask(tasks(4)).drop("num_tokens"), attempts_of(whole.server()).ask(tasks(4)).drop("num_tokens")
        )
    assert policy.num_answers == 32
    # each of the requests in flight until it showed asks for several, twice where that is refused
    assert sum(body["n"] > 1 for body in policy.requests) <= 16


def test_a_server_that_tells_tokens_is_asked_for_them_and_one_that_refuses_is_not() -> None:
    with FakePolicy(ids="told") as policy:
        assert attempts_of(policy.server()).ask(one())["num_tokens"].to_list() == list(range(8))
    with FakePolicy(ids="refused") as policy:
        frame = attempts_of(policy.server(), ALONE).ask(tasks(3))
        assert frame["num_tokens"].null_count() == frame["failure"].null_count() == 24
        assert ["return_token_ids" in body for body in policy.requests] == [True, False, False, False]


def test_once_a_shape_is_taken_a_refusal_is_about_the_prompt() -> None:
    with FakePolicy() as policy:
        attempts = attempts_of(policy.server(), ALONE)
        policy.refuses = "number 1"
        frame = attempts.ask(tasks(3).sort("task_id"))
        assert len(policy.requests) == 3
    assert frame.filter(pl.col("failure").is_not_null())["task_id"].unique().to_list() == ["t001"]


def test_greedy_answers_are_asked_for_one_at_a_time() -> None:
    with FakePolicy() as policy:
        frame = attempts_of(policy.server(), CONFIG.model_copy(update={"sampling": Sampling(temperature=0)})).ask(one())
    assert [body["n"] for body in policy.requests] == [1] * 8
    assert frame["num_tokens"].to_list() == [5] * 8


def test_a_cut_answer_is_wrong_unless_it_states_one() -> None:
    long = "because of what was said before " * 10
    with FakePolicy(says=lambda _, k: long + ("Answer: 1" if k else ""), finish_reason="length") as policy:
        frame = attempts_of(policy.server()).ask(one())
    assert frame["is_cut"].all()
    assert frame["is_correct"].to_list() == [False, *[True] * 7]
    assert frame["rule"][0] == "no_answer"


def test_an_answer_is_redacted_in_the_table_and_graded_as_it_was() -> None:
    with FakePolicy(says=lambda *_: "Answer: jo.miller@harbour-office.com") as policy:
        frame = attempts_of(policy.server()).ask(one(reference="jo.miller@harbour-office.com"))
    assert frame["is_correct"].all()
    assert not any("harbour-office" in answer for answer in frame["answer"])


@pytest.mark.parametrize("most_choices", [None, 3])
def test_after_a_server_that_fails_the_next_run_completes_to_what_a_healthy_one_gives(
    tmp_path: Path, most_choices: int | None
) -> None:
    cache = AttemptCache(tmp_path / "a.sqlite")
    with FakePolicy(fail_share=0.3, most_choices=most_choices) as policy:
        first = attempts_of(policy.server(), WEARY, cache).ask(tasks(80))
        missing = first["failure"].count()
        assert 0 < missing < first.height
        assert first["is_correct"].null_count() == missing, "a failure is never a grade"
        assert not any(told.startswith("refused") for told in first["failure"].drop_nulls())
        assert len(policy.injected) == 6, "every fault was met"
        assert len(cache) == first.height - missing
        policy.fail_share = 0.0
        healed = attempts_of(policy.server(), WEARY, cache)
        second = healed.ask(tasks(80))
        assert healed.num_cached == first.height - missing
        assert policy.num_answers == 640, "no answer was asked for twice"
    with FakePolicy(most_choices=most_choices) as healthy:
        whole = attempts_of(healthy.server()).ask(tasks(80))
    # what single answers cost is known, of several only what they cost together
    counted = [] if most_choices is None else ["num_tokens"]
    assert_frame_equal(second.drop(counted), whole.drop(counted))
    cache.close()


def test_tries_are_repeated_until_nothing_is_missing() -> None:
    patient = CONFIG.model_copy(update={"policy": POLICY.model_copy(update={"max_attempts": 20})})
    with FakePolicy(fail_share=0.3) as policy, FakePolicy() as healthy:
        attempts = attempts_of(policy.server(), patient)
        assert_frame_equal(attempts.ask(tasks(40)), attempts_of(healthy.server()).ask(tasks(40)))
        assert attempts.num_requests == len(policy.requests) > 40
        assert attempts.down is None


def test_a_server_that_dies_leaves_what_it_answered_and_is_asked_no_more(tmp_path: Path) -> None:
    cache = AttemptCache(tmp_path / "a.sqlite")
    config = CONFIG.model_copy(update={"policy": POLICY.model_copy(update={"concurrency": 2})})
    with FakePolicy(die_after=10) as policy:
        attempts = attempts_of(policy.server(), config, cache)
        frame = attempts.ask(tasks(30))
        assert attempts.down is not None
        assert "stopped answering" in attempts.down
        asked = len(policy.requests)
        assert asked < 30
        assert_frame_equal(
            attempts.ask(tasks(30)),
            frame.with_columns(
                failure=pl.when(pl.col("failure").is_not_null()).then(pl.lit("not asked: the policy is down"))
            ),
        )
        assert len(policy.requests) == asked
    assert frame["failure"].null_count() == len(cache) == 80
    with FakePolicy() as healthy:
        resumed = attempts_of(healthy.server(), config, cache)
        assert resumed.ask(tasks(30))["failure"].null_count() == 240
        assert resumed.num_requests == 20
    cache.close()


def test_a_server_that_is_not_there_is_named_and_nothing_is_graded() -> None:
    attempts = attempts_of(FakeServer("http://127.0.0.1:9/v1"))
    frame = attempts.ask(tasks(12))
    assert attempts.down is not None
    assert "127.0.0.1:9" in attempts.down
    assert frame["failure"].count() == frame.height
    assert frame["is_correct"].null_count() == frame.height


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        ("This model's maximum context length is 4096 tokens. What is it?", "longer than the policy takes"),
        ("What is it? is nothing I take", "no cause given"),
    ],
)
def test_a_refusal_is_final_and_carries_no_word_of_the_prompt(error: str, cause: str) -> None:
    with FakePolicy(status=400, error=error) as policy:
        attempts = attempts_of(policy.server())
        frame = attempts.ask(one())
    assert [body["n"] for body in policy.requests] == [8, 8, 1], "it might have refused the shape of the request"
    assert attempts.down is None
    assert all(told.startswith("refused (400): ") and cause in told for told in frame["failure"])
    assert not any("What is it" in told for told in frame["failure"])


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_server_that_does_not_take_us_is_down_at_once(status: int) -> None:
    with FakePolicy(status=status) as policy:
        attempts = attempts_of(policy.server())
        frame = attempts.ask(tasks(30))
        assert attempts.down is not None
        assert "TOOLWISE_POLICY" in attempts.down
        assert len(policy.requests) <= 8
    assert not any(told.startswith("refused") for told in frame["failure"])


def test_as_many_requests_as_configured_are_in_flight() -> None:
    with FakePolicy(latency_s=0.05) as policy:
        attempts_of(policy.server()).ask(tasks(24))
    assert policy.most_concurrent == POLICY.concurrency


def test_a_run_that_is_killed_has_kept_what_it_was_told(tmp_path: Path) -> None:
    script = (
        "import sys\nfrom pathlib import Path\n"
        "from tests.pipeline.rollouts.test_attempts import *\n"
        "attempts_of(FakeServer(sys.argv[1], 'policy-1'), cache=AttemptCache(Path(sys.argv[2]))).ask(tasks(200))\n"
    )
    with FakePolicy(latency_s=0.02) as policy:
        root = Path(__file__).parents[3]
        run = subprocess.Popen([sys.executable, "-c", script, policy.base_url, str(tmp_path / "a.sqlite")], cwd=root)
        while policy.num_replies < 40 and run.poll() is None:
            pass
        os.kill(run.pid, signal.SIGKILL)
        run.wait()
        cache = AttemptCache(tmp_path / "a.sqlite")
        kept = len(cache)
        assert kept >= 8 * (40 - POLICY.concurrency)
        assert kept < 1600
        again = attempts_of(policy.server(), cache=cache)
        assert again.ask(tasks(200))["failure"].null_count() == 1600
        assert again.num_cached == kept
    cache.close()
