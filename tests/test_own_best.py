"""Which of a model's draws are good enough to learn from."""

from __future__ import annotations

from convogym.agents.loading import load
from convogym.agents.reader import load_reader
from convogym.dialogue import Dialogue, Persona, Turn
from convogym.experiments.own_best import CERTAIN, best_reply, with_own_lines, with_own_replies
from convogym.goals import DEFAULT_GOALS

FACTS = ("i have two ocelots.", "i live in oslo.")
TALK = Dialogue(
    (
        Turn("do you have any pets?", "yes, two ocelots.", ("ask about pets.",), (0,)),
        Turn("where are you from?", "i live in oslo, by the sea.", (), (1,)),
        Turn("nice. what do you do for fun?", "not much, i am always tired.", ("ask about hobbies.",), ()),
        Turn("bye!", None),
    ),
    Persona(FACTS),
)


def test_the_best_reply_states_what_the_written_one_does_and_agrees_with_the_other_draws() -> None:
    asked = TALK.turns[0]
    draws = ["no pets.", "yes i have two ocelots.", "i have two ocelots and a boat.", "two ocelots in oslo."]
    assert best_reply(asked, FACTS, draws, ()) == "yes i have two ocelots."
    assert best_reply(asked, FACTS, draws, ("Yes, I have two ocelots!",)) == "i have two ocelots and a boat."


def test_no_reply_is_good_that_states_another_fact_or_not_the_one_that_was_written() -> None:
    asked = TALK.turns[0]
    assert best_reply(asked, FACTS, ["no.", "i live in oslo.", ""], ()) is None
    nothing = TALK.turns[2]
    assert best_reply(nothing, FACTS, ["i live in oslo.", "not much, you?"], ()) == "not much, you?"
    assert best_reply(asked, FACTS, ["two ocelots. two ocelots!", "no."], ()) is None


def test_own_replies_are_draws_or_what_was_written_and_everything_else_stays() -> None:
    model = load("persona-mini")
    talks = [TALK] * 6
    found = with_own_replies(model, talks, 4, 0)
    assert found == with_own_replies(model, talks, 4, 0)
    assert {each.reply for talk in found for each in talk.turns} > {each.reply for each in TALK.turns}
    for talk in found:
        assert talk.persona == TALK.persona and [t.line for t in talk.turns] == [t.line for t in TALK.turns]
        assert [t.facts for t in talk.turns[:3]] == [(0,), (1,), ()] and talk.turns[3] == TALK.turns[3]


def test_own_lines_carry_out_the_goal_they_are_labelled_with() -> None:
    model, judge = load("persona-mini"), load_reader()
    found = with_own_lines(model, judge, [TALK] * 6, 4, 0)
    own = [
        (talk.turns[i - 1].reply or "" if i else "", turn)
        for talk in found
        for i, turn in enumerate(talk.turns)
        if turn != TALK.turns[i]
    ]
    assert 4 <= len(own) <= 24
    chances = judge.probabilities([before for before, _ in own], [turn.line for _, turn in own])
    for (_, turn), chance in zip(own, chances, strict=True):
        assert turn.goals is not None and chance[DEFAULT_GOALS.code(turn.goals[0])] >= CERTAIN
        assert turn.reply in [each.reply for each in TALK.turns]
