"""The commands about steering, each run once with a tiny model: what they print, write and refuse."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fakes import FakeReader
from tiny import tiny_model
from typer.testing import CliRunner

from convogym.envs.human_rewards import PreferenceHead
from convogym.experiments.cli import app
from convogym.experiments.collect import collect, make_env
from convogym.policies.baselines import RandomPolicy
from convogym.policies.learned import load
from convogym.policies.loading import make_policy
from convogym.store import EpisodeStore


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr("convogym.experiments.steering_cli.load_model", lambda name: tiny_model())
    yield


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("talks") / "talks.db"
    with EpisodeStore(path) as opened:
        env = make_env(tiny_model(), 6, personas="held-out", reward="coverage", num_turns=2)
        collect(env, RandomPolicy(11, 0), opened, 12)
        for number, episode in enumerate(opened.episodes()):
            opened.correct(episode.id, 1, reply=f"i have {number} dogs.")
    return str(path)


def told(*arguments: str) -> Any:
    result = CliRunner().invoke(app, [*arguments, "--json"])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_search_order_names_a_policy() -> None:
    found = told("search-order", "--turns", "1", "--episodes", "4", "--num-envs", "4", "--reward", "coverage")
    assert found["policy"] == f"cycle:{found['order'][0]}"


def test_policies_are_cloned_and_judged_by_records(store: str, tmp_path: Path) -> None:
    out = str(tmp_path / "cloned")
    assert told("clone-policy", "--store", store, "--out", out)["examples"] == 24
    assert load(out).spec.sees_goals_only
    found = told("evaluate", "off-policy", "--store", store, "--policy", out)
    assert found["episodes"] == 12 and set(found["estimates"]) == {
        "importance_sampling",
        "weighted",
        "doubly_robust",
        "fitted_q",
    }
    same = told("evaluate", "off-policy", "--store", store, "--policy", "random", "--sample")
    assert same["estimates"]["importance_sampling"]["mean"] == pytest.approx(same["recorded"])
    assert same["effective_episodes"] == pytest.approx(12)


def test_an_expert_is_asked(tmp_path: Path) -> None:
    arguments = ("clone-policy", "--expert", "cycle:3", "--episodes", "8", "--rounds", "2", "--num-turns", "2")
    found = told(*arguments, "--num-envs", "8", "--reward", "coverage", "--out", str(tmp_path / "asked"))
    assert found["rounds"][1]["agreement"] == 1.0 and found["examples"] == 32


def test_corrections_become_a_reward(store: str, tmp_path: Path) -> None:
    out = tmp_path / "taste"
    found = told("fit-reward", "--store", store, "--out", str(out))
    assert found["preferences"] == 12 and found["reward"] == f"learned:{out}"
    assert PreferenceHead.load(out).reader == "persona-reader"
    rescored = told("rescore", "--store", store, "--reward", f"learned:{out}")
    assert set(rescored["terms"]) == {"learned"} and rescored["turns"] == 24


def test_calibration_and_grid_are_measured_and_drawn(tmp_path: Path) -> None:
    chart, grid = tmp_path / "c.png", tmp_path / "g.png"
    small = ("--episodes", "2", "--num-turns", "1", "--num-envs", "2")
    found = told("evaluate", "calibration", *small, "--out", str(chart))
    assert 0 <= found["ece"] <= 1 and len(found["after"]) == 1
    crossed = told("evaluate", "grid", "--policy", "cycle:1", *small, "--out", str(grid))
    assert len(crossed["grid"]) == 12
    assert chart.stat().st_size > 1000 and grid.stat().st_size > 1000


def test_learning_curves_leave_policies_and_a_chart(tmp_path: Path) -> None:
    arguments = ("learning-curves", "--algo", "ppo", "--steps", "600", "--seeds", "2", "--num-turns", "1", "--num-envs", "32")
    found = told(*arguments, "--reward", "coverage", "--out", str(tmp_path))
    assert json.loads((tmp_path / "curves.json").read_text())["curves"] == found["curves"]
    assert {path.name for path in tmp_path.iterdir()} == {"ppo-0", "ppo-1", "curves.json", "curves.png"}


def test_learning_is_compared_with_chance_and_an_order_and_can_be_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("convogym.agents.reader.load_reader", FakeReader)  # the shipped one would read thousands of facts
    small = ("--seeds", "2", "--steps", "128", "--episodes", "4", "--num-turns", "2", "--num-envs", "16")
    arguments = ("evaluate", "steering", *small, "--order", "cycle:1,2", "--out", str(tmp_path))
    found = told(*arguments)
    assert found["methods"]["ppo x 2"] == [name for name in found["policies"] if name.startswith("ppo-")]
    assert [(gap["a"], gap["b"]) for gap in found["differences"]] == [("random", "ppo x 2"), ("cycle:1,2", "ppo x 2")]
    assert set(found["differences"][0]["also"]) == {"prec_5", "turns_to_first"}
    assert {path.name for path in tmp_path.iterdir()} == {"ppo-0", "ppo-1", "steering.json", "curves.png"}
    assert load(tmp_path / "ppo-1").observation == "belief"
    again = told(*arguments, "--resume")
    assert again["seconds_learning"] is None and again["returns"] == found["returns"]
    pooled = told("evaluate", "calibration", "--policy", str(tmp_path / "ppo-0"), "--episodes", "2", "--num-turns", "1")
    assert pooled["policy"].startswith("ppo-0@")


def test_talks_of_an_exploring_policy_are_judged_off_policy(tmp_path: Path) -> None:
    path = tmp_path / "talks.db"
    with EpisodeStore(path) as opened:
        env = make_env(tiny_model(), 8, personas="held-out", reward="coverage", num_turns=2)
        collect(env, make_policy("epsilon:0.5:cycle:1,2", 11, 0), opened, 24)
    found = told("evaluate", "off-policy", "--store", str(path), "--policy", "cycle:1,2")
    assert 1 < found["effective_episodes"] <= 24
    for estimate in ("doubly_robust", "fitted_q", "weighted"):
        assert -0.5 < found["estimates"][estimate]["mean"] < 1.5  # shares of a persona's facts
    own = told("evaluate", "off-policy", "--store", str(path), "--policy", "epsilon:0.5:cycle:1,2", "--sample")
    assert own["effective_episodes"] == pytest.approx(24)
    assert own["estimates"]["importance_sampling"]["mean"] == pytest.approx(own["recorded"])


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("clone-policy --out {tmp}/x", "one of the two"),
        ("clone-policy --out {tmp}/x --store {store} --recorded-by nobody", "same goals"),
        ("evaluate off-policy --store {store} --policy random --recorded-by nobody", "no finished episode of 'nobody'"),
        ("evaluate off-policy --store {tmp}/none.db --policy random", "found none"),
        ("fit-reward --store {tmp}/none.db --out {tmp}/x", "found none"),
        ("evaluate steering --observation text --out {tmp}/x", "goals, belief, last-token"),
        ("evaluate steering --reward coverage --quick --out {tmp}/x", "have it in `reward`"),
        ("learning-curves --algo ppoo --steps 10 --out {tmp}/x", "'ppo'"),
        ("search-order --turns 2 --reward identity", "'identification'"),
        ("rescore --store {store} --reward manual", "`manual` cannot"),
    ],
)
def test_wrong_input_is_told_in_one_line(arguments: str, says: str, store: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, arguments.format(tmp=tmp_path, store=store).split())
    assert result.exit_code == 2 and says in result.stderr and result.stderr.count("\n") == 1
