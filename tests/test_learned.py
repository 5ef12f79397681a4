from __future__ import annotations

import hashlib
import json
import math
import os
import pickle
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
import pytest
import torch
from fakes import env_kwargs
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv

from convogym.envs.sb3 import make_sb3_vec_env
from convogym.errors import CheckpointError, InputError, UnknownNameError
from convogym.policies.algorithms import ALGORITHMS, hyperparameters
from convogym.policies.learned import LearnedPolicy, load
from convogym.policies.loading import make_policy
from convogym.policies.training import train

EMBEDDING, ACTIONS, TURNS = 4, 5, 4
SIZE = EMBEDDING + 1 + ACTIONS
GOALS = tuple(f"talk about thing{i}." for i in range(ACTIONS))


class ToyTalk(gym.Env[npt.NDArray[np.float32], np.int64]):
    """Five goals; the even ones pay one, the odd ones nothing, and a goal pays the first time only: three at best."""

    observation_space = gym.spaces.Box(-10, 10, (SIZE,), np.float32)
    action_space: Any = gym.spaces.Discrete(ACTIONS)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.counts = np.zeros(ACTIONS)
        return self._observe(), {}

    def step(self, action: np.int64) -> Any:
        reward = float(action % 2 == 0 and not self.counts[action])
        self.counts[action] += 1
        return self._observe(), reward, self.counts.sum() >= TURNS, False, {}

    def action_masks(self) -> npt.NDArray[np.bool_]:
        return np.ones(ACTIONS, dtype=np.bool_)

    def _observe(self) -> npt.NDArray[np.float32]:
        noise = self.np_random.normal(3, 2, EMBEDDING).clip(-10, 10)
        return np.concatenate([noise, [self.counts.sum() / TURNS], self.counts / TURNS]).astype(np.float32)


def toy(number: int = 8) -> VecEnv:
    return DummyVecEnv([ToyTalk for _ in range(number)])


def weights(policy: LearnedPolicy) -> dict[str, torch.Tensor]:
    return dict(policy.network.state_dict())


def mean_return(policy: Any, number: int = 64) -> float:
    env = toy(number)
    env.seed(1000)
    observation: Any = env.reset()
    total, state = 0.0, None
    for turn in range(TURNS):
        actions, state = policy.predict(observation, state, np.full(number, turn == 0), True)
        observation, rewards, _, _ = env.step(actions)
        total += float(np.mean(rewards))
    return total


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Networks this small get slower with more."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def trained() -> LearnedPolicy:
    return train("ppo", toy(), 1024, 0, goals=GOALS, environment={"id": "toy"})


@pytest.fixture
def stored(trained: LearnedPolicy, tmp_path: Path) -> Path:
    return trained.save(tmp_path / "polite")


@pytest.mark.parametrize(
    ("algorithm", "steps"),
    [("ppo", 4000), ("maskable-ppo", 4000), ("recurrent-ppo", 4000), ("a2c", 8000), ("dqn", 2000), ("qr-dqn", 3000)],
)
def test_every_algorithm_solves_a_toy_talk(algorithm: str, steps: int) -> None:
    assert mean_return(train(algorithm, toy(16), steps, 0)) > 2.5  # random: 1.8


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_same_seed_gives_the_same_weights_and_another_seed_others(algorithm: str) -> None:
    short = {"learning_starts": 64, "gradient_steps": 2} if "dqn" in algorithm else {"rollout": 128}
    one, same, other = (weights(train(algorithm, toy(), 300, seed, hyperparameters=short)) for seed in (0, 0, 1))
    assert all(torch.equal(one[key], same[key]) for key in one)
    assert any(not torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_stored_policy_comes_back_the_same(algorithm: str, tmp_path: Path) -> None:
    policy = train(algorithm, toy(), 300, 0, goals=GOALS)
    folder = policy.save(tmp_path / "deep" / "mine")
    back = load(folder)
    observation = np.random.default_rng(0).normal(size=(20, SIZE)).astype(np.float32)
    assert np.array_equal(policy.scores(observation), back.scores(observation))
    assert back.name.startswith("mine@") and back.spec.goals == GOALS and back.spec.algorithm == algorithm
    assert back.spec.training["hyperparameters"] == hyperparameters(algorithm)
    assert sorted(path.name for path in folder.iterdir()) == ["policy.json", "policy.safetensors"]
    assert load(folder / "policy.json").spec == load(folder / "policy.safetensors").spec == back.spec


def test_a_policy_trains_in_the_environment_itself(tmp_path: Path) -> None:
    env = make_sb3_vec_env(8, **env_kwargs(mask_repeats=True))
    policy = train("maskable-ppo", env, 256, 0)
    assert policy.spec.num_actions == 11
    observation: Any = env.reset()
    masks = np.stack(env.env_method("action_masks"))
    masks[:, 3:] = False
    assert set(policy.predict(observation, action_masks=masks)[0].tolist()) <= {0, 1, 2}


def test_masked_actions_have_no_chance_and_the_others_share_it(trained: LearnedPolicy) -> None:
    observation = np.zeros((50, SIZE), dtype=np.float32)
    masks = np.zeros((50, ACTIONS), dtype=bool)
    masks[:, [1, 3]] = True
    chances = trained.probabilities(observation, masks)
    assert chances.sum(axis=1) == pytest.approx(np.ones(50))
    assert (chances[:, [0, 2, 4]] == 0).all() and (chances[:, [1, 3]] > 0).all()
    actions, _ = trained.predict(observation, deterministic=False, action_masks=masks)
    assert set(actions.tolist()) == {1, 3}


def test_probabilities_are_those_that_predict_draws_from(trained: LearnedPolicy) -> None:
    observation = np.zeros((20000, SIZE), dtype=np.float32)
    actions, _ = trained.predict(observation)
    shares = np.bincount(actions, minlength=ACTIONS) / len(actions)
    assert shares == pytest.approx(trained.probabilities(observation)[0], abs=0.02)
    best, _ = trained.predict(observation[:1], deterministic=True)
    assert trained.probabilities(observation[:1], deterministic=True)[0].tolist() == np.eye(ACTIONS)[best[0]].tolist()
    assert best[0] == trained.probabilities(observation)[0].argmax()


def test_an_observation_of_another_length_is_refused_with_both_lengths(trained: LearnedPolicy) -> None:
    with pytest.raises(InputError, match=rf"\(N, {SIZE}\).*\(2, 3\)"):
        trained.predict(np.zeros((2, 3), dtype=np.float32))


def test_another_environment_is_refused_with_both_sizes(stored: Path) -> None:
    policy = load(stored)
    with pytest.raises(CheckpointError, match=rf"{SIZE} numbers.*gives 99"):
        policy.check_fits(observation_size=99)
    with pytest.raises(CheckpointError, match=rf"among {ACTIONS} goals.*has 11"):
        make_policy(stored, 11, 0)
    with pytest.raises(CheckpointError, match=r"goal 1 = 'talk about thing1.'.*'talk about fish.'"):
        policy.check_fits(goals=[GOALS[0], "talk about fish.", *GOALS[2:]])
    policy.check_fits(observation_size=SIZE, num_actions=ACTIONS, goals=GOALS)


def test_a_policy_that_sees_the_goals_alone_takes_the_end_of_longer_observations() -> None:
    class GoalsOnly(ToyTalk):
        observation_space = gym.spaces.Box(-10, 10, (1 + ACTIONS,), np.float32)

        def _observe(self) -> npt.NDArray[np.float32]:
            return super()._observe()[EMBEDDING:]

    policy = train("ppo", DummyVecEnv([GoalsOnly] * 8), 512, 0)
    longer = np.random.default_rng(0).normal(size=(9, SIZE)).astype(np.float32)
    np.testing.assert_array_equal(policy.scores(longer), policy.scores(longer[:, EMBEDDING:]))
    policy.check_fits(observation_size=SIZE)
    with pytest.raises(CheckpointError, match="gives 3"):
        policy.check_fits(observation_size=3)


def edit(**changes: Any) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        path = folder / "policy.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    return apply


def weights_replaced(raw: bytes) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        (folder / "policy.safetensors").write_bytes(raw)
        edit(sha256=hashlib.sha256(raw).hexdigest())(folder)

    return apply


def cut(folder: Path) -> None:
    path = folder / "policy.safetensors"
    path.write_bytes(path.read_bytes()[:-10])


def poisoned(folder: Path) -> None:
    from safetensors.torch import load_file, save

    tensors = load_file(folder / "policy.safetensors")
    tensors["action_net.layer.bias"][0] = math.nan
    weights_replaced(save(tensors))(folder)


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "no weights": (lambda folder: (folder / "policy.safetensors").unlink(), "policy.safetensors is missing"),
    "no description": (lambda folder: (folder / "policy.json").unlink(), "policy.json is missing"),
    "cut weights": (cut, "damaged or belongs to another"),
    "foreign weights": (weights_replaced(b"hello there"), "damaged"),
    "pickled weights": (weights_replaced(pickle.dumps({"a": 1})), "damaged"),
    "not finite": (poisoned, "not finite"),
    "no json": (lambda folder: (folder / "policy.json").write_text("{"), "no JSON"),
    "binary json": (lambda folder: (folder / "policy.json").write_bytes(b"\xff\xfe\x00"), "no JSON"),
    "nested json": (lambda folder: (folder / "policy.json").write_text("[" * 100000), "no JSON"),
    "other json": (lambda folder: (folder / "policy.json").write_text("[]"), "no convogym policy"),
    "newer format": (edit(format=99), "format 99"),
    "other algorithm": (edit(algorithm="sac"), "unknown algorithm"),
    "list for a name": (edit(algorithm=["ppo"]), "damaged"),
    "other network": (edit(net_arch=[32]), "not those of the policy"),
    "huge network": (edit(net_arch=[10**9]), "1..1000000"),
    "big network": (edit(net_arch=[10**6] * 16), "not those of the policy"),
    "text for a size": (edit(observation_size="many"), "damaged"),
    "other size": (edit(observation_size=7), "not those of the policy"),
    "goals missing": (edit(goals=["talk about it."]), "damaged"),
    "number for goals": (edit(goals=3), "damaged"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_policy_is_refused_with_what_is_wrong(stored: Path, damage: str) -> None:
    apply, message = DAMAGE[damage]
    apply(stored)
    with pytest.raises(CheckpointError, match=message):
        load(stored)


def test_what_is_no_policy_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    for path in (tmp_path / "nowhere", tmp_path, tmp_path / "notes.txt"):
        with pytest.raises(CheckpointError, match="expected a folder"):
            load(path)


def test_loading_a_folder_never_unpickles(stored: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise AssertionError("something was unpickled")

    for name in ("load", "loads", "Unpickler"):
        monkeypatch.setattr(pickle, name, refuse)
    monkeypatch.setattr(torch, "load", refuse)
    assert load(stored).spec.num_actions == ACTIONS


def test_a_zip_is_loaded_only_if_it_is_trusted(tmp_path: Path) -> None:
    learner = PPO("MlpPolicy", toy(1), n_steps=8, batch_size=8, seed=0)
    learner.save(tmp_path / "old.zip")
    with pytest.raises(CheckpointError, match="--trust"):
        load(tmp_path / "old.zip")
    policy = load(tmp_path / "old.zip", trust=True)
    observation = np.random.default_rng(0).normal(size=(9, SIZE)).astype(np.float32)
    expected, _ = learner.predict(observation, deterministic=True)
    assert policy.predict(observation, deterministic=True)[0].tolist() == expected.tolist()
    with pytest.raises(InputError, match="zip"):
        policy.save(tmp_path / "new")


def test_a_renamed_or_foreign_zip_is_refused_all_the_same(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "hidden.bin", "w") as archive:
        archive.writestr("data", "{}")
    with pytest.raises(CheckpointError, match="--trust"):
        load(tmp_path / "hidden.bin")
    with pytest.raises(CheckpointError, match="cannot be loaded"):
        load(tmp_path / "hidden.bin", trust=True)


def test_a_failed_save_leaves_the_old_policy_as_it_was(
    trained: LearnedPolicy, stored: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path.name: path.read_bytes() for path in stored.iterdir()}

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CheckpointError, match="No space left"):
        trained.save(stored)
    assert {path.name: path.read_bytes() for path in stored.iterdir()} == before


def test_a_place_that_cannot_be_written_is_named(trained: LearnedPolicy, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match=r"cannot write the policy to .*file"):
        trained.save(tmp_path / "file" / "policy")


def test_training_reports_stores_and_logs_as_it_goes(tmp_path: Path) -> None:
    heard: list[tuple[int, int]] = []

    class StopLate(BaseCallback):
        def _on_step(self) -> bool:
            assert (tmp_path / "kept" / "policy.json").exists() or self.num_timesteps < 700
            return True

    policy = train(
        "ppo",
        toy(),
        1500,
        0,
        progress=lambda done, planned: heard.append((done, planned)),
        tensorboard=tmp_path / "board",
        callback=StopLate(),
        checkpoint=tmp_path / "kept",
        checkpoint_every=500,
    )
    assert heard[-1] == (1500, 1500) and heard == sorted(heard)
    assert list((tmp_path / "board").rglob("events.out.tfevents*"))
    kept = load(tmp_path / "kept")
    assert all(torch.equal(weights(kept)[key], value) for key, value in weights(policy).items())
    curve = policy.spec.training["curve"]
    assert curve and all(0 <= value <= 3 and 0 < steps <= 2048 for steps, value in curve)


def test_a_progress_bar_goes_to_standard_error_only(capsys: pytest.CaptureFixture[str]) -> None:
    train("a2c", toy(), 600, 0, progress=True)
    shown = capsys.readouterr()
    assert shown.out == "" and "learning" in shown.err


def test_unusable_arguments_are_refused() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'ppo'"):
        train("pp0", toy(), 100, 0)
    with pytest.raises(InputError, match="total_steps"):
        train("ppo", toy(), 0, 0)
    with pytest.raises(InputError, match="goals"):
        train("ppo", toy(), 100, 0, goals=["one."])
    with pytest.raises(InputError, match="Box"):
        train("ppo", make_sb3_vec_env(2, **env_kwargs(observation="text")), 100, 0)
