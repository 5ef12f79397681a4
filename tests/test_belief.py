"""What the `belief` observation shows, by hand; and that it pays to look at it."""

import math
from typing import Any

import numpy as np
import pytest
from fakes import EchoSpeaker, FakeMatcher, FakeReader, env_kwargs, words

from convogym import grammar
from convogym.dialogue import Persona
from convogym.envs.observations import Belief, BeliefObserver, Seen
from convogym.envs.persona_chat import PersonaChatEnv
from convogym.envs.sb3 import SB3VecEnv
from convogym.envs.vector import PersonaChatVectorEnv
from convogym.errors import CheckpointError, InputError
from convogym.experiments.evaluate_policy import evaluate_policies
from convogym.goals import PUBLISHED_GOALS
from convogym.personas import load_personas
from convogym.policies.baselines import CyclePolicy, RandomPolicy
from convogym.policies.learned import load
from convogym.policies.loading import make_policy
from convogym.policies.training import train
from convogym.speakers import Request
from convogym.topics import topics

PETS, WORK, MUSIC = (PUBLISHED_GOALS.index(goal) for goal in ("ask about pets.", "talk about work.", "talk about music."))


def test_the_topic_of_a_fact_is_told_from_its_words() -> None:
    facts = grammar.facts("held-out")[::40]
    found = np.array([topics(fact.text, PUBLISHED_GOALS) for fact in facts])
    np.testing.assert_allclose(found.sum(axis=1), 1.0)
    assert np.mean(found.argmax(axis=1) == [fact.goal for fact in facts]) > 0.9


def test_a_goal_that_is_not_published_has_no_topic() -> None:
    assert topics("i have two dogs.", ("ask about pets.", "ask about cars.")).tolist() == [pytest.approx(1, abs=0.05), 0.0]


def seen(*chances: float, order: tuple[int, ...] = (0, 1, 2, 3), said: tuple[tuple[int | None, str, str], ...] = ()) -> Seen:
    """Two of four people have a dog, one of those and another work; `said` are goal, line and reply of each turn."""
    people = [("i have two dogs.", "i work as a nurse."), ("i have a dog named rex.",), ("i work as a baker.",), ()]
    belief = Belief(tuple(people[i] for i in order), np.array(chances)[list(order)])
    utterances = tuple(text for _, *texts in said for text in texts)
    goals = tuple(None if goal is None else PUBLISHED_GOALS[goal] for goal, _, _ in said)
    return Seen(np.zeros(3, np.float32), 2, np.eye(11, dtype=np.int64)[MUSIC] * 2, utterances, belief, goals)


def observed(what: Seen) -> dict[str, Any]:
    [vector] = BeliefObserver(PUBLISHED_GOALS, 8).observe([what])
    assert isinstance(vector, np.ndarray) and BeliefObserver(PUBLISHED_GOALS, 8).space.contains(vector)
    doubt, surest, rest = vector[0], vector[1], vector[2:]
    return {"doubt": doubt, "surest": surest, "worth": rest[:11], "share": rest[11:22], "turn": rest[22], "counts": rest[23:]}


def test_the_numbers_are_those_computed_by_hand() -> None:
    told = observed(seen(0.25, 0.25, 0.25, 0.25))
    assert told["doubt"] == pytest.approx(1.0) and told["surest"] == pytest.approx(0.25)
    assert told["share"][PETS] == pytest.approx(0.65 * 0.5, abs=0.02)
    assert told["share"][MUSIC] == told["worth"][MUSIC] == 0  # taken already
    # asked about pets: each of two says so with 0.65 / 4, or nobody does; what is not told is whether one of the two will
    answers = -2 * 0.1625 * math.log(0.1625) - 0.675 * math.log(0.675)
    whether = 0.5 * (-0.65 * math.log(0.65) - 0.35 * math.log(0.35))
    assert told["worth"][PETS] == pytest.approx((answers - whether) / math.log(4), abs=0.03)
    assert told["turn"] == pytest.approx(2 / 8) and told["counts"][MUSIC] == pytest.approx(2 / 8)


def test_who_is_known_leaves_nothing_to_find_out() -> None:
    told = observed(seen(1.0, 0.0, 0.0, 0.0))
    assert told["doubt"] == pytest.approx(0) and told["surest"] == 1
    assert told["worth"].max() == pytest.approx(0, abs=0.01)
    assert told["share"][PETS] == pytest.approx(0.65, abs=0.05)


SHRUG = (PETS, "do you have pets?", "i would rather not say.")
TOLD = (PETS, "do you have pets?", "my dog is named rex.")


def test_who_would_have_answered_is_less_likely_after_a_shrug() -> None:
    told = observed(seen(0.25, 0.25, 0.25, 0.25, said=(SHRUG,)))
    # 0.35 of those with a dog keep silent: 0.35, 0.35, 1, 1 over 2.7; work is a matter of the first and the third
    assert told["surest"] == pytest.approx(1 / 2.7, abs=0.01)
    assert told["share"][WORK] == pytest.approx(0.65 * 1.35 / 2.7, abs=0.02)


def test_a_goal_asked_in_vain_counts_once_and_an_answered_one_not_at_all() -> None:
    once, twice, then, nothing = (
        observed(seen(0.4, 0.3, 0.2, 0.1, said=said))["surest"]
        for said in ((SHRUG,), (SHRUG, SHRUG), (SHRUG, TOLD), ((None, *SHRUG[1:]),))
    )
    assert once == twice != then == nothing == pytest.approx(0.4)  # and lines of the history had no goal


def test_whose_fact_the_question_names_may_have_said_yes() -> None:
    told = observed(seen(0.4, 0.3, 0.2, 0.1, said=((WORK, "do you work as a nurse?", "yes, i do."),)))
    assert told["surest"] == pytest.approx(
        0.4 / (0.4 + 0.3 + 0.35 * 0.2 + 0.1), abs=0.01
    )  # of the nurse and the baker, the baker


def test_the_order_of_the_line_up_tells_nothing() -> None:
    chances = (0.4, 0.3, 0.2, 0.1)
    rows = BeliefObserver(PUBLISHED_GOALS, 8).observe([seen(*chances), seen(*chances, order=(2, 0, 3, 1))])
    first, other = (np.asarray(row, np.float64) for row in rows)
    np.testing.assert_allclose(first, other, atol=1e-6)


def test_belief_needs_a_judge_in_the_reward() -> None:
    with pytest.raises(InputError, match="have it in `reward`"):
        PersonaChatEnv(**env_kwargs(observation="belief", reward="repetition"))


def test_the_environment_shows_the_belief_that_it_rewards() -> None:
    env = PersonaChatEnv(**env_kwargs(observation="belief", responder=EchoSpeaker(), num_turns=3))
    observation, _ = env.reset(seed=3)
    assert isinstance(observation, np.ndarray)
    assert observation[0] == pytest.approx(1.0) and observation[1] == pytest.approx(1 / 21)
    total = 0.0
    for action in (1, 2, 3):
        observation, reward, *_ = env.step(action)
        total += reward
    belief = env.parts.reward.belief(env.talk.memories)
    assert belief is not None
    assert isinstance(observation, np.ndarray) and observation[1] == pytest.approx(belief.chances.max(), abs=1e-6)
    assert math.log(belief.chances[0] * 21) == pytest.approx(total, abs=1e-6)  # the true persona comes first in the line-up


class Open(EchoSpeaker):
    """Asked about a topic, it tells its fact on it, and shrugs where it has none."""

    name = "open"

    def text(self, request: Request) -> str:
        """As speaker 1 the goal alone."""
        if request.goals:
            return str(request.goals[-1])
        goal = PUBLISHED_GOALS.index(request.history[-1])
        return next((fact for fact in request.persona if topics(fact, PUBLISHED_GOALS)[goal] > 0.5), "i see.")


class Words(FakeMatcher):
    """Fits by shared words, quicker than by looking for each."""

    def evidence(self, turns: Any, personas: Any) -> list[Any]:
        """One unit for each word of the reply that a candidate has and that is longer than two letters."""
        return [
            np.array([float(len({w for w in words(reply) if len(w) > 2} & set(words(" ".join(p))))) for p in candidates])
            for (_, reply), candidates in zip(turns, personas, strict=True)
        ]


class OpenReader(FakeReader, Words):
    """Judge and matcher in one."""

    evidence = Words.evidence


def make(observation: str, mode: str) -> PersonaChatVectorEnv:
    people: list[Persona] = list(load_personas("grammar-train")[:200])
    return PersonaChatVectorEnv(
        32,
        **env_kwargs(responder=Open(), reader=OpenReader(), personas=people, num_turns=3),
        observation=observation,
        autoreset_mode=mode,
    )


@pytest.mark.slow
def test_who_sees_the_belief_learns_to_ask_what_the_line_up_has_to_tell(tmp_path: Any) -> None:
    """Topics differ between people, so no fixed order can know what to ask; who sees the line-up can."""
    learned = train(
        "ppo",
        SB3VecEnv(make("belief", "SameStep")),
        6144,
        0,
        goals=PUBLISHED_GOALS,
        goal_blocks=2,
        environment={"observation": "belief"},
    )
    learned.save(tmp_path / "asker")
    again = load(tmp_path / "asker")
    assert again.spec.goal_blocks == 2 and again.observation == "belief"
    envs = [make("belief", "NextStep"), *[make("goals", "NextStep")] * 2]
    found = evaluate_policies([again, CyclePolicy(11, [1, 2, 6]), RandomPolicy(11)], envs, 160)
    name = again.name
    assert [gap["winner"] for gap in found["differences"][:2]] == [name, name]
    with pytest.raises(CheckpointError, match="observations of 36 numbers"):
        make_policy(tmp_path / "asker", 11, 0, observation_size=12)
