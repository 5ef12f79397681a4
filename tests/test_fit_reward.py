"""Fitting a reward to preferences: they are read from episodes, a hidden taste is found, chance is not taken for taste."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from test_off_policy import talks

from convogym.envs.human_rewards import PreferenceHead
from convogym.errors import InputError
from convogym.experiments.fit_reward import Preference, fit_reward, fit_weights, preferences_of


class WordReader:
    """Reads numbers out of a reply, and noise out of its length."""

    def features(self, turns: Any) -> npt.NDArray[np.float64]:
        return np.array([[float(word) for word in reply.split()] for _, reply in turns])


def drawn(number: int, taste: npt.NDArray[np.float64], seed: int = 0) -> list[Preference]:
    """Preferences by the Bradley-Terry model."""
    rng = np.random.default_rng(seed)
    found = []
    for i in range(number):
        pair = rng.normal(size=(2, len(taste))).round(4)
        first = rng.random() < 1 / (1 + np.exp((pair[1] - pair[0]) @ taste))
        texts = [("so?", " ".join(map(str, row))) for row in (pair if first else pair[::-1])]
        found.append(Preference(texts[0], texts[1], i // 3))
    return found


def test_weights_solve_the_penalised_problem() -> None:
    x = np.random.default_rng(0).normal(size=(50, 3))
    weights = fit_weights(x, 2.0)
    gradient = -(x / (1 + np.exp(x @ weights))[:, None]).sum(axis=0) + 2.0 * weights
    assert gradient == pytest.approx(np.zeros(3), abs=1e-4)


def test_a_hidden_taste_is_found_and_holds_on_new_turns(tmp_path: Path) -> None:
    taste = np.array([2.0, -1.0, 0.0, 0.0])
    found = fit_reward(drawn(400, taste), WordReader(), "words", tmp_path / "taste")
    assert 0.7 < found["agreement"] < 0.95 and found["reward"] == f"learned:{tmp_path / 'taste'}"
    head = PreferenceHead.load(tmp_path / "taste")
    fresh = np.random.default_rng(9).normal(size=(500, 4))
    assert np.corrcoef(head.scores(fresh), fresh @ taste)[0, 1] > 0.97
    assert head.scores(WordReader().features([t for p in drawn(400, taste) for t in p[:2]])).mean() == pytest.approx(
        0, abs=0.3
    )


def test_coin_tosses_agree_with_nothing(tmp_path: Path) -> None:
    found = fit_reward(drawn(300, np.zeros(6)), WordReader(), "words", tmp_path)
    assert found["agreement_interval"][0] < 0.55 and found["penalty"] >= 100


def test_corrections_and_ratings_are_preferences() -> None:
    first, second = talks(2)
    turns = first.turns
    corrected = replace(
        first,
        turns=(
            replace(turns[0], corrected_reply="two dogs.", rating=1.0),
            replace(turns[1], reply="x", rating=3.0),
            replace(turns[2], reply="y", rating=1.0),
        ),
    )
    assert preferences_of([second, corrected]) == [
        Preference(("so?", "x"), ("so?", "well."), 1),
        Preference(("so?", "x"), ("so?", "y"), 1),
        Preference(("so?", "two dogs."), ("so?", "well."), 1),
    ]


def test_too_few_preferences_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="10 preferences from 2 talks or more, got 5 from 2"):
        fit_reward(drawn(5, np.ones(2)), WordReader(), "words", tmp_path)
