"""The benchmark: what it counts, in which order it measures, and what it refuses."""

from typing import Any

import pytest
from fakes import EchoSpeaker, env_kwargs

from convogym.envs.vector import PersonaChatVectorEnv
from convogym.errors import InputError
from convogym.experiments.benchmark import benchmark, parse_sizes, planned_turns


def run(**options: Any) -> tuple[dict[str, Any], list[int], EchoSpeaker]:
    """The result, the ticks, and the speaker that was asked."""
    speaker = EchoSpeaker()
    ticks: list[int] = []

    def make(number: int) -> PersonaChatVectorEnv:
        return PersonaChatVectorEnv(number, autoreset_mode="NextStep", **env_kwargs(responder=speaker, num_turns=3))

    found = benchmark(make, "inline", sizes=(1, 5), turns=3, tick=ticks.append, **options)
    return found, ticks, speaker


def test_every_number_of_dialogues_gets_a_speed() -> None:
    found, _, _ = run(repeats=2)
    assert list(found["engine"]["inline"]) == ["1", "5"]
    assert all(speed > 0 for speed in found["engine"]["inline"].values())
    for size, speeds in found["repetitions"]["inline"].items():
        assert len(speeds) == 2
        assert min(speeds) <= found["engine"]["inline"][size] <= max(speeds)
    assert found["machine"]["cores"] >= 1


def test_repetitions_are_interleaved_after_one_warm_up_each() -> None:
    _, _, speaker = run(repeats=2)
    lines = speaker.batches[::2]
    assert lines == [1, 5, *[1, 1, 1, 5, 5, 5] * 2]


def test_no_episode_is_measured_twice() -> None:
    _, _, speaker = run(repeats=2)
    first = [tuple(request.noise) for request in speaker.requests if request.goals and len(request.history) == 0]
    assert len(first) == len(set(first)) == 3 * 6


def test_ticks_add_up_to_what_was_planned() -> None:
    _, ticks, _ = run(repeats=2)
    assert sum(ticks) == planned_turns((1, 5), turns=3, repeats=2) == 6 + 6 * 3 * 2


def test_numbers_below_one_are_refused() -> None:
    with pytest.raises(InputError, match="at least 1"):
        run(repeats=0)


def test_sizes_are_read() -> None:
    assert parse_sizes("1,16, 64") == (1, 16, 64)


@pytest.mark.parametrize("text", ["", "0", "1,", "a", "1,1", "-4", "1;2", "1" * 5000])
def test_other_sizes_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="num_envs"):
        parse_sizes(text)
