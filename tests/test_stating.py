"""Whether a reply states a fact, contradicts a persona: replies judged by hand, and the grammar's own labels."""

from __future__ import annotations

import numpy as np
import pytest

from convogym import grammar, steered_talk
from convogym.dialogue import Dialogue, Persona, Turn
from convogym.grammar import Fact
from convogym.stating import content_words, grammar_verdict, stated_by_words, stated_share, worded_verdict

BY_TEXT = {fact.text: fact for split in grammar.SPLITS for fact in grammar.facts(split)}
CAT = Fact("i have a cat named momo.", 1, "pets.has", ("cat", "momo"))
NURSE = Fact("i am a nurse.", 2, "work.job", ("nurse",))
PERSONA = (CAT, NURSE)


@pytest.mark.parametrize(
    ("reply", "verdict"),
    [
        ("momo, my cat.", (True, False, False)),
        ("a cat. i'm a nurse, so momo waits at home.", (True, True, False)),
        ("i am a nurse.", (False, True, False)),
        ("i would rather not say.", (False, False, False)),
        ("i have three dogs.", (False, False, True)),  # "i have three dogs." is a fact of the grammar
        ("momo the cat, and i am allergic to dogs.", (True, False, True)),
        ("i work as a baker.", (False, False, False)),  # invented, but on another topic
    ],
)
def test_replies_to_a_question_about_pets(reply: str, verdict: tuple[bool, bool, bool]) -> None:
    assert grammar_verdict(reply, "do you have pets?", PERSONA, 0) == verdict


def test_naming_what_the_question_named_contradicts_nothing() -> None:
    assert not grammar_verdict("no, no dog.", "do you have a dog?", PERSONA, 0).contradicts
    assert grammar_verdict("no, a parrot.", "do you have a dog?", PERSONA, 0).contradicts


def test_the_grammars_own_replies_are_judged_as_it_labels_them() -> None:
    rng = np.random.default_rng(0)
    asked = contradicted = strangers = 0
    for _ in range(60):
        talk = grammar.dialogue(rng, "held-out")
        assert talk.persona is not None
        persona = [BY_TEXT[text] for text in talk.persona.facts]
        for turn in talk.turns:
            if turn.goals and turn.facts and len(turn.facts) == 1 and turn.reply:
                [fact] = turn.facts
                verdict = grammar_verdict(turn.reply, turn.line, persona, fact)
                assert verdict.states_fact and not verdict.other_fact
                asked += 1
                contradicted += bool(verdict.contradicts)
                other = grammar.sample_persona(rng, "held-out", 1)[0]
                while other.goal != persona[fact].goal:
                    other = grammar.sample_persona(rng, "held-out", 1)[0]
                strangers += bool(grammar_verdict(other.text, turn.line, persona, fact).contradicts)
    assert asked > 150
    assert contradicted <= 0.02 * asked  # chance meetings of keys
    assert strangers >= 0.9 * asked  # somebody else's fact on the topic


def test_content_words_are_stemmed_and_stop_words_left_out() -> None:
    assert content_words("I am baking two cakes, and the baker's dogs ran.") == {"bak", "two", "cak", "baker", "dog", "ran"}
    assert content_words("jogging studies studied glass") == {"jog", "study", "studi", "glas"}


def test_a_fact_is_stated_by_half_of_the_words_that_the_question_lacks() -> None:
    """Content of the fact: bak, bread, midnight, eight; the question has bread, so three count."""
    fact = "i bake bread from midnight to eight."
    assert stated_share("i start at midnight and finish at eight.", "do you sell bread?", fact) == pytest.approx(2 / 3)
    assert stated_share("bread, yes.", "do you sell bread?", fact) == 0
    assert stated_share("yes.", "you bake bread from midnight to eight?", fact) is None
    persona = [fact, "i collect old door keys."]
    assert worded_verdict("midnight to eight, and old keys after that.", "do you sell bread?", persona, 0) == (
        True,
        True,
        None,
    )
    assert worded_verdict("yes, keys.", "old door keys that you collect?", persona, 1) is None


def test_the_rule_by_words_finds_most_facts_of_steered_talk_and_few_others() -> None:
    """The figures that the module names."""
    told: list[bool] = []
    untold: list[bool] = []
    for talk in steered_talk.load("dev"):
        assert talk.persona is not None
        for turn in talk.turns:
            if turn.goals and turn.facts is not None and turn.reply and len(turn.facts) <= 1:
                for i, fact in enumerate(talk.persona.facts):
                    share = stated_share(turn.reply, turn.line, fact)
                    if share is not None:
                        (told if i in turn.facts else untold).append(share >= 0.5)
    assert np.mean(told) == pytest.approx(0.73, abs=0.01)
    assert np.mean(untold) == pytest.approx(0.004, abs=0.001)


def test_unlabelled_replies_are_labelled_by_their_words() -> None:
    turns = (
        Turn("what do you do?", "i bake bread all night."),
        Turn("and then?", "i sleep."),
        Turn("hm.", "i bake bread.", (), ()),
        Turn("bye.", None),
    )
    labelled = stated_by_words(Dialogue(turns, Persona(("i collect old keys.", "i bake bread."))))
    assert [turn.facts for turn in labelled.turns] == [(1,), None, (), None]  # a label that is there stays
    assert stated_by_words(Dialogue(turns)) == Dialogue(turns)
