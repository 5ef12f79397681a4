"""The environment under stable-baselines3 and sb3-contrib: checker, `VecEnv` adapter, learners, and that it can be learned."""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from fakes import FEATURE_SIZE, EchoSpeaker, GatedSpeaker, env_kwargs
from gymnasium.vector import AutoresetMode
from gymnasium.wrappers.vector import RecordEpisodeStatistics
from sb3_contrib import MaskablePPO
from sb3_contrib.common.maskable.utils import get_action_masks, is_masking_supported
from stable_baselines3 import DQN, PPO
from stable_baselines3.common.env_checker import check_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import DummyVecEnv, VecMonitor

from convogym.envs.persona_chat import PersonaChatEnv
from convogym.envs.sb3 import SB3VecEnv, make_sb3_vec_env
from convogym.envs.vector import PersonaChatVectorEnv
from convogym.errors import InputError

PETS = 1


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def make(num_envs: int, **changes: Any) -> SB3VecEnv:
    return make_sb3_vec_env(num_envs, **env_kwargs(**changes))


def test_sb3_check_env_has_nothing_to_say() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(PersonaChatEnv(**env_kwargs(render_mode="rgb_array")), skip_render_check=False)


class TestVecEnv:
    def test_returns_what_a_dummy_vec_env_of_single_environments_returns(self) -> None:
        ours = make(3, num_turns=2)
        theirs = DummyVecEnv([lambda: PersonaChatEnv(**env_kwargs(num_turns=2))] * 3)
        for env in (ours, theirs):
            env.seed(3)
        np.testing.assert_array_equal(ours.reset(), theirs.reset())
        for turn in range(5):
            actions = np.array([turn, 1, 10])
            mine, reference = ours.step(actions), theirs.step(actions)
            np.testing.assert_array_equal(mine[0], reference[0])
            np.testing.assert_array_equal(mine[1], reference[1])
            assert mine[1].dtype == np.float32
            assert mine[2].tolist() == reference[2].tolist() == [turn % 2 == 1] * 3
            for info, expected in zip(mine[3], reference[3], strict=True):
                assert info.keys() == expected.keys()
                for key, value in expected.items():
                    np.testing.assert_array_equal(info[key], value)
            assert [info["episode_seed"] for info in ours.reset_infos] == [info["episode_seed"] for info in theirs.reset_infos]

    def test_ended_dialogues_have_their_last_observation_and_are_not_cut_off_by_time(self) -> None:
        env = make(2, num_turns=1)
        env.reset()
        observations, _, dones, infos = env.step(np.array([0, 1]))
        assert dones.all() and isinstance(observations, np.ndarray) and not observations.any()
        assert [info["terminal_observation"][FEATURE_SIZE] for info in infos] == [1.0, 1.0]
        assert [info["TimeLimit.truncated"] for info in infos] == [False, False]

    def test_truncation_by_max_episode_steps_is_told_to_sb3(self) -> None:
        env = make(1, max_episode_steps=1)
        env.reset()
        _, _, dones, infos = env.step(np.array([0]))
        assert dones.all() and infos[0]["TimeLimit.truncated"] is True

    def test_seed_counts_for_the_next_reset_only(self) -> None:
        env = make(2)
        assert env.seed(5) == [5, 6]
        first = (env.reset(), [info["episode_seed"] for info in env.reset_infos])[1]
        second = (env.reset(), [info["episode_seed"] for info in env.reset_infos])[1]
        env.seed(5)
        again = (env.reset(), [info["episode_seed"] for info in env.reset_infos])[1]
        assert first == again != second

    def test_options_may_differ_between_dialogues(self) -> None:
        env = make(3)
        env.seed(0)
        env.set_options([{"persona": ["a."]}, {}, {"persona": ["c."], "history": ["x", "y"]}])
        env.reset()
        assert [info["persona"] for info in env.reset_infos[::2]] == [("a.",), ("c.",)]
        assert env.reset_infos[2]["history"] == ("x", "y")
        env.set_options({"persona": ["d."]})
        env.reset()
        assert [info["persona"] for info in env.reset_infos] == [("d.",)] * 3

    def test_methods_and_attributes_are_reached_by_index(self) -> None:
        env = make(3, mask_repeats=True)
        env.reset()
        env.step(np.array([0, 1, 2]))
        assert [np.flatnonzero(~mask).tolist() for mask in env.env_method("action_masks", indices=[2, 0])] == [[2], [0]]
        assert len(env.get_attr("persona", 1)) == 1
        assert env.has_attr("action_masks") and not env.has_attr("colour")
        env.set_attr("mask_repeats", False, indices=1)
        assert get_action_masks(env).sum(axis=1).tolist() == [10, 11, 10]
        assert env.env_is_wrapped(VecMonitor) == [False] * 3  # type: ignore[arg-type]

    def test_images_are_tiled(self) -> None:
        env = make(2, render_mode="rgb_array")
        env.reset()
        image = env.render()
        assert image is not None and image.shape == (960, 640, 3)

    def test_takes_a_wrapped_vector_environment(self) -> None:
        env = SB3VecEnv(RecordEpisodeStatistics(PersonaChatVectorEnv(num_envs=2, **env_kwargs(num_turns=1))))
        env.reset()
        _, rewards, _, infos = env.step(np.array([0, 0]))
        assert [info["episode"]["r"] for info in infos] == pytest.approx(rewards.tolist())

    def test_other_autoreset_modes_are_refused(self) -> None:
        with pytest.raises(InputError, match="SameStep"):
            make(2, autoreset_mode=AutoresetMode.NEXT_STEP)


class TestLearners:
    def test_ppo_runs_under_a_monitor_and_sees_whole_episodes(self) -> None:
        env = VecMonitor(make(4, num_turns=2))
        model = PPO("MlpPolicy", env, n_steps=8, batch_size=16, n_epochs=1, seed=0, device="cpu").learn(64)
        assert model.ep_info_buffer is not None
        assert {episode["l"] for episode in model.ep_info_buffer} == {2}
        mean, _ = evaluate_policy(model, env, n_eval_episodes=4)
        assert np.isfinite(mean)

    def test_maskable_ppo_never_repeats_a_goal_where_repeats_are_masked(self) -> None:
        speaker = EchoSpeaker()
        env = VecMonitor(make(4, mask_repeats=True, num_turns=4, goal_speaker=speaker))
        assert is_masking_supported(env)
        MaskablePPO("MlpPolicy", env, n_steps=8, batch_size=16, n_epochs=1, seed=0, device="cpu").learn(64)
        last_turns = [request.goals for request in speaker.requests if len(request.goals) == 4]
        assert len(last_turns) >= 12
        assert all(len(set(goals)) == 4 for goals in last_turns)

    def test_dqn_runs(self) -> None:
        DQN("MlpPolicy", make(2), learning_starts=8, batch_size=8, buffer_size=100, seed=0, device="cpu").learn(40)


def test_a_learner_finds_the_one_goal_that_makes_the_responder_talk() -> None:
    """Learnability: only a question about pets reveals facts, so a learned policy must ask about pets."""
    kwargs = {"responder": GatedSpeaker("pets"), "num_turns": 4}
    env = make(16, **kwargs)
    model = PPO("MlpPolicy", env, n_steps=16, batch_size=128, n_epochs=8, gamma=0.9, learning_rate=4e-3, seed=0, device="cpu")
    model.learn(3_000)

    def run(choose: Callable[[Any], Any]) -> tuple[float, float]:
        """Mean return, and share of goals that were about pets, over 20 dialogues."""
        test = make(20, **kwargs)
        test.seed(1_000)
        observations, total, asked = test.reset(), 0.0, []
        for _ in range(4):
            actions = choose(observations)
            observations, rewards, _, _ = test.step(actions)
            total += float(rewards.mean())
            asked.append(np.mean(actions == PETS))
        return total, float(np.mean(asked))

    best, _ = run(lambda observations: np.full(20, PETS))
    learned, about_pets = run(lambda observations: model.predict(observations, deterministic=True)[0])
    assert best > 2.0
    assert about_pets > 0.9
    assert learned > 0.95 * best
