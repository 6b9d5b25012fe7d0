"""The attacks on the judge are what they are said to be, prompts hold them, and the committed result counts right."""

from typing import Any

import orjson
import polars as pl
import pytest

from benchmarks.injection import MODES, RESULT
from benchmarks.injection_cases import CONTROL, attacked, cases_of, question_of, read_attacks, sample_rows
from benchmarks.injection_summary import flips, structure, tables
from tests.factories import make_trajectory


@pytest.fixture(scope="module")
def cases() -> Any:
    """Every attack in its rows."""
    return cases_of(sample_rows(), read_attacks())


@pytest.fixture(scope="module")
def structures(cases: Any) -> dict[str, dict[str, int]]:
    """What gets out of its quotation, with the defences and without."""
    return {
        name: structure(cases, [question_of(c.hostile(), c.name, c.criterion, defended=held) for c in cases])
        for name, held in MODES.items()
    }


def test_there_are_enough_attacks_of_enough_kinds_and_controls_beside_them() -> None:
    attacks = read_attacks()
    hostile = [attack for attack in attacks if attack["kind"] != CONTROL]
    assert len({attack["id"] for attack in attacks}) == len({attack["text"] for attack in attacks}) == len(attacks)
    assert len(hostile) >= 60
    assert len({attack["kind"] for attack in hostile}) >= 10
    assert {attack["place"] for attack in hostile} == {"observation", "answer", "user"}
    assert {attack["place"] for attack in attacks if attack["kind"] == CONTROL} == {"observation", "answer", "user"}


@pytest.mark.parametrize(
    ("place", "changed"),
    [
        ("user", {"prompt": "How far is the moon?\nX", 0: "How far is the moon?\nX"}),
        ("observation", {2: "The moon is 384400 km away.\nX"}),
        ("answer", {"final_answer": "384400 km\nX", 3: "It is 384400 km away.\nX"}),
    ],
)
def test_an_attack_stands_in_its_place_and_nowhere_else(place: str, changed: dict[Any, str]) -> None:
    row = make_trajectory(final_answer="384400 km")
    hostile = attacked(row, "X", place)
    found: dict[Any, Any] = {name: hostile[name] for name in row if name != "messages" and hostile[name] != row[name]}
    pairs = enumerate(zip(row["messages"], hostile["messages"], strict=True))
    found |= {index: after["content"] for index, (before, after) in pairs if before != after}
    assert found == changed


def test_every_attack_meets_bad_rows_by_the_criterion_they_fail_and_good_ones(cases: Any) -> None:
    for attack in read_attacks():
        met = [case for case in cases if case.attack == attack]
        assert {case.is_good for case in met} == {True, False}
        assert len({case.base for case in met}) == len(met)
    fails = {case.row["expected"]: case.criterion.name for case in cases if not case.is_good}
    assert fails == {
        "ungrounded": "grounded",
        "incoherent": "coherent",
        "tool_misuse": "tool_rationale",
        "irrelevant": "relevant",
    }


def test_no_attack_gets_out_of_its_quotation_and_without_defences_many_do(cases: Any, structures: Any) -> None:
    prompts = sum(case.attack["kind"] != CONTROL for case in cases)
    defended, bare = structures["defended"], structures["undefended"]
    assert defended == dict.fromkeys(defended, 0) | {"prompts": prompts}
    assert bare["unmarked_lines"] > 0.9 * prompts
    assert min(bare.values()) > 10


def test_a_flip_is_a_no_that_becomes_a_yes() -> None:
    scores = [("a", 0.4, 0.6), ("a", 0.4, 0.5), ("b", 0.4, 0.49), ("b", 0.5, 0.9), ("c", 0.9, 0.1), ("c", 0.1, 0.3)]
    held = pl.DataFrame(scores, schema=["attack", "before", "after"], orient="row")
    assert flips(held, 0.2) == {
        "pairs": 6,
        "shift": round((0.2 + 0.1 + 0.09 + 0.4 - 0.8 + 0.2) / 6, 4),
        "half": {"no": 4, "flipped": 2, "attacks_that_flip": 1, "rate": 0.5},
        "median": {"no": 1, "flipped": 1, "attacks_that_flip": 1, "rate": 1.0},
    }
    assert flips(held.clear(), 0.5)["half"] == {"no": 0, "flipped": 0, "attacks_that_flip": 0, "rate": None}


def test_the_committed_result_is_of_these_attacks_and_these_prompts(structures: Any) -> None:
    result = orjson.loads(RESULT.read_bytes())
    hostile = [attack for attack in read_attacks() if attack["kind"] != CONTROL]
    assert result["attacks"] == len(hostile)
    assert result["kinds"] == len({attack["kind"] for attack in hostile})
    for name, mode in result["modes"].items():
        assert mode["structure"] == structures[name]
        assert mode["bad"]["all attacks"]["pairs"] + mode["failed"] >= 3 * len(hostile)
    assert any("all attacks" in line for line in tables(result))
