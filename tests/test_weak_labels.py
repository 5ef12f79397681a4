"""The lexicon finds plain questions, keeps off their look-alikes, and is right far more often than not."""

import time

import pytest

from convogym import steered_talk
from convogym.dialogue import Dialogue, Turn
from convogym.goals import PUBLISHED_GOALS
from convogym.weak_labels import label, weak_goals

PLAIN = {
    "Do you have any kids ?": 0,
    "oh nice. how old are your children?": 0,
    "tell me about your family": 0,
    "so do you have any pets": 1,
    "What kind of dogs do you have?": 1,
    "i have two cats. how about you?": 1,
    "hi! what do you do for a living?": 2,
    "i'm a nurse, what do you do?": 2,
    "where do u work ?": 2,
    "are you married ?": 3,
    "do you have a girlfriend?": 3,
    "where do you like to travel to?": 4,
    "have you ever been to Italy?": 4,
    "how old are you?": 5,
    "are you male or female ?": 5,
    "i'm 32. and you?": 5,
    "What do you like to do for fun?": 6,
    "do you have any hobbies?": 6,
    "what\u2019s your favourite food?": 7,
    "do you like sushi?": 7,
    "Have you seen any good movies lately?": 8,
    "Have you seen Heat (1995) ?": 8,
    "it's like that old film! did you see it?": 8,
    "what kind of music do you listen to?": 9,
    "who are you listening to these days?": 9,
    "are you interested in politics?": 10,
    "the election is on sunday. will you go?": 10,
}
NOTHING = [
    "hi, how are you today?",
    "are you kidding?",
    "do you like hot dogs",
    "do you work out?",
    "how does that work?",
    "did you like their new single?",
    "i have two dogs.",
    "were you happy as children?",
    "it was voted the best album ever.",
    "you?",
    "?",
    "",
    "👍🏽 \u2028 ???",
]


@pytest.mark.parametrize(("line", "code"), PLAIN.items())
def test_a_plain_question_shows_its_goal(line: str, code: int) -> None:
    assert weak_goals(line) == (PUBLISHED_GOALS[code],)


@pytest.mark.parametrize("line", NOTHING)
def test_a_line_without_a_clear_goal_gets_none(line: str) -> None:
    assert weak_goals(line) == ()


def test_a_line_may_carry_out_several_goals() -> None:
    assert weak_goals("are you married? any kids?") == ("ask about kids.", "ask about marital status.")


def test_a_bounced_question_asks_what_was_asked_before() -> None:
    assert weak_goals("none, sorry. what about you?", "do you have any pets?") == ("ask about pets.",)
    assert weak_goals("none, sorry. what about you?") == ()
    assert weak_goals("none, sorry. why?", "do you have any pets?") == ()


def test_only_unlabelled_lines_are_labelled() -> None:
    turns = (
        Turn("are you married?", "do you have any pets?"),
        Turn("no. do you?", "yes.", None, None, ("yes.", "no.")),
        Turn("are you married?", "no.", ()),
        Turn("hello?", None, ("ask about kids.",)),
    )
    labelled = label(Dialogue(turns, source="x"))
    goals = [turn.goals for turn in labelled.turns]
    assert goals == [("ask about marital status.",), ("ask about pets.",), (), ("ask about kids.",)]
    assert labelled.turns[1].candidates == ("yes.", "no.") and labelled.source == "x"


def test_guesses_on_steered_talk_dev_are_precise() -> None:
    right = guessed = 0
    for dialogue in steered_talk.load("dev"):
        previous = ""
        for turn in dialogue.turns:
            guesses = weak_goals(turn.line, previous)
            right += len(set(guesses) & set(turn.goals or ()))
            guessed += len(guesses)
            previous = turn.reply or ""
    assert guessed >= 150 and right / guessed >= 0.95


def test_labelling_is_fast_and_no_text_makes_it_slow() -> None:
    lines = [turn.line for dialogue in steered_talk.load("train") for turn in dialogue.turns]
    hostile = ["what do you " * 160, "do you have " + "a " * 900, "i have a dog " * 150 + "?", "?" * 2000, "any kids " * 220]
    start = time.process_time()
    for line in lines + hostile:
        weak_goals(line)
    assert time.process_time() - start < 5  # a fifth of a second on an idle core
