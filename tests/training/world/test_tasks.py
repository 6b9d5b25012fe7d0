"""Tasks have the answers they say, in the shares asked for, and held-out ones are other ones."""

from collections import Counter

import pytest

from pipeline.answers.checker import check_answer
from pipeline.answers.extract import extract_answer
from pipeline.config import AnswerGate
from training.world.facts import NUM_KNOWN, Split, known_lands, lands, names_of, unknown_lands
from training.world.tasks import SHARES, Kind, all_known, distinct_tasks, draw_tasks
from training.world.tools import SCHEMAS, calculate

SPLITS: tuple[Split, Split] = ("train", "test")


def test_names_are_distinct_and_a_guess_is_seldom_right() -> None:
    assert len({land.name for land in lands()}) == len(lands())
    assert all(len(names_of(relation)) >= 60 for relation in ("capital", "founder", "seal"))
    known, learned, held_out = (
        {land.name for land in some}
        for some in (known_lands(), unknown_lands(split="train"), unknown_lands(split="test"))
    )
    assert len(known) == NUM_KNOWN
    assert known | learned | held_out == {land.name for land in lands()}
    assert not known & learned
    assert not learned & held_out


def test_equal_seeds_draw_equal_tasks_and_others_do_not() -> None:
    assert draw_tasks(200, 3, split="test") == draw_tasks(200, 3, split="test")
    assert draw_tasks(200, 3, split="test") != draw_tasks(200, 4, split="test")


def test_a_draw_has_the_shares_of_the_kinds() -> None:
    counts = Counter(task.kind for task in draw_tasks(5000, 1, split="train"))
    for kind, share in SHARES.items():
        assert counts[kind] / 5000 == pytest.approx(share, abs=0.025)
    assert sum(SHARES.values()) == pytest.approx(1)
    assert sum(share for kind, share in SHARES.items() if kind.is_tool_free) == pytest.approx(0.36)


def test_held_out_tasks_that_need_a_tool_are_never_drawn_for_learning() -> None:
    needing = {kind: share for kind, share in SHARES.items() if not kind.is_tool_free}
    learned, held_out = (
        {task.task_id for task in distinct_tasks(2000, 1, split=split, shares=needing)} for split in SPLITS
    )
    assert len(learned) == len(held_out) == 2000
    assert not learned & held_out


def test_the_calls_of_a_task_lead_to_its_answer() -> None:
    for task in draw_tasks(500, 2, split="train"):
        if task.kind is Kind.TWO_CALLS:
            assert task.land is not None
            assert [name for name, _ in task.calls] == ["lookup", "calculator"]
            assert calculate(task.calls[1][1].format(task.land.population)) == task.answer
        elif task.kind in (Kind.EASY_SUM, Kind.COMPUTATION):
            assert calculate(task.calls[0][1]) == task.answer
        elif task.kind is Kind.PROGRAM:
            [(name, code)] = task.calls
            assert name == "python"
            assert str(eval(code.removeprefix("print"))) == task.answer


def test_an_answer_as_the_agent_writes_it_is_found_right_and_another_wrong() -> None:
    for task in draw_tasks(300, 5, split="test"):
        checks = [
            check_answer(extract_answer(f"Answer: {text}"), task.answer, AnswerGate())
            for text in (task.answer, "Nobody" if not task.answer.isdigit() else str(int(task.answer) + 1))
        ]
        assert [check.matches for check in checks] == [True, False]


def test_tools_are_offered_only_where_they_are_at_hand() -> None:
    [task] = draw_tasks(1, 0, split="train")
    assert task.task(with_tools=True).tools == SCHEMAS
    assert task.task(with_tools=False).tools == ()
    assert task.task(with_tools=True).metadata == {"kind": task.kind.value}


def test_what_is_taught_whole_is_all_there_is_to_draw() -> None:
    for kind in (Kind.KNOWN_FACT, Kind.EASY_SUM):
        known = {task.task_id for task in all_known(kind)}
        assert {task.task_id for task in draw_tasks(300, 1, split="test", shares={kind: 1.0})} <= known
