"""The world's tools answer as promised, and what a call gets wrong is told, not raised."""

import json
import random

import pytest

from pipeline.replay.environment import Episode, Status
from training.world.facts import Relation, lands
from training.world.search import NOISE, NOTHING, SearchStore, document
from training.world.tools import LONGEST_EXPRESSION, WorldTools, calculate


@pytest.fixture(scope="module")
def store() -> SearchStore:
    return SearchStore()


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("17 + 26", "43"),
        ("483 * 729", "352107"),
        ("-3 - 4", "-7"),
        ("7 / 2", "3.5"),
        ("6 / 2", "3"),
        ("7 // 2", "3"),
        ("7 % 4", "3"),
        ("2 ** 10", "1024"),
        ("(1 + 2) * 3", "9"),
        ("1 / 0", "Error: division by zero."),
        ("2 ** 65", "Error: no arithmetic."),
        ("(-8) ** 0.5", "Error: no arithmetic."),
        ("1e308 * 1e308", "Error: no arithmetic."),
        ("__import__('os').getcwd()", "Error: no arithmetic."),
        ("True + 1", "Error: no arithmetic."),
        ("(" * 150, "Error: no arithmetic."),
        ("17 +", "Error: no arithmetic."),
        ("", "Error: no arithmetic."),
        ("1" * (LONGEST_EXPRESSION + 1), "Error: the expression is too long."),
    ],
)
def test_the_calculator_does_arithmetic_and_nothing_else(expression: str, value: str) -> None:
    assert calculate(expression) == value


@pytest.mark.parametrize(
    ("name", "arguments", "told"),
    [
        ("calculator", '{"expression": "2 + 2"}', "4"),
        ("calculator", '{"query": "2 + 2"}', "Error: calculator takes expression."),
        ("calculator", "2 + 2", "Error: the arguments are no JSON."),
        ("calculator", "[2]", "Error: calculator takes expression."),
        ("lookup", '{"query": 3}', "Error: lookup takes query."),
        ("lookup", '{"query": "of the"}', NOTHING),
        ("lookup", '{"query": "Xyzzy\\" OR text:*"}', NOTHING),
    ],
)
def test_what_a_call_gets_wrong_is_told(store: SearchStore, name: str, arguments: str, told: str) -> None:
    tools = WorldTools(store)
    tools.reset(Episode("t"), 1)
    observation = tools.call(name, arguments)
    assert (observation.text, observation.status) == (told, Status.RETURNED)


@pytest.mark.parametrize("relation", list(NOISE))
def test_lookups_are_as_noisy_as_stated(store: SearchStore, relation: Relation) -> None:
    wrong = [
        store.search(f"{relation} of {land.name}", random.Random(land.name)) != document(land, relation)
        for land in lands()[:1500]
    ]
    spread = (NOISE[relation] * (1 - NOISE[relation]) / len(wrong)) ** 0.5
    assert sum(wrong) / len(wrong) == pytest.approx(NOISE[relation], abs=4 * spread)


def test_a_wrong_result_is_about_another_land_and_says_so(store: SearchStore) -> None:
    land = lands()[0]
    results = {store.search(f"seal of {land.name}", random.Random(seed)) for seed in range(100)}
    assert document(land, "seal") in results
    others = results - {document(land, "seal"), NOTHING}
    assert others
    assert all(land.name not in text and "seal" in text for text in others)


def test_one_trajectory_finds_the_same_twice_and_another_has_other_luck(store: SearchStore) -> None:
    tools = WorldTools(store)
    asked = json.dumps({"query": f"seal of {lands()[3].name}"})
    found = []
    for seed in range(30):
        tools.reset(Episode("t"), seed)
        first, second = tools.call("lookup", asked), tools.call("lookup", asked)
        assert first == second
        found.append(first.text)
    assert len(set(found)) > 1
