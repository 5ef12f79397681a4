from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from fakes import env_kwargs
from gymnasium.envs.registration import EnvSpec
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode

import convogym
from convogym.envs.recorder import RecordEpisodes, RecordVectorEpisodes
from convogym.episodes import Episode, TurnRecord
from convogym.errors import InputError
from convogym.goals import DEFAULT_GOALS, GoalSet
from convogym.store import EpisodeStore

gym.register_envs(convogym)


class FakeTalkEnv(gym.Env[np.ndarray[Any, Any], int]):
    """Keeps the info contract of the real environment without any model; what it says tells seed and turn."""

    observation_space = gym.spaces.Box(0, 1, (1,))
    action_space: gym.Space[Any] = gym.spaces.Discrete(len(DEFAULT_GOALS))
    goals = DEFAULT_GOALS
    responder_name = "fake-responder"
    goal_speaker_name = "fake-speaker"

    def __init__(self, num_turns: int = 3) -> None:
        self.num_turns = num_turns

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.episode_seed = int(self.np_random.integers(2**62))
        self.turn = 0
        return np.zeros(1, np.float32), {
            "persona": (f"i am {self.episode_seed}.", "i have a dog."),
            "history": tuple((options or {}).get("history", ())),
            "episode_seed": self.episode_seed,
            "action_mask": np.ones(11, np.int8),
        }

    def step(self, action: int) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.turn += 1
        reward = self.turn / 3 + int(action)
        return np.zeros(1, np.float32), reward, self.turn >= self.num_turns, False, self.info(int(action), reward)

    def info(self, action: int, reward: float) -> dict[str, Any]:
        return {
            "turn": self.turn,
            "action": action,
            "goal": self.goals.text(action),
            "line": f"line {self.turn} of {self.episode_seed}",
            "reply": f"reply {self.turn}",
            "reward_terms": {"identification": reward, "repetition": -1.0} if self.turn > 1 else {"identification": reward},
            "faults": {"cut_off": self.turn == 2},
            "line_log_prob": -1.5,
            "reply_log_prob": -float(self.turn),
            "persona": (f"i am {self.episode_seed}.", "i have a dog."),  # as the real one tells at every step
            "action_mask": np.ones(11, np.int8),
        }

    def action_masks(self) -> np.ndarray[Any, Any]:
        return np.ones(11, np.bool_)


class FakeTalks(gym.vector.SyncVectorEnv):
    """Talks of different lengths side by side; Gymnasium itself batches their infos."""

    goals = DEFAULT_GOALS
    responder_name = "fake-responder"
    goal_speaker_name = "fake-speaker"

    def __init__(self, *lengths: int, mode: AutoresetMode = AutoresetMode.SAME_STEP) -> None:
        super().__init__([lambda length=length: FakeTalkEnv(length) for length in lengths], autoreset_mode=mode)  # type: ignore[misc]


def said(action: int, turn: int, episode_seed: int, propensity: float | None = None) -> TurnRecord:
    """What the fake says at a turn, as it should be recorded."""
    env = FakeTalkEnv()
    env.turn, env.episode_seed = turn, episode_seed
    reward = turn / 3 + action
    info = env.info(action, reward)
    return TurnRecord(
        reward=reward, propensity=propensity, **{k: v for k, v in info.items() if k not in ("persona", "action_mask")}
    )


@pytest.fixture
def store(tmp_path: Path) -> Iterator[EpisodeStore]:
    with EpisodeStore(tmp_path / "episodes.db") as opened:
        yield opened


@pytest.fixture
def reader(store: EpisodeStore) -> Iterator[EpisodeStore]:
    """Another connection: it sees what is in the file, not what the recorder holds."""
    with EpisodeStore(store.path) as opened:
        yield opened


def test_a_turn_is_in_the_file_when_step_returns(store: EpisodeStore, reader: EpisodeStore) -> None:
    env = RecordEpisodes(FakeTalkEnv(), store, "cycle")
    _, info = env.reset(seed=1)
    assert reader.count() == 0
    for turn, action in enumerate((4, 0, 10), 1):
        env.step(action)
        (episode,) = reader.episodes()
        assert episode.turns[-1] == said(action, turn, info["episode_seed"])
        assert (len(episode.turns), episode.finished) == (turn, turn == 3)
    assert episode.persona == info["persona"]
    assert episode.goals == DEFAULT_GOALS.goals
    assert (episode.seed, episode.history) == (info["episode_seed"], ())
    assert (episode.policy, episode.responder, episode.goal_speaker) == ("cycle", "fake-responder", "fake-speaker")


def test_recording_changes_nothing_of_what_the_environment_returns(store: EpisodeStore) -> None:
    plain, recorded = FakeTalkEnv(), RecordEpisodes(FakeTalkEnv(), store, "cycle")
    assert repr(plain.reset(seed=3)) == repr(recorded.reset(seed=3))
    for action in (1, 2, 3):
        assert repr(plain.step(action)) == repr(recorded.step(action))


def test_every_reset_begins_another_episode_and_one_broken_off_stays_unfinished(store: EpisodeStore) -> None:
    env = RecordEpisodes(FakeTalkEnv(), store, "cycle")
    env.reset(seed=1)
    env.step(0)
    assert env.episode_id is not None
    env.reset()  # nothing is said in this one: it leaves no trace
    env.reset(options={"history": ("hi.", "hello.")})
    for _ in range(3):
        env.step(2)
    assert env.episode_id is None
    broken, whole = store.episodes()
    assert (len(broken.turns), broken.finished) == (1, False)
    assert (len(whole.turns), whole.finished, whole.history) == (3, True, ("hi.", "hello."))


def test_propensities_hold_for_the_next_step_only(store: EpisodeStore) -> None:
    env = RecordEpisodes(FakeTalkEnv(), store, "random")
    env.reset(seed=1)
    chances = np.array([0.25, 0.75] + [0.0] * 9)
    env.set_choice(chances, "somebody")
    env.step(0)
    env.step(0)
    env.set_choice(np.full(11, np.nan))
    env.step(0)
    turns = next(store.episodes()).turns
    assert [record.propensity for record in turns] == [0.25, None, None]
    assert [record.propensities for record in turns] == [tuple(chances), (), ()]
    assert [record.chosen_by for record in turns] == ["somebody", None, None]


def test_an_action_that_had_no_chance_cannot_have_been_taken(store: EpisodeStore) -> None:
    env = RecordEpisodes(FakeTalkEnv(), store, "random")
    env.reset(seed=1)
    env.set_choice([0.0, 1.0] + [0.0] * 9)
    with pytest.raises(InputError, match="gave action 0 no chance"):
        env.step(0)
    assert store.count() == 0


@pytest.mark.parametrize("propensities", [0.5, [0.5, 0.5], [0.05] * 11, [-1.0, 2.0] + [0.0] * 9, [np.inf] + [0.0] * 10])
def test_what_is_no_probability_is_refused(store: EpisodeStore, propensities: Any) -> None:
    env = RecordEpisodes(FakeTalkEnv(), store, "random")
    with pytest.raises(InputError, match="`propensities` must"):
        env.set_choice(propensities)


def test_a_step_before_a_reset_is_refused(store: EpisodeStore) -> None:
    with pytest.raises(ResetNeeded):
        RecordEpisodes(FakeTalkEnv(), store, "random").step(0)
    with pytest.raises(ResetNeeded):
        RecordVectorEpisodes(FakeTalks(2), store, "random").step(np.array([0]))


def test_an_environment_of_another_kind_is_refused(store: EpisodeStore) -> None:
    with pytest.raises(InputError, match="must be a PersonaChat environment, got CartPoleEnv without goals"):
        RecordEpisodes(gym.make("CartPole-v1"), store, "random")


def test_a_blank_policy_name_is_refused_before_anything_is_said(store: EpisodeStore) -> None:
    with pytest.raises(InputError, match="`policy` must be text that is not blank"):
        RecordEpisodes(FakeTalkEnv(), store, " ")


def test_an_episode_whose_turn_could_not_be_written_gets_no_hole(store: EpisodeStore) -> None:
    env = RecordEpisodes(FakeTalkEnv(), store, "cycle")
    env.reset(seed=1)
    env.step(0)
    store._db.execute("PRAGMA max_page_count = 1")  # SQLite takes it for the present size
    taken = 1
    with pytest.raises(OSError, match="the disk is full"):
        for _ in range(100):
            env.step(1)
            taken += 1
            if env.episode_id is None:
                env.reset()
    with pytest.raises(ResetNeeded, match="could not be recorded"):
        env.step(1)
    assert sum(len(each.turns) for each in store.episodes()) == taken
    store._db.execute("PRAGMA max_page_count = 100000")
    env.reset()
    for _ in range(3):
        env.step(1)
    last = next(store.episodes(newest_first=True))
    assert (len(last.turns), last.finished) == (3, True)


@pytest.mark.parametrize("mode", [AutoresetMode.SAME_STEP, AutoresetMode.NEXT_STEP])
def test_talks_of_different_lengths_side_by_side_are_recorded_each_for_itself(
    store: EpisodeStore, reader: EpisodeStore, mode: AutoresetMode
) -> None:
    lengths, steps = (1, 2, 3, 2), 7
    envs = RecordVectorEpisodes(FakeTalks(*lengths, mode=mode), store, "cycle")
    rng = np.random.default_rng(0)
    envs.reset(seed=5)
    turns = 0
    for _ in range(steps):
        *_, infos = envs.step(rng.integers(11, size=len(lengths)))
        turns += int(sum(infos.get("_turn", [0]))) + int(sum(infos.get("final_info", {}).get("_turn", [0])))
        assert sum(len(each.turns) for each in reader.episodes()) == turns
    if mode == AutoresetMode.SAME_STEP:
        assert turns == steps * len(lengths)
    for place, length in enumerate(lengths):
        own = np.random.Generator(np.random.PCG64(np.random.SeedSequence(5 + place)))
        seeds = [int(own.integers(2**62)) for _ in range(steps)]
        mine = [each for each in reader.episodes() if each.seed in seeds]
        assert [each.seed for each in mine] == seeds[: len(mine)]
        assert all(len(each.turns) == length and each.finished for each in mine[:-1])
        assert all(each.persona == (f"i am {each.seed}.", "i have a dog.") for each in mine)
        for each in mine:
            assert each.turns == tuple(said(record.action, record.turn, each.seed or 0) for record in each.turns)


def test_the_actions_and_propensities_of_a_batch_go_to_their_own_talks(store: EpisodeStore) -> None:
    envs = RecordVectorEpisodes(FakeTalks(2, 2, 2), store, "random")
    envs.reset(seed=1)
    chances = np.full((3, 11), 0.07)
    chances[0, 7] = chances[2, 9] = 0.3
    chances[1] = np.nan
    envs.set_choices(chances, ["a", None, "c"])
    envs.step(np.array([7, 8, 9]))
    envs.step(np.array([0, 1, 2]))
    assert [[record.action for record in each.turns] for each in store.episodes()] == [[7, 0], [8, 1], [9, 2]]
    assert [[record.propensity for record in each.turns] for each in store.episodes()] == [
        [0.3, None],
        [None, None],
        [0.3, None],
    ]
    assert [each.turns[0].chosen_by for each in store.episodes()] == ["a", None, "c"]
    with pytest.raises(InputError, match=r"must have shape \(3, 11\), got \(2,\)"):
        envs.set_choices([0.5, 0.5])
    with pytest.raises(InputError, match="who chose in each of 3 talks"):
        envs.set_choices(np.full((3, 11), np.nan), ["a"])


def test_resetting_some_talks_leaves_the_others_going(store: EpisodeStore) -> None:
    envs = RecordVectorEpisodes(FakeTalks(3, 3, mode=AutoresetMode.DISABLED), store, "cycle")
    envs.reset(seed=1)
    envs.step(np.array([0, 0]))
    first, second = envs.episode_ids
    envs.reset(options={"reset_mask": np.array([True, False])})
    envs.step(np.array([1, 1]))
    assert envs.episode_ids[0] not in (None, first)
    assert envs.episode_ids[1] == second
    assert [len(each.turns) for each in store.episodes()] == [1, 2, 1]


def test_a_step_that_cannot_be_written_records_none_of_its_turns(store: EpisodeStore) -> None:
    envs = RecordVectorEpisodes(FakeTalks(3, 3), store, "cycle")
    envs.reset(seed=1)
    envs.step(np.array([0, 0]))
    envs.env.envs[1].turn = 5  # type: ignore[attr-defined]  # a gap in the second talk alone
    with pytest.raises(InputError, match="expected turn 2, got 6"):
        envs.step(np.array([1, 1]))
    assert [len(each.turns) for each in store.episodes()] == [1, 1]
    with pytest.raises(ResetNeeded):
        envs.step(np.array([1, 1]))
    envs.reset()
    envs.step(np.array([1, 1]))
    assert [len(each.turns) for each in store.episodes()] == [1, 1, 1, 1]


def test_the_recorded_spec_makes_the_environment_again(store: EpisodeStore) -> None:
    """Objects that JSON cannot hold are named instead, long lists counted: each episode has its own copy of the spec."""

    class Speaker:
        name = "my-speaker"

    env = FakeTalkEnv()
    kwargs = {
        "num_turns": 3,
        "responder": Speaker(),
        "personas": [["i am."]] * 500,
        "goals": GoalSet(("a.",), {}),
        "x": np.float64(2),
    }
    env.spec = EnvSpec("PersonaChat-v0", kwargs={**kwargs, "num_envs": 4, "vectorization_mode": "sync"})
    recorded = RecordEpisodes(env, store, "cycle")
    recorded.reset(seed=1)
    recorded.step(0)
    assert next(store.episodes()).spec == {
        "id": "PersonaChat-v0",
        "num_turns": 3,
        "responder": "my-speaker",
        "personas": "500 items",
        "goals": ["a."],
        "x": 2.0,
    }


def replayed(episode: Episode) -> list[tuple[str, str, float]]:
    """The turns of another environment of the same spec under the same seed and actions."""
    env = gym.make(episode.spec["id"], **env_kwargs())  # type: ignore[arg-type]
    env.reset(options={"episode_seed": episode.seed, "history": episode.history})
    turns = []
    for record in episode.turns:
        _, reward, _, _, info = env.step(record.action)
        turns.append((info["line"], info["reply"], float(reward)))
    return turns


def test_an_episode_of_the_real_environment_can_be_replayed_from_its_record(store: EpisodeStore) -> None:
    env = RecordEpisodes(gym.make("PersonaChat-v0", **env_kwargs()), store, "cycle")
    env.reset(seed=1, options={"history": ["hi.", "hello."]})
    for action in (3, 1, 4, 1):
        env.step(action)
    (episode,) = store.episodes(finished=True)
    assert (episode.policy, episode.responder, episode.goal_speaker) == ("cycle", "echo", "echo")
    assert replayed(episode) == [(record.line, record.reply, record.reward) for record in episode.turns]


def test_episodes_of_the_real_vector_environment_can_be_replayed_from_their_records(store: EpisodeStore) -> None:
    envs = gym.make_vec("PersonaChat-v0", num_envs=3, vectorization_mode="vector_entry_point", **env_kwargs())
    recorded = RecordVectorEpisodes(envs, store, "random")
    recorded.reset(seed=1)
    rng = np.random.default_rng(0)
    for _ in range(6):  # episodes have 4 turns
        recorded.step(rng.integers(11, size=3))
    episodes = list(store.episodes())
    assert [(len(each.turns), each.finished) for each in episodes] == [(4, True)] * 3 + [(2, False)] * 3
    assert len({each.seed for each in episodes}) == 6
    for episode in episodes:
        assert "num_envs" not in episode.spec
        assert replayed(episode) == [(record.line, record.reply, record.reward) for record in episode.turns]


def test_training_code_sees_the_masks_of_a_recorded_vector_environment(store: EpisodeStore) -> None:
    envs = gym.make_vec("PersonaChat-v0", num_envs=3, vectorization_mode="vector_entry_point", **env_kwargs(mask_repeats=True))
    recorded = RecordVectorEpisodes(envs, store, "random")
    recorded.reset(seed=1)
    recorded.step(np.array([0, 1, 2]))
    assert (~recorded.action_masks()).nonzero()[1].tolist() == [0, 1, 2]
