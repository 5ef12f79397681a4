"""The metrics agree with values worked out by hand, and refuse what they cannot score."""

import dataclasses
import math

import numpy as np
import pytest

from convogym.errors import InputError
from convogym.metrics import (
    Scores,
    bootstrap_interval,
    crossed_interval,
    distinct_n,
    normalise_answer,
    paired_difference,
    precision_recall_f1,
    repetition_rate,
    word_f1,
)


def test_normalised_answers_have_no_case_punctuation_or_articles() -> None:
    assert normalise_answer(" The dog's a GOOD-boy , an (old) one!") == "dog s good boy old one"
    assert normalise_answer("another theme") == "another theme"
    assert normalise_answer("A, the!") == ""


def test_word_f1_counts_repeated_words_as_often_as_both_have_them() -> None:
    # guess: i like like dogs (4); gold: i like dogs and cats (5); shared: i, like, dogs (3); P 3/4, R 3/5
    assert word_f1("I like, like the dogs", ["i like dogs and cats."]) == pytest.approx(2 * 0.75 * 0.6 / 1.35)


def test_word_f1_takes_the_nearest_gold() -> None:
    assert word_f1("two dogs", ["a cat", "two dogs"]) == 1.0
    assert word_f1("two dogs", ["a cat"]) == 0.0
    assert word_f1("", ["a cat"]) == 0.0
    assert word_f1("the", ["the"]) == 0.0  # ParlAI: nothing is left to agree on
    with pytest.raises(InputError):
        word_f1("two dogs", [])


def test_distinct_n_is_different_grams_over_all_grams() -> None:
    texts = ["I am fine", "i am", ""]
    assert distinct_n(texts, 1) == pytest.approx(3 / 5)
    assert distinct_n(texts, 2) == pytest.approx(2 / 3)
    assert distinct_n(texts, 4) == 0.0
    with pytest.raises(InputError):
        distinct_n(texts, 0)


def test_repetition_is_counted_within_a_dialogue_only() -> None:
    # second talk: "Yes!" repeats "yes", then again; 4 utterances could have repeated something
    assert repetition_rate([["yes", "no"], ["yes", "hm", "Yes!", "yes ."]]) == pytest.approx(2 / 4)
    assert repetition_rate([["yes"], ["yes"], []]) == 0.0


def test_bootstrap_interval_is_that_of_the_normal_approximation() -> None:
    values = np.random.default_rng(1).normal(3, 2, size=400)
    interval = bootstrap_interval(values, np.random.default_rng(0))
    half = 1.96 * values.std() / 20
    assert interval.mean == pytest.approx(values.mean()) and interval.n == 400
    assert interval.low == pytest.approx(values.mean() - half, abs=0.02)
    assert interval.high == pytest.approx(values.mean() + half, abs=0.02)


def test_bootstrap_is_reproducible_and_takes_many_values() -> None:
    values = np.arange(300_000) % 2
    first, second = (bootstrap_interval(values, np.random.default_rng(5), samples=20) for _ in range(2))
    assert first == second
    assert 0.49 < first.low < 0.5 < first.high < 0.51


def test_bootstrap_of_one_value_is_a_point() -> None:
    interval = bootstrap_interval([0.25], np.random.default_rng(0))
    assert (interval.mean, interval.low, interval.high, interval.n) == (0.25, 0.25, 0.25, 1)


@pytest.mark.parametrize("values", [[], [[1.0]], [math.nan], [math.inf, 0.0]])
def test_bootstrap_refuses_what_has_no_mean(values: list[float]) -> None:
    with pytest.raises(InputError):
        bootstrap_interval(values, np.random.default_rng(0))


def test_paired_difference_sees_a_small_gain_that_holds_everywhere() -> None:
    hard = np.random.default_rng(2).normal(0, 10, size=200)
    gain = paired_difference(hard + 0.5, hard, np.random.default_rng(0))
    assert gain.low == pytest.approx(0.5) and gain.high == pytest.approx(0.5)
    with pytest.raises(InputError):
        paired_difference([1.0, 2.0], [1.0], np.random.default_rng(0))


def test_precision_and_recall_for_each_label_and_over_all() -> None:
    truth = [[1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 0, 0]]
    predicted = [[1, 0, 0], [0, 1, 0], [0, 1, 0], [0, 1, 0]]
    each, micro = precision_recall_f1(truth, predicted)
    assert dataclasses.astuple(each[0]) == pytest.approx((1.0, 0.5, 2 / 3, 2))
    assert dataclasses.astuple(each[1]) == pytest.approx((2 / 3, 1.0, 0.8, 2))
    assert each[2] == Scores(0.0, 0.0, 0.0, 0)
    assert micro == Scores(0.75, 0.75, 0.75, 4)
    with pytest.raises(InputError):
        precision_recall_f1([1, 0], [1, 0])


def test_an_interval_over_a_table_counts_rows_and_columns() -> None:
    rng = np.random.default_rng(0)
    columns = rng.normal(size=200)
    one = crossed_interval(columns[None], np.random.default_rng(1))
    plain = bootstrap_interval(columns, np.random.default_rng(1))
    assert one.mean == plain.mean and one.n == 200
    assert one.high - one.low == pytest.approx(plain.high - plain.low, rel=0.1)
    apart = crossed_interval(columns[None] + np.array([[-1.0], [0.0], [1.0]]), np.random.default_rng(1))
    assert apart.high - apart.low > 3 * (one.high - one.low)  # the rows differ more than the columns' mean is unsure
    assert crossed_interval([[2.0, 2.0]], np.random.default_rng(0)).low == 2.0
    with pytest.raises(InputError, match="a table"):
        crossed_interval([1.0, 2.0], np.random.default_rng(0))
