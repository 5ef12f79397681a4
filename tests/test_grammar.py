"""The grammar keeps its word: enough facts, personas without contradictions, labels that hold."""

from __future__ import annotations

import re

import numpy as np
import pytest

from convogym import grammar
from convogym.dialogue import Dialogue
from convogym.errors import InputError
from convogym.goals import PUBLISHED_GOALS
from convogym.grammar import Fact, answer, decline, dialogue, facts, question, sample_persona, small_talk, statement, states
from convogym.text import normalise

HEAD_WORDS = (
    "kids? child(ren)?",
    "pets?",
    "work(ing)? jobs?",
    "marital married marriage",
    "travel(s|ing)?",
    "age gender",
    "hobb(y|ies)",
    "foods?",
    "movies?",
    "music(al)?",
    "politic(s|al|ally)",
)
AGE = re.compile(r"^i(?:'m| am| turned| just turned) (\d\d)\b")


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


@pytest.fixture(scope="module")
def dialogues() -> list[Dialogue]:
    rng = np.random.default_rng(11)
    return [dialogue(rng, split) for split in ("train", "held-out") for _ in range(200)]


def by_text(split: str) -> dict[str, Fact]:
    return {fact.text: fact for fact in facts(split)}


def test_there_are_thousands_of_distinct_facts() -> None:
    assert len(by_text("train")) == len(facts("train")) >= 5000
    assert len(by_text("held-out")) == len(facts("held-out")) >= 600


@pytest.mark.parametrize("goal", range(11))
def test_every_topic_has_hundreds_of_facts_of_many_kinds(goal: int) -> None:
    train = [fact for fact in facts("train") if fact.goal == goal]
    assert len(train) >= 300
    assert len({fact.kind for fact in train}) >= 6
    assert sum(fact.goal == goal for fact in facts("held-out")) >= 50


def test_splits_share_no_text_and_hardly_a_value() -> None:
    assert not by_text("train").keys() & by_text("held-out").keys()

    def values(split: str) -> set[tuple[str, frozenset[str]]]:
        return {(fact.kind, frozenset(fact.keys)) for fact in facts(split)}

    shared = values("train") & values("held-out")
    # what has no slot ("i have no pets.") can only be worded differently
    assert len(shared) < 0.02 * len(values("held-out"))
    words = {split: set(" ".join(fact.text for fact in facts(split)).split()) for split in ("train", "held-out")}
    assert len(words["held-out"] - words["train"]) > 100


def test_a_fact_states_itself_in_the_projects_spelling() -> None:
    for split in ("train", "held-out"):
        for fact in facts(split):
            assert fact.text.endswith(".") and normalise(fact.text) == fact.text
            assert fact.keys and states(fact.text, fact), fact


def test_articles_agree_with_their_nouns() -> None:
    texts = " ".join(fact.text for split in ("train", "held-out") for fact in facts(split))
    odd = {found for found in re.findall(r"\ba [aeio8]\w*|\ban [^aeiou8]\w*", texts)}
    assert odd <= {"an 11", "an 18", "a one"}


def test_personas_hold_no_contradiction(rng: np.random.Generator) -> None:
    forbidden = [
        ({"pets.none", "pets.allergic"}, {"pets.has", "pets.adopted", "pets.loves", "pets.farm", "pets.fish", "pets.breed"}),
        ({"kids.none", "kids.never", "kids.want"}, {"kids.has", "kids.age", "kids.school", "kids.grown", "kids.grand"}),
        ({"marital.single", "marital.divorced"}, {"marital.married", "marital.wedding", "marital.engaged", "marital.dating"}),
        ({"work.retired", "work.student", "work.fired"}, {"work.job", "work.place", "work.own", "work.hours", "work.boss"}),
        ({"travel.never"}, {"travel.visited", "travel.trip", "travel.lived", "travel.region"}),
        ({"hobbies.none"}, {"hobbies.likes", "hobbies.collect", "hobbies.make"}),
        ({"music.none"}, {"music.genre", "music.band", "music.plays"}),
        ({"politics.never"}, {"politics.issue", "politics.party", "politics.always"}),
    ]
    youngest = {"kids.grand": 45, "kids.grown": 40, "work.retired": 55, "marital.widowed": 35, "kids.school": 35}
    for number in range(2000):
        persona = sample_persona(rng, ("train", "held-out")[number % 2])
        kinds = {fact.kind for fact in persona}
        assert 3 <= len(persona) <= 5
        assert len(kinds) == len(persona)
        for some, others in forbidden:
            assert not (kinds & some and kinds & others), persona
        ages = [int(match[1]) for fact in persona if (match := AGE.match(fact.text))]
        assert all(min(ages, default=90) >= youngest.get(kind, 18) for kind in kinds), persona
        text = " ".join(fact.text for fact in persona)
        assert not ("my wife" in text and "my husband" in text), persona
        assert not (re.search(r"\bvegan|\bvegetarian", text) and re.search(r"\b(?:love|eat) (?:steak|meat)\b", text)), persona
        for fact in persona:
            assert [states(other.text, fact) for other in persona].count(True) == 1, persona


def test_personas_have_the_number_of_facts_asked_for(rng: np.random.Generator) -> None:
    assert [len(sample_persona(rng, "train", number)) for number in range(1, 12)] == list(range(1, 12))


def test_every_answer_states_its_fact(rng: np.random.Generator) -> None:
    for split in ("train", "held-out"):
        for fact in facts(split):
            line = question(rng, fact.goal)
            reply = answer(rng, fact, line)
            assert states(reply, fact), (fact, reply)
            assert normalise(reply) == reply


def test_a_kind_is_answered_in_many_forms(rng: np.random.Generator) -> None:
    first = {fact.kind: fact for fact in facts("train")}
    for fact in first.values():
        assert len({answer(rng, fact) for _ in range(200)}) >= 12, fact


def test_declines_are_varied_and_state_no_fact(rng: np.random.Generator) -> None:
    every_third = facts("train")[::3] + facts("held-out")[::3]
    for goal in range(11):
        replies = {decline(rng, goal, ()) for _ in range(200)}
        assert len(replies) >= 15
        on_topic = [fact for fact in every_third if fact.goal == goal]
        for reply in replies:
            assert normalise(reply) == reply
            assert not [fact for fact in on_topic if states(reply, fact)], reply


@pytest.mark.parametrize("goal", range(11))
def test_questions_are_varied_and_mostly_avoid_the_topics_own_word(goal: int) -> None:
    rng = np.random.default_rng(goal)
    asked = [question(rng, goal) for _ in range(400)]
    assert len(set(asked)) >= 100
    assert all(normalise(line) == line for line in asked)
    head = re.compile("|".join(rf"\b{word}\b" for word in HEAD_WORDS[goal].split()))
    assert sum(not head.search(line) for line in asked) > 0.5 * len(asked)


def test_questions_react_and_tell(rng: np.random.Generator) -> None:
    line = question(rng, 1, "i like tea. what about you?", "i have a cat myself.")
    assert line.startswith("i have a cat myself. ")
    reactions = {question(rng, 1, "i paint on sundays.").split(".")[0] for _ in range(100)}
    assert len(reactions) > 20


def test_labels_of_dialogues_are_exact(dialogues: list[Dialogue]) -> None:
    known = {**by_text("train"), **by_text("held-out")}
    for talk in dialogues:
        assert talk.persona is not None and talk.source == "grammar"
        persona = [known[text] for text in talk.persona.facts]
        for turn in talk.turns:
            assert turn.reply is not None and turn.facts is not None and turn.goals is not None
            assert turn.facts == tuple(i for i, fact in enumerate(persona) if states(turn.reply, fact)), turn
            assert set(turn.goals) <= set(PUBLISHED_GOALS) and len(turn.goals) <= 1
            assert normalise(turn.line) == turn.line and normalise(turn.reply) == turn.reply


def test_a_question_on_a_fact_of_the_persona_is_answered_with_it(dialogues: list[Dialogue]) -> None:
    known = {**by_text("train"), **by_text("held-out")}
    for talk in dialogues:
        assert talk.persona is not None
        goals = [PUBLISHED_GOALS[known[text].goal] for text in talk.persona.facts]
        for turn in talk.turns:
            for goal in turn.goals or ():
                assert turn.facts is not None
                assert bool(turn.facts) == (goal in goals)
                assert not turn.facts or any(goals[index] == goal for index in turn.facts), turn


def test_dialogues_are_mostly_steered_and_reveal_much(dialogues: list[Dialogue]) -> None:
    turns = [turn for talk in dialogues for turn in talk.turns]
    assert 0.05 < sum(turn.goals == () for turn in turns) / len(turns) < 0.2
    assert 0.35 < sum(bool(turn.facts) for turn in turns) / len(turns) < 0.7
    assert {goal for turn in turns for goal in turn.goals or ()} == set(PUBLISHED_GOALS)
    assert any(talk.partner_persona for talk in dialogues)


def test_nothing_is_said_twice_by_the_goal_speaker(dialogues: list[Dialogue]) -> None:
    for talk in dialogues:
        lines = [turn.line for turn in talk.turns]
        assert len(set(lines)) == len(lines)


def test_same_generator_says_the_same() -> None:
    first, second = (np.random.default_rng(3) for _ in range(2))
    assert [dialogue(first, "train") for _ in range(20)] == [dialogue(second, "train") for _ in range(20)]


def test_facts_have_the_same_order_in_every_run() -> None:
    assert grammar.facts("train")[0].text == "i have three kids."
    assert grammar.facts("held-out")[0].text == "i have two kids."
    assert grammar.facts("train") is grammar.facts("train")


def test_small_talk_is_varied_and_plain(rng: np.random.Generator) -> None:
    pairs = {small_talk(rng) for _ in range(300)}
    assert len(pairs) >= 100
    assert all(normalise(text) == text for pair in pairs for text in pair)


def test_statement_states_the_fact(rng: np.random.Generator) -> None:
    for fact in facts("train")[::50]:
        assert states(statement(rng, fact), fact)


@pytest.mark.parametrize(
    ("text", "keys", "is_stated"),
    [
        ("i've got 2 dogs!", ("two", "dogs"), True),
        ("two cats, and a dog", ("two", "dogs"), False),
        ("i'm thirty-four.", ("34",), True),
        ("i'm 34.", ("thirty-four",), True),
        ("miso's the boss here", ("miso",), True),
        ("misology is fun", ("miso",), False),
    ],
)
def test_states_compares_whole_words_and_numbers(text: str, keys: tuple[str, ...], is_stated: bool) -> None:
    assert states(text, Fact("i am.", 0, "test", keys)) is is_stated


def test_wrong_arguments_are_refused(rng: np.random.Generator) -> None:
    with pytest.raises(InputError, match="held-out"):
        facts("dev")
    with pytest.raises(InputError, match="num_facts"):
        sample_persona(rng, "train", 0)
    with pytest.raises(InputError, match="num_turns"):
        dialogue(rng, "train", 0)
    with pytest.raises(InputError, match="goal"):
        question(rng, 11)
    with pytest.raises(InputError, match="fact"):
        answer(rng, Fact("i am a stranger.", 0, "x", ("stranger",)))
