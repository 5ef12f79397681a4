"""Recorded talks come back the same, rewards are computed anew from records alone, and differences are told."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny import tiny_model
from typer.testing import CliRunner

from convogym.agents.reader import load_reader
from convogym.envs.rewards import build_reward
from convogym.episodes import Episode
from convogym.errors import InputError
from convogym.experiments import options
from convogym.experiments.cli import app
from convogym.experiments.collect import collect, make_env
from convogym.experiments.replay import difference, differences, replay, side_by_side
from convogym.experiments.rescore import check_rescorable, rescored, summary, write_report
from convogym.goals import DEFAULT_GOALS
from convogym.personas import load_personas
from convogym.policies.baselines import RandomPolicy
from convogym.store import EpisodeStore

REWARD = "identification-0.1*repetition"
TURNS = 3


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EpisodeStore]:
    """Five talks of a tiny model, one of them broken off."""
    with EpisodeStore(tmp_path_factory.mktemp("talks") / "talks.db") as store:
        env = make_env(tiny_model(), 2, personas="held-out", reward=REWARD, num_turns=TURNS)
        collect(env, RandomPolicy(11, 0), store, 4, seed=1)
        [first] = list(store.episodes())[:1]
        broken = replace(first, id="0" * 32, finished=False, turns=first.turns[:2])
        store.add(broken)
        yield store


@pytest.fixture
def talks(recorded: EpisodeStore) -> list[Episode]:
    return list(recorded.episodes())


def test_the_same_model_says_and_earns_the_same(talks: list[Episode]) -> None:
    again = replay(talks, tiny_model(), num_envs=3)
    for before, after in zip(talks, again, strict=True):
        assert [(t.action, t.line, t.reply) for t in after.turns] == [(t.action, t.line, t.reply) for t in before.turns]
        assert [t.reward for t in after.turns] == pytest.approx([t.reward for t in before.turns], abs=1e-5)
        assert [t.propensity for t in after.turns] == [t.propensity for t in before.turns]
        assert after.id != before.id and after.spec["replays"] == before.id
    told = differences(talks, again)
    assert told["pairs"] == 5 and told["same_lines"] == told["same_replies"] == 1.0


def test_another_model_takes_the_same_goals_and_says_something_else(talks: list[Episode]) -> None:
    other = replay(talks[:3], tiny_model(seed=5))
    told = differences(talks, other)
    assert told["pairs"] == 3 and told["same"] == 0
    assert told["same_goals"] == 1.0 and told["same_replies"] < 0.5
    shown = side_by_side(talks[0], other[0])
    assert f"- < {talks[0].turns[0].reply}" in shown and f"+ < {other[0].turns[0].reply}" in shown


def test_a_change_of_one_reply_is_found(talks: list[Episode]) -> None:
    talk = talks[1]
    changed = replace(talk, turns=(talk.turns[0], replace(talk.turns[1], reply="i moved to mars."), *talk.turns[2:]))
    told = difference(talk, changed)
    assert told["first_difference"] == 2 and told["same_replies"] == TURNS - 1 and not told["same"]
    assert difference(talk, talk)["same"]
    paid = replace(talk, turns=(replace(talk.turns[0], reward=talk.turns[0].reward + 0.5), *talk.turns[1:]))
    assert difference(talk, paid)["first_difference"] is None and not difference(talk, paid)["same"]
    with pytest.raises(InputError, match="same seed and persona"):
        differences([talk], [replace(talk, seed=12345)])


def built(text: str) -> Any:
    model = tiny_model()
    return build_reward(
        text,
        personas=load_personas("held-out"),
        goals=DEFAULT_GOALS,
        embed=model.responder().embed,
        reader=load_reader,
        scorer=lambda: pytest.fail("no term needs it"),
    )


def test_the_recorded_reward_is_computed_again_from_the_records(talks: list[Episode]) -> None:
    for before, after in zip(talks, rescored(talks, built(REWARD)), strict=True):
        assert [t.reward for t in after.turns] == pytest.approx([t.reward for t in before.turns], abs=1e-5)
        assert [t.reply for t in after.turns] == [t.reply for t in before.turns] and after.id == before.id


def test_another_reward_brings_its_own_terms_and_a_report_to_read(talks: list[Episode], tmp_path: Path) -> None:
    embed = tiny_model().responder().embed
    after = rescored(talks, built("2*coverage + goal_following + 0.01*ranking"), embed)
    found = summary(talks, after)
    assert found["turns"] == 4 * TURNS + 2 and set(found["terms"]) == {"coverage", "goal_following", "ranking"}
    turn = after[0].turns[0]
    assert turn.reward == pytest.approx(
        2 * turn.reward_terms["coverage"] + turn.reward_terms["goal_following"] + 0.01 * turn.reward_terms["ranking"]
    )
    following = [t.reward_terms["goal_following"] for each in after for t in each.turns]
    ranking = [t.reward_terms["ranking"] for each in after for t in each.turns]
    assert found["terms"]["ranking"]["with goal_following"] == pytest.approx(np.corrcoef(ranking, following)[0, 1])
    odd = replace(after[0], turns=(replace(after[0].turns[0], reply="<b>*hi*</b>", reward=99.0), *after[0].turns[1:]))
    write_report(tmp_path / "r.md", "coverage", found, [*after[1:], odd], top=2)
    page = (tmp_path / "r.md").read_text()
    assert page.count("### ") == 2 and page.index(odd.id) < page.index("### 2.")
    assert "<b>" not in page and "\\<b\\>\\*hi\\*" in page


def test_what_records_do_not_tell_is_refused(talks: list[Episode]) -> None:
    with pytest.raises(InputError, match="`manual` cannot be computed"):
        check_rescorable("manual+repetition")
    with pytest.raises(InputError, match="no persona"):
        rescored([replace(talks[0], persona=())], built("coverage"))
    with pytest.raises(InputError, match="cannot be replayed"):
        replay([replace(talks[0], seed=None)], tiny_model())


def test_the_commands_work_together(recorded: EpisodeStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("convogym.experiments.steering_cli.load_model", lambda name: tiny_model(seed=int(name == "other")))
    run = CliRunner()
    store = str(recorded.path)
    again = str(tmp_path / "again.db")
    said = run.invoke(app, ["replay", "--store", store, "--model", "other", "--limit", "2", "--out", again, "--json"])
    assert said.exit_code == 0, said.output
    told = run.invoke(app, ["diff", "--store", store, "--other", again, "--show", "1"])
    assert told.exit_code == 0 and "+ <" in told.stdout and "same_replies" in told.stdout
    rewarded = str(tmp_path / "rewarded.db")
    scored = run.invoke(
        app, ["rescore", "--store", store, "--reward", "coverage", "--out", rewarded, "--report", str(tmp_path / "r.md")]
    )
    assert scored.exit_code == 0, scored.output
    with EpisodeStore(rewarded) as opened:
        assert {tuple(t.reward_terms) for each in opened.episodes() for t in each.turns} == {("coverage",)}
    for arguments in (
        ["rescore", "--store", store, "--reward", "coverage", "--out", rewarded],
        ["rescore", "--store", str(tmp_path / "none.db"), "--reward", "coverage"],
        ["rescore", "--store", store, "--reward", "coverages"],
        ["diff", "--store", store, "--other", str(tmp_path / "none.db")],
    ):
        refused = run.invoke(app, arguments)
        assert refused.exit_code == 2 and refused.stderr.startswith("convogym: ") and refused.stderr.count("\n") == 1


def test_a_store_takes_a_whole_episode_once(talks: list[Episode], tmp_path: Path) -> None:
    options.write_store(tmp_path / "new.db", talks)
    with EpisodeStore(tmp_path / "new.db") as store:
        assert list(store.episodes()) == talks
        with pytest.raises(InputError, match="already"):
            store.add(talks[0])
