"""What a reply said again counts: nothing, wherever evidence is added up; by hand."""

from typing import Any

import numpy as np
import pytest
from fakes import FakeMatcher, small_personas

from convogym.dialogue import Persona
from convogym.envs.rewards import Identification, Reward, Scene, log_posterior
from convogym.episodes import SCHEMA, Episode, TurnRecord, new_id, utc_now
from convogym.evidence import new_evidence, says_again, talk_evidence
from convogym.experiments.identification import rank_facts, standings
from convogym.experiments.rescore import rescored
from convogym.experiments.rollout import EpisodeResult
from convogym.goals import PUBLISHED_GOALS

RUNNER = ("so?", "i run a coffee stand with my brother floyd.")


@pytest.mark.parametrize(
    ("line", "reply", "expected"),
    [
        ("what do you do?", "I run a coffee stand  with my brother Floyd!", True),  # the words are the same
        ("and?", "my brother floyd runs a coffee stand.", True),  # their stems are, in another order
        ("and?", "i run a coffee stand with my brother.", True),  # all of it was said
        ("and?", "i run a coffee stand in boston with my brother floyd.", True),  # five of six words
        ("and?", "my brother floyd has two dogs.", False),  # two of four
        ("and?", "i see.", False),
        ("and?", "i do not run a coffee stand with my brother floyd.", False),  # denied
    ],
)
def test_a_reply_says_again_what_an_earlier_one_has_nearly_all_words_of(line: str, reply: str, expected: bool) -> None:
    assert says_again((line, reply), [("hi!", "hello."), RUNNER]) is expected
    assert not says_again((line, reply), [])


def test_what_no_means_depends_on_the_question() -> None:
    earlier = [("do you have kids?", "no.")]
    assert says_again(("Do you  have kids?", "No."), earlier)
    assert not says_again(("do you have pets?", "no."), earlier)
    assert not says_again(("do you have kids?", "yes."), earlier)


def test_what_one_word_means_depends_on_the_question_and_on_who_denies_it() -> None:
    earlier = [("do you have kids?", "yes, two."), ("any pets?", "i have a dog.")]
    assert says_again(("do you have kids?", "two!"), earlier)
    assert not says_again(("do you have sisters?", "yes, two."), earlier)
    assert says_again(("any pets?", "a dog."), earlier)
    assert not says_again(("any pets?", "no, i don't have a dog."), earlier)


def test_only_what_is_new_is_asked_of_the_matcher() -> None:
    turns = [("so?", "i like tea."), ("so?", "tea, i like."), ("so?", "and a dog.")]
    people = [("i like tea.",), ("i have a dog.",)]
    assert talk_evidence(FakeMatcher(), turns, people).tolist() == [[3.0, 1.0], [0.0, 0.0], [0.0, 2.0]]
    assert talk_evidence(FakeMatcher(), [], people).shape == (0, 2)
    again, other = new_evidence(FakeMatcher(), [turns[1], turns[2]], [turns[:1], []], [people, people[1:]])
    assert again.tolist() == [0.0, 0.0] and other.tolist() == [2.0]


def scene(persona: Persona, reply: str) -> Scene:
    return Scene(persona.facts, "", "ask about pets.", "so?", reply, (), np.zeros(2, np.float32))


def test_asking_again_does_not_pay_and_the_sum_still_telescopes() -> None:
    personas = small_personas()
    term = Identification(FakeMatcher(), personas)
    memory = term.begin(personas[3].facts, np.random.default_rng(0))
    said = [personas[3].facts[0], "i see.", personas[3].facts[0], personas[3].facts[1]]
    gains = [term.score([scene(personas[3], reply)], [memory])[0] for reply in said]
    assert gains[2] == 0.0 and gains[0] > 0
    once = FakeMatcher().evidence([("so?", reply) for reply in (said[0], said[1], said[3])], [memory.candidates] * 3)
    assert sum(gains) == pytest.approx(log_posterior(np.sum(once, axis=0))[0] + np.log(21))


def test_rescoring_standings_and_ranked_facts_count_alike() -> None:
    personas = small_personas()
    facts = personas[3].facts
    turns = tuple(TurnRecord(i + 1, 1, "ask about pets.", "so?", reply, 0.0) for i, reply in enumerate([facts[0], facts[0]]))
    who: dict[str, Any] = {"policy": "cycle", "responder": "echo", "goal_speaker": "asker", "goals": PUBLISHED_GOALS}
    episode = Episode(new_id(), SCHEMA, utc_now(), persona=facts, seed=5, turns=turns, **who)
    [anew] = rescored([episode], Reward((1.0, Identification(FakeMatcher(), personas))))
    assert anew.turns[0].reward > 0 and anew.turns[1].reward == 0.0
    [standing] = standings([EpisodeResult(5, personas[3], turns)], FakeMatcher(), personas, 0)
    assert np.array_equal(standing[0], standing[1])
    both, one = (rank_facts([EpisodeResult(5, personas[3], turns[:k])], FakeMatcher(), personas, 0) for k in (2, 1))
    assert both == one
