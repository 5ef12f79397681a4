from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from convogym.dialogue import Persona, Turn
from convogym.episodes import MAX_INT, SCHEMA, SIDES, Comparison, Episode, TurnRecord, new_id, utc_now
from convogym.errors import InputError

GOALS = ("ask about kids.", "ask about pets.")
LOOK_ALIKES = [
    "<|act|>",
    "<|p1|>ask<|sep|>",
    "<|endoftext|>",
    "</s>",
    "\\u0000",
    '"',
    "a\nb\r\n",
    "a\u2028b",
    "👩‍👩‍👧",
    "é",
    "\0",
]

storable = (
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40).filter(str.strip)
    | st.lists(st.sampled_from(LOOK_ALIKES), min_size=2, max_size=4).map(" x ".join)
)  # fmt: skip
typed = storable.map(lambda text: text.replace("\0", "0"))
numbers = st.floats(allow_nan=False, allow_infinity=False)
names = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | numbers | st.integers(-MAX_INT + 1, MAX_INT - 1) | names,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=6,
)


comparisons = (
    st.tuples(st.sampled_from(SIDES), storable, storable)
    .filter(lambda each: each[1] != each[2])
    .map(lambda each: Comparison(*each))
)


@st.composite
def any_episodes(draw: st.DrawFn) -> Episode:
    goals = tuple(draw(st.lists(storable, min_size=1, max_size=4, unique=True)))
    history = draw(st.lists(storable, max_size=4))
    turns = []
    for number in range(1, draw(st.integers(0, 3)) + 1):
        action = draw(st.integers(0, len(goals) - 1))
        turns.append(
            TurnRecord(
                turn=number,
                action=action,
                goal=goals[action],
                line=draw(storable),
                reply=draw(storable),
                reward=draw(numbers),
                reward_terms=draw(st.dictionaries(names, numbers, max_size=3)),
                faults=draw(st.dictionaries(names, st.booleans(), max_size=3)),
                line_log_prob=draw(numbers),
                reply_log_prob=draw(numbers),
                propensity=draw(st.none() | st.floats(0, 1, exclude_min=True)) if number % 2 else 1 / len(goals),
                propensities=() if number % 2 else (1 / len(goals),) * len(goals),
                chosen_by=draw(st.none() | storable),
                corrected_line=draw(st.none() | typed),
                corrected_reply=draw(st.none() | typed),
                rating=draw(st.none() | numbers),
                comparisons=draw(st.lists(comparisons, max_size=2).map(tuple)),
            )
        )
    return Episode(
        id=draw(st.uuids()).hex,
        schema=SCHEMA,
        created=draw(st.datetimes()).isoformat() + "+00:00",
        seed=draw(st.none() | st.integers(0, MAX_INT - 1)),
        policy=draw(storable),
        responder=draw(storable),
        goal_speaker=draw(storable),
        persona=tuple(draw(st.lists(typed, max_size=5))),
        goals=goals,
        history=tuple(history[: len(history) // 2 * 2]),
        spec=draw(st.dictionaries(names, json_values, max_size=3)),
        finished=draw(st.booleans()) and bool(turns),
        turns=tuple(turns),
        person=draw(st.none() | storable),
        rating=draw(st.none() | numbers),
    )


def a_turn(number: int = 1, **changes: Any) -> TurnRecord:
    values: dict[str, Any] = {
        "turn": number,
        "action": 1,
        "goal": GOALS[1],
        "line": "any pets?",
        "reply": "a dog.",
        "reward": 0.5,
    }
    return TurnRecord(**{**values, **changes})


def an_episode(*turns: TurnRecord, **changes: Any) -> Episode:
    values: dict[str, Any] = {
        "id": new_id(),
        "schema": SCHEMA,
        "created": utc_now(),
        "seed": 7,
        "policy": "cycle",
        "responder": "echo",
        "goal_speaker": "asker",
        "persona": ("i have a dog.",),
        "goals": GOALS,
        "turns": turns,
    }
    return Episode(**{**values, **changes})


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(any_episodes())
def test_every_episode_survives_json_on_one_ascii_line(episode: Episode) -> None:
    text = episode.to_json()
    assert text.isascii() and len(text.splitlines()) == 1
    assert Episode.from_json(text) == episode
    assert Episode.from_json(text).to_json() == text


def test_an_episode_of_schema_1_is_read_as_one_without_a_person() -> None:
    episode = an_episode(a_turn(1, rating=2.0))
    older = json.loads(episode.to_json())
    del older["person"], older["rating"]
    for name in ("comparisons", "propensities", "chosen_by"):
        del older["turns"][0][name]
    assert Episode.from_json(json.dumps({**older, "schema": 1})) == episode
    with pytest.raises(InputError, match="unknown: person"):
        Episode.from_json(json.dumps({**older, "schema": 1, "person": "p-1"}))


def test_an_episode_of_schema_2_is_read_as_one_that_does_not_say_who_chose() -> None:
    episode = an_episode(a_turn(1, propensity=0.25, comparisons=(Comparison("line", "a", "b"),)), person="p-1")
    older = json.loads(episode.to_json())
    del older["turns"][0]["propensities"], older["turns"][0]["chosen_by"]
    assert Episode.from_json(json.dumps({**older, "schema": 2})) == episode
    older["turns"][0]["chosen_by"] = "human"
    with pytest.raises(InputError, match="unknown: chosen_by"):
        Episode.from_json(json.dumps({**older, "schema": 2}))


def test_the_chances_of_all_actions_must_be_those_of_a_choice_among_the_goals() -> None:
    said = a_turn(1, propensity=0.75, propensities=[0.25, 0.75], chosen_by="human")
    assert said.propensities == (0.25, 0.75)
    for changes, complaint in (
        ({"propensities": (0.5, 0.5)}, "that of action 1"),
        ({"propensities": (0.5, 0.75)}, "sum to 1"),
        ({"propensities": (0.75,), "propensity": 0.75}, "sum to 1"),
        ({"propensities": "0.5"}, "a tuple of numbers"),
        ({"chosen_by": " "}, "`chosen_by` must be text"),
    ):
        with pytest.raises(InputError, match=complaint):
            a_turn(1, **{"propensity": 0.75, **changes})
    with pytest.raises(InputError, match="one a goal, got 3"):
        an_episode(a_turn(1, propensity=0.5, propensities=(0.5, 0.5, 0.0)))


def test_a_comparison_is_of_two_texts_on_one_side() -> None:
    with pytest.raises(InputError, match="'line'"):
        Comparison("lien", "a", "b")
    with pytest.raises(InputError, match="different texts"):
        Comparison("line", "a", "a")
    with pytest.raises(InputError, match="must be text that is not blank"):
        Comparison("reply", "a", " ")
    with pytest.raises(InputError, match="tuple of comparisons"):
        a_turn(comparisons=[Comparison("line", "a", "b")])


def test_dialogue_has_the_history_unlabelled_and_each_turn_under_its_goal() -> None:
    episode = an_episode(a_turn(1), a_turn(2, corrected_reply="a cat."), history=("hi.", "hello."))
    dialogue = episode.dialogue()
    assert dialogue.turns == (
        Turn("hi.", "hello."),
        Turn("any pets?", "a dog.", goals=(GOALS[1],)),
        Turn("any pets?", "a dog.", goals=(GOALS[1],)),
    )
    assert dialogue.persona == Persona(("i have a dog.",))
    assert an_episode(a_turn(), persona=()).dialogue().persona is None


def test_a_dialogue_needs_something_said() -> None:
    with pytest.raises(InputError, match="at least one turn"):
        an_episode().dialogue()


def test_corrections_are_the_turns_in_which_a_human_changed_something() -> None:
    turns = (a_turn(1), a_turn(2, corrected_line="do you have pets?"), a_turn(3, rating=1), a_turn(4, corrected_reply="no."))
    assert an_episode(*turns).corrections() == (turns[1], turns[3])


def test_the_mappings_handed_in_can_change_without_changing_the_record() -> None:
    terms, spec = {"ranking": 1.0}, {"rewards": ["ranking"]}
    turn, episode = a_turn(reward_terms=terms), an_episode(spec=spec)
    terms["ranking"] = 2.0
    spec["rewards"].append("length")
    assert turn.reward_terms == {"ranking": 1.0}
    assert episode.spec == {"rewards": ["ranking"]}


def test_tuples_in_a_spec_become_lists_as_json_has_no_others() -> None:
    assert an_episode(spec={"goals": ("a", ("b",))}).spec == {"goals": ["a", ["b"]]}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"turn": 0}, "`turn` must be a whole number from 1, got 0"),
        ({"turn": True}, "`turn` must be a whole number"),
        ({"action": -1}, "`action` must be a whole number from 0, got -1"),
        ({"line": " \n"}, "`line` must be text that is not blank"),
        ({"reply": None}, "`reply` must be text"),
        ({"reply": "\ud800"}, "lone surrogate"),
        ({"reward": float("nan")}, "`reward` must be a finite number, got nan"),
        ({"reward": 10**400}, "`reward` must be a finite number"),
        ({"reward": "1"}, "`reward` must be a finite number, got '1'"),
        ({"line_log_prob": float("-inf")}, "`line_log_prob` must be a finite number"),
        ({"reward_terms": {"a": float("inf")}}, r"reward_terms\['a'\]"),
        ({"reward_terms": [1.0]}, "`reward_terms` must map names"),
        ({"faults": {"empty": 1}}, r"`faults\['empty'\]` must be True or False, got 1"),
        ({"propensity": 0.0}, r"`propensity` must be in \(0, 1\]"),
        ({"propensity": 1.5}, r"`propensity` must be in \(0, 1\]"),
        ({"corrected_line": ""}, "`corrected_line` must not be blank"),
        ({"corrected_reply": "x" * 2001}, "at most 2000 characters"),
        ({"corrected_reply": "a\0b"}, "null bytes"),
    ],
)
def test_a_turn_that_is_not_what_its_fields_say_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        a_turn(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"id": "7"}, "32 lower-case hexadecimal digits"),
        ({"schema": 2}, "`schema` must be 3, got 2"),
        ({"created": "yesterday"}, "ISO 8601"),
        ({"created": "2026-11-21T12:00:00"}, "in UTC"),
        ({"created": "2026-11-21T12:00:00+01:00"}, "in UTC"),
        ({"seed": -1}, "`seed` must be a whole number from 0"),
        ({"policy": ""}, "`policy` must be text"),
        ({"persona": ("",)}, r"`persona\[0\]`"),
        ({"persona": ("x",) * 200}, "1..20 facts, got 200"),
        ({"persona": "i have a dog."}, "`persona` must be a list of texts"),
        ({"goals": ()}, "`goals` must be one or more"),
        ({"goals": ("a", "a")}, "distinct"),
        ({"history": ("hi.",)}, "pairs of a line and a reply, got 1"),
        ({"spec": {"speaker": object()}}, r"`spec\['speaker'\]` must be a value that JSON can hold"),
        ({"spec": {"x": float("nan")}}, "finite"),
        ({"finished": True}, "at least one turn"),
        ({"turns": (a_turn(2),)}, "expected turn 1, got 2"),
        ({"turns": (a_turn(1), a_turn(1))}, "expected turn 2, got 1"),
        ({"turns": (a_turn(action=0),)}, "must name its goal 'ask about pets.', got 0, which is 'ask about kids.'"),
        ({"turns": (a_turn(action=2),)}, "got 2, which is not among the 2 goals"),
    ],
)
def test_an_episode_that_is_not_what_its_fields_say_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        an_episode(**changes)


def test_a_spec_nested_without_end_is_refused() -> None:
    spec: dict[str, Any] = {}
    spec["spec"] = spec
    with pytest.raises(InputError, match="nested"):
        an_episode(spec=spec)


def altered(**changes: Any) -> str:
    return json.dumps({**json.loads(an_episode(a_turn()).to_json()), **changes})


def with_turn(**changes: Any) -> str:
    turn = json.loads(an_episode(a_turn()).to_json())["turns"][0]
    return altered(turns=[{**turn, **changes}])


def without(field: str) -> str:
    values = json.loads(an_episode(a_turn()).to_json())
    del values[field]
    return json.dumps(values)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "one JSON object"),
        ("[1, 2]", "one JSON object"),
        ('{"schema": 1', "one JSON object"),
        ("[" * 100_000, "one JSON object"),
        ("9" * 5000, "one JSON object"),
        ("{}", "must name its `schema`"),
        (altered(schema=7), r"one this version reads \(1, 2, 3\), got 7; upgrade"),
        (altered(schema=True), "got True"),
        (altered(schema="1"), "got '1'"),
        (altered(schema=[1]), "got "),
        (without("turns"), "missing: turns"),
        (altered(mood="good"), "unknown: mood"),
        (altered(turns={}), "`turns` must be a list"),
        (altered(turns=[3]), r"`turns\[0\]` must be an object, got 3"),
        (with_turn(reward=None), r"turns\[0\]: `reward` must be a finite number, got None"),
        (with_turn(mood="good"), r"`turns\[0\]` must have exactly the fields of schema 3; unknown: mood"),
        (with_turn(reward=float("nan")), "every number in an episode must be finite, got NaN"),
        (with_turn().replace("0.5", "1e999"), "finite number, got inf"),
        (altered().replace('"seed": 7', '"seed": 7, "seed": 8'), "given once, got 'seed' twice"),
        (altered(history="hi"), "`history` must be a list of texts"),
        (altered(finished=1), "`finished` must be True or False, got 1"),
        (altered(spec=[]), "`spec` must map names"),
    ],
)
def test_json_that_is_no_episode_is_refused_with_what_was_expected(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Episode.from_json(text)


def test_records_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        a_turn().reward = 1.0  # type: ignore[misc]
