"""Reward terms: the formulas by hand-made numbers, the drawing of distractors, weighted sums and how they are read."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from fakes import EchoSpeaker, FakeJudge, FakeMatcher, FakeReader, FakeScorer, small_personas
from hypothesis import given, settings
from hypothesis import strategies as st

from convogym.dialogue import Persona
from convogym.envs.rewards import (
    REWARDS,
    GoalFollowing,
    Identification,
    Ranking,
    Repetition,
    Reward,
    Scene,
    build_reward,
    log_posterior,
    parse_reward,
    repetition,
    triplet_loss,
)
from convogym.errors import InputError, UnknownNameError
from convogym.goals import DEFAULT_GOALS


def scene(**changes: Any) -> Scene:
    plain: dict[str, Any] = {
        "persona": ("i have pet0.", "i work as job0."),
        "previous": "",
        "goal": "ask about pets.",
        "line": "do you have pets?",
        "reply": "i see.",
        "earlier_replies": (),
        "state": np.zeros(16, dtype=np.float32),
    }
    return Scene(**{**plain, **changes})


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


class TestTripletLoss:
    @pytest.mark.parametrize(("facts", "loss"), [(3, 18.0), (4, 20.0), (5, 20.0)])
    def test_state_equally_far_from_all_facts_costs_the_margin_of_every_pair_in_a_whole_chunk(
        self, facts: int, loss: float
    ) -> None:
        assert triplet_loss(np.zeros(8), np.ones((facts, 8)), np.ones((20, 8))) == loss

    def test_pairs_each_positive_with_its_own_negative_of_each_chunk_and_drops_the_incomplete_chunk(self) -> None:
        state = np.array([0.0])
        positives = np.array([[1.0], [4.0]])
        negatives = np.array([[1.5], [4.5], [9.0], [2.0], [0.0]])
        # chunk 1: 1 - 1.5 + 1 = 0.5, 4 - 4.5 + 1 = 0.5; chunk 2: max(0, 1 - 9 + 1) = 0, 4 - 2 + 1 = 3; the last one is dropped
        assert triplet_loss(state, positives, negatives) == pytest.approx(4.0)

    def test_distances_are_euclidean(self) -> None:
        assert triplet_loss(np.zeros(2), np.array([[3.0, 4.0]]), np.zeros((1, 2))) == pytest.approx(6.0)


class TestRanking:
    def test_state_on_the_persona_and_far_from_the_rest_is_worth_more_than_one_far_from_all(self) -> None:
        speaker = EchoSpeaker()
        personas = small_personas()
        term = Ranking(speaker.embed, personas)
        near = speaker.embed(personas[0].facts).mean(axis=0)
        scenes = [scene(persona=personas[0].facts, state=state) for state in (near, np.full(16, 50.0, dtype=np.float32))]
        good, bad = term.score(scenes, [term.begin(personas[0].facts, rng()) for _ in scenes])
        assert good > bad

    def test_negatives_are_new_at_every_turn_and_never_facts_of_the_persona(self) -> None:
        drawn: list[list[str]] = []

        def embed(texts: Any) -> npt.NDArray[np.float32]:
            drawn.append(list(texts))
            return np.zeros((len(texts), 16), dtype=np.float32)

        personas = (Persona(("mine a.", "mine b.", "mine c.")), Persona(tuple(f"other {i}." for i in range(20))))
        term = Ranking(embed, personas)
        memory = term.begin(personas[0].facts, rng())
        assert term.score([scene(persona=personas[0].facts)], [memory]) == [-18.0]
        assert len(drawn[0]) == 23 and len(set(drawn[0])) == 23

    def test_each_fact_is_embedded_once(self) -> None:
        speaker = EchoSpeaker()
        term = Ranking(speaker.embed, small_personas())
        memories = [term.begin(persona.facts, rng(i)) for i, persona in enumerate(small_personas(8))]
        scenes = [scene(persona=persona.facts) for persona in small_personas(8)]
        for _ in range(5):
            term.score(scenes, memories)
        assert len(speaker.embedded) == len(set(speaker.embedded)) > 100

    def test_too_few_other_facts_are_refused(self) -> None:
        with pytest.raises(InputError, match="needs 20 facts"):
            Ranking(EchoSpeaker().embed, small_personas(5)).begin(small_personas(5)[0].facts, rng())


class TestIdentification:
    def test_terms_of_a_talk_sum_to_what_the_talk_told_of_the_persona(self) -> None:
        personas = small_personas()
        term = Identification(FakeMatcher(), personas, num_distractors=20)
        true = personas[7].facts
        memory = term.begin(true, rng())
        replies = ["hm.", true[0], "i like food8.", true[2]]
        values = [term.score([scene(persona=true, reply=reply)], [memory])[0] for reply in replies]
        posterior = np.exp(memory.potential)
        assert sum(values) == pytest.approx(math.log(posterior) + math.log(21))
        assert values[0] == 0.0 and values[1] > 0.5 and values[3] > 0.0

    def test_distractors_are_others_and_follow_from_the_generator(self) -> None:
        personas = small_personas(21)
        term = Identification(FakeMatcher(), personas, num_distractors=20)
        for i, persona in enumerate(personas):
            candidates = term.begin(persona.facts, rng(i)).candidates
            assert candidates[0] == persona.facts
            assert len(set(candidates)) == 21
            assert candidates == term.begin(persona.facts, rng(i)).candidates

    def test_the_same_facts_in_another_order_are_no_distractor(self) -> None:
        true = ("a.", "b.")
        term = Identification(FakeMatcher(), (Persona(("b.", "a.")), Persona(("c.",)), Persona(("d.",))), num_distractors=2)
        for seed in range(10):
            assert set(term.begin(true, rng(seed)).candidates) == {true, ("c.",), ("d.",)}

    def test_a_persona_from_outside_the_pool_still_gets_all_its_distractors(self) -> None:
        term = Identification(FakeMatcher(), small_personas(21), num_distractors=20)
        assert len(term.begin(("i am new here.",), rng()).candidates) == 21

    def test_hard_distractors_share_words_with_the_true_persona(self) -> None:
        like = tuple(Persona(("i have a grey parrot.", f"i like food{i}.")) for i in range(15))
        term = Identification(FakeMatcher(), (*small_personas(), *like), num_distractors=5, hard=True)
        true = ("i have a grey parrot.", "i play chess.")
        drawn = [term.begin(true, rng(seed)).candidates for seed in range(5)]
        for candidates in drawn:
            assert len(set(candidates)) == 6 and candidates[0] == true
            assert sum("parrot" in facts[0] for facts in candidates[1:]) >= 4  # 15 of the 16 most alike are parrots' friends
        assert len(set(drawn)) > 1

    def test_more_distractors_than_other_personas_are_refused(self) -> None:
        with pytest.raises(InputError, match="below the number of different personas, 20, got 20"):
            Identification(FakeMatcher(), small_personas(20) + small_personas(20), num_distractors=20)

    def test_huge_evidence_stays_finite(self) -> None:
        assert np.isfinite(log_posterior(np.array([-1e6, 0.0, 1e6]))).all()


class TestGoalFollowing:
    def test_is_the_judges_probability_of_the_goal_asked_for(self) -> None:
        term = GoalFollowing(FakeJudge(), DEFAULT_GOALS)
        scenes = [scene(goal="ask about pets.", line="any pets?"), scene(goal="talk about music.", line="any pets?")]
        assert term.score(scenes, [None, None]) == [0.9, 0.05]

    def test_goals_the_judge_does_not_know_are_refused_at_once(self) -> None:
        with pytest.raises(InputError, match=r"talk about sports\."):
            GoalFollowing(FakeJudge(), DEFAULT_GOALS.extended("talk about sports."))


class TestRepetition:
    @pytest.mark.parametrize(
        ("reply", "earlier", "value"),
        [
            ("I have  two dogs.", ["nice.", "i have two dogs."], 1.0),
            ("i have two cats", ["i have two dogs"], 2 / 3),
            ("i have two cats", ["i have a dog", "we own two cats"], 1 / 3),
            ("yes", ["yes please"], 0.0),
            ("yes", ["Yes"], 1.0),
            ("anything at all", [], 0.0),
            ("...", ["..."], 1.0),
        ],
    )
    def test_is_one_for_equal_replies_and_else_the_largest_share_of_known_word_pairs(
        self, reply: str, earlier: list[str], value: float
    ) -> None:
        assert repetition(reply, earlier) == pytest.approx(value)

    @given(st.text(max_size=30), st.lists(st.text(max_size=30), max_size=4))
    def test_lies_between_0_and_1_and_grows_with_what_was_said(self, reply: str, earlier: list[str]) -> None:
        value = repetition(reply, earlier)
        assert 0.0 <= value <= 1.0
        assert repetition(reply, [*earlier, reply]) == 1.0


class TestSums:
    def test_reads_weights_signs_and_spaces(self) -> None:
        assert parse_reward(" 0.6*identification+ .3 * goal_following -1e-1*repetition - ranking ") == [
            (0.6, "identification"),
            (0.3, "goal_following"),
            (-0.1, "repetition"),
            (-1.0, "ranking"),
        ]
        assert parse_reward("-repetition") == [(-1.0, "repetition")]

    @pytest.mark.parametrize(
        "text",
        [
            "",
            " ",
            "2*",
            "0.5 ranking",
            "*ranking",
            "identification+",
            "identification ranking",
            "ranking+-repetition",
            "ranking+2*ranking",
            "1e999*ranking",
            "ranking;import os",
        ],
    )
    def test_what_is_no_sum_is_refused(self, text: str) -> None:
        with pytest.raises(InputError):
            parse_reward(text)

    def test_unknown_name_is_answered_with_the_nearest_ones(self) -> None:
        with pytest.raises(UnknownNameError, match="did you mean 'identification'"):
            parse_reward("0.5*identificaton")

    @settings(max_examples=50)
    @given(
        st.lists(
            st.tuples(st.floats(-1e6, 1e6, allow_subnormal=False), st.sampled_from(REWARDS)),
            min_size=1,
            unique_by=lambda x: x[1],
        )
    )
    def test_what_is_written_is_read(self, summands: list[tuple[float, str]]) -> None:
        assert parse_reward("".join(f"{weight:+.17g}*{name}" for weight, name in summands)) == summands

    def test_total_weighs_the_terms_and_values_are_unweighted(self) -> None:
        reward = Reward((2.0, GoalFollowing(FakeJudge(), DEFAULT_GOALS)), (-0.5, Repetition()))
        scenes = [scene(line="pets?", reply="i see.", earlier_replies=("i see.",))]
        [values] = reward.score(scenes, [reward.begin(scenes[0].persona, 0)])
        assert values == {"goal_following": 0.9, "repetition": 1.0}
        assert reward.total(values) == pytest.approx(2.0 * 0.9 - 0.5)

    def test_a_terms_draws_do_not_depend_on_the_terms_beside_it(self) -> None:
        personas = small_personas()

        def draws(text: str) -> Any:
            reward = build_reward(
                text,
                personas=personas,
                goals=DEFAULT_GOALS,
                embed=EchoSpeaker().embed,
                reader=FakeReader,
                scorer=FakeScorer,
                num_distractors=5,
            )
            memories = dict(zip((term.name for _, term in reward.terms), reward.begin(personas[0].facts, 3), strict=True))
            return memories["identification"].candidates

        assert draws("identification") == draws("0.1*ranking+2*identification+repetition")

    def test_the_reader_is_made_only_for_terms_that_read(self) -> None:
        def reader() -> FakeReader:
            raise AssertionError("nobody needs it")

        build_reward(
            "ranking-repetition+coverage",
            personas=small_personas(),
            goals=DEFAULT_GOALS,
            embed=EchoSpeaker().embed,
            reader=reader,
            scorer=reader,  # type: ignore[arg-type]  # never called
        )

    def test_terms_of_one_name_are_refused(self) -> None:
        with pytest.raises(InputError, match="different names"):
            Reward((1.0, Repetition()), (1.0, Repetition()))
