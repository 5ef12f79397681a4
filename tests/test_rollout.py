from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes import EchoSpeaker, env_kwargs, small_personas

from convogym.dialogue import Persona
from convogym.envs.recorder import RecordVectorEpisodes
from convogym.envs.vector import PersonaChatVectorEnv
from convogym.errors import InputError
from convogym.experiments.rollout import EpisodeResult, run_episodes
from convogym.policies.base import PolicyLeft
from convogym.policies.baselines import CyclePolicy, RandomPolicy
from convogym.policies.human import HumanPolicy
from convogym.store import EpisodeStore


def make(num_envs: int, **changes: Any) -> PersonaChatVectorEnv:
    return PersonaChatVectorEnv(num_envs, autoreset_mode="NextStep", **env_kwargs(**changes))


def run(num_envs: int, policy: Any, number: int = 5, **options: Any) -> list[EpisodeResult]:
    return run_episodes(make(num_envs), policy, range(100, 100 + number), **options)


@pytest.mark.parametrize("policy", [RandomPolicy(11, 3), CyclePolicy(11)], ids=["random", "cycle"])
@pytest.mark.parametrize("num_envs", [2, 5, 8])
def test_results_do_not_depend_on_how_many_run_at_once(policy: Any, num_envs: int) -> None:
    assert run(1, policy) == run(num_envs, policy)


def test_there_is_one_result_per_seed_in_their_order_with_every_turn() -> None:
    results = run(3, CyclePolicy(11), number=7)
    assert [result.seed for result in results] == list(range(100, 107))
    assert all(result.actions == (0, 1, 2, 3) and [t.turn for t in result.turns] == [1, 2, 3, 4] for result in results)


def test_no_turn_is_spoken_beyond_the_episodes_asked_for() -> None:
    speaker = EchoSpeaker()
    run_episodes(make(4, responder=speaker, goal_speaker=speaker), CyclePolicy(11), range(6))
    assert len(speaker.requests) == 6 * 4 * 2


def test_given_personas_are_those_who_answer() -> None:
    personas = [Persona((f"i am number {i}.",)) for i in range(5)]
    results = run(2, CyclePolicy(11), personas=personas)
    assert [result.persona for result in results] == personas
    assert [{turn.reply for turn in result.turns} for result in results] == [set(persona.facts) for persona in personas]


def test_without_personas_each_seed_draws_one_of_the_environments() -> None:
    results = run(2, CyclePolicy(11), number=8)
    assert {result.persona for result in results} <= set(small_personas())
    assert len({result.persona for result in results}) > 1


def test_the_policy_seed_changes_what_is_drawn() -> None:
    first, same, other = (run(2, RandomPolicy(11), policy_seed=seed) for seed in (0, 0, 1))
    assert first == same
    assert [result.actions for result in first] != [result.actions for result in other]


def test_results_add_up() -> None:
    (result,) = run(1, CyclePolicy(11), number=1)
    assert result.total == pytest.approx(sum(turn.reward for turn in result.turns))
    assert result.total == pytest.approx(result.reward_terms["identification"])
    repeats = sum(turn.reply in [earlier.reply for earlier in result.turns[:i]] for i, turn in enumerate(result.turns))
    assert result.faults["repeated"] == repeats
    assert all(turn.line in result.transcript and turn.reply in result.transcript for turn in result.turns)


def test_masks_reach_the_policy() -> None:
    results = run_episodes(make(3, mask_repeats=True), RandomPolicy(11), range(6))
    assert all(len(set(result.actions)) == 4 for result in results)
    assert [turn.propensity for turn in results[0].turns] == pytest.approx([1 / 11, 1 / 10, 1 / 9, 1 / 8])


def test_a_recorded_run_stores_exactly_its_episodes_with_their_propensities(tmp_path: Path) -> None:
    with EpisodeStore(tmp_path / "episodes.db") as store:
        results = run_episodes(RecordVectorEpisodes(make(4), store, "random"), RandomPolicy(11), range(6))
        episodes = list(store.episodes())
    assert all(episode.finished for episode in episodes)
    key = [(episode.persona, episode.turns) for episode in episodes]
    assert sorted(key, key=repr) == sorted([(result.persona.facts, result.turns) for result in results], key=repr)
    assert all(turn.propensity == pytest.approx(1 / 11) for episode in episodes for turn in episode.turns)


def test_callbacks_hear_of_every_episode_as_it_ends() -> None:
    heard: list[tuple[int, int]] = []
    ended: dict[int, EpisodeResult] = {}
    results = run(2, CyclePolicy(11), progress=lambda done, of: heard.append((done, of)), on_episode=ended.__setitem__)
    assert heard == [(i, 5) for i in range(1, 6)]
    assert [ended[i] for i in range(5)] == results


def test_a_person_who_leaves_ends_the_run_with_the_turns_recorded(tmp_path: Path) -> None:
    answers = iter(["pets", "work"])

    def read(prompt: str) -> str:
        try:
            return next(answers)
        except StopIteration:
            raise EOFError from None

    with EpisodeStore(tmp_path / "episodes.db") as store:
        with pytest.raises(PolicyLeft):
            policy = HumanPolicy(read=read, write=lambda text: None)
            run_episodes(RecordVectorEpisodes(make(1), store, "human"), policy, [0])
        (episode,) = store.episodes()
    assert [turn.action for turn in episode.turns] == [1, 2] and not episode.finished


def test_no_seeds_give_no_results() -> None:
    assert run_episodes(make(2), CyclePolicy(11), []) == []


def test_unusable_arguments_are_refused_with_what_was_expected() -> None:
    with pytest.raises(InputError, match="NextStep"):
        run_episodes(PersonaChatVectorEnv(2, **env_kwargs()), CyclePolicy(11), [0])
    with pytest.raises(InputError, match="2 seeds, got 1"):
        run_episodes(make(2), CyclePolicy(11), [0, 1], list(small_personas(1)))


def test_the_state_of_a_policy_follows_its_row() -> None:
    class Counting(CyclePolicy):
        """Remembers which place in the order it was given for each row."""

        seen: list[list[int]] = []  # noqa: RUF012  # of one test

        def predict(self, observation: Any, state: Any = None, *rest: Any, **more: Any) -> Any:
            self.seen.append([] if state is None else np.asarray(state).tolist())
            return super().predict(observation, state, *rest, **more)

    policy = Counting(11)
    run(2, policy, number=3)
    assert policy.seen[:4] == [[], [1, 1], [2, 2], [3, 3]]
    assert policy.seen[5:] == [[1], [2], [3]]
