"""The promise: worked numbers, edges, and the laws it keeps."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.judging.bounds import clopper_pearson
from pipeline.judging.certificate import Certificate, certified_threshold, certify, lower_bound, supports

PROMISE = {"target": 0.95, "confidence": 0.95}


def falling(num_labels: int) -> np.ndarray:
    """Scores from 1 down, all different."""
    return np.linspace(1, 0.01, num_labels)


def right_but(num_labels: int, *wrong: int) -> np.ndarray:
    """All right but those at these places."""
    return ~np.isin(np.arange(num_labels), wrong)


@pytest.mark.parametrize(
    ("num_labels", "wrong", "kept"),
    [
        (58, (), None),
        (59, (), 59),
        (59, (58,), None),
        (59, (0,), None),
        (60, (59,), 59),  # 59 right ones, then keeping all fails
        (93, (92,), 93),
        (93, (0,), None),  # the first test, at 59, fails and ends the way
        (93, (91, 92), 59),
        (124, (80, 100), 124),
    ],
)
def test_so_many_labels_and_errors_certify_so_many(num_labels: int, wrong: tuple[int, ...], kept: int | None) -> None:
    scores = falling(num_labels)
    held = certify(scores, right_but(num_labels, *wrong), **PROMISE)
    assert held.threshold == (None if kept is None else scores[kept - 1])
    if kept is None:
        assert held.kept is None
    else:
        assert held.kept is not None
        assert (held.kept.num_labels, held.kept.num_wrong) == (kept, sum(each < kept for each in wrong))
        assert held.kept.coverage == pytest.approx(kept / num_labels)
        assert held.kept.bound == pytest.approx(float(clopper_pearson(held.kept.num_wrong, kept, delta=0.05)))
        assert held.kept.bound >= 0.95


def test_no_labels_promise_nothing_and_ask_for_fifty_nine() -> None:
    held = certify(np.zeros(0), np.zeros(0, bool), **PROMISE)
    assert (held.threshold, held.curve, held.more_labels) == (None, (), 59)
    assert "59 more certifying labels" in held.told


@pytest.mark.parametrize(("num_labels", "wanted"), [(1, 58), (58, 1)])
def test_too_few_labels_say_how_many_are_missing(num_labels: int, wanted: int) -> None:
    assert certify(falling(num_labels), np.ones(num_labels, bool), **PROMISE).more_labels == wanted


def test_a_judge_that_no_number_of_labels_helps_is_told_apart() -> None:
    rng = np.random.default_rng(0)
    held = certify(rng.random(2000), rng.random(2000) < 0.6, **PROMISE)
    assert (held.threshold, held.more_labels) == (None, None)
    assert "no number of them would do" in held.told


def test_as_many_labels_as_asked_for_do_most_of_the_time() -> None:
    rng = np.random.default_rng(1)
    asked, done = [], []
    for _ in range(60):
        correct = rng.random(100) < 0.98
        held = certify(rng.random(100), correct, **PROMISE)
        if held.threshold is None and held.more_labels is not None:
            asked.append(held.more_labels)
            many = 100 + held.more_labels
            done.append(certified_threshold(rng.random(many), rng.random(many) < 0.98, **PROMISE) is not None)
    assert np.mean(done) > 0.6
    assert np.median(asked) < 1000


def test_all_wrong_promises_nothing() -> None:
    held = certify(falling(500), np.zeros(500, bool), **PROMISE)
    assert held.threshold is None
    assert {point.bound for point in held.curve} == {0.0}


def test_equal_scores_are_kept_or_left_together() -> None:
    scores = np.repeat([0.9, 0.5, 0.1], 100)
    correct = np.ones(300, bool)
    correct[200:] = False
    held = certify(scores, correct, **PROMISE)
    assert held.threshold == 0.5
    assert held.kept is not None
    assert held.kept.num_labels == 200
    same = certify(np.full(200, 0.7), right_but(200, 0), **PROMISE)
    assert (same.threshold, [point.num_labels for point in same.curve]) == (0.7, [200])


def test_the_curve_goes_down_and_the_certified_are_told() -> None:
    rng = np.random.default_rng(2)
    correct = rng.random(600) < 0.85
    held = certify(rng.standard_normal(600) + 2.5 * correct, correct, **PROMISE)
    thresholds = [point.threshold for point in held.curve]
    assert thresholds == sorted(thresholds, reverse=True)
    coverage = [point.coverage for point in held.curve]
    assert coverage == sorted(coverage)
    assert coverage[-1] == 1
    certified = [point.threshold for point in held.curve if point.is_certified]
    assert held.threshold == min(certified)
    assert "promised from acceptance" in held.told


def test_the_grid_is_the_same_whatever_was_answered() -> None:
    rng = np.random.default_rng(3)
    scores, weights, tasks = rng.random(400), rng.integers(1, 6, 400).astype(float), rng.integers(0, 300, 400)
    grids = {
        tuple(point.threshold for point in certify(scores, answers, weights, tasks=tasks, **PROMISE).curve)
        for answers in (np.ones(400, bool), np.zeros(400, bool), rng.random(400) < 0.5)
    }
    assert len(grids) == 1


@given(
    st.lists(
        st.tuples(st.integers(0, 40), st.booleans(), st.sampled_from([1.0, 1.0, 2.0, 7.0])), min_size=1, max_size=250
    ),
    st.randoms(use_true_random=False),
)
@settings(max_examples=60, deadline=None)
def test_the_order_of_the_labels_changes_nothing_where_they_differ_in_nothing_else(
    rows: list, shuffling: object
) -> None:
    held = [(score + 1e-3 * k, answer or score > 10, weight) for k, (score, answer, weight) in enumerate(rows)]
    shuffled = list(held)
    shuffling.shuffle(shuffled)  # pyright: ignore[reportAttributeAccessIssue]
    found = [
        certify(*(np.array(column) for column in zip(*each, strict=True)), target=0.8, confidence=0.8)
        for each in (held, shuffled)
    ]
    assert found[0] == found[1]


@given(st.integers(60, 300), st.integers(0, 2**32 - 1), st.integers(1, 20))
@settings(max_examples=80, deadline=None)
def test_an_answer_that_turns_to_wrong_never_lowers_the_threshold(num_labels: int, seed: int, turned: int) -> None:
    rng = np.random.default_rng(seed)
    correct = rng.random(num_labels) < 0.95
    scores, weights = rng.random(num_labels), rng.choice([1.0, 3.0], num_labels)
    tasks = rng.integers(0, num_labels, num_labels)
    worse = correct.copy()
    worse[rng.choice(num_labels, turned)] = False
    told = {"target": 0.8, "confidence": 0.9, "tasks": tasks}
    before = certified_threshold(scores, correct, weights, **told)
    after = certified_threshold(scores, worse, weights, **told)
    assert after is None or (before is not None and after >= before)


@given(st.integers(1, 400), st.integers(0, 2**32 - 1), st.floats(0.5, 0.99))
@settings(max_examples=60, deadline=None)
def test_what_is_kept_has_a_bound_at_the_target_and_the_curve_finds_the_same_threshold(
    num_labels: int, seed: int, target: float
) -> None:
    rng = np.random.default_rng(seed)
    correct = rng.random(num_labels) < 0.97
    scores, weights = np.round(rng.random(num_labels), 2), rng.choice([1.0, 1.5, 4.0], num_labels)
    held = certify(scores, correct, weights, target=target, confidence=0.9)
    assert held.threshold == certified_threshold(scores, correct, weights, target=target, confidence=0.9)
    if held.kept is not None:
        assert held.kept.bound >= target - 1e-9


def test_weights_of_one_size_change_nothing() -> None:
    rng = np.random.default_rng(4)
    scores, correct = rng.random(500), rng.random(500) < 0.985
    plain = certify(scores, correct, **PROMISE)
    assert plain.threshold is not None
    assert certify(scores, correct, np.full(500, 0.25), **PROMISE) == plain


def test_a_few_heavy_labels_cost_little() -> None:
    rng = np.random.default_rng(5)
    scores, correct = rng.random(800), rng.random(800) < 0.985
    weights = np.ones(800)
    weights[:4] = 2.0
    plain, heavy = certify(scores, correct, **PROMISE), certify(scores, correct, weights, **PROMISE)
    assert plain.kept is not None
    assert heavy.kept is not None
    assert heavy.kept.coverage == pytest.approx(1, abs=0.01)
    assert 0.95 <= heavy.kept.bound <= plain.kept.bound


def test_heavy_labels_that_are_wrong_weigh_what_they_say() -> None:
    scores = falling(400)
    correct = right_but(400, *range(0, 400, 25))
    weights = np.where(correct, 1.0, 4.0)
    light = certify(
        scores,
        correct,
        **PROMISE,
    )
    assert certify(scores, correct, weights, **PROMISE).threshold is None
    assert light.curve[-1].precision == pytest.approx(384 / 400)
    assert certify(scores, correct, weights, **PROMISE).curve[-1].precision == pytest.approx(384 / 448)


def test_a_task_labelled_over_and_over_counts_once() -> None:
    scores, correct = np.linspace(1, 0.5, 300), np.ones(300, bool)
    tasks = np.append(np.zeros(260, int), np.arange(1, 41))
    held = certify(scores, correct, tasks=tasks, **PROMISE)
    assert (held.threshold, held.num_tasks, held.more_labels) == (None, 41, 18)
    assert certify(scores, correct, **PROMISE).threshold == scores[-1]


def test_the_label_that_speaks_for_its_task_is_the_one_whose_turn_it_is() -> None:
    tasks = np.repeat(np.arange(100), 2)
    scores, correct = np.full(200, 0.5), np.tile([True, False], 100)
    said = {"tasks": tasks, **PROMISE}
    assert certify(scores, correct, turns=np.where(correct, 1.0, 2.0), **said).threshold == 0.5
    assert certify(scores, correct, turns=np.where(correct, 2.0, 1.0), **said).threshold is None


def test_a_label_speaks_for_its_task_among_those_kept() -> None:
    tasks = np.repeat(np.arange(100), 2)
    scores, correct = np.tile([0.9, 0.1], 100), np.tile([True, False], 100)
    held = certify(scores, correct, tasks=tasks, turns=np.tile([2.0, 1.0], 100), **PROMISE)
    assert held.threshold == 0.9
    assert held.kept is not None
    assert (held.kept.num_labels, held.kept.num_wrong, held.kept.coverage) == (100, 0, 0.5)


@pytest.mark.parametrize(
    ("wrong", "count", "verdict"),
    [
        (0, 58, "too_few"),
        (0, 59, "supported"),
        (2, 80, "too_few"),
        (9, 80, "contradicted"),  # eight or more of 80 come with chance 0.05 where 5% are wrong; nine less often
        (8, 286, "supported"),
        (10, 286, "contradicted"),  # as many labels as then, and the bound is under the target
        (10, 285, "too_few"),
        (0, 0, "too_few"),
    ],
)
def test_labels_of_today_support_the_promise_or_speak_against_it(wrong: int, count: int, verdict: str) -> None:
    then = certify(np.full(286, 0.5), right_but(286, 1), **PROMISE)
    held = supports(
        then, np.full(count + 5, 0.5) - (np.arange(count + 5) >= count), right_but(count + 5, *range(wrong)), **PROMISE
    )
    assert (held.verdict, held.num_labels, held.num_wrong) == (verdict, count, wrong)
    if count:
        assert held.bound == pytest.approx(float(clopper_pearson(wrong, count, delta=0.05)))


def test_labels_that_certified_support_what_they_certified() -> None:
    rng = np.random.default_rng(6)
    for _ in range(20):
        scores, tasks = rng.random(1200), rng.integers(0, 1000, 1200)
        correct = rng.random(1200) < np.clip(scores + 0.6, 0, 0.99)
        held = certify(scores, correct, tasks=tasks, **PROMISE)
        if held.threshold is not None:
            assert supports(held, scores, correct, tasks=tasks, **PROMISE).verdict == "supported"


def test_a_certificate_without_a_threshold_has_nothing_to_support() -> None:
    then = certify(falling(10), np.ones(10, bool), **PROMISE)
    assert supports(then, falling(10), np.ones(10, bool), **PROMISE).verdict == "too_few"


def test_looking_again_and_again_never_lets_a_wrong_threshold_pass_oftener() -> None:
    rng = np.random.default_rng(7)
    at_first, ever_after = 0, 0
    for _ in range(400):
        scores, correct = np.full(600, 0.5), rng.random(600) < 0.94
        then = certify(scores[:200], correct[:200], **PROMISE)
        looks = [supports(then, scores[:end], correct[:end], **PROMISE).verdict for end in (200, 300, 400, 500, 600)]
        at_first += then.threshold is not None
        ever_after += all(look == "supported" for look in looks)
    assert at_first <= 0.067 * 400
    assert ever_after <= at_first


@pytest.mark.parametrize("weights", [None, np.ones(20), np.full(20, 0.1)])
def test_the_bound_of_labels_that_weigh_the_same_is_exact(weights: np.ndarray | None) -> None:
    assert lower_bound(np.ones(20, bool), weights, confidence=0.95) == pytest.approx(0.05 ** (1 / 20))
    assert lower_bound(right_but(20, 3), weights, confidence=0.95) == pytest.approx(
        float(clopper_pearson(np.array(1), np.array(20), delta=0.05))
    )


def test_the_bound_of_labels_of_unequal_weight_is_lower_and_holds() -> None:
    rng = np.random.default_rng(8)
    weights = np.tile([1.0, 2.0, 5.0], 60)
    wrong_share = np.where(weights == 5.0, 0.1, 0.02)
    true = 1 - float(weights @ wrong_share / weights.sum())
    bounds = [lower_bound(rng.random(180) >= wrong_share, weights, confidence=0.9) for _ in range(1000)]
    assert np.mean(np.array(bounds) > true) <= 0.1 + 3 * np.sqrt(0.1 * 0.9 / 1000)
    assert lower_bound(np.ones(180, bool), weights, confidence=0.9) < lower_bound(np.ones(180, bool), confidence=0.9)
    assert lower_bound(np.zeros(0, bool), confidence=0.95) == 0


def test_a_certificate_survives_its_json() -> None:
    held = certify(falling(100), right_but(100, 99), **PROMISE)
    assert Certificate.model_validate_json(held.model_dump_json()) == held
