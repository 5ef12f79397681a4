"""Policies trained before goals were taught go on working in the larger environment."""

from pathlib import Path

import numpy as np
import pytest
from fakes import env_kwargs

from convogym.envs.vector import PersonaChatVectorEnv
from convogym.errors import InputError
from convogym.goals import DEFAULT_GOALS, GoalSet
from convogym.policies.baselines import CyclePolicy, RandomPolicy
from convogym.policies.fewer_goals import FewerGoals
from convogym.policies.loading import make_policy

OBSERVATION = np.zeros((2, 20), np.float32)


class Watching(RandomPolicy):
    """Remembers what it was shown."""

    def probabilities(self, observation, action_masks=None, state=None, deterministic=False):  # type: ignore[no-untyped-def]
        self.shown, self.offered = observation, action_masks
        return super().probabilities(observation, action_masks)


def test_later_goals_are_cut_off_what_it_sees_and_never_chosen() -> None:
    inner = Watching(3, seed=0)
    policy = FewerGoals(inner, 3, 5)
    observation = np.arange(40, dtype=np.float32).reshape(2, 20)
    masks = np.array([[True, False, True, True, True], [False, True, True, False, True]])
    taken = {tuple(policy.predict(observation, action_masks=masks)[0].tolist()) for _ in range(60)}
    assert taken == {(0, 1), (0, 2), (2, 1), (2, 2)}
    assert inner.shown.tolist() == observation[:, :18].tolist()
    chances = policy.probabilities(observation, masks)
    assert chances is not None and chances.tolist() == [[0.5, 0, 0.5, 0, 0], [0, 0.5, 0.5, 0, 0]]


def test_where_only_later_goals_are_allowed_the_lowest_is_taken() -> None:
    policy = FewerGoals(RandomPolicy(3, seed=0), 3, 5)
    masks = np.array([[False, False, False, True, True], [True, False, False, False, False]])
    assert policy.predict(OBSERVATION, action_masks=masks)[0].tolist() == [3, 0]
    chances = policy.probabilities(OBSERVATION, masks)
    assert chances is not None and chances.tolist() == [[0, 0, 0, 1, 0], [1, 0, 0, 0, 0]]


def test_a_policy_without_propensities_has_none_here_either() -> None:
    assert FewerGoals(CyclePolicy(3), 3, 5).probabilities(OBSERVATION) is None
    with pytest.raises(InputError, match=r"1\.\.5"):
        FewerGoals(CyclePolicy(3), 6, 5)


def test_a_learned_policy_of_the_published_goals_plays_where_a_goal_was_taught(tmp_path: Path) -> None:
    from convogym.experiments.train_policy import learn

    learn(PersonaChatVectorEnv(2, **env_kwargs()), "dqn", 20, tmp_path / "p", environment={})
    goals = DEFAULT_GOALS.extended("talk about sports.")
    env = PersonaChatVectorEnv(2, **env_kwargs(goals=goals, reward="repetition"))
    size = env.single_observation_space.shape[0]  # type: ignore[index]
    policy = make_policy(tmp_path / "p", 12, seed=0, goals=goals, observation_size=size)
    observation, _ = env.reset(seed=0)
    for _ in range(4):
        actions, _ = policy.predict(observation, action_masks=env.action_masks())
        assert (actions < 11).all()
        observation, *_ = env.step(actions)
    other = GoalSet(("talk about sports.", *DEFAULT_GOALS.goals), {})
    with pytest.raises(InputError, match="11 goals"):
        make_policy(tmp_path / "p", 12, seed=0, goals=other)
