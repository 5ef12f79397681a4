"""Standings, places, calibration and the published ranking of facts, on hand-made numbers."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from fakes import FakeMatcher, GatedSpeaker, env_kwargs, small_personas

from convogym.dialogue import Persona
from convogym.envs.vector import PersonaChatVectorEnv
from convogym.episodes import TurnRecord
from convogym.errors import InputError
from convogym.experiments.evaluate_calibration import draw_calibration, evaluate_calibration
from convogym.experiments.identification import (
    calibration,
    fitted_temperature,
    places,
    posteriors,
    rank_facts,
    standings,
    turns_to_first,
)
from convogym.experiments.rollout import EpisodeResult
from convogym.metrics import calibration_error, detectable_difference
from convogym.policies.baselines import CyclePolicy


def episode(persona: Persona, *replies: str) -> EpisodeResult:
    turns = tuple(TurnRecord(i + 1, 1, "ask about pets.", "so?", reply, 0.0) for i, reply in enumerate(replies))
    return EpisodeResult(5, persona, turns)


STANDING = np.array([[0.0, 0.0, -1.0], [1.0, 0.5, -3.0], [1.0, 2.0, 0.0]])


def test_places_count_ties_against_the_true_persona() -> None:
    assert places(STANDING).tolist() == [2, 1, 2]
    assert turns_to_first(STANDING) == 2
    assert turns_to_first(STANDING[:1]) == 2  # never, in one turn


def test_posteriors_are_the_softmax_of_each_turn() -> None:
    assert posteriors(np.log([[1.0, 2.0, 1.0], [3.0, 0.5, 0.5]])) == pytest.approx(
        np.array([[0.25, 0.5, 0.25], [0.75, 0.125, 0.125]])
    )


def test_standings_add_the_evidence_of_turns_up() -> None:
    personas = small_personas()
    talk = episode(personas[3], "i see.", personas[3].facts[0], personas[3].facts[1])
    [standing] = standings([talk], FakeMatcher(), personas, 0)
    assert standing.shape == (3, 21)
    assert np.diff(standing[:, 0]).tolist() == [3.0, 4.0]  # words of the persona in the replies
    assert places(standing)[-1] == 1
    [again] = standings([talk], FakeMatcher(), personas, 0)
    [other] = standings([talk], FakeMatcher(), personas, 1)
    assert np.array_equal(standing, again) and standing.shape == other.shape


def test_published_measures_count_true_facts_among_the_best() -> None:
    class Marks:
        """Likes the facts of a list, in its order."""

        def __init__(self, *liked: str) -> None:
            self.liked = liked

        def evidence(self, turns: Any, personas: Any) -> list[npt.NDArray[np.float64]]:
            row = [-float(self.liked.index(f)) if f in self.liked else -99.0 for (f,) in personas[0]]
            return [np.array(row)] * len(turns)

    pool = [*small_personas(5), Persona(("true a.", "true b.", "true c."))]
    pool[:5] = small_personas(5)
    talk = episode(pool[5], "x", "y")
    negatives = [fact for persona in small_personas(5) for fact in persona.facts]  # 20, so all are drawn
    [ranked] = rank_facts([talk], Marks("true a.", *negatives[:2], "true b.", *negatives[2:9], "true c."), pool, 0)
    assert ranked == pytest.approx((1.0, 2 / 5, 2 / 3, 2 / 3))
    [worst] = rank_facts([talk], Marks(negatives[0], "true a."), pool, 0)
    assert worst[:2] == (0.0, 1 / 5)
    with pytest.raises(InputError, match="20 facts beside the true ones, got 19"):
        rank_facts([talk], Marks(), [Persona(tuple(negatives[:11])), Persona(tuple(negatives[11:19])), pool[5]], 0)


class TestCalibration:
    def test_error_is_the_weighted_gap_of_the_bins(self) -> None:
        # bin 0.9..1: three predictions, mean 0.95, 2 of 3 right; bin 0.2..0.3: one of 0.25, right
        error = calibration_error([0.95, 0.9, 1.0, 0.25], [True, True, False, True])
        assert error == pytest.approx(3 / 4 * abs(0.95 - 2 / 3) + 1 / 4 * 0.75)

    def test_a_calibrated_posterior_has_a_small_error_and_an_overconfident_one_a_large_one(self) -> None:
        rng = np.random.default_rng(0)
        chances = rng.dirichlet(np.ones(5), size=4000)
        true = np.array([rng.choice(5, p=row) for row in chances])
        rolled = np.stack([np.roll(row, -t) for row, t in zip(chances, true, strict=True)])  # the true one first
        honest = calibration(np.log(rolled)[:, None, :])
        sharp = calibration(4 * np.log(rolled)[:, None, :])
        assert honest.error < 0.03 < 0.2 < sharp.error
        assert honest.by_turn[0] == pytest.approx(rolled[:, 0].mean())
        assert sum(each["n"] for each in honest.bins) == 4000

    def test_what_is_no_chance_is_refused(self) -> None:
        with pytest.raises(InputError, match=r"0\.\.1"):
            calibration_error([1.5], [True])


def test_the_command_measures_what_the_matcher_says_and_draws_it(tmp_path: Path) -> None:
    env = PersonaChatVectorEnv(4, autoreset_mode="NextStep", **env_kwargs(responder=GatedSpeaker("pets")))
    found = evaluate_calibration(env, CyclePolicy(11, [1]), FakeMatcher(), small_personas(), 12)
    chances = [each["chance_of_true"] for each in found["after"]]
    odds = np.exp(np.arange(1, 5))  # a word of its own more at every turn
    assert chances == pytest.approx(odds / (odds + 20))
    assert sum(each["n"] for each in found["bins"]) == 12 * 4
    mute = evaluate_calibration(env, CyclePolicy(11, [2]), FakeMatcher(), small_personas(), 12)
    assert [each["chance_of_true"] for each in mute["after"]] == pytest.approx([1 / 21] * 4)
    draw_calibration(found, tmp_path / "deep" / "c.png")
    assert (tmp_path / "deep" / "c.png").read_bytes().startswith(b"\x89PNG")


def test_detectable_difference_shrinks_with_the_root_of_the_number() -> None:
    values = np.random.default_rng(0).normal(0, 2, 10000)
    assert detectable_difference(values) == pytest.approx(2.8 * 2 / 100, rel=0.03)
    assert detectable_difference(values[:100]) == pytest.approx(10 * detectable_difference(values), rel=0.3)
    with pytest.raises(InputError, match="two or more"):
        detectable_difference([1.0])


def test_four_of_five_repetitions_find_a_detectable_difference() -> None:
    rng = np.random.default_rng(1)
    values = rng.normal(0, 1, 50)
    size = detectable_difference(values / values.std(ddof=1))
    runs = rng.normal(size, 1, (4000, 50))
    found = runs.mean(axis=1) - 1.96 * runs.std(axis=1, ddof=1) / np.sqrt(50) > 0
    assert 0.7 < found.mean() < 0.9


def test_the_temperature_undoes_what_evidence_was_multiplied_with() -> None:
    """Truth is drawn from the posteriors themselves, so the evidence is as sure as it may be; five times that is not."""
    rng = np.random.default_rng(0)
    talks = []
    for _ in range(600):
        evidence = rng.normal(size=21) * 2.0
        chances = np.exp(evidence) / np.exp(evidence).sum()
        true = rng.choice(21, p=chances)
        talks.append(np.concatenate([evidence[[true]], np.delete(evidence, true)])[None])
    assert fitted_temperature(talks) == pytest.approx(1.0, rel=0.15)
    loud = [5.0 * talk for talk in talks]
    assert fitted_temperature(loud) == pytest.approx(5.0, rel=0.15)
    assert calibration(loud).error > 4 * calibration([talk / 5 for talk in loud]).error
