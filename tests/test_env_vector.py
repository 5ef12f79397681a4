"""The native vector form: the dialogues of the single form, in the layout of `SyncVectorEnv`, in one batch per speaker."""

from collections.abc import Iterator
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
import pytest
from fakes import EchoSpeaker, ScriptedSpeaker, env_kwargs, small_personas
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import data_equivalence
from gymnasium.utils.passive_env_checker import data_shares_objects
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers.vector import DictInfoToList, RecordEpisodeStatistics

import convogym  # noqa: F401  # registers the environment
from convogym.envs.persona_chat import PersonaChatEnv
from convogym.envs.vector import PersonaChatVectorEnv
from convogym.errors import InputError, UnknownNameError

MODES = [mode.value for mode in AutoresetMode]


def make(num_envs: int, **changes: Any) -> PersonaChatVectorEnv:
    return PersonaChatVectorEnv(num_envs=num_envs, **env_kwargs(**changes))


def actions_of(num_envs: int, turns: int) -> npt.NDArray[np.int64]:
    return np.random.default_rng(0).integers(11, size=(turns, num_envs))


def differences(ours: Any, theirs: Any, path: str = "") -> Iterator[str]:
    """Where two batched infos differ, by key."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key in ours.keys() | theirs.keys():
            if key in ours and key in theirs:
                yield from differences(ours[key], theirs[key], f"{path}/{key}")
            else:
                yield f"{path}/{key} in one only"
    elif isinstance(ours, np.ndarray) and isinstance(theirs, np.ndarray):
        if ours.dtype != theirs.dtype or ours.shape != theirs.shape:
            yield f"{path}: {ours.dtype}{ours.shape} against {theirs.dtype}{theirs.shape}"
        elif not data_equivalence(list(ours), list(theirs), exact=True):
            yield f"{path}: {ours} against {theirs}"
    elif not data_equivalence(ours, theirs, exact=True):
        yield f"{path}: {ours!r} against {theirs!r}"


class TestSameAsSyncVectorEnv:
    @pytest.mark.parametrize("mode", ["SameStep", "NextStep"])
    @pytest.mark.parametrize("observation", ["embedding", "text"])
    def test_everything_returned_is_equal_through_several_episodes(self, mode: str, observation: str) -> None:
        number, changes = 3, {"observation": observation, "num_turns": 3, "mask_repeats": True}
        ours = make(number, autoreset_mode=mode, **changes)
        theirs = SyncVectorEnv([lambda: PersonaChatEnv(**env_kwargs(**changes))] * number, autoreset_mode=mode)
        assert ours.observation_space == theirs.observation_space
        assert ours.action_space == theirs.action_space
        assert ours.single_action_space == theirs.single_action_space
        assert ours.metadata == theirs.metadata
        results = [(ours.reset(seed=5), theirs.reset(seed=5))]
        for actions in actions_of(number, 9):
            results.append((ours.step(actions), theirs.step(actions)))  # type: ignore[arg-type]
        results.append((ours.reset(), theirs.reset()))
        for turn, (mine, reference) in enumerate(results):
            assert list(differences(mine[-1], reference[-1])) == [], turn
            for part, (a, b) in enumerate(zip(mine[:-1], reference[:-1], strict=True)):
                assert data_equivalence(a, b, exact=True), (turn, part)
        assert data_equivalence(
            [each.bit_generator.state for each in ours.np_random], [each.bit_generator.state for each in theirs.np_random]
        )
        assert ours.np_random_seed == theirs.np_random_seed

    def test_everything_returned_is_equal_with_reset_masks(self) -> None:
        ours = make(3, autoreset_mode="Disabled", num_turns=2)
        theirs = SyncVectorEnv([lambda: PersonaChatEnv(**env_kwargs(num_turns=2))] * 3, autoreset_mode="Disabled")
        mask = np.array([True, False, True])
        results: list[list[Any]] = []
        for env in (ours, theirs):
            returned: list[Any] = [env.reset(seed=1), env.step(np.array([1, 2, 3]))]
            returned.append(env.reset(seed=[7, 8, None], options={"reset_mask": mask.copy(), "persona": ["a."]}))
            returned.append(env.step(np.array([1, 2, 3])))
            results.append(returned)
        for mine, reference in zip(*results, strict=True):
            assert list(differences(mine[-1], reference[-1])) == []
            assert all(data_equivalence(a, b, exact=True) for a, b in zip(mine[:-1], reference[:-1], strict=True))

    def test_final_info_belongs_to_the_dialogue_that_ended(self) -> None:
        env = make(2, num_turns=1)
        _, start = env.reset(seed=0)
        observations, _, terminations, _, infos = env.step(np.array([1, 2]))
        assert terminations.all()
        assert infos["final_info"]["goal"].tolist() == ["ask about pets.", "talk about work."]
        assert infos["final_info"]["persona"].tolist() == start["persona"].tolist()
        assert infos["persona"].tolist() != start["persona"].tolist()
        assert not observations.any() and all(final.any() for final in infos["final_obs"])


class TestBatching:
    def test_dialogue_is_the_same_whatever_stands_beside_it(self) -> None:
        """Dialogue i of a vector env with seed s is the single env's with seed s + i, in every batch size."""
        turns, seed = 9, 11
        actions = actions_of(8, turns)

        def transcripts(number: int, offset: int) -> list[list[Any]]:
            env = make(number, reward="identification+0.1*ranking-repetition")
            env.reset(seed=seed + offset)
            out: list[list[Any]] = [[] for _ in range(number)]
            for row in actions[:, offset : offset + number]:
                _, rewards, terminations, _, infos = env.step(row)
                for i in range(number):
                    info = infos["final_info"] if terminations[i] else infos
                    out[i].append((info["line"][i], info["reply"][i], rewards[i]))
            return out

        together = transcripts(8, 0)
        assert together[2:5] == transcripts(3, 2)
        for i in range(8):
            single = PersonaChatEnv(**env_kwargs(reward="identification+0.1*ranking-repetition"))
            single.reset(seed=seed + i)
            alone = []
            for action in actions[:, i]:
                _, reward, terminated, _, info = single.step(int(action))
                alone.append((info["line"], info["reply"], reward))
                if terminated:
                    single.reset()
            assert together[i] == alone == transcripts(1, i)[0]

    def test_each_speaker_is_asked_once_a_turn_for_all_dialogues_in_slots_of_their_own(self) -> None:
        asks, answers = EchoSpeaker(), EchoSpeaker()
        env = make(5, goal_speaker=asks, responder=answers)
        env.reset(seed=0)
        env.step(np.zeros(5, dtype=np.int64))
        env.step(np.zeros(5, dtype=np.int64))
        assert asks.batches == answers.batches == [5, 5]
        slots = [request.slot for request in asks.requests]
        assert slots[:5] == slots[5:]
        assert len({*slots, *(request.slot for request in answers.requests)}) == 10

    def test_dialogues_have_different_personas_and_noise(self) -> None:
        speaker = EchoSpeaker()
        env = make(6, responder=speaker, personas=small_personas(500))
        _, infos = env.reset(seed=0)
        env.step(np.zeros(6, dtype=np.int64))
        assert len(set(infos["persona"])) == 6
        assert len({request.noise.tobytes() for request in speaker.requests}) == 12

    def test_returned_arrays_are_never_used_again(self) -> None:
        env = make(2, num_turns=2)
        results: list[Any] = [env.reset(seed=0)]
        for _ in range(4):
            step = env.step(np.array([0, 1]))
            results.append((step[0], step[-1]))
        for i, first in enumerate(results):
            for second in results[i + 1 :]:
                assert not data_shares_objects(first[0], second[0])
                assert not data_shares_objects(first[1], second[1])


class TestAutoreset:
    def test_is_same_step_unless_asked_otherwise(self) -> None:
        assert make(1).metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
        assert PersonaChatVectorEnv.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
        assert make(1, autoreset_mode="NextStep").metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP
        assert make(1, autoreset_mode=AutoresetMode.DISABLED).metadata["autoreset_mode"] is AutoresetMode.DISABLED

    def test_next_step_says_nothing_in_the_dialogues_that_restart(self) -> None:
        speaker = EchoSpeaker()
        env = make(2, autoreset_mode="NextStep", num_turns=2, goal_speaker=EchoSpeaker(), responder=speaker)
        env.reset(seed=0)
        env.step(np.array([0, 0]))
        env.reset(options={"reset_mask": np.array([False, True])})  # now dialogue 0 is a turn ahead
        env.step(np.array([0, 0]))
        _, rewards, terminations, _, infos = env.step(np.array([0, 0]))
        assert speaker.batches == [2, 2, 1]
        assert infos["_line"].tolist() == [False, True] and infos["_episode_seed"].tolist() == [True, False]
        assert terminations.tolist() == [False, True] and rewards[0] == 0

    def test_disabled_refuses_to_go_on_with_an_ended_dialogue(self) -> None:
        env = make(2, autoreset_mode="Disabled", num_turns=1)
        env.reset(seed=0)
        env.step(np.array([0, 0]))
        env.reset(options={"reset_mask": np.array([True, False])})
        with pytest.raises(ResetNeeded):
            env.step(np.array([0, 0]))
        env.reset(options={"reset_mask": np.array([False, True])})
        assert env.step(np.array([0, 0]))[2].all()

    @pytest.mark.parametrize("mode", MODES)
    def test_step_before_reset_is_refused(self, mode: str) -> None:
        with pytest.raises(ResetNeeded):
            make(2, autoreset_mode=mode).step(np.array([0, 0]))

    def test_max_episode_steps_truncates_and_restarts(self) -> None:
        env = make(1, num_turns=4, max_episode_steps=2)
        env.reset(seed=0)
        ends = [tuple(bool(flag[0]) for flag in env.step(np.array([0]))[2:4]) for _ in range(4)]
        assert ends == [(False, False), (False, True)] * 2
        env = make(1, num_turns=2, max_episode_steps=2)
        env.reset(seed=0)
        assert [tuple(bool(flag[0]) for flag in env.step(np.array([0]))[2:4]) for _ in range(2)][1] == (True, False)


class TestCalls:
    def test_action_masks_are_one_row_for_each_dialogue(self) -> None:
        env = make(3, mask_repeats=True)
        env.reset(seed=0)
        *_, infos = env.step(np.array([0, 5, 5]))
        masks = env.action_masks()
        assert masks.shape == (3, 11) and masks.dtype == np.bool_
        assert [np.flatnonzero(~row).tolist() for row in masks] == [[0], [5], [5]]
        assert infos["action_mask"].dtype == np.int8 and (infos["action_mask"] == masks).all()
        assert (np.stack(env.call("action_masks")) == masks).all()

    def test_attributes_of_dialogues_and_of_the_whole_are_found(self) -> None:
        env = make(2, render_mode="ansi")
        _, infos = env.reset(seed=4)
        assert env.get_attr("persona") == tuple(infos["persona"])
        assert env.get_attr("num_turns") == (4, 4)
        assert env.get_attr("goals")[1] is env.goals
        assert env.get_attr("render_mode") == ("ansi", "ansi")
        assert env.get_attr("action_space") == (env.single_action_space,) * 2
        assert env.get_attr("np_random_seed") == (4, 5)
        assert env.call("render") == env.render()
        with pytest.raises(AttributeError):
            env.get_attr("colour")

    def test_set_attr_sets_one_value_each_or_one_for_all(self) -> None:
        env = make(2)
        env.set_attr("mask_repeats", [True, False])
        env.reset(seed=0)
        env.step(np.array([1, 1]))
        assert env.action_masks().sum(axis=1).tolist() == [10, 11]
        env.set_attr("mask_repeats", True)
        assert env.action_masks().sum(axis=1).tolist() == [10, 10]

    def test_set_attr_refuses_what_would_have_no_effect(self) -> None:
        env = make(2)
        with pytest.raises(InputError, match="shared"):
            env.set_attr("num_turns", 2)
        with pytest.raises(InputError, match="one value for each"):
            env.set_attr("mask_repeats", [True])


class TestInput:
    @pytest.mark.parametrize("actions", [[0], [0, 0, 0], [0, 11], [-1, 0], [0.5, 0]])
    def test_unusable_actions_are_refused_before_anything_is_said(self, actions: list[Any]) -> None:
        speaker = EchoSpeaker()
        env = make(2, responder=speaker)
        env.reset(seed=0)
        with pytest.raises(InputError):
            env.step(np.array(actions))
        assert speaker.requests == []

    @pytest.mark.parametrize(
        "changes", [{"num_envs": 0}, {"num_envs": 1.5}, {"max_episode_steps": 0}, {"autoreset_mode": "now"}, {"reward": "?"}]
    )
    def test_unusable_arguments_are_refused(self, changes: dict[str, Any]) -> None:
        with pytest.raises(InputError):
            PersonaChatVectorEnv(**{"num_envs": 2, **env_kwargs(**changes)})

    @pytest.mark.parametrize("mask", [[True, True], np.array([1, 0]), np.zeros(2, dtype=bool), np.ones(3, dtype=bool)])
    def test_unusable_reset_masks_are_refused(self, mask: Any) -> None:
        with pytest.raises(InputError, match="reset_mask"):
            make(2).reset(options={"reset_mask": mask})

    def test_wrong_number_of_seeds_and_unknown_options_are_refused(self) -> None:
        with pytest.raises(InputError, match="seed"):
            make(2).reset(seed=[1])
        with pytest.raises(UnknownNameError):
            make(2).reset(options={"mask": None})

    def test_options_are_not_changed(self) -> None:
        options = {"reset_mask": np.array([True, True]), "persona": ["a."]}
        make(2).reset(options=options)
        assert set(options) == {"reset_mask", "persona"}


class TestEcosystem:
    @pytest.mark.filterwarnings("error")
    def test_make_vec_makes_it(self) -> None:
        env = gym.make_vec("PersonaChat-v0", num_envs=64, vectorization_mode="vector_entry_point", **env_kwargs())
        assert isinstance(env.unwrapped, PersonaChatVectorEnv)
        assert env.observation_space.shape == (64, 16 + 1 + 11)
        observations, _ = env.reset(seed=0)
        for actions in actions_of(64, 5):
            observations, *_ = env.step(actions)
            assert observations in env.observation_space
        env.close()
        env.close()

    @pytest.mark.filterwarnings("error")
    def test_make_vec_picks_it_by_itself_and_its_spec_is_json(self) -> None:
        kwargs = env_kwargs()
        env = gym.make_vec("PersonaChat-v0", num_envs=2, autoreset_mode="NextStep", **kwargs)
        assert isinstance(env.unwrapped, PersonaChatVectorEnv)
        assert env.spec is not None
        for name in ("responder", "reader", "personas"):
            del env.spec.kwargs[name]
        spec = gym.envs.registration.EnvSpec.from_json(env.spec.to_json())
        again = gym.make_vec(spec, **{name: kwargs[name] for name in ("responder", "reader", "personas")})
        assert again.num_envs == 2 and again.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP

    def test_gymnasium_vector_wrappers_work(self) -> None:
        env = DictInfoToList(RecordEpisodeStatistics(make(3, num_turns=2)))
        env.reset(seed=0)
        total = np.zeros(3)
        for actions in actions_of(3, 2):
            _, rewards, _, _, infos = env.step(actions)
            total += rewards
        returns = [
            info["final_info"]["episode"]["r"] if "episode" in info["final_info"] else info["episode"]["r"] for info in infos
        ]
        np.testing.assert_allclose(returns, total, rtol=1e-5)

    def test_rendering_gives_one_frame_for_each_dialogue(self, capsys: pytest.CaptureFixture[str]) -> None:
        frames = {}
        for mode in ("ansi", "rgb_array"):
            env = make(2, render_mode=mode)
            env.reset(seed=0)
            env.step(np.array([0, 1]))
            frames[mode] = env.render()
        assert [text.split("\n")[1][:20] for text in frames["ansi"] or ()] == ["1. [ask about kids.]", "1. [ask about pets.]"]
        assert [image.shape for image in frames["rgb_array"] or ()] == [(480, 640, 3)] * 2
        assert capsys.readouterr().out == ""
        env = make(2, render_mode="human", num_turns=1, responder=ScriptedSpeaker("so"))
        env.reset(seed=0)
        env.step(np.array([0, 1]))
        out = capsys.readouterr().out
        assert out.count("a: so") == out.count("b: so") == 2
        assert out.count("persona:") == 4 and out.count("dialogue 1\n") == 3
