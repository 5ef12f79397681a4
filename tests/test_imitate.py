"""Imitation: what was chosen is chosen again, an expert is learnt by asking, and learning goes on from a clone."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fakes import GatedSpeaker, env_kwargs
from test_off_policy import talks

from convogym.envs.sb3 import SB3VecEnv
from convogym.envs.vector import PersonaChatVectorEnv
from convogym.errors import InputError, UnknownNameError
from convogym.experiments.evaluate_policy import evaluate_policies
from convogym.experiments.imitate import clone_episodes, dagger, examples_of
from convogym.policies.baselines import CyclePolicy, RandomPolicy
from convogym.policies.cloning import clone
from convogym.policies.learned import load
from convogym.policies.lookahead import LookaheadPolicy
from convogym.policies.training import train


def make(mode: str, size: int = 8, **changes: Any) -> PersonaChatVectorEnv:
    return PersonaChatVectorEnv(size, autoreset_mode=mode, **env_kwargs(responder=GatedSpeaker("pets"), **changes))


def test_a_clone_chooses_as_it_was_shown() -> None:
    rng = np.random.default_rng(0)
    seen = rng.random((600, 5)).astype(np.float32)
    chosen = (seen[:, 2] > seen[:, 3]).astype(np.int64) * 2
    policy = clone(seen, chosen, 4, 0)
    fresh = rng.random((200, 5)).astype(np.float32)
    right = (fresh[:, 2] > fresh[:, 3]) * 2
    assert (policy.predict(fresh, deterministic=True)[0] == right).mean() > 0.93
    assert policy.spec.training["agreement"] > 0.9
    again = clone(seen, chosen, 4, 0)
    assert all(torch.equal(a, b) for a, b in zip(policy.network.parameters(), again.network.parameters(), strict=True))


def test_recorded_talks_become_what_the_policy_saw_and_chose(tmp_path: Path) -> None:
    episodes = talks(60)
    seen, chosen = examples_of(episodes)
    assert seen.shape == (180, 4) and chosen.tolist() == [t.action for e in episodes for t in e.turns]
    last = seen[2]
    assert last[0] == pytest.approx(2 / 3)
    assert last[1:] == pytest.approx(np.bincount(chosen[:2], minlength=3) / 3)
    longer, _ = examples_of([replace(episodes[0], spec={"num_turns": 6})])
    assert longer[2][0] == pytest.approx(2 / 6)
    found = clone_episodes(episodes, tmp_path / "cloned")
    chances = load(tmp_path / "cloned").probabilities(seen[:1])[0]
    assert found["examples"] == 180 and chances == pytest.approx([0.3, 0.45, 0.25], abs=0.2)
    with pytest.raises(InputError, match="same goals"):
        examples_of([])


def test_asking_the_look_ahead_teaches_what_it_would_do(tmp_path: Path) -> None:
    told = dagger(make("Disabled"), LookaheadPolicy(11), tmp_path / "taught", episodes=16, rounds=2)
    assert [each["played_by"] for each in told["rounds"]] == ["lookahead", "learner"]
    assert told["rounds"][1]["agreement"] > 0.9 and told["examples"] == 2 * 16 * 4
    found = evaluate_policies([load(tmp_path / "taught"), CyclePolicy(11, [1]), RandomPolicy(11)], make("NextStep"), 16)
    learned = next(name for name in found["policies"] if name.startswith("taught@"))
    assert found["returns"][learned] == found["returns"]["cycle:1"]


def test_learning_goes_on_from_a_clone() -> None:
    seen = np.concatenate([[0.0], np.zeros(11)]).astype(np.float32)[None].repeat(40, 0)
    cloned = clone(seen, np.ones(40, np.int64), 11, 0)
    env = SB3VecEnv(make("SameStep", observation="goals"))
    short = {"rollout": 32, "learning_rate": 1e-5, "n_epochs": 1, "batch_size": 32}
    warm = train("ppo", env, 64, 0, start=cloned, hyperparameters=short)
    cold = train("ppo", env, 64, 0, hyperparameters=short)
    assert warm.probabilities(seen[:1])[0, 1] > 0.9 > 0.5 > cold.probabilities(seen[:1])[0, 1]
    with pytest.raises(InputError, match="`start` must be a policy of"):
        train("a2c", env, 64, 0, start=cloned)


def test_what_cannot_be_cloned_is_refused() -> None:
    seen = np.zeros((20, 3), np.float32)
    with pytest.raises(UnknownNameError, match="dqn"):
        clone(seen, np.zeros(20, np.int64), 2, 0, algorithm="dqn")
    with pytest.raises(InputError, match="10 examples"):
        clone(seen[:3], np.zeros(3, np.int64), 2, 0)
    with pytest.raises(InputError, match=r"0\.\.1"):
        clone(seen, np.full(20, 5), 2, 0)
