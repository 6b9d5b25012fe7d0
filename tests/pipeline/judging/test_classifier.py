"""The cascade's classifier: what it learns, that it is the same bytes each time, and that it can be distilled."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from pipeline.errors import SchemaMismatchError
from pipeline.judging.classifier import LinearClassifier, Term, cross_predict, fit_classifier
from pipeline.judging.folds import folds_of


def table(**columns: np.ndarray) -> pl.DataFrame:
    """Features of rows named s0, s1 and so on."""
    count = len(next(iter(columns.values())))
    return pl.DataFrame(
        {"subject_id": [f"s{k}" for k in range(count)]} | {k: v.astype(float) for k, v in columns.items()}
    )


def drawn(count: int, *, seed: int = 0, noise: int = 3) -> tuple[pl.DataFrame, np.ndarray, np.ndarray]:
    """Features, answers and the true probability of yes: it rises with `a` and is highest for `b` in the middle."""
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=count), rng.uniform(-1, 1, size=count)
    odds = 1.5 * a + np.where(np.abs(b) < 0.5, 1.5, -1.5)
    truth = 1 / (1 + np.exp(-odds))
    others = {f"noise{k}": rng.normal(size=count) for k in range(noise)}
    return table(a=a, b=b, **others), rng.random(count) < truth, truth


def test_json_gives_the_same_classifier_and_the_same_probabilities() -> None:
    features, answers, _ = drawn(300)
    model = fit_classifier(features, answers)
    read = LinearClassifier.model_validate_json(model.model_dump_json())
    assert read == model
    assert read.predict(features).tolist() == model.predict(features).tolist()


def test_two_fits_give_the_same_bytes() -> None:
    features, answers, _ = drawn(300)
    assert fit_classifier(features, answers).model_dump_json() == fit_classifier(features, answers).model_dump_json()


def test_the_probability_is_worked_out_as_written_down() -> None:
    term = Term(feature="a", mean=1.0, scale=2.0, slope=0.5, cuts=(1.0, 3.0), steps=(0.25, -1.0))
    model = LinearClassifier(features=("a", "b"), intercept=0.1, terms=(term,), num_rows=9)
    found = model.predict(table(b=np.zeros(4), a=np.array([1.0, 2.0, 5.0, 1e9])))
    # 1 is not above the cut at 1; the last one counts as four standard deviations
    odds = [0.1, 0.1 + 0.25 + 0.25, 0.1 + 1.0 + 0.25 - 1.0, 0.1 + 2.0 + 0.25 - 1.0]
    assert found.tolist() == pytest.approx([1 / (1 + np.exp(-each)) for each in odds], abs=1e-9)


def test_a_row_gets_the_same_probability_whatever_rows_it_comes_with() -> None:
    features, answers, _ = drawn(200)
    model = fit_classifier(features, answers)
    together = model.predict(features).tolist()
    assert [float(model.predict(features[k : k + 1])[0]) for k in range(200)] == together
    assert model.predict(features.select(*features.columns[::-1])).tolist() == together


def test_separable_answers_are_told_apart_on_rows_not_seen() -> None:
    rng = np.random.default_rng(1)
    values = rng.normal(size=200)
    model = fit_classifier(table(a=values, b=rng.normal(size=200)), values > 0)
    found = model.predict(table(a=np.array([-2.0, 2.0]), b=np.zeros(2)))
    assert found[0] < 0.05
    assert found[1] > 0.95


def test_a_feature_that_counts_in_the_middle_is_learned_by_its_steps() -> None:
    features, answers, truth = drawn(1500)
    new, _, new_truth = drawn(500, seed=1)
    found = fit_classifier(features, answers).predict(new)
    assert np.mean(np.abs(found - new_truth)) < 0.1
    # knowing the base rate alone is off by nearly three times as much
    assert np.mean(np.abs(truth.mean() - new_truth)) > 0.28


def test_the_probability_means_what_it_says() -> None:
    features, answers, _ = drawn(400, noise=40)
    new, outcome, _ = drawn(4000, seed=2, noise=40)
    found = fit_classifier(features, answers).predict(new)
    bins = np.digitize(found, [0.2, 0.4, 0.6, 0.8])
    gaps = [abs(found[bins == k].mean() - outcome[bins == k].mean()) for k in range(5)]
    assert max(gaps) < 0.12


def test_noise_alone_teaches_nothing_but_by_rare_chance() -> None:
    fooled = 0
    for seed in range(8):
        rng = np.random.default_rng(seed)
        features = table(**{f"f{k}": rng.normal(size=120) for k in range(30)})
        answers = rng.random(120) < 0.3
        model = fit_classifier(features, answers)
        fooled += bool(model.terms)
        if not model.terms:
            assert model.predict(features)[0] == pytest.approx((answers.sum() + 1) / 122, abs=1e-6)
    assert fooled <= 1


@pytest.mark.parametrize("answer", [True, False])
def test_one_kind_of_answer_alone_is_its_smoothed_share(answer: bool) -> None:  # noqa: FBT001 pytest passes it
    features, _, _ = drawn(30)
    model = fit_classifier(features, np.full(30, answer))
    share = 31 / 32 if answer else 1 / 32
    assert model.terms == ()
    assert model.predict(features).tolist() == pytest.approx([share] * 30, abs=1e-6)


def test_constant_features_say_nothing() -> None:
    rng = np.random.default_rng(4)
    values = rng.normal(size=150)
    model = fit_classifier(table(still=np.full(150, 3.0), a=values), values > 0)
    assert model.features == ("still", "a")
    assert {term.feature for term in model.terms} == {"a"}
    nothing = fit_classifier(table(still=np.full(40, 3.0)), rng.random(40) < 0.5)
    assert nothing.terms == ()


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_rows_teach_nothing(count: int) -> None:
    features, answers, _ = drawn(5)
    model = fit_classifier(features[:count], answers[:count])
    assert model.terms == ()
    assert np.isfinite(model.predict(features)).all()


def test_weights_count_as_copies_do() -> None:
    rng = np.random.default_rng(5)
    values = rng.normal(size=40)
    answers = values + rng.normal(size=40) > 0
    weights = np.where(answers, 2.0, 1.0)
    copies = np.repeat(np.arange(40), weights.astype(int))
    weighted = fit_classifier(table(a=values), answers, weights, groups=np.arange(40))
    copied = fit_classifier(table(a=values[copies]), answers[copies], groups=copies)
    ignored = fit_classifier(table(a=values), answers, groups=np.arange(40))
    asked = table(a=np.linspace(-2, 2, 9))
    assert weighted.predict(asked) == pytest.approx(copied.predict(asked), abs=0.06)
    assert np.abs(weighted.predict(asked) - ignored.predict(asked)).max() > 0.06


def test_the_scale_of_weights_is_of_no_account() -> None:
    features, answers, _ = drawn(200)
    weights = np.random.default_rng(0).uniform(1, 3, 200)
    asked, _, _ = drawn(20, seed=9)
    one, other = (fit_classifier(features, answers, scale * weights).predict(asked) for scale in (1.0, 50.0))
    assert one == pytest.approx(other, abs=1e-4)


def test_a_missing_feature_is_named() -> None:
    features, answers, _ = drawn(300)
    model = fit_classifier(features, answers)
    with pytest.raises(SchemaMismatchError, match=r"want the features a, found none.*calibrate again"):
        model.predict(features.drop("a"))


def test_a_feature_that_is_no_number_is_refused() -> None:
    features, answers, _ = drawn(20)
    broken = features.with_columns(a=pl.when(pl.col("subject_id") == "s3").then(float("nan")).otherwise("a"))
    with pytest.raises(ValueError, match="a: want finite numbers"):
        fit_classifier(broken, answers)


def test_cross_prediction_never_saw_the_group() -> None:
    rng = np.random.default_rng(6)
    groups = np.repeat(np.arange(60), 5)
    answers = np.repeat(rng.random(60) < 0.5, 5)
    # the only feature names the group: it foretells all within a group, and nothing of another one
    features = table(name=groups.astype(float) + rng.normal(scale=1e-3, size=300))
    crossed = cross_predict(features, answers, groups)
    assert abs(roc_auc_score(answers, crossed) - 0.5) < 0.2


def test_cross_prediction_is_as_good_as_a_new_task_will_be() -> None:
    features, answers, _ = drawn(600)
    new, outcome, _ = drawn(3000, seed=7)
    crossed = cross_predict(features, answers, np.arange(600) // 2)
    fresh = fit_classifier(features, answers).predict(new)
    assert abs(roc_auc_score(answers, crossed) - roc_auc_score(outcome, fresh)) < 0.05


def test_cross_prediction_of_a_lone_group_knows_nothing() -> None:
    features, answers, _ = drawn(30)
    assert cross_predict(features, answers, np.zeros(30)).tolist() == [0.5] * 30


def test_folds_leave_every_row_out_once_and_never_split_a_group() -> None:
    groups = np.array(list("aabbccddeeffgg"))
    answers = np.array([1.0, 1.0, *[0.0] * 12])
    held = list(folds_of(groups, answers))
    assert sorted(np.concatenate([left for _, left in held]).tolist()) == list(range(14))
    assert [set(groups[rest]) & set(groups[left]) for rest, left in held] == [set()] * 5
    assert list(folds_of(np.zeros(3), np.ones(3))) == []


def test_soft_targets_of_zero_and_one_are_labels() -> None:
    features, answers, _ = drawn(200)
    assert fit_classifier(features, answers.astype(float)) == fit_classifier(features, answers)


def rule(features: pl.DataFrame) -> np.ndarray:
    """A larger judge's verdicts, probabilities of yes: sure where `a` is high, and doubtful near its own border."""
    return 1 / (1 + np.exp(-4 * (features["a"].to_numpy() - 0.5)))


def test_distilling_a_judge_brings_agreement_with_it() -> None:
    features, _, _ = drawn(1000)
    new, _, _ = drawn(1000, seed=8)
    told = rule(new) > 0.5
    before = fit_classifier(features[:20], rule(features[:20])).predict(new) > 0.5
    after = fit_classifier(features, rule(features)).predict(new)
    assert np.mean((after > 0.5) == told) > 0.97
    assert np.mean((after > 0.5) == told) > np.mean(before == told)
    assert np.mean(np.abs(after - rule(new))) < 0.05


def test_what_a_judge_doubts_teaches_less_than_what_it_is_sure_of() -> None:
    features, _, _ = drawn(400)
    sure = fit_classifier(features, (rule(features) > 0.5).astype(float))
    soft = fit_classifier(features, rule(features))
    asked = table(a=np.array([0.8]), b=np.zeros(1), noise0=np.zeros(1), noise1=np.zeros(1), noise2=np.zeros(1))
    assert abs(soft.predict(asked)[0] - rule(asked)[0]) < 0.1
    assert sure.predict(asked)[0] > soft.predict(asked)[0] + 0.05


@settings(max_examples=12, deadline=None)
@given(
    st.lists(st.tuples(st.floats(-1e6, 1e6), st.sampled_from([0.0, 1.0, 2.0]), st.booleans()), min_size=2, max_size=30)
)
def test_whatever_the_rows_there_is_a_probability_for_each(rows: list[tuple[float, float, bool]]) -> None:
    features = table(a=np.array([row[0] for row in rows]), b=np.array([row[1] for row in rows]))
    answers = np.array([row[2] for row in rows])
    found = fit_classifier(features, answers).predict(features)
    assert ((found >= 0) & (found <= 1)).all()
    crossed = cross_predict(features, answers, np.arange(len(rows)) // 2)
    assert ((crossed >= 0) & (crossed <= 1)).all()
