"""The search finds the one goal that opens a responder, and reports what the order brings."""

import pytest
from fakes import GatedSpeaker, env_kwargs

from convogym.envs.vector import PersonaChatVectorEnv
from convogym.errors import InputError
from convogym.experiments.search_order import num_turns_played, search_order


def make(size: int = 4) -> PersonaChatVectorEnv:
    return PersonaChatVectorEnv(size, autoreset_mode="Disabled", **env_kwargs(responder=GatedSpeaker("pets")))


def test_finds_the_goal_that_opens_the_responder() -> None:
    env = make()
    done: list[int] = []
    found = search_order(env, 3, 6, tick=done.append)
    assert found["policy"] == "cycle:1,1,1" and found["goals"] == ["ask about pets."] * 3
    assert found["episodes"] == 8  # two whole batches
    assert sum(done) == 8 * num_turns_played(3)
    assert found["found"][0]["mean_return"] == found["mean_return"] > found["found"][1]["mean_return"]


def test_the_mean_is_that_of_playing_the_order() -> None:
    found = search_order(make(4), 2, 4, beam=1)
    [only] = found["found"]
    env = make(4)
    from convogym.experiments.collect import run_seeds

    env.reset(seed=list(run_seeds(0, 4, "search")))
    total = sum(env.step([action] * 4)[1].mean() for action in only["order"])  # type: ignore[arg-type]
    assert found["mean_return"] == pytest.approx(total)


def test_numbers_that_make_no_sense_are_refused() -> None:
    with pytest.raises(InputError, match=r"1\.\.4"):
        search_order(make(), 5, 4)
    with pytest.raises(InputError, match="at least 1"):
        search_order(make(), 2, 0)
