"""A talk with a person in it: proposing, saying, judging, taking back, handing over, and what is stored of it meanwhile."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest
from fakes import EchoSpeaker, FakeReader, env_kwargs, small_personas

import convogym  # noqa: F401  # registers the environment
from convogym.dialogue import Persona
from convogym.envs.make import make_parts
from convogym.envs.recorder import RecordEpisodes
from convogym.episodes import Comparison
from convogym.errors import InputError
from convogym.experiments.session import FREE_TALK, Session, free_talk
from convogym.policies.baselines import CyclePolicy, RandomPolicy
from convogym.speakers import Request
from convogym.store import EpisodeStore

PERSONA = Persona(("i have two dogs.", "i am a nurse.", "i like rain."))
PETS, WORK = 1, 2


class Stubborn(EchoSpeaker):
    """Says the same whatever it is asked."""

    def text(self, request: Request) -> str:
        return "no."


def parts(**changes: Any) -> Any:
    arguments = {
        "goal_speaker": None,
        "goals": "published",
        "reward": "identification",
        "observation": "embedding",
        "num_distractors": 20,
        "mask_repeats": False,
        "hard_distractors": False,
        **env_kwargs(),
        **changes,
    }
    return make_parts(**arguments)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[EpisodeStore]:
    with EpisodeStore(tmp_path / "a.db") as opened:
        yield opened


def steered(store: EpisodeStore | None = None, **options: Any) -> Session:
    made = options.pop("parts", None) or parts()
    return Session(made, seed=5, persona=PERSONA, store=store, **options)


def stored(store: EpisodeStore) -> Any:
    (episode,) = store.episodes()
    return episode


def test_accepted_lines_give_the_very_talk_that_the_environment_gives(store: EpisodeStore) -> None:
    env: Any = RecordEpisodes(gym.make("PersonaChat-v0", disable_env_checker=True, **env_kwargs()), store, "x")
    env.reset(options={"persona": list(PERSONA.facts), "episode_seed": 5})
    session = steered()
    for action in (PETS, WORK, PETS, 3):
        env.step(action)
        session.propose(action)
        session.say()
    theirs = stored(store).turns
    assert [turn.line for turn in session.turns] == [turn.line for turn in theirs]
    assert [turn.reply for turn in session.turns] == [turn.reply for turn in theirs]
    assert [turn.reward for turn in session.turns] == [turn.reward for turn in theirs]
    assert session.has_ended


def test_every_turn_is_stored_when_it_was_said(store: EpisodeStore) -> None:
    session = steered(store, person="p-1")
    for number in range(1, 5):
        session.propose(PETS)
        assert store.count() == min(1, number - 1)
        turn = session.say()
        assert stored(store).turns[-1] == turn and len(stored(store).turns) == number
    episode = stored(store)
    assert (episode.person, episode.policy, episode.seed, episode.persona) == ("p-1", "human", 5, PERSONA.facts)
    assert episode.finished
    with pytest.raises(InputError, match="has ended"):
        session.propose(PETS)


def test_look_ahead_shows_what_choosing_a_goal_then_says_and_asks_once_for_all() -> None:
    speaker = EchoSpeaker()
    session = steered(parts=parts(goal_speaker=speaker))
    ahead = session.look_ahead()
    assert list(ahead) == list(range(11)) and speaker.batches == [11]
    assert session.turns == [] and session.proposed is None
    assert session.propose(WORK) == ahead[WORK]
    assert session.say().line == ahead[WORK]


def test_proposing_again_gives_another_line() -> None:
    session = steered()
    first, second = session.propose(PETS), session.propose(PETS)
    assert first != second
    assert session.say().line == second


def test_an_edited_line_is_said_and_is_a_correction_that_beats_the_proposal(store: EpisodeStore) -> None:
    session = steered(store)
    proposed = session.propose(PETS)
    turn = session.say("do you keep any animals?")
    assert turn.line == turn.corrected_line == "do you keep any animals?"
    assert turn.comparisons == (Comparison("line", "do you keep any animals?", proposed),)
    assert stored(store).turns == (turn,)
    session.propose(WORK)
    assert session._talks.talks[0].utterances[0] == "do you keep any animals?"  # the talk goes on from it


def test_a_line_typed_for_a_goal_is_a_correction_too_and_without_a_goal_is_refused() -> None:
    session = steered()
    with pytest.raises(InputError, match="must have a goal"):
        session.say("hello")
    turn = session.say("who pays your rent?", WORK)
    assert (turn.action, turn.corrected_line, turn.comparisons) == (WORK, "who pays your rent?", ())


def test_the_better_of_two_lines_is_proposed_and_the_judgement_recorded() -> None:
    session = steered()
    first, second = session.compare(PETS)
    assert session.prefer(1) == second == session.proposed
    assert session.say().comparisons == (Comparison("line", second, first),)
    with pytest.raises(InputError, match="no two lines"):
        session.prefer(0)


def test_two_lines_that_are_one_cannot_be_compared() -> None:
    session = steered(parts=parts(goal_speaker=Stubborn(), responder=Stubborn()))
    with pytest.raises(InputError, match="only one thing to say"):
        session.compare(PETS)
    session.say("hm?", PETS)
    with pytest.raises(InputError, match="only one thing to say"):
        session.other_reply()


def test_an_amended_reply_takes_the_place_of_the_last_and_the_talk_goes_on_from_it(store: EpisodeStore) -> None:
    session = steered(store)
    session.propose(PETS)
    said = session.say()
    session.rate(2.0, 1)
    turn = session.amend("two dogs, rex and momo.")
    assert (turn.reply, turn.corrected_reply, turn.line) == ("two dogs, rex and momo.",) * 2 + (said.line,)
    assert turn.comparisons == (Comparison("reply", "two dogs, rex and momo.", said.reply),)
    assert turn.rating == 2.0
    assert stored(store).turns == (turn,)
    assert turn.reward != said.reward  # the reward is of what was said in the end
    session.propose(WORK)
    session.say()
    assert session._talks.talks[0].utterances[1] == "two dogs, rex and momo."


def test_amending_the_last_turn_of_a_finished_talk_leaves_it_finished(store: EpisodeStore) -> None:
    session = steered(store, parts=parts(num_turns=1))
    session.propose(PETS)
    session.say()
    session.amend("no pets at all.")
    assert stored(store).finished and stored(store).turns[0].reply == "no pets at all."


@pytest.mark.parametrize("which", [0, 1])
def test_the_better_of_two_replies_stands(store: EpisodeStore, which: int) -> None:
    session = steered(store)
    session.propose(PETS)
    session.say()
    pair = session.other_reply()
    assert pair[0] != pair[1] and set(pair) <= set(PERSONA.facts)
    turn = session.prefer_reply(which)
    assert turn.reply == pair[which] and turn.corrected_reply is None
    assert turn.comparisons == (Comparison("reply", pair[which], pair[1 - which]),)
    assert stored(store).turns == (turn,)


def test_undo_takes_the_turn_out_of_talk_and_store_and_what_follows_is_as_if_it_never_was(store: EpisodeStore) -> None:
    session, other = steered(store), steered()
    for each in (session, other):
        each.propose(PETS)
        each.say()
    session.propose(WORK)
    session.say()
    assert session.undo().action == WORK
    assert len(stored(store).turns) == 1
    for each in (session, other):
        each.propose(3)
        each.say()
    assert session.turns == other.turns
    session.undo()
    session.undo()
    assert store.count() == 0 and session.episode is None
    with pytest.raises(InputError, match="no turn to take back"):
        session.undo()


def test_undo_of_the_last_turn_lets_an_ended_talk_go_on(store: EpisodeStore) -> None:
    session = steered(store, parts=parts(num_turns=1))
    session.propose(PETS)
    session.say()
    session.undo()
    session.propose(WORK)
    assert session.say().action == WORK and stored(store).finished


def test_marks_and_corrections_of_earlier_turns_are_stored_and_change_nothing_said(store: EpisodeStore) -> None:
    session = steered(store)
    for _ in range(2):
        session.propose(PETS)
        session.say()
    before = session._talks.talks[0].utterances
    session.correct(1, line="any pets?", reply="two dogs.")
    session.rate(-1, 1)
    session.rate(4)
    turn = stored(store).turns[0]
    assert (turn.corrected_line, turn.corrected_reply, turn.rating) == ("any pets?", "two dogs.", -1.0)
    assert stored(store).rating == 4.0
    assert session._talks.talks[0].utterances == before and turn.line == before[0]
    assert session.turns == list(stored(store).turns)
    for wrong in (lambda: session.correct(3, "x"), lambda: session.correct(1), lambda: session.rate(1, 0)):
        with pytest.raises(InputError):
            wrong()
    with pytest.raises(InputError, match="finite"):
        session.rate(float("nan"))


def test_the_policy_takes_a_turn_and_the_person_the_next(store: EpisodeStore) -> None:
    session = steered(store, policy=CyclePolicy(11))
    assert session.let_policy().action == 0
    session.propose(PETS)
    session.say()
    assert [session.let_policy().action, session.let_policy().action] == [1, 2]  # it goes on where it was
    episode = stored(store)
    assert episode.policy == "human+cycle" and [turn.action for turn in episode.turns] == [0, PETS, 1, 2]


def test_a_policys_propensity_is_recorded_and_a_persons_is_not() -> None:
    session = steered(policy=RandomPolicy(11, seed=0))
    let = session.let_policy()
    assert let.propensity == pytest.approx(1 / 11) and let.chosen_by == "random"
    assert let.propensities == pytest.approx((1 / 11,) * 11)
    session.propose(PETS)
    said = session.say()
    assert said.propensity is None and said.propensities == () and said.chosen_by == "human"
    with pytest.raises(InputError, match="no policy"):
        steered().let_policy()


def test_in_a_free_talk_the_person_says_the_lines_and_the_reply_can_be_amended(store: EpisodeStore) -> None:
    session = Session(free_talk(EchoSpeaker(), PERSONA, 3), seed=1, store=store)
    turn = session.say("hello")
    assert turn.reply in PERSONA.facts
    assert (turn.goal, turn.corrected_line, turn.reward) == (FREE_TALK, None, 0.0)
    session.amend("good day.")
    assert stored(store).goal_speaker == "human" and stored(store).corrections()[0].corrected_reply == "good day."
    for ask in (session.look_ahead, lambda: session.propose(0)):
        with pytest.raises(InputError, match="a person says the lines"):
            ask()


@pytest.mark.parametrize("text", ["", " ", "x" * 2001, "nul\0byte", "\ud800", "two\nlines", "two\u2028lines"])
def test_what_cannot_be_said_is_refused_and_changes_nothing(store: EpisodeStore, text: str) -> None:
    session = steered(store)
    session.propose(PETS)
    with pytest.raises(InputError):
        session.say(text)
    session.say()
    before = stored(store)
    with pytest.raises(InputError):
        session.amend(text)
    assert stored(store) == before


def test_text_like_control_tokens_is_text(store: EpisodeStore) -> None:
    session = steered(store)
    session.say("<|act|>ask about kids.<|sep|>", PETS)
    assert stored(store).turns[0].line == "<|act|>ask about kids.<|sep|>"


def test_a_store_that_fails_leaves_the_talk_as_it_was(store: EpisodeStore, monkeypatch: pytest.MonkeyPatch) -> None:
    session = steered(store)
    session.propose(PETS)
    first = session.say()

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store, "append", full)
    session.propose(WORK)
    with pytest.raises(OSError):
        session.say()
    with pytest.raises(OSError):
        session.amend("two.")
    assert session.turns == [first] and stored(store).turns == (first,)
    monkeypatch.undo()
    assert session.say().action == WORK  # what was proposed can still be said
    assert len(stored(store).turns) == 2


def test_ending_marks_the_record_and_leaves_none_of_a_talk_in_which_nothing_was_said(store: EpisodeStore) -> None:
    silent = steered(store)
    silent.end()
    assert store.count() == 0
    session = steered(store)
    session.propose(PETS)
    session.say()
    session.end()
    assert stored(store).finished


def test_masked_goals_cannot_be_chosen() -> None:
    session = steered(parts=dataclasses.replace(parts(), mask_repeats=True))
    session._talks.talks[0].mask_repeats = True
    session.propose(PETS)
    session.say()
    assert PETS not in session.allowed
    with pytest.raises(InputError, match="cannot be chosen now"):
        session.propose(PETS)


def test_sessions_that_share_a_speaker_ask_under_different_slots() -> None:
    speaker = EchoSpeaker()
    made = parts(responder=speaker, personas=small_personas(), reader=FakeReader())
    for place in (0, 3):
        session = Session(made, seed=1, place=place)
        session.propose(PETS)
        session.say()
    assert [request.slot for request in speaker.requests] == [0, 1, 6, 7]
