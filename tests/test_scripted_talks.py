"""Scripts: what was asked in an environment can be asked of others, who hear themselves."""

import numpy as np
import pytest
from fakes import EchoSpeaker, env_kwargs

from convogym.envs.vector import PersonaChatVectorEnv
from convogym.errors import InputError
from convogym.experiments.scripted_talks import Recorder, Script, Talked, converse, in_turn, one_after_another, play
from convogym.speakers import Request

TURNS, DIALOGUES = 3, 4


def played(ticks: list[int] | None = None) -> tuple[Talked, Script]:
    both = Recorder(EchoSpeaker())
    env = PersonaChatVectorEnv(
        DIALOGUES, autoreset_mode="NextStep", **env_kwargs(goal_speaker=both, responder=both, num_turns=TURNS)
    )
    actions = np.arange(TURNS * DIALOGUES).reshape(TURNS, DIALOGUES) % 11
    return play(env, range(DIALOGUES), actions, both, (ticks if ticks is not None else []).append)


def test_a_speaker_says_in_a_script_what_it_said_in_the_environment() -> None:
    talked, script = played()
    again = converse(script, in_turn(EchoSpeaker().speak, EchoSpeaker().speak))
    assert again.said == talked.said
    assert again.tokens == talked.tokens
    assert len(set(talked.said)) == DIALOGUES and {len(talk) for talk in talked.said} == {2 * TURNS}


def test_everybody_hears_what_was_said_and_not_what_the_script_says() -> None:
    _, script = played()
    heard: list[Request] = []

    class Counter(EchoSpeaker):
        def text(self, request: Request) -> str:
            heard.append(request)
            return str(len(request.history))

    said = converse(script, in_turn(Counter().speak, Counter().speak)).said
    assert said == (tuple(str(i) for i in range(2 * TURNS)),) * DIALOGUES
    assert all(request.history == tuple(str(i) for i in range(len(request.history))) for request in heard)


def test_some_dialogues_of_a_script_are_talked_as_in_company() -> None:
    talked, script = played()
    assert converse(script.part(1, 3), in_turn(EchoSpeaker().speak, EchoSpeaker().speak)).said == talked.said[1:3]


def test_every_turn_has_its_time_and_its_tick() -> None:
    ticks: list[int] = []
    talked, script = played(ticks)
    converse(script, in_turn(EchoSpeaker().speak, EchoSpeaker().speak), ticks.append)
    assert ticks == [DIALOGUES] * 2 * TURNS
    assert len(talked.seconds) == TURNS and min(talked.seconds) > 0


def test_rates_are_of_all_dialogues_together() -> None:
    talked = Talked((("a", "b", "c", "d"),) * 3, tokens=60, seconds=(1.0, 3.0))
    assert (talked.turns_per_s, talked.tokens_per_s, talked.tokens_per_turn) == (6 / 4, 15.0, 10.0)


def test_talks_one_after_another_are_one_that_took_as_long() -> None:
    first, second = Talked((("a", "b"),), 3, (1.0,)), Talked((("c", "d"),), 5, (3.0,))
    assert one_after_another([first, second]) == Talked((("a", "b"), ("c", "d")), 8, (4.0,))


def test_a_script_asks_everybody_for_both() -> None:
    _, script = played()
    with pytest.raises(InputError, match="one reply a turn"):
        Script(script.lines, script.replies[:-1])
    with pytest.raises(InputError, match="one reply a turn"):
        Script(script.lines, tuple(asked[:-1] for asked in script.replies))
