"""The contract of `PersonaChat-v0` with one dialogue: spaces, seeds, options, infos, masks, faults, rendering, checkers."""

import copy
import json
import os
import subprocess
import sys
import warnings
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
import pytest
from fakes import FEATURE_SIZE, EchoSpeaker, GatedSpeaker, ScriptedSpeaker, env_kwargs, features, small_personas
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env

import convogym
from convogym.dialogue import Persona
from convogym.envs.persona_chat import PersonaChatEnv
from convogym.envs.rendering import IMAGE_SIZE
from convogym.envs.rewards import Reward, Scene
from convogym.errors import InputError, UnknownNameError

GOALS = convogym.DEFAULT_GOALS.goals


def make(**changes: Any) -> PersonaChatEnv:
    return PersonaChatEnv(**env_kwargs(**changes))


def play(env: gym.Env[Any, Any], actions: list[int], **reset: Any) -> list[dict[str, Any]]:
    """Infos of an episode, the reset's first."""
    infos = [env.reset(**reset)[1]]
    return infos + [env.step(action)[4] for action in actions]


def said(infos: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(info["line"], info["reply"]) for info in infos[1:]]


@pytest.fixture
def no_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


class TestEpisode:
    def test_terminates_after_num_turns_and_is_never_truncated(self) -> None:
        env = make(num_turns=3)
        env.reset(seed=0)
        ends = [env.step(0)[2:4] for _ in range(3)]
        assert ends == [(False, False), (False, False), (True, False)]

    def test_step_needs_a_reset_before_the_first_turn_and_after_the_last(self) -> None:
        env = make(num_turns=1)
        with pytest.raises(ResetNeeded):
            env.step(0)
        env.reset()
        env.step(0)
        with pytest.raises(ResetNeeded):
            env.step(0)
        env.reset()
        env.step(0)

    def test_goal_speaker_gets_goals_and_no_persona_and_responder_the_reverse(self) -> None:
        asks, answers = EchoSpeaker(), EchoSpeaker()
        env = make(goal_speaker=asks, responder=answers)
        infos = play(env, [1, 6], seed=0)
        (line, reply), _ = said(infos)
        second_line, second_reply = asks.requests[1], answers.requests[1]
        assert second_line.goals == (GOALS[1], GOALS[6])
        assert second_line.persona == ()
        assert second_line.history == (line, reply)
        assert second_reply.goals == ()
        assert second_reply.persona == infos[0]["persona"]
        assert second_reply.history == (line, reply, infos[2]["line"])
        assert second_line.slot != second_reply.slot
        assert [request.slot for request in asks.requests] == [second_line.slot] * 2
        assert all(request.noise.shape == (12,) for request in asks.requests + answers.requests)

    def test_one_speaker_object_may_play_both_sides_in_two_slots(self) -> None:
        speaker = EchoSpeaker()
        play(make(responder=speaker), [0, 0], seed=0)
        assert [bool(request.goals) for request in speaker.requests] == [True, False, True, False]
        assert len({(request.slot, bool(request.goals)) for request in speaker.requests}) == 2

    def test_step_info_tells_the_turn(self) -> None:
        env = make(reward="identification+2*goal_following")
        env.reset(seed=3)
        observation, reward, _, _, info = env.step(7)
        assert (info["turn"], info["action"], info["goal"]) == (1, 7, "ask about favorite food.")
        assert set(info["reward_terms"]) == {"identification", "goal_following"}
        assert reward == pytest.approx(info["reward_terms"]["identification"] + 2 * info["reward_terms"]["goal_following"])
        assert info["reward_terms"]["goal_following"] == 0.9
        assert info["line_log_prob"] < 0 and info["reply_log_prob"] < 0
        assert info["reply_tokens"] > 0
        assert info["reply"] in info["persona"]
        assert info["action_mask"].dtype == np.int8
        assert observation in env.observation_space

    def test_reward_terms_see_the_turn_and_what_was_said_before(self) -> None:
        class Witness:
            name = "witness"
            seen: ClassVar[list[Scene]] = []

            def begin(self, persona: tuple[str, ...], rng: np.random.Generator) -> list[int]:
                return []

            def score(self, scenes: Sequence[Scene], memories: Sequence[list[int]]) -> list[float]:
                for memory in memories:
                    memory.append(1)
                self.seen.extend(scenes)
                return [float(len(memory)) for memory in memories]

        env = make(reward=Reward((2.0, Witness())), responder=ScriptedSpeaker("l1", "r1", "l2", "r2", "l3", "r3"))
        env.reset(seed=0)
        assert [env.step(action)[1] for action in (0, 1)] == [2.0, 4.0]
        env.reset(options={"history": ["h1", "h2"]})
        assert env.step(2)[1] == 2.0
        scenes = [(each.previous, each.goal, each.line, each.reply, each.earlier_replies) for each in Witness.seen]
        assert scenes == [
            ("", GOALS[0], "l1", "r1", ()),
            ("r1", GOALS[1], "l2", "r2", ("r1",)),
            ("h2", GOALS[2], "l3", "r3", ("h2",)),
        ]
        np.testing.assert_allclose(Witness.seen[1].state, (features("r1") + features("r2")) / 2)

    def test_identification_return_is_what_the_replies_revealed(self) -> None:
        env = make(responder=GatedSpeaker("pets"), num_turns=4)
        env.reset(seed=0)
        told = [env.step(1)[1] for _ in range(4)]
        env.reset(seed=0)
        silent = [env.step(2)[1] for _ in range(4)]
        assert 1.0 < sum(told) <= np.log(21)
        assert silent == [0.0] * 4

    @pytest.mark.parametrize("action", [-1, 11, 1.0, "0", None, np.array([0, 1])])
    def test_action_out_of_range_is_refused_before_anything_is_said(self, action: Any) -> None:
        speaker = EchoSpeaker()
        env = make(responder=speaker)
        env.reset(seed=0)
        with pytest.raises(InputError, match=r"0\.\.10"):
            env.step(action)
        assert speaker.requests == []

    def test_turn_that_a_speaker_failed_can_be_taken_again(self) -> None:
        class Flaky(EchoSpeaker):
            fails = False

            def speak(self, requests: Any) -> Any:
                if self.fails:
                    raise ConnectionError("gone")
                return super().speak(requests)

        flaky = Flaky()
        env = make(goal_speaker=EchoSpeaker(), responder=flaky)
        expected = said(play(env, [1, 2, 3], seed=0))
        env.reset(seed=0)
        env.step(1)
        flaky.fails = True
        with pytest.raises(ConnectionError):
            env.step(2)
        flaky.fails = False
        assert said([{}, env.step(2)[4], env.step(3)[4]]) == expected[1:]


class TestObservation:
    def test_is_mean_reply_features_turn_share_and_goal_shares(self) -> None:
        env = make(num_turns=4)
        observation, _ = env.reset(seed=0)
        assert not np.any(observation)
        replies = []
        for action in (2, 2, 5):
            observation, *_, info = env.step(action)
            replies.append(info["reply"])
        mean = np.mean([features(reply) for reply in replies], axis=0)
        assert isinstance(observation, np.ndarray) and observation.dtype == np.float32
        np.testing.assert_allclose(observation[:FEATURE_SIZE], mean, rtol=1e-6)
        assert observation[FEATURE_SIZE] == 0.75
        np.testing.assert_array_equal(observation[FEATURE_SIZE + 1 :], np.eye(11)[2] * 0.5 + np.eye(11)[5] * 0.25)

    def test_features_beyond_the_bounds_are_clipped_into_the_space(self) -> None:
        class Loud(EchoSpeaker):
            def speak(self, requests: Any) -> Any:
                import dataclasses

                return [dataclasses.replace(each, features=each.features * 1e9) for each in super().speak(requests)]

        env = make(responder=Loud())
        env.reset(seed=0)
        assert env.step(0)[0] in env.observation_space

    def test_goals_observation_is_the_end_of_the_embedding(self) -> None:
        both = [make(observation=name) for name in ("embedding", "goals")]
        for env in both:
            env.reset(seed=0)
        for action in (5, 2, 5):
            whole, end = (env.step(action)[0] for env in both)
            np.testing.assert_array_equal(whole[-12:], end)
            assert end in both[1].observation_space

    def test_text_observation_is_the_transcript(self) -> None:
        env = make(observation="text", responder=ScriptedSpeaker("who?", "me \N{WAVING HAND SIGN}\nreally", "ok."))
        assert env.reset(seed=0)[0] == ""
        observation = env.step(0)[0]
        assert observation == "who?\nme \N{WAVING HAND SIGN} really"
        assert observation in env.observation_space

    def test_long_transcript_shows_its_newest_end(self) -> None:
        env = make(observation="text", responder=ScriptedSpeaker("x" * 20_000, "end."))
        env.reset(seed=0)
        observation = env.step(0)[0]
        assert isinstance(observation, str) and observation.endswith("x\nend.") and observation in env.observation_space


class TestSeeds:
    def test_same_seed_gives_same_dialogue_and_another_seed_another(self) -> None:
        env = make(num_turns=4)
        first, again, other = (play(env, [1, 2, 3, 4], seed=seed) for seed in (5, 5, 6))
        assert said(first) == said(again)
        assert said(first) != said(other)

    def test_episodes_after_a_seeded_one_differ_and_repeat_too(self) -> None:
        env = make(num_turns=2)
        runs = []
        for _ in range(2):
            runs.append([said(play(env, [1, 1], seed=1)), said(play(env, [1, 1])), said(play(env, [1, 1]))])
        assert runs[0] == runs[1]
        assert runs[0][0] != runs[0][1] != runs[0][2]

    def test_dialogue_does_not_depend_on_what_rewards_it(self) -> None:
        transcripts = [
            said(play(make(reward=reward), [1, 2, 3, 4], seed=2)) for reward in ("identification", "ranking-repetition")
        ]
        assert transcripts[0] == transcripts[1]

    def test_episode_seed_of_the_reset_info_repeats_the_episode(self) -> None:
        env = make()
        play(env, [0, 1], seed=9)
        original = play(env, [1, 2, 3, 4])
        repeated = play(make(), [1, 2, 3, 4], options={"episode_seed": original[0]["episode_seed"]})
        assert said(original) == said(repeated)
        assert [info["reward_terms"] for info in original[1:]] == [info["reward_terms"] for info in repeated[1:]]

    def test_noise_of_a_turn_does_not_depend_on_earlier_goals(self) -> None:
        noises = []
        for first in (0, 1):
            speaker = EchoSpeaker()
            play(make(responder=speaker), [first, 2], seed=0)
            noises.append(speaker.requests[2].noise.tolist())
        assert noises[0] == noises[1]

    def test_noise_differs_between_speakers_and_turns(self) -> None:
        speaker = EchoSpeaker()
        play(make(responder=speaker), [0, 0], seed=0)
        assert len({request.noise.tobytes() for request in speaker.requests}) == 4

    def test_global_random_state_plays_no_part(self) -> None:
        state = str(np.random.get_state())
        first = said(play(make(), [1, 2], seed=0))
        assert str(np.random.get_state()) == state
        assert said(play(make(), [1, 2], seed=0)) == first


class TestOptions:
    def test_persona_and_history_are_used(self) -> None:
        speaker = EchoSpeaker()
        env = make(responder=speaker)
        infos = play(env, [3], seed=0, options={"persona": ["i am nobody."], "history": ["hi.", "hello."]})
        assert infos[0]["persona"] == ("i am nobody.",)
        assert infos[0]["history"] == ("hi.", "hello.")
        assert speaker.requests[0].history == ("hi.", "hello.")
        assert speaker.requests[0].goals == (None, GOALS[3])
        assert infos[1]["reply"] == "i am nobody."

    def test_a_persona_object_is_taken_too(self) -> None:
        assert play(make(), [], options={"persona": Persona(("a.",))})[0]["persona"] == ("a.",)

    def test_options_last_for_one_episode(self) -> None:
        env = make()
        env.reset(options={"history": ["a", "b"]})
        assert env.reset()[1]["history"] == ()

    def test_reply_that_repeats_the_history_counts_as_repeated(self) -> None:
        env = make(goal_speaker=EchoSpeaker(), responder=ScriptedSpeaker("Hello  THERE"), reward="repetition")
        env.reset(options={"history": ["hi.", "hello there"]})
        info = env.step(0)[4]
        assert info["faults"]["repeated"] and info["reward_terms"]["repetition"] == 1.0

    @pytest.mark.parametrize(
        "options",
        [
            {"persona": []},
            {"persona": "i have a dog."},
            {"persona": [" "]},
            {"persona": ["x."] * 200},
            {"persona": ["a\0b"]},
            {"persona": [3]},
            {"history": ["only one"]},
            {"history": "hi"},
            {"history": ["a", "b" * 1_000_000]},
            {"episode_seed": -1},
            {"episode_seed": "1"},
            {"episode_seed": 2**64},
        ],
    )
    def test_options_that_cannot_be_used_are_refused_and_the_dialogue_goes_on(self, options: dict[str, Any]) -> None:
        env = make()
        play(env, [1], seed=0)
        with pytest.raises(InputError):
            env.reset(options=options)
        assert env.step(1)[4]["turn"] == 2

    def test_unknown_option_is_answered_with_the_nearest(self) -> None:
        with pytest.raises(UnknownNameError, match="did you mean 'persona'"):
            make().reset(options={"personas": []})


class TestArguments:
    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("reward", "identificatoin"),
            ("observation", "pixels"),
            ("render_mode", "html"),
            ("goals", "all"),
        ],
    )
    def test_unknown_names_are_refused(self, name: str, value: str) -> None:
        with pytest.raises(UnknownNameError):
            make(**{name: value})

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("num_turns", 0),
            ("num_turns", 2.5),
            ("num_turns", True),
            ("num_distractors", 0),
            ("num_distractors", 40),
            ("personas", []),
            ("personas", ["i have a dog."]),
            ("reward", 3),
        ],
    )
    def test_unusable_values_are_refused(self, name: str, value: Any) -> None:
        with pytest.raises(InputError):
            make(**{name: value})

    def test_personas_and_goals_may_be_plain_lists(self) -> None:
        env = make(personas=[["a."], ["b."]], num_distractors=1, goals=["ask about pets.", "say hello."])
        assert env.action_space == gym.spaces.Discrete(2)
        assert play(env, [1], seed=0)[1]["goal"] == "say hello."


class TestMasks:
    def test_all_goals_may_be_taken_by_default(self) -> None:
        env = make()
        env.reset(seed=0)
        env.step(3)
        assert env.action_masks().dtype == np.bool_ and env.action_masks().all()

    def test_mask_repeats_leaves_out_taken_goals_until_none_is_left(self) -> None:
        env = make(mask_repeats=True, goals=list(GOALS[:3]), num_turns=4)
        _, info = env.reset(seed=0)
        assert info["action_mask"].tolist() == [1, 1, 1]
        masks = [env.step(action)[4]["action_mask"].tolist() for action in (1, 0, 2, 2)]
        assert masks == [[1, 0, 1], [0, 0, 1], [1, 1, 1], [1, 1, 1]]
        assert env.action_masks().all()


class TestFaults:
    @pytest.mark.parametrize(
        ("line_mark", "reply_mark", "fault"),
        [
            ("is_empty", None, "line_empty"),
            (None, "is_empty", "reply_empty"),
            (None, "is_cut_off", "cut_off"),
            (None, "is_context_dropped", "context_dropped"),
            ("is_context_dropped", None, "context_dropped"),
        ],
    )
    def test_marks_of_the_speakers_are_told(self, line_mark: str | None, reply_mark: str | None, fault: str) -> None:
        asks = EchoSpeaker(**({line_mark: True} if line_mark else {}))
        answers = EchoSpeaker(**({reply_mark: True} if reply_mark else {}))
        env = make(goal_speaker=asks, responder=answers)
        env.reset(seed=0)
        faults = env.step(0)[4]["faults"]
        assert {name for name, is_on in faults.items() if is_on} == {fault}

    def test_second_time_the_same_reply_is_repeated(self) -> None:
        env = make(goal_speaker=EchoSpeaker(), responder=ScriptedSpeaker("Yes.", "no.", " yes. "))
        env.reset(seed=0)
        assert [env.step(0)[4]["faults"]["repeated"] for _ in range(3)] == [False, False, True]


class TestRendering:
    def test_ansi_is_the_transcript(self) -> None:
        env = make(render_mode="ansi", responder=ScriptedSpeaker("any pets?", "a \x1b[31mdog\nor two"))
        env.reset(seed=0, options={"persona": ["i have a dog."], "history": ["hi.", "hello."]})
        assert env.render() == "persona: i have a dog.\na: hi.\nb: hello."
        env.step(1)
        text = env.render()
        assert "1. [ask about pets.]" in text and "a: any pets?" in text and "b: a \ufffd[31mdog or two" in text

    def test_human_writes_each_turn_once(self, capsys: pytest.CaptureFixture[str]) -> None:
        env = make(render_mode="human", responder=ScriptedSpeaker("any [pets]?", "dogs :smile:", "why?", "cats"))
        env.reset(seed=0)
        env.step(1)
        assert env.render() is None
        env.step(1)
        out = capsys.readouterr().out
        assert out.count("persona:") == out.count("any [pets]?") == out.count("dogs :smile:") == out.count("cats") == 1
        env.reset(seed=0)
        assert capsys.readouterr().out.count("persona:") == 1

    def test_nothing_is_written_unless_asked(self, capsys: pytest.CaptureFixture[str]) -> None:
        env = make()
        play(env, [0, 1], seed=0)
        env.render()
        assert capsys.readouterr().out == ""

    def test_rgb_array_has_one_size_whatever_is_said(self, no_warnings: None) -> None:
        env = make(render_mode="rgb_array", responder=ScriptedSpeaker("$x^", "\N{WAVING HAND SIGN} \u6f22 " * 300))
        env.reset(seed=0)
        empty = env.render()
        for _ in range(4):
            env.step(0)
        image = env.render()
        assert empty.shape == image.shape == (IMAGE_SIZE[1], IMAGE_SIZE[0], 3)
        assert image.dtype == np.uint8
        assert (image < 128).sum() > (empty < 128).sum() > 0


class TestEcosystem:
    """The environment as others make it; `PersonaChat-v0` is registered by `import convogym`."""

    def test_gymnasium_check_env_has_nothing_to_say(self, no_warnings: None) -> None:
        for observation in ("embedding", "goals", "text"):
            env = gym.make("PersonaChat-v0", observation=observation, **without_rendering(env_kwargs()))
            check_env(env.unwrapped, skip_render_check=False)

    def test_check_env_holds_for_a_reward_that_draws(self, no_warnings: None) -> None:
        check_env(gym.make("PersonaChat-v0", **env_kwargs(reward="ranking-repetition")).unwrapped, skip_render_check=True)

    def test_passive_checker_is_silent_through_an_episode(self, no_warnings: None) -> None:
        env = gym.make("PersonaChat-v0", **env_kwargs())
        play(env, [0, 1, 2, 3], seed=0)

    def test_spec_is_json_and_makes_the_same_environment(self) -> None:
        personas = [list(persona.facts) for persona in small_personas(30)]
        env = gym.make("PersonaChat-v0", **env_kwargs(personas=personas))
        assert env.spec is not None
        spec = copy.deepcopy(env.spec)
        for name in ("responder", "reader"):
            spec.kwargs.pop(name)
        assert json.loads(spec.to_json())["kwargs"]["num_turns"] == 4
        again = gym.envs.registration.EnvSpec.from_json(spec.to_json())
        remade = gym.make(again, **{name: env_kwargs()[name] for name in ("responder", "reader")})
        assert said(play(env, [1, 2, 3], seed=4)) == said(play(remade, [1, 2, 3], seed=4))

    def test_time_limit_of_the_caller_truncates(self) -> None:
        env = gym.make("PersonaChat-v0", max_episode_steps=2, **env_kwargs(num_turns=4))
        env.reset(seed=0)
        assert [env.step(0)[2:4] for _ in range(2)] == [(False, False), (False, True)]

    def test_importing_loads_no_torch_and_no_sb3(self) -> None:
        code = (
            "import sys, convogym.envs.vector, convogym.envs.make, convogym.envs.rendering;"
            "from convogym.envs import PersonaChatEnv, PersonaChatVectorEnv;"
            "sys.exit(any(name in sys.modules for name in ('torch', 'stable_baselines3', 'matplotlib', 'convogym.agents')))"
        )
        assert subprocess.run([sys.executable, "-c", code], env={**os.environ}, timeout=60).returncode == 0


def without_rendering(kwargs: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in kwargs.items() if name != "render_mode"}


class TestNames:
    """Speakers, personas and reader that are named are looked up where the other folders keep them."""

    def test_one_name_loads_one_model_for_both_sides(self, monkeypatch: pytest.MonkeyPatch) -> None:
        loaded = install_fake_agents(monkeypatch)
        env = PersonaChatEnv("tiny", personas=small_personas())
        assert loaded == ["tiny"]
        infos = play(env, [1], seed=0)
        assert infos[1]["line"].startswith("ask about pets.") and infos[1]["reply"] in infos[0]["persona"]

    def test_goal_speaker_may_be_another_model_or_an_object(self, monkeypatch: pytest.MonkeyPatch) -> None:
        loaded = install_fake_agents(monkeypatch)
        PersonaChatEnv("tiny", "large", personas=small_personas())
        assert loaded == ["tiny", "large"]
        PersonaChatEnv("tiny", EchoSpeaker(), personas=small_personas())
        assert loaded == ["tiny", "large", "tiny"]

    def test_names_that_are_wrong_are_found_before_a_model_is_loaded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        loaded = install_fake_agents(monkeypatch)
        wrongs: tuple[dict[str, Any], ...] = (
            {"reward": "x"},
            {"observation": "x"},
            {"render_mode": "x"},
            {"goals": "x"},
            {"num_turns": 0},
        )
        for wrong in wrongs:
            with pytest.raises(InputError):
                PersonaChatEnv("tiny", personas=small_personas(), **wrong)
        assert loaded == []

    def test_model_in_a_child_process_is_warned_of(self, monkeypatch: pytest.MonkeyPatch) -> None:
        install_fake_agents(monkeypatch)
        monkeypatch.setattr("multiprocessing.parent_process", lambda: object())
        with pytest.warns(RuntimeWarning, match="its own copy of the model"):
            PersonaChatEnv("tiny", personas=small_personas())


def install_fake_agents(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Puts modules in the place of `convogym.agents.loading` and `.reader`; returns the list of names that get loaded."""
    import types

    from fakes import FakeReader

    loaded: list[str] = []

    class Model:
        def goal_speaker(self) -> EchoSpeaker:
            return EchoSpeaker()

        def responder(self) -> EchoSpeaker:
            return EchoSpeaker()

    def load_to_speak(name: str, device: str) -> Model:
        assert device == "cpu"
        loaded.append(name)
        return Model()

    loading, reader = types.ModuleType("convogym.agents.loading"), types.ModuleType("convogym.agents.reader")
    loading.load_to_speak = load_to_speak  # type: ignore[attr-defined]
    reader.load_reader = FakeReader  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "convogym.agents.loading", loading)
    monkeypatch.setitem(sys.modules, "convogym.agents.reader", reader)
    return loaded
