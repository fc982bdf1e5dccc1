import audmetric
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score, f1_score

from sercli.errors import UsageError
from sercli.labels import EMOTIONS
from sercli.metrics import (
    accuracy,
    accuracy_of_confusions,
    bootstrap_by_speaker,
    count_confusions,
    expected_calibration_error,
    macro_f1,
    measure_reliability,
    per_class,
    uar_of_confusions,
    unweighted_average_recall,
)

pairs = st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7)), min_size=1, max_size=60)


def to_arrays(drawn: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    truth, prediction = np.asarray(drawn, dtype=np.int64).T
    return truth, prediction


@given(pairs)
@settings(max_examples=60)
@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true", "ignore:A single label was found")
def test_scores_equal_those_of_the_libraries(drawn: list[tuple[int, int]]) -> None:
    truth, prediction = to_arrays(drawn)
    present = sorted(set(truth.tolist()))
    assert unweighted_average_recall(truth, prediction) == pytest.approx(balanced_accuracy_score(truth, prediction))
    assert accuracy(truth, prediction) == pytest.approx(audmetric.accuracy(truth, prediction))
    expected = f1_score(truth, prediction, labels=present, average="macro", zero_division=0)
    assert macro_f1(truth, prediction) == pytest.approx(expected)
    matrix = count_confusions(truth, prediction, range(8))
    assert matrix.sum() == len(truth)
    assert uar_of_confusions(matrix) == pytest.approx(unweighted_average_recall(truth, prediction))
    assert accuracy_of_confusions(matrix) == pytest.approx(accuracy(truth, prediction))
    recalls = audmetric.recall_per_class(truth, prediction, labels=list(range(8)), zero_division=0)
    ours = [per_class(truth, prediction, range(8))[number]["recall"] for number in present]
    assert ours == pytest.approx([recalls[number] for number in present])


@given(pairs, st.permutations(range(8)), st.randoms())
@settings(max_examples=30)
def test_uar_does_not_depend_on_order_or_on_which_number_a_class_has(
    drawn: list[tuple[int, int]], names: list[int], random: "np.random.RandomState"
) -> None:
    truth, prediction = to_arrays(drawn)
    renamed = np.asarray(names)
    order = np.asarray(random.sample(range(len(truth)), len(truth)))  # type: ignore[attr-defined]
    score = unweighted_average_recall(truth, prediction)
    assert unweighted_average_recall(renamed[truth], renamed[prediction]) == pytest.approx(score)
    assert unweighted_average_recall(truth[order], prediction[order]) == pytest.approx(score)


def test_uar_weighs_classes_alike_and_leaves_out_absent_ones() -> None:
    truth = np.asarray([0] * 9 + [1])
    assert unweighted_average_recall(truth, np.zeros(10, np.int64)) == pytest.approx(0.5)
    assert accuracy(truth, np.zeros(10, np.int64)) == pytest.approx(0.9)


def test_scores_of_nothing_are_nan() -> None:
    nothing = np.zeros(0, np.int64)
    for score in (accuracy, unweighted_average_recall, macro_f1):
        assert np.isnan(score(nothing, nothing))
    assert not count_confusions(nothing, nothing).any()
    assert {row["support"] for row in per_class(nothing, nothing, range(8)).values()} == {0}
    assert np.isnan(expected_calibration_error(nothing, np.zeros((0, 8))))


def test_different_lengths_are_refused_with_both() -> None:
    with pytest.raises(UsageError, match="3 != 2"):
        accuracy(np.zeros(3, np.int64), np.zeros(2, np.int64))


@given(st.lists(st.tuples(st.integers(0, 7), st.integers(0, 10_000)), min_size=1, max_size=80))
@settings(max_examples=30)
def test_calibration_error_equals_its_definition(drawn: list[tuple[int, int]]) -> None:
    truth = np.asarray([t for t, _ in drawn])
    probabilities = np.stack([np.random.default_rng(s).dirichlet(np.full(8, 0.4)) for _, s in drawn])
    confidence, correct = probabilities.max(axis=1), probabilities.argmax(axis=1) == truth
    expected = 0.0
    for number in range(15):
        inside = (confidence >= number / 15) & (confidence < (number + 1) / 15)
        if inside.any():
            expected += inside.mean() * abs(correct[inside].mean() - confidence[inside].mean())
    assert expected_calibration_error(truth, probabilities) == pytest.approx(expected)


def test_perfect_confidence_is_calibrated_and_wrong_confidence_is_not() -> None:
    certain = np.eye(8)[np.arange(8)]
    assert expected_calibration_error(np.arange(8), certain) == pytest.approx(0.0)
    assert expected_calibration_error((np.arange(8) + 1) % 8, certain) == pytest.approx(1.0)


def test_the_bootstrap_counts_predictions_of_no_label_as_wrong() -> None:
    truth, prediction, speakers = ["sad", "happy"] * 6, ["sad", "none"] * 6, ["a", "a", "b", "b"] * 3
    for score in (uar_of_confusions, accuracy_of_confusions):
        assert bootstrap_by_speaker(score, truth, prediction, speakers, ["happy", "sad"]) == (0.5, 0.5)


def test_the_bootstrap_draws_speakers_not_utterances() -> None:
    rng = np.random.default_rng(0)
    speakers = [f"s{n // 50}" for n in range(500)]
    truth = rng.integers(0, 8, 500)
    # Five speakers are always right, five always wrong.
    prediction = np.where(np.arange(500) // 50 < 5, truth, (truth + 1) % 8)
    low, high = bootstrap_by_speaker(accuracy_of_confusions, truth, prediction, speakers)
    each_low, each_high = bootstrap_by_speaker(accuracy_of_confusions, truth, prediction, [""] * 500)
    assert low < 0.25 < 0.75 < high
    assert 0.44 < each_low < each_high < 0.56
    assert (low, high) == bootstrap_by_speaker(accuracy_of_confusions, truth, prediction, speakers)


def test_the_interval_does_not_depend_on_how_many_draws_are_held_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    truth, prediction = rng.integers(0, 8, (2, 90))
    speakers = [f"s{n % 7}" for n in range(90)]
    found = bootstrap_by_speaker(uar_of_confusions, truth, prediction, speakers)
    monkeypatch.setattr("sercli.metrics.BOOTSTRAP_BLOCK", 7 * 333)
    assert bootstrap_by_speaker(uar_of_confusions, truth, prediction, speakers) == found


def test_one_speaker_has_no_interval() -> None:
    truth = np.zeros(5, np.int64)
    assert np.isnan(bootstrap_by_speaker(uar_of_confusions, truth, truth, ["a"] * 5)).all()


def test_reliability_counts_every_prediction_once_and_leads_to_the_calibration_error() -> None:
    generator = np.random.default_rng(2)
    probabilities = generator.dirichlet(np.full(len(EMOTIONS), 0.4), size=300)
    truth = generator.integers(len(EMOTIONS), size=300)
    bins = measure_reliability(truth, probabilities)
    assert sum(found.count for found in bins) == 300
    assert [found.low for found in bins] == pytest.approx(np.arange(15) / 15)
    for found in bins:
        inside = (probabilities.max(axis=1) >= found.low) & (
            probabilities.max(axis=1) < found.high if found.high < 1 else True
        )
        assert found.count == inside.sum()
        if found.count:
            assert found.accuracy == pytest.approx((probabilities.argmax(axis=1) == truth)[inside].mean())
            assert found.confidence == pytest.approx(probabilities.max(axis=1)[inside].mean())
        else:
            assert found.accuracy is None
    gaps = sum(f.count * abs(f.accuracy - f.confidence) for f in bins if f.accuracy is not None and f.confidence)
    assert expected_calibration_error(truth, probabilities) == pytest.approx(gaps / 300)


def test_a_prediction_of_no_label_counts_as_wrong_in_the_interval() -> None:
    truth, speakers = ["sad", "happy"] * 4, ["a"] * 4 + ["b"] * 4
    for score in (uar_of_confusions, accuracy_of_confusions):
        assert bootstrap_by_speaker(score, truth, ["other"] * 8, speakers, ["sad", "happy"], draws=50) == (0, 0)
