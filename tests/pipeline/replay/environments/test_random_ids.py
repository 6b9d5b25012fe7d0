"""A tool that hands out random ids, tokens and user numbers never contradicts a record that holds others."""

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from pipeline.formats.api_bank import API_BANK
from pipeline.replay.comparison.compare import compare
from pipeline.replay.config import RegisteredClass
from pipeline.replay.environment import Episode, Observation
from pipeline.replay.environments.registered import RegisteredEnvironment
from pipeline.schema import Verdict
from tests.pipeline.replay.environments.conftest import Register

DIALOGUES = Path(__file__).parents[5] / "shared" / "data" / "api_bank"
GIVEN = re.compile(r"\b\d{8}\b|\b(?=[a-z0-9]*\d)(?=[a-z0-9]*[a-z])[a-z0-9]{10,}\b")
"""API-Bank's appointment numbers, user ids and tokens."""

BANK = f'''
    import random, re, string

    class Bank:
        """Answers as recorded, with another value for every id, the same one wherever it comes up in a run."""

        def reset(self, episode, seed):
            self.answers = iter(episode.metadata["answers"])
            self.given = {{}}

        def call(self, name, arguments):
            return re.sub({GIVEN.pattern!r}, self.another, next(self.answers))

        def another(self, match):
            old = match.group()
            if old not in self.given:
                if old.isdigit():
                    self.given[old] = str(random.randint(10_000_000, 99_999_999))
                else:
                    letters = string.ascii_lowercase + string.digits
                    self.given[old] = "".join(random.choices(letters, k=len(old)))
            return self.given[old]

        def close(self):
            pass
'''


def reruns(answers: Sequence[str], lanes: Sequence[RegisteredEnvironment]) -> list[list[Observation]]:
    """An observation a run, for each answer."""
    runs = []
    for seed, lane in enumerate(lanes):
        lane.reset(Episode("t1", metadata={"answers": list(answers)}), seed)
        runs.append([lane.call("any", "{}") for _ in answers])
    return [list(pair) for pair in zip(*runs, strict=True)]


@pytest.fixture
def lanes(register: Register) -> Iterator[list[RegisteredEnvironment]]:
    register(BANK, "bank = shop:Bank")
    config = RegisteredClass(kind="registered", name="bank", tools=("*",), repeat="reset", deterministic=False)
    opened = [RegisteredEnvironment("bank", config) for _ in range(2)]
    yield opened
    for lane in opened:
        lane.close()


@pytest.mark.parametrize(
    "recorded",
    [
        "98353393",
        '{"token":"a9s8d7f6g5h4j3k2l1"}',
        '{"user_id": "6ihmi4erswxf97aopjj2rnjtgjky85ek"}',
        '{"90123456":{"patient_name":"Olivia Davis","date":"2023-10-10","doctor_name":"Dr. Smith"}}',
        "Booking 45678901 confirmed for Olivia Davis.",
        "['12345678', '34567890']",
    ],
)
def test_other_ids_make_a_call_nondeterministic_and_no_mismatch(
    lanes: list[RegisteredEnvironment], recorded: str
) -> None:
    (runs,) = reruns([recorded], lanes)
    assert runs[0].text != runs[1].text
    assert compare(recorded, runs[:1]).verdict is Verdict.MISMATCH
    assert compare(recorded, runs).verdict is Verdict.NONDETERMINISTIC


def test_a_record_that_contradicts_what_both_runs_share_is_a_mismatch_all_the_same(
    lanes: list[RegisteredEnvironment],
) -> None:
    (runs,) = reruns(['{"token":"a9s8d7f6g5h4j3k2l1","name":"Ann"}'], lanes)
    assert compare('{"token":"q9w8e7r6t5y4u3i2o1","name":"Bob"}', runs).verdict is Verdict.MISMATCH


def test_no_api_bank_dialogue_has_a_mismatch(lanes: list[RegisteredEnvironment]) -> None:
    if not DIALOGUES.exists():
        pytest.skip("the shared traces are not here")
    found: Counter[tuple[Verdict, bool]] = Counter()
    wrong = []
    files = sorted(DIALOGUES.rglob("*.jsonl"))
    dialogues = 0
    for file in files:
        record = [json.loads(line) for line in file.read_text().splitlines() if line.strip()]
        if not API_BANK.detects(record):
            continue
        dialogues += 1
        answers = [each["content"] for each in API_BANK.parse(record).messages if each["role"] == "tool"]
        answers = [answer for answer in answers if answer is not None]
        for answer, runs in zip(answers, reruns(answers, lanes), strict=True):
            verdict = compare(answer, runs).verdict
            found[verdict, GIVEN.search(answer) is not None] += 1
            if verdict is Verdict.MISMATCH:
                wrong.append((file.name, answer, [run.text for run in runs]))
    assert wrong == []
    assert dialogues >= 260
    assert set(found) == {(Verdict.MATCH, False), (Verdict.NONDETERMINISTIC, True)}
    assert found[Verdict.NONDETERMINISTIC, True] > 100
