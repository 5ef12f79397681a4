"""Persona consistency: what is asked, how shares are counted, who is in a lineup."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from fakes import FakeMatcher, small_personas
from tiny import tiny_model

from convogym.dialogue import Dialogue, Persona, Turn
from convogym.errors import InputError
from convogym.experiments.evaluate_persona import DISTRACTORS, answers, evaluate_persona, is_first, lineup
from convogym.readers import write_dialogues

GOAL = ("ask about pets.",)
PERSONA = Persona(("i have two huge dogs.", "i work as a baker."))
TALK = Dialogue(
    (
        Turn("hello.", "i have two huge dogs.", (), (0,)),  # no question
        Turn("any pets?", "two huge dogs.", GOAL, (0,)),
        Turn("any more?", "dogs, and i work as a baker.", GOAL, (0, 1)),  # two facts
        Turn("any kids?", "no.", GOAL, ()),  # none
        Turn("your job?", "baker, early work.", ("talk about work.",), (1,)),
    ),
    PERSONA,
)


def test_only_questions_whose_true_reply_reveals_one_fact_are_asked() -> None:
    found = answers([TALK], [["a", "dogs, huge ones.", "b", "c", "two huge dogs."]], is_grammar=False)
    assert [(each.question, each.fact) for each in found] == [("any pets?", PERSONA.facts[0]), ("your job?", PERSONA.facts[1])]
    assert found[0].said == (True, False, None) and found[1].said == (False, True, None)
    assert all(each.gold.states_fact for each in found)


def test_a_lineup_has_the_true_persona_first_and_shares_no_fact_with_the_others() -> None:
    pool = (*small_personas(40), Persona(("i have pet0.", "i am odd.")))
    candidates = lineup(pool[0], pool, np.random.default_rng(0))
    assert len(candidates) == DISTRACTORS + 1 and candidates[0] == pool[0].facts
    assert not any(set(other) & set(pool[0].facts) for other in candidates[1:])
    assert len(set(candidates)) == len(candidates)
    with pytest.raises(InputError, match="needs 31 others"):
        lineup(pool[0], pool[:20], np.random.default_rng(0))


def test_the_true_persona_must_be_likelier_than_every_other() -> None:
    """The fake matcher counts a reply's words that a candidate has."""
    candidates = [PERSONA.facts, ("i have pet1.", "i like food1.")]
    assert is_first(FakeMatcher(), TALK, ["two huge dogs."], candidates)
    assert not is_first(FakeMatcher(), TALK, ["pet1, food1!"], candidates)
    assert not is_first(FakeMatcher(), TALK, ["hm."], candidates)  # a tie is no hit


def test_the_evaluation_of_grammar_dialogues_has_exact_labels(tmp_path: Path) -> None:
    tiny_model().save(tmp_path / "model")
    found = evaluate_persona(str(tmp_path / "model"), None, 6, 0)
    assert found["dialogues"] == 6 and found["n"] > 10
    assert found["rule_on_gold"]["states_fact"] == 1.0 and found["rule_on_gold"]["other_fact"] == 0.0
    for name in ("states_fact", "other_fact", "contradicts", "matcher_hits_at_1", "model_hits_at_1"):
        low, high = found[f"{name}_interval"]
        assert 0 <= low <= found[name] <= high <= 1
        assert name in found["protocol"]
    assert found["matcher_hits_at_1"] > 0.5 > found["model_hits_at_1"]  # the true replies show who speaks, babble does not
    json.dumps(found, allow_nan=False)


def test_a_file_is_judged_by_words(tmp_path: Path) -> None:
    talks = [
        Dialogue((Turn("any pets?", persona.facts[0], GOAL, (0,)),), persona) for persona in small_personas(DISTRACTORS + 1)
    ]
    write_dialogues(tmp_path / "talks.jsonl", talks)
    tiny_model().save(tmp_path / "model")
    found = evaluate_persona(str(tmp_path / "model"), tmp_path / "talks.jsonl", 4, 0, "mbr", 2)
    assert found["n"] == 4 and "contradicts" not in found and found["rule_on_gold"]["states_fact"] == 1.0
    assert found["protocol"]["decoding"].startswith("minimum Bayes risk: of 2 sampled")
    write_dialogues(tmp_path / "few.jsonl", talks[:5])
    with pytest.raises(InputError, match="take a larger file"):
        evaluate_persona(str(tmp_path / "model"), tmp_path / "few.jsonl", None, 0)


def test_of_a_file_without_labels_only_whole_talks_are_judged(tmp_path: Path) -> None:
    talks = [Dialogue((Turn("any pets?", "well."),), persona) for persona in small_personas(DISTRACTORS + 1)]
    write_dialogues(tmp_path / "talks.jsonl", talks)
    tiny_model().save(tmp_path / "model")
    found = evaluate_persona(str(tmp_path / "model"), tmp_path / "talks.jsonl", 2, 0)
    assert found["n"] == 0 and "states_fact" not in found and "states_fact" not in found["protocol"]
    assert found["dialogues"] == 2 and 0 <= found["matcher_hits_at_1"] <= 1


def test_a_file_without_personas_is_refused(tmp_path: Path) -> None:
    write_dialogues(tmp_path / "talks.jsonl", [Dialogue((Turn("any pets?", "well."),))])
    tiny_model().save(tmp_path / "model")
    with pytest.raises(InputError, match="no dialogue has a persona"):
        evaluate_persona(str(tmp_path / "model"), tmp_path / "talks.jsonl", None, 0)
