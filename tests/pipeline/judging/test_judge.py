"""What a judge promises of a server that is well: order, no question twice, no request too many, nothing paid twice."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from pipeline.judging.config import JudgeConfig
from pipeline.judging.judge import Judge
from pipeline.judging.replies import Constrain
from pipeline.judging.verdict_cache import VerdictCache
from tests.fake_judge import FakeJudge
from tests.pipeline.judging.asked import HASTY, healthy_scores, make_question, make_questions

ROOT = Path(__file__).parents[3]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "verdicts.sqlite"


@pytest.mark.parametrize("constrain", ["choice", "json_schema", "none"])
def test_every_question_has_its_own_score_in_the_order_asked(constrain: Constrain) -> None:
    questions = make_questions(100)
    with FakeJudge() as server, Judge(server.server(), JudgeConfig(constrain=constrain)) as judge:
        replies = judge.ask(questions)
        assert [reply.score for reply in replies] == pytest.approx(healthy_scores(questions), abs=1e-12)
        assert {(reply.failure, reply.is_cached, reply.num_attempts) for reply in replies} == {(None, False, 1)}
        assert (judge.num_asked, judge.num_requests, judge.num_cached, judge.down) == (100, 100, 0, None)


def test_a_request_is_what_the_configuration_says() -> None:
    with FakeJudge() as server:
        with Judge(server.server(), JudgeConfig()) as judge:
            judge.ask([make_question()])
        with Judge(server.server(), JudgeConfig(constrain="none", logprobs=False)) as judge:
            (reply,) = judge.ask([make_question()])
    first, second = server.requests
    assert first == {
        "model": "fake-judge",
        "messages": make_question().messages,
        "temperature": 0.0,
        "max_tokens": 8,
        "structured_outputs": {"choice": ["yes", "no"]},
        "logprobs": True,
        "top_logprobs": 20,
    }
    assert set(second) == {"model", "messages", "temperature", "max_tokens"}
    assert reply.score in (0.0, 1.0)


def test_a_judge_asked_another_way_is_another_judge() -> None:
    server = FakeJudge().server("weights")
    configs = [JudgeConfig(), JudgeConfig(constrain="none"), JudgeConfig(constrain="none", logprobs=False)]
    assert [Judge(server, config).identity for config in configs] == [
        "weights", "weights+none", "weights+none+no-logprobs"
    ]  # fmt: skip


def test_so_many_requests_are_in_flight_and_never_one_more() -> None:
    with FakeJudge(latency_s=0.5) as server, Judge(server.server(), JudgeConfig(concurrency=64)) as judge:
        judge.ask(make_questions(250))
        assert server.most_concurrent == 64
        assert server.num_connections <= 65


def test_two_threads_asking_one_judge_stay_under_its_limit_together() -> None:
    with FakeJudge(latency_s=0.01) as server, Judge(server.server(), JudgeConfig(concurrency=8)) as judge:
        batches = [make_questions(60), [make_question(n, criterion="other") for n in range(60)]]
        scores: dict[int, list[float | None]] = {}
        threads = [
            threading.Thread(target=lambda k=k: scores.update({k: [r.score for r in judge.ask(batches[k])]}))
            for k in range(2)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [scores[k] for k in range(2)] == [pytest.approx(healthy_scores(batch)) for batch in batches]
        assert server.most_concurrent <= 8


def test_one_prompt_of_each_rubric_goes_first_and_the_rest_by_criterion() -> None:
    questions = make_questions(60)
    with FakeJudge(latency_s=0.05) as server, Judge(server.server(), JudgeConfig(concurrency=4)) as judge:
        judge.ask(questions)
        judge.ask([make_question(n) for n in range(100, 110)])
    rubrics = [prompt[0]["content"].split()[0] for prompt in server.prompts]
    assert sorted(rubrics[:3]) == ["coherent", "grounded", "relevant"]
    rest = rubrics[3:60]
    assert rest.index("coherent") >= 19 - 4
    assert rest.index("relevant") >= 38 - 4


def test_the_flood_waits_until_the_first_prompt_of_its_rubric_has_been_answered() -> None:
    with FakeJudge(latency_s=0.5) as server, Judge(server.server(), JudgeConfig(concurrency=16)) as judge:
        asking = threading.Thread(target=lambda: judge.ask([make_question(n) for n in range(20)]))
        asking.start()
        while not server.num_requests:
            time.sleep(0.01)
        time.sleep(0.1)
        assert server.num_requests == 1
        asking.join()
        assert server.num_requests == 20


def test_equal_questions_are_asked_once_and_all_are_answered(path: Path) -> None:
    twins = [make_question(n % 5, subject=f"s{n}") for n in range(40)]
    cache = VerdictCache(path, max_bytes=10**6)
    with FakeJudge() as server, Judge(server.server(), HASTY, cache) as judge:
        replies = judge.ask(twins)
        assert server.num_requests == judge.num_asked == 5
        assert [reply.score for reply in replies] == pytest.approx(healthy_scores(twins), abs=1e-12)
        assert cache.forget(["s7"]) == 1
        judge.ask(twins)
        assert server.num_requests == 6
    cache.close()


def test_what_was_answered_is_never_asked_again_and_needs_no_server(path: Path) -> None:
    questions = make_questions(90)
    with FakeJudge() as server:
        cache = VerdictCache(path, max_bytes=10**6)
        with Judge(server.server(), HASTY, cache) as judge:
            first = judge.ask(questions)
        cache.close()
    cache = VerdictCache(path, max_bytes=10**6)
    gone = server.server()
    with Judge(gone, HASTY, cache) as judge:
        again = judge.ask(questions)
        assert (judge.num_requests, judge.num_asked, judge.num_cached) == (0, 0, 90)
    cache.close()
    assert [reply.score for reply in again] == [reply.score for reply in first]
    assert all(reply.is_cached for reply in again)
    assert gone.num_endpoints == 0


def test_a_changed_rubric_asks_its_own_questions_again_and_no_others(path: Path) -> None:
    cache = VerdictCache(path, max_bytes=10**6)
    with FakeJudge() as server, Judge(server.server(), HASTY, cache) as judge:
        judge.ask(make_questions(90))
        judge.ask(make_questions(90, version="2-a"))
        asked = server.prompts[90:]
        assert len(asked) == 30
        assert {prompt[0]["content"].split(":")[0] for prompt in asked} == {"grounded 2-a"}
    cache.close()


def test_other_weights_are_asked_everything(path: Path) -> None:
    cache = VerdictCache(path, max_bytes=10**6)
    with FakeJudge() as server:
        for identity in ("fake-1", "fake-2"):
            with Judge(server.server(identity), HASTY, cache) as judge:
                judge.ask(make_questions(30))
        assert server.num_requests == 60
    cache.close()


def test_it_may_be_called_where_an_event_loop_runs() -> None:
    async def ask(judge: Judge) -> list[float | None]:
        return [reply.score for reply in judge.ask(make_questions(10))]

    with FakeJudge() as server, Judge(server.server(), HASTY) as judge:
        assert asyncio.run(ask(judge)) == pytest.approx(healthy_scores(make_questions(10)))
        assert asyncio.run(ask(judge)) == pytest.approx(healthy_scores(make_questions(10)))


def test_nothing_asked_starts_nothing(path: Path) -> None:
    server = FakeJudge().server()
    with Judge(server, HASTY) as judge:
        assert judge.ask([]) == []
        assert judge.num_requests == 0
    assert server.num_endpoints == 0
    assert not server.is_closed
    assert not path.exists()


def test_a_server_that_was_started_again_elsewhere_is_found() -> None:
    with FakeJudge() as one, FakeJudge() as two:
        server = one.server()
        with Judge(server, HASTY) as judge:
            judge.ask([make_question(1)])
            one.die()
            server.base_url = two.base_url
            (reply,) = judge.ask([make_question(2)])
            assert reply.failure is None
        assert (one.num_requests, two.num_requests) == (1, 1)


def test_a_closed_judge_leaves_no_thread_and_may_be_closed_again() -> None:
    with FakeJudge() as server:
        judge = Judge(server.server(), HASTY)
        judge.ask(make_questions(10))
        judge.close()
        judge.close()
        assert not any(thread.name == "judge" for thread in threading.enumerate())


ASKING = """
import signal
import sys
from pathlib import Path
from pipeline.judging.config import JudgeConfig
from pipeline.judging.judge import Judge
from pipeline.judging.verdict_cache import VerdictCache
from tests.fake_judge import FakeServer
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell that put us behind ignores it
from tests.pipeline.judging.asked import make_questions
cache = VerdictCache(Path(sys.argv[2]), max_bytes=10**7)
with Judge(FakeServer(sys.argv[1]), JudgeConfig(concurrency=4), cache) as judge:
    print("asking", flush=True)
    judge.ask(make_questions(2000))
"""


def begin_asking(server: FakeJudge, path: Path, *, until: int) -> subprocess.Popen[str]:
    """A process that asks, once so many of its questions were answered."""
    command = [sys.executable, "-c", ASKING, server.base_url, str(path)]
    asking = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    limit = time.monotonic() + 60
    while server.num_answers < until:
        assert asking.poll() is None, asking.communicate()[1]
        assert time.monotonic() < limit
        time.sleep(0.01)
    return asking


def test_a_killed_process_keeps_every_verdict_but_those_in_flight(path: Path) -> None:
    with FakeJudge(latency_s=0.01) as server:
        asking = begin_asking(server, path, until=100)
        asking.kill()
        asking.communicate()
        time.sleep(0.1)
        num_answers = server.num_answers
        cache = VerdictCache(path, max_bytes=10**7)
        assert 100 - 4 <= num_answers - 4 <= len(cache) <= num_answers
        with Judge(server.server(), JudgeConfig(), cache) as judge:
            questions = make_questions(400)
            replies = judge.ask(questions)
            assert judge.num_cached >= 96
        assert [reply.score for reply in replies] == pytest.approx(healthy_scores(questions), abs=1e-12)
        cache.close()


def test_ctrl_c_ends_promptly_though_the_server_does_not_answer(path: Path) -> None:
    with FakeJudge(latency_s=0.01) as server:
        asking = begin_asking(server, path, until=50)
        server.latency_s = 60.0
        time.sleep(0.1)
        begun = time.monotonic()
        os.kill(asking.pid, signal.SIGINT)
        _, said = asking.communicate(timeout=20)
        assert time.monotonic() - begun < 5
        assert "KeyboardInterrupt" in said


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_questions() -> None:
    script = (
        "import resource, sys\n"
        "from pipeline.judging.config import JudgeConfig\n"
        "from pipeline.judging.judge import Judge\n"
        "from tests.fake_judge import FakeServer\n"
        "from tests.pipeline.judging.asked import make_questions\n"
        "questions = make_questions(30_000)\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024\n"
        "with Judge(FakeServer(sys.argv[1]), JudgeConfig()) as judge:\n"
        "    judge.ask(questions[:1000])\n"
        "    before = peak()\n"
        "    judge.ask(questions)\n"
        "    print(peak() - before)\n"
    )
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.fake_judge"], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert server.stdin is not None
    assert server.stdout is not None
    command = [sys.executable, "-c", script, server.stdout.readline().strip()]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    server.stdin.close()
    server.wait(20)
    server.stdout.close()
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 60
