"""Off-policy estimates against the truth, which a toy talk of three goals and three turns lets us add up."""

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from convogym.episodes import SCHEMA, Episode, TurnRecord, new_id, utc_now
from convogym.errors import InputError
from convogym.experiments.off_policy import chances, evaluate_off_policy, features, logged
from convogym.policies.baselines import CyclePolicy, RandomPolicy

GOALS = ("ask about pets.", "talk about work.", "ask about hobbies.")
WORTH = np.array([1.0, 0.2, 0.5])
TURNS = 3


def reward(action: int, before: npt.NDArray[Any]) -> float:
    """A goal pays the first time, and less the more was asked before."""
    return float(WORTH[action] / (1 + before.sum()) if not before[action] else -0.1)


class Curious:
    """Prefers goals not used yet, the better ones more; sees the goals used and the turn."""

    name = "curious"

    def probabilities(
        self, observation: Any, action_masks: Any = None, state: Any = None, deterministic: bool = False
    ) -> npt.NDArray[np.float64]:
        odds = np.where(observation[:, 1:] > 0, 0.2, 1 + WORTH)
        return np.asarray(odds / odds.sum(axis=1, keepdims=True), dtype=np.float64)

    def predict(self, observation: Any, state: Any = None, *_: Any) -> Any:
        return self.probabilities(observation).argmax(axis=1), state


def truth(policy: Any, cycle: bool = False) -> float:
    """The expected return, added up over all 27 talks."""
    total = 0.0
    for actions in itertools.product(range(3), repeat=TURNS):
        counts, chance, gained = np.zeros(3), 1.0, 0.0
        for turn, action in enumerate(actions):
            seen = np.concatenate([[turn], counts])[None] / TURNS
            chance *= float(turn % 3 == action) if cycle else policy.probabilities(seen)[0, action]
            gained += reward(action, counts)
            counts[action] += 1
        total += chance * gained
    return total


def talks(number: int, seed: int = 0) -> list[Episode]:
    """Talks steered by a policy that likes the second goal, with noise on the rewards."""
    rng = np.random.default_rng(seed)
    liking = np.array([0.3, 0.45, 0.25])
    found = []
    for _ in range(number):
        counts, turns = np.zeros(3), []
        for turn in range(TURNS):
            action = int(rng.choice(3, p=liking))
            paid = reward(action, counts) + rng.normal(0, 0.3)
            turns.append(TurnRecord(turn + 1, action, GOALS[action], "so?", "well.", paid, propensity=liking[action]))
            counts[action] += 1
        found.append(
            Episode(
                new_id(), SCHEMA, utc_now(), 1, "liking", "toy", "toy", ("i am a toy.",), GOALS, (), {}, True, tuple(turns)
            )
        )
    return found


@pytest.mark.parametrize("policy", [Curious(), RandomPolicy(3)], ids=["curious", "random"])
def test_every_estimate_comes_near_the_truth(policy: Any) -> None:
    found = evaluate_off_policy(talks(4000), policy)
    wanted = truth(policy)
    assert abs(found["recorded"] - wanted) > 0.04  # so that there is something to correct
    for name, estimate in found["estimates"].items():
        assert estimate["mean"] == pytest.approx(wanted, abs=0.04), name
    for name in ("importance_sampling", "weighted", "doubly_robust"):
        low, high = found["estimates"][name]["mean_interval"]
        assert low < found["estimates"][name]["mean"] < high
    assert 400 < found["effective_episodes"] < 4000


def test_the_model_makes_the_doubly_robust_estimate_surer_than_importance_sampling() -> None:
    estimates = evaluate_off_policy(talks(1000), Curious())["estimates"]
    widths = {name: np.diff(estimates[name]["mean_interval"])[0] for name in ("importance_sampling", "doubly_robust")}
    assert widths["doubly_robust"] < 0.8 * widths["importance_sampling"]


def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    wanted = truth(Curious())
    hits = 0
    for seed in range(40):
        low, high = evaluate_off_policy(talks(150, seed), Curious(), seed=seed)["estimates"]["doubly_robust"]["mean_interval"]
        hits += low <= wanted <= high
    assert hits >= 33


def test_a_fixed_order_is_judged_by_the_talks_that_happened_to_follow_it() -> None:
    found = evaluate_off_policy(talks(6000), CyclePolicy(3))
    wanted = truth(None, cycle=True)
    assert wanted == pytest.approx(1.0 + 0.2 / 2 + 0.5 / 3)
    assert found["estimates"]["weighted"]["mean"] == pytest.approx(wanted, abs=0.08)
    assert found["estimates"]["doubly_robust"]["mean"] == pytest.approx(wanted, abs=0.12)
    assert found["effective_episodes"] == pytest.approx(6000 * 0.3 * 0.45 * 0.25, rel=0.2)


def test_what_a_policy_saw_is_put_together_from_the_records() -> None:
    data = logged(talks(5))
    for episode, row in enumerate(data.actions):
        expected = [*(np.bincount(row[:2], minlength=3) / 8)]
        np.testing.assert_allclose(data.observations(2, 8)[episode], [2 / 8, *expected])
    assert chances(RandomPolicy(3), data, 8, False) == pytest.approx(np.full((5, 3, 3), 1 / 3))
    assert features(np.array([[2.0, 0.0, 1.0]]))[0, 0].tolist() == [1, 1, 0, 0, 2, 2, 0, 1]


def test_records_that_do_not_tell_enough_are_refused() -> None:
    some = talks(6)
    silent = replace(some[0], turns=tuple(replace(turn, propensity=None) for turn in some[0].turns))
    with pytest.raises(InputError, match="does not tell its propensities"):
        evaluate_off_policy([silent, *some[1:]], Curious())
    with pytest.raises(InputError, match="alike in goals"):
        evaluate_off_policy([replace(some[0], turns=some[0].turns[:2]), *some[1:]], Curious())
    with pytest.raises(InputError, match="at least 4"):
        evaluate_off_policy(some[:3], Curious())
