"""What a judge makes of a server that fails: retried or not, told in a few words, never a verdict nobody gave."""

import re
import time
from pathlib import Path

import pytest

from pipeline.errors import ModelServerError
from pipeline.judging.config import JudgeConfig
from pipeline.judging.judge import Judge
from pipeline.judging.verdict_cache import VerdictCache
from pipeline.serving.endpoint import Endpoint
from tests.fake_judge import MODEL, PASSING, FakeJudge, FakeServer, Fault, Faults
from tests.pipeline.judging.asked import HASTY, healthy_scores, make_question, make_questions

FAILURES = {
    Fault.TIMEOUT: "timeout: no answer in 0.5 s; 3 attempts",
    Fault.SERVER_ERROR: "server error (500); 3 attempts",
    Fault.BUSY: "busy (429); 3 attempts",
    Fault.CUT: "connection failed; 3 attempts",
    Fault.CUT_BODY: "connection failed; 3 attempts",
    Fault.MALFORMED: "malformed reply: no JSON; 3 attempts",
    Fault.NOT_A_COMPLETION: "malformed reply: no chat completion; 3 attempts",
    Fault.WRONG_CHOICE: "wrong choice: 7 characters that are neither yes nor no; 3 attempts",
    Fault.EMPTY_CHOICES: "empty reply: no choices; 3 attempts",
    Fault.EMPTY_CONTENT: "empty reply: no content; 3 attempts",
    Fault.NAN: "malformed reply: no JSON; 3 attempts",
    Fault.NO_LOGPROBS: "malformed reply: no logprobs; for a server without them set judge.logprobs = false; 3 attempts",
    Fault.NO_MASS: "malformed reply: yes and no together have a probability of 0; 3 attempts",
    Fault.TRUNCATED: "cut reply: 1 characters without an answer; 3 attempts",
    Fault.REFUSED: "refused (400): BadRequestError",
    Fault.OVERLONG: "refused (400): the prompt is longer than the judge takes; lower judge.max_prompt_chars",
    Fault.NOT_FOUND: "refused (404): the server knows no such model or path",
    Fault.UNAUTHORIZED: "denied (401)",
}


def test_the_table_has_every_fault() -> None:
    assert set(FAILURES) == set(Fault)


@pytest.mark.parametrize(("fault", "failure"), FAILURES.items())
def test_a_failure_is_told_and_is_no_score(fault: Fault, failure: str, tmp_path: Path) -> None:
    cache = VerdictCache(tmp_path / "verdicts.sqlite", max_bytes=10**6)
    timeout_s = 0.5 if fault is Fault.TIMEOUT else HASTY.timeout_s
    config = HASTY.model_copy(update={"max_attempts": 3, "timeout_s": timeout_s})
    with FakeJudge(faults=Faults(1.0, [fault])) as server, Judge(server.server(), config, cache) as judge:
        (reply,) = judge.ask([make_question()])
        wanted = 3 if fault in PASSING else 1
        told = re.sub(r" \((Read|Write|RemoteProtocol)Error\)", "", reply.failure or "")  # whichever end sees it first
        assert (reply.score, told, reply.num_attempts) == (None, failure, wanted)
        assert server.num_requests == judge.num_requests == wanted
        assert (judge.down is not None) == (fault is Fault.UNAUTHORIZED)
        assert len(cache) == 0
    cache.close()


class _Once(Faults):
    """Every prompt's first attempt fails."""

    def of(self, digest: str, attempt: int) -> Fault | None:
        return super().of(digest, attempt) if attempt == 1 else None


@pytest.mark.parametrize("fault", PASSING)
def test_what_fails_once_is_asked_again_and_scored_as_ever(fault: Fault) -> None:
    with FakeJudge(faults=_Once(1.0, [fault])) as server, Judge(server.server(), HASTY) as judge:
        (reply,) = judge.ask([make_question()])
        assert (reply.failure, reply.num_attempts) == (None, 2)
        assert reply.score == pytest.approx(healthy_scores([make_question()])[0], abs=1e-12)


def test_a_server_that_fails_often_invents_nothing_and_the_next_run_completes_it(tmp_path: Path) -> None:
    questions = make_questions(400)
    with FakeJudge() as server, Judge(server.server(), JudgeConfig()) as judge:
        healthy = [reply.score for reply in judge.ask(questions)]
    cache = VerdictCache(tmp_path / "verdicts.sqlite", max_bytes=10**7)
    config = HASTY.model_copy(update={"max_attempts": 2})
    with FakeJudge(faults=Faults(0.3)) as server:
        with Judge(server.server(), config, cache) as judge:
            first = judge.ask(questions)
            assert judge.down is None
        assert set(server.injected) == set(PASSING)
        failed = [k for k, reply in enumerate(first) if reply.score is None]
        assert 10 < len(failed) < 80  # 0.3 ** 2 of them
        assert all(reply.failure for reply in first if reply.score is None)
        assert all(reply.failure is None for reply in first if reply.score is not None)
        assert [r.score for r in first if r.score is not None] == [s for k, s in enumerate(healthy) if k not in failed]
        assert len(cache) == len(questions) - len(failed)
        server.heal()
        with Judge(server.server(), config, cache) as judge:
            second = judge.ask(questions)
            assert judge.num_requests == len(failed)
    assert [reply.score for reply in second] == healthy
    cache.close()


def test_a_server_that_dies_is_noticed_and_what_it_said_is_kept(tmp_path: Path) -> None:
    questions = make_questions(500)
    cache = VerdictCache(tmp_path / "verdicts.sqlite", max_bytes=10**7)
    with FakeJudge(die_after=200, latency_s=0.01) as server:
        endpoint = server.server()
        endpoint.log = "logs/judge.log"
        begun = time.monotonic()
        with Judge(endpoint, JudgeConfig(), cache) as judge:
            replies = judge.ask(questions)
            assert time.monotonic() - begun < 30  # a request may take 120
            assert judge.down is not None
            assert judge.down.startswith(f"the judge at {server.base_url} stopped answering, connection failed (")
            assert judge.down.endswith("; its log is logs/judge.log")
            num_requests = judge.num_requests
            again = judge.ask(questions)
            assert judge.num_requests == num_requests
    assert sum(reply.score is not None for reply in replies) == len(cache) == 200
    assert {reply.failure for reply in replies} <= {
        None, "not asked: the judge is down", "no answer: the judge went down"
    }  # fmt: skip
    assert [reply.score for reply in again] == [reply.score for reply in replies]
    with FakeJudge() as server, Judge(server.server(), JudgeConfig(), cache) as judge:
        completed = judge.ask(questions)
        assert judge.num_requests == 300
    assert [reply.score for reply in completed] == pytest.approx(healthy_scores(questions), abs=1e-12)
    cache.close()


def test_a_server_that_says_it_is_not_well_is_down() -> None:
    faults = Faults(1.0, [Fault.SERVER_ERROR])
    with FakeJudge(faults=faults, is_healthy=False) as server, Judge(server.server(), HASTY) as judge:
        judge.ask(make_questions(100))
        assert judge.down is not None
        assert judge.down.endswith("stopped answering, server error (500)")
        assert server.num_requests < 100


def test_a_server_that_never_gives_a_verdict_is_given_up_though_it_says_it_is_well() -> None:
    config = HASTY.model_copy(update={"concurrency": 4})
    faults = Faults(1.0, [Fault.WRONG_CHOICE])
    with FakeJudge(faults=faults) as server, Judge(server.server(), config) as judge:
        replies = judge.ask(make_questions(500))
        assert judge.down is not None
        assert "gave no verdict to 64 requests in a row, the last: wrong choice" in judge.down
        assert server.num_requests <= 64 + 4
        assert all(reply.score is None and reply.failure for reply in replies)


def test_refused_questions_do_not_stop_the_others() -> None:
    faults = Faults(0.7, [Fault.REFUSED, Fault.OVERLONG, Fault.NOT_FOUND])
    with FakeJudge(faults=faults) as server, Judge(server.server(), HASTY) as judge:
        questions = make_questions(400)
        replies = judge.ask(questions)
        assert judge.down is None
        assert server.num_requests == 400
        assert 60 < sum(reply.score is not None for reply in replies) < 180


def test_a_key_that_is_refused_ends_it_at_once() -> None:
    faults = Faults(1.0, [Fault.UNAUTHORIZED])
    with FakeJudge(faults=faults) as server, Judge(server.server(), HASTY) as judge:
        replies = judge.ask(make_questions(200))
        assert judge.down is not None
        assert "TOOLWISE_JUDGE_API_KEY" in judge.down
        assert server.num_requests <= 3
        assert all(reply.score is None for reply in replies)


@pytest.mark.parametrize(("asked_for", "least_s"), [("0.6", 0.6), ("", 0), ("soon", 0), ("nan", 0)])
def test_a_server_that_says_when_to_come_back_is_heeded(asked_for: str, least_s: float) -> None:
    faults = _Once(1.0, [Fault.BUSY], retry_after=asked_for)
    with FakeJudge(faults=faults) as server, Judge(server.server(), HASTY) as judge:
        begun = time.monotonic()
        (reply,) = judge.ask([make_question()])
        assert least_s <= time.monotonic() - begun < least_s + 5
        assert reply.num_attempts == 2


def test_a_wait_of_days_is_not_heeded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.serving.requests._LONGEST_WAIT_S", 0.2)
    faults = _Once(1.0, [Fault.BUSY], retry_after="Wed, 21 Oct 2099 07:28:00 GMT")
    with FakeJudge(faults=faults) as server, Judge(server.server(), HASTY) as judge:
        begun = time.monotonic()
        judge.ask([make_question()])
        assert time.monotonic() - begun < 5


def test_a_server_that_cannot_be_started_is_a_failure_of_every_question() -> None:
    class Unstartable(FakeServer):
        def endpoint(self) -> Endpoint:
            raise ModelServerError("model server: no memory; its log: judge.log")

    with Judge(Unstartable("http://127.0.0.1:9/v1"), HASTY) as judge:
        replies = judge.ask(make_questions(5))
        assert judge.down == "model server: no memory; its log: judge.log"
        assert {reply.failure for reply in replies} == {"not asked: the judge is down"}


def test_no_message_holds_a_password_or_a_word_of_a_trace() -> None:
    class Guarded(FakeServer):
        def endpoint(self) -> Endpoint:
            return Endpoint(self.base_url.replace("//", "//user:geheim@"), MODEL, "sk-geheim")

    with FakeJudge(faults=Faults(1.0, [Fault.REFUSED])) as server, Judge(Guarded(server.base_url), HASTY) as judge:
        replies = judge.ask(make_questions(10))
        server.die()
        replies += judge.ask([make_question(n) for n in range(100, 200)])
        told = " ".join([judge.down or "", *(reply.failure or "" for reply in replies)])
        assert "stopped answering" in told
        assert "geheim" not in told
        assert "trace" not in told
