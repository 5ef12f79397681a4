"""Scores over many replies: which of several texts the others agree with; ratios and variety with their intervals."""

from __future__ import annotations

import numpy as np
import pytest

from convogym.errors import InputError
from convogym.metrics import consensus, distinct_interval, distinct_n, ratio_interval


def test_the_consensus_is_the_text_nearest_to_the_others() -> None:
    """F1 of "i like dogs" with "i like cats" is 2/3, with "i like dogs much" 6/7; of the latter two 4/7; all others 0."""
    assert consensus(["no idea", "i like cats", "i like dogs", "i like dogs much"]) == 2
    assert consensus(["hm", "well"]) == 0  # nothing to choose by: the first
    assert consensus(["alone"]) == 0
    assert consensus(["x", "i ski.", "I ski!"]) == 1
    assert consensus(["no idea", "i like cats", "i like dogs", "i like dogs much"], ["I like dogs!", "hm"]) == 3
    assert consensus(["x", "i ski.", "I ski!"], ["i ski"]) == 0
    assert consensus(["i ski.", "I ski!"], ["i ski"]) == 0  # nothing else to say


def test_a_ratio_is_of_sums_and_its_interval_draws_whole_groups() -> None:
    found = ratio_interval([3, 0, 1], [4, 1, 1], np.random.default_rng(0))
    assert found.mean == pytest.approx(4 / 6) and found.n == 3
    drawn = np.random.default_rng(0).integers(3, size=(1000, 3))
    ratios = [sum([3, 0, 1][i] for i in row) / sum([4, 1, 1][i] for i in row) for row in drawn]
    assert [found.low, found.high] == pytest.approx(np.quantile(ratios, [0.025, 0.975]).tolist())


def test_a_ratio_to_nothing_is_nothing() -> None:
    found = ratio_interval([0, 0], [0, 0], np.random.default_rng(0))
    assert (found.mean, found.low, found.high) == (0, 0, 0)
    for over, under in (([], []), ([1.0], [1.0, 2.0]), ([np.nan], [1.0])):
        with pytest.raises(InputError):
            ratio_interval(over, under, np.random.default_rng(0))


def test_distinct_n_of_dialogues_is_that_of_all_their_texts_with_an_interval_around_it() -> None:
    """Words: i ski | I ski now | hm: 4 different of 6; pairs: i ski, ski now: 2 of 3."""
    groups = [["i ski", "I ski now"], ["hm"]]
    assert distinct_interval(groups, 1, np.random.default_rng(0)).mean == pytest.approx(4 / 6)
    assert distinct_interval(groups, 2, np.random.default_rng(0)).mean == pytest.approx(2 / 3)
    rng = np.random.default_rng(1)
    many = [[" ".join(f"w{i}" for i in rng.integers(0, 60, 6)) for _ in range(3)] for _ in range(40)]
    found = distinct_interval(many, 2, rng)
    assert found.mean == distinct_n([text for group in many for text in group], 2)
    assert found.low < found.mean < found.high and found.n == 40
    with pytest.raises(InputError):
        distinct_interval([], 1, rng)


def test_one_dialogue_has_one_figure() -> None:
    found = distinct_interval([["i ski i ski"]], 1, np.random.default_rng(0))
    assert found.low == found.mean == found.high == 0.5
    assert distinct_interval([[""]], 2, np.random.default_rng(0)).mean == 0.0
