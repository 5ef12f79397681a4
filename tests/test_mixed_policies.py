"""Policies that explore around others or take over from others: exact chances, and who chose is recorded."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from fakes import env_kwargs

from convogym.envs.recorder import RecordVectorEpisodes
from convogym.envs.vector import PersonaChatVectorEnv
from convogym.errors import InputError
from convogym.experiments.off_policy import chances, logged
from convogym.experiments.rollout import run_episodes
from convogym.policies.baselines import CyclePolicy, RandomPolicy
from convogym.policies.exploring import EpsilonPolicy, SoftmaxPolicy
from convogym.policies.learned import LearnedPolicy
from convogym.policies.loading import make_policy
from convogym.policies.networks import build
from convogym.policies.spec import PolicySpec
from convogym.policies.taking_over import TakeOver
from convogym.store import EpisodeStore

SEEN = np.zeros((4, 12), np.float32)


def network() -> LearnedPolicy:
    return LearnedPolicy(PolicySpec("ppo", 12, 11), build(PolicySpec("ppo", 12, 11)))


def test_epsilon_shares_its_chance_among_the_allowed_goals() -> None:
    policy = EpsilonPolicy(CyclePolicy(11, [3, 1]), 0.4, 11)
    masks = np.ones((4, 11), bool)
    masks[:, :3] = False
    _, state = policy.predict(SEEN, None, np.ones(4, bool), False, masks)
    found = policy.probabilities(SEEN, masks)
    assert found is not None
    np.testing.assert_allclose(found[0], [0, 0, 0, 0.6 + 0.05, *[0.05] * 7])
    best, _ = policy.predict(SEEN, state, np.zeros(4, bool), True)
    assert best.tolist() == [1] * 4  # the cycle went on, whatever was drawn


def test_what_epsilon_draws_has_the_chances_it_tells() -> None:
    policy = EpsilonPolicy(RandomPolicy(3), 0.5, 3, seed=1)
    many = np.zeros((3000, 4), np.float32)
    actions, _ = policy.predict(many)
    found = policy.probabilities(many)
    assert found is not None
    np.testing.assert_allclose(found, 1 / 3)  # a random policy explored around stays random
    assert all(abs(count / 3000 - 1 / 3) < 0.04 for count in Counter(actions.tolist()).values())


def test_softmax_of_temperature_one_is_the_networks_own_and_a_lower_one_sharper() -> None:
    policy = network()
    seen = np.random.default_rng(0).normal(size=(4, 12)).astype(np.float32)
    own = policy.probabilities(seen)
    np.testing.assert_allclose(SoftmaxPolicy(policy, 1.0, 11).probabilities(seen), own)
    sharp = SoftmaxPolicy(policy, 0.1, 11).probabilities(seen)
    assert (sharp.max(axis=1) > own.max(axis=1)).all() and (sharp.argmax(axis=1) == own.argmax(axis=1)).all()


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("epsilon:2:cycle", r"must be in 0..1, got 2"),
        ("epsilon:much:cycle", "must be like 'epsilon:0.2:cycle'"),
        ("epsilon:0.1:", "must be like"),
        ("softmax:0.5:cycle", "needs a trained policy"),
        ("softmax:0:cycle", "above 0"),
        ("random>cycle", "must be like"),
        ("random>cycle@0", "at least 1"),
    ],
)
def test_what_cannot_be_made_is_refused(name: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        make_policy(name, 11, 0)


def test_a_name_makes_what_it_says() -> None:
    policy = make_policy("epsilon:0.25:cycle:3,1>random@2", 11, 0)
    assert isinstance(policy, TakeOver) and policy.name == "epsilon:0.25:cycle:3,1>random@2"
    assert make_policy(policy.name, 11, 0).name == policy.name


def test_a_take_over_is_recorded_with_who_chose_and_every_chance(tmp_path: Path) -> None:
    policy = make_policy("cycle:3,1>random@2", 11, 0)
    env = PersonaChatVectorEnv(3, autoreset_mode="NextStep", **env_kwargs(num_turns=4))
    with EpisodeStore(tmp_path / "a.db") as store:
        results = run_episodes(RecordVectorEpisodes(env, store, policy.name), policy, range(5), deterministic=False)
        episodes = list(store.episodes())
    assert sorted(turns for turns in (repr(e.turns) for e in episodes)) == sorted(repr(r.turns) for r in results)
    for episode in episodes:
        assert [turn.action for turn in episode.turns[:2]] == [3, 1]
        assert [turn.chosen_by for turn in episode.turns] == ["cycle:3,1"] * 2 + ["random"] * 2
        assert [turn.propensity for turn in episode.turns[:2]] == [None, None]
        assert all(turn.propensities == pytest.approx((1 / 11,) * 11) for turn in episode.turns[2:])


def test_talks_of_an_exploring_policy_tell_all_that_off_policy_evaluation_needs(tmp_path: Path) -> None:
    policy = make_policy("epsilon:0.5:cycle:1", 11, 0)
    env = PersonaChatVectorEnv(4, autoreset_mode="NextStep", **env_kwargs(num_turns=3))
    with EpisodeStore(tmp_path / "a.db") as store:
        run_episodes(RecordVectorEpisodes(env, store, policy.name), policy, range(12), deterministic=False)
        data = logged(list(store.episodes()))
    assert set(np.round(data.propensities, 6).ravel()) == {round(0.5 + 0.5 / 11, 6), round(0.5 / 11, 6)}
    own = chances(make_policy("epsilon:0.5:cycle:1", 11, 0), data, 3, False)
    np.testing.assert_allclose(np.take_along_axis(own, data.actions[:, :, None], 2)[:, :, 0], data.propensities)
