"""The simulators of the Berkeley leaderboard give back what was recorded."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.formats.bfcl import BFCL_REPLAY
from pipeline.replay.config import RegisteredClass
from pipeline.replay.environment import Episode, Observation, Status
from pipeline.replay.environments.registered import RegisteredEnvironment

pytest.importorskip("bfcl_eval", reason="bfcl-eval is not installed; scripts/install brings it")

RECORDED = Path(__file__).parents[5] / "shared" / "data" / "bfcl" / "DERIVED_multi_turn_base_replay.jsonl"
NUM_TRAJECTORIES = 200
NUM_STEPS = 1142


@pytest.fixture(scope="module")
def simulators() -> Iterator[RegisteredEnvironment]:
    config = RegisteredClass(kind="registered", name="bfcl", tools=("*",), repeat="reset")
    environment = RegisteredEnvironment("bfcl", config)
    environment.start()
    yield environment
    environment.close()


def steps_of(record: dict[str, Any]) -> tuple[dict[str, Any], list[tuple[str, str, str]]]:
    """The metadata, and name, arguments and recorded observation of every call, all of which are there."""
    parsed = BFCL_REPLAY.parse(record)
    calls = [call for each in parsed.messages for call in each["tool_calls"] or []]
    told = [each["content"] for each in parsed.messages if each["role"] == "tool"]
    paired = zip(calls, told, strict=True)
    return parsed.metadata, [(str(call["name"]), str(call["arguments"]), str(text)) for call, text in paired]


def test_every_recorded_observation_of_the_multi_turn_base_questions_comes_back_character_by_character(
    simulators: RegisteredEnvironment,
) -> None:
    if not RECORDED.exists():
        pytest.skip("the shared traces are not here")
    records = [json.loads(line) for line in RECORDED.read_text().splitlines()]
    assert len(records) == NUM_TRAJECTORIES
    recorded: list[str] = []
    rerun: list[Observation] = []
    for record in records:
        metadata, steps = steps_of(record)
        simulators.reset(Episode(record["id"], "bfcl", metadata=metadata), 1)
        for name, arguments, text in steps:
            recorded.append(text)
            rerun.append(simulators.call(name, arguments))
    assert len(recorded) == NUM_STEPS
    assert rerun == [Observation(text) for text in recorded]


def test_the_state_may_come_with_the_trajectory_and_starts_afresh(simulators: RegisteredEnvironment) -> None:
    root = {"home": {"type": "directory", "contents": {"a.txt": {"type": "file", "content": "one"}}}}
    state = {"GorillaFileSystem": {"root": root}}
    episode = Episode("t1", metadata={"involved_classes": ["GorillaFileSystem"], "initial_config": state})
    for _ in range(2):
        simulators.reset(episode, 1)
        assert simulators.call("ls", "{}").text == '{"current_directory_content": ["a.txt"]}'
        assert simulators.call("cat", '{"arg0": "a.txt"}').text == '{"file_content": "one"}'
        assert simulators.call("rm", '{"file_name": "a.txt"}').text == """{"result": "'a.txt' removed"}"""
        assert simulators.call("ls", "{}").text == '{"current_directory_content": []}'


def test_errors_are_told_in_the_leaderboards_words_and_unknown_tools_are_missing(
    simulators: RegisteredEnvironment,
) -> None:
    simulators.reset(Episode("t1", metadata={"id": "multi_turn_base_0"}), 1)
    wrong = simulators.call("cd", '{"directory": "x"}')
    assert wrong == Observation(
        "Error during execution: GorillaFileSystem.cd() got an unexpected keyword argument 'directory'"
    )
    assert simulators.call("nonesuch", "{}") == Observation("", Status.MISSING, "tool nonesuch")


def test_a_question_that_is_not_in_the_package_leaves_no_state(simulators: RegisteredEnvironment) -> None:
    for question in ("multi_turn_base_9999", "nonesuch_1", ""):
        simulators.reset(Episode("t1", metadata={"id": question}), 1)
        observation = simulators.call("ls", "{}")
        assert observation.status is Status.MISSING
        assert observation.detail.startswith("reset: KeyError: ")
