"""Policies that remember: trained, stored, loaded, asked beside others, and taken over from."""

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from fakes import env_kwargs
from stable_baselines3.common.vec_env import DummyVecEnv

from convogym.envs.recorder import RecordVectorEpisodes
from convogym.envs.sb3 import SB3VecEnv
from convogym.envs.vector import PersonaChatVectorEnv
from convogym.errors import InputError
from convogym.experiments.rollout import run_episodes
from convogym.policies.algorithms import ALGORITHMS, budget, hyperparameters
from convogym.policies.exploring import SoftmaxPolicy
from convogym.policies.learned import LearnedPolicy, load
from convogym.policies.loading import make_policy
from convogym.policies.training import train
from convogym.store import EpisodeStore

TURNS = 3


class Cue(gym.Env[Any, Any]):
    """Shows which action pays at the last turn in the first observation alone: [cue, turn, how often each was taken]."""

    observation_space = gym.spaces.Box(-1.0, 3.0, (4,), np.float32)
    action_space = gym.spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        """Draws the cue."""
        super().reset(seed=seed)
        self.cue, self.counts = int(self.np_random.integers(2)), np.zeros(2)
        return self._seen(2.0 * self.cue - 1), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Pays at the last turn."""
        self.counts[action] += 1
        is_over = self.counts.sum() >= TURNS
        return self._seen(0.0), float(is_over and action == self.cue), bool(is_over), False, {}

    def _seen(self, cue: float) -> Any:
        return np.array([cue, self.counts.sum(), *self.counts], np.float32)


def reached(policy: LearnedPolicy) -> float:
    """The share of 200 episodes that pay."""
    env = DummyVecEnv([Cue] * 200)
    env.seed(7)
    seen: Any = env.reset()
    state = None
    for turn in range(TURNS):
        actions, state = policy.predict(seen, state, np.full(200, turn == 0), True)
        seen, rewards, _, _ = env.step(actions)
    return float(np.mean(rewards))


@pytest.fixture(autouse=True)
def one_thread() -> Any:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def test_what_was_seen_turns_ago_is_remembered(tmp_path: Path) -> None:
    learnt = {}
    for algorithm in ("ppo", "recurrent-ppo"):
        env = DummyVecEnv([Cue] * 16)
        learnt[algorithm] = train(algorithm, env, 2000, 0, hyperparameters={"rollout": 192, "batch_size": 96})
    assert reached(learnt["ppo"]) < 0.75  # the first action may tell something by chance
    assert reached(learnt["recurrent-ppo"]) > 0.95
    back = load(learnt["recurrent-ppo"].save(tmp_path / "mind"))
    assert reached(back) == reached(learnt["recurrent-ppo"])


def test_a_state_belongs_to_its_talk_and_a_new_talk_begins_without_one() -> None:
    env = DummyVecEnv([Cue] * 4)
    policy = train("recurrent-ppo", env, 300, 0)
    seen = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    _, state = policy.predict(seen)
    assert state is not None and len(state) == 3
    _, alone = policy.predict(seen[1:2])
    assert alone is not None
    np.testing.assert_allclose(state[1:2], alone, atol=1e-6)
    again = policy.probabilities(seen, state=state)
    assert not np.allclose(again, policy.probabilities(seen))
    started, _ = policy.predict(seen, state, np.array([True] * 3), True)
    fresh, _ = policy.predict(seen, None, None, True)
    assert started.tolist() == fresh.tolist()
    with pytest.raises(InputError, match="without memory"):
        SoftmaxPolicy(policy, 0.5, 2)


def test_it_plays_records_and_takes_over_in_the_environment(tmp_path: Path) -> None:
    learning = PersonaChatVectorEnv(8, observation="embedding", **env_kwargs())
    train("recurrent-ppo", SB3VecEnv(learning), 256, 0, environment={"observation": "embedding"}).save(tmp_path / "mind")
    played = []
    for size in (1, 3):
        policy = make_policy(tmp_path / "mind", 11, 0)
        env = PersonaChatVectorEnv(size, autoreset_mode="NextStep", observation="embedding", **env_kwargs())
        played.append(run_episodes(env, policy, range(5), deterministic=False))
    for alone, beside in zip(*played, strict=True):  # rows are used again for other talks, whose states are their own
        assert alone.transcript == beside.transcript
        for one, other in zip(alone.turns, beside.turns, strict=True):
            np.testing.assert_allclose(one.propensities, other.propensities, atol=1e-5)
    policy = make_policy(f"random>{tmp_path / 'mind'}@2", 11, 0)
    env = PersonaChatVectorEnv(2, autoreset_mode="NextStep", observation="embedding", **env_kwargs())
    with EpisodeStore(tmp_path / "a.db") as store:
        run_episodes(RecordVectorEpisodes(env, store, policy.name), policy, range(3), deterministic=False)
        for episode in store.episodes():
            names = [turn.chosen_by for turn in episode.turns]
            assert names[:2] == ["random"] * 2 and str(names[2]).startswith("mind@")


def test_every_algorithm_has_numbers_of_the_common_form() -> None:
    for algorithm in ALGORITHMS:
        numbers = hyperparameters(algorithm)
        assert budget(algorithm) >= 1024 and 0 < numbers["learning_rate"] < 0.1 and 0 <= numbers["gamma"] <= 1
        assert not {"n_timesteps", "policy", "n_envs", "n_steps"} & numbers.keys()
    assert hyperparameters("ppo")["rollout"] == 256
