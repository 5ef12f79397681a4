"""Curves join runs at the same turns; the grid's speakers are asked without goals or persona, and all pairs are played."""

from pathlib import Path

import numpy as np
import pytest
from fakes import EchoSpeaker, FakeReader
from tiny import tiny_model

from convogym.errors import InputError
from convogym.experiments.grid import RESPONDERS, WithoutGoals, WithoutPersona, draw_grid, run_grid
from convogym.experiments.learning_curves import draw_curves, joined, learning_curves
from convogym.policies.base import Policy
from convogym.policies.baselines import CyclePolicy, RandomPolicy
from convogym.speakers import Request


def test_curves_are_joined_turn_by_turn() -> None:
    runs = [[(512, 1.0), (1024, 2.0), (1536, 9.0)], [(512, 3.0), (1024, 4.0)]]
    points = joined(runs, 0)
    assert [(point["turns"], point["mean"], point["n"]) for point in points] == [(512, 2.0, 2), (1024, 3.0, 2)]
    assert points[0]["mean_interval"] == [1.0, 3.0]


def test_every_run_is_a_seed_of_its_own(tmp_path: Path) -> None:
    found = learning_curves(
        tiny_model(), ["ppo"], 600, tmp_path, seeds=2, num_envs=16, num_turns=2, reward="coverage", personas="held-out"
    )
    assert [run["seed"] for run in found["runs"]] == [0, 1]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ppo-0", "ppo-1"]
    draw_curves(found, tmp_path / "c.png")
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(InputError, match="2 seeds or more"):
        learning_curves(tiny_model(), ["ppo", "ppo"], 600, tmp_path)


def test_the_grids_speakers_are_not_told_goals_or_persona() -> None:
    request = Request(0, ("i am shy.",), ("hi", "hello"), ("ask about pets.", "talk about work."), np.zeros(12))
    plain = EchoSpeaker()
    WithoutGoals(plain).speak([request])
    WithoutPersona(plain).speak([Request(1, ("i am shy.",), ("hi",), ("x",), np.zeros(12))])
    first, second = plain.requests
    assert first.goals == (None, None) and first.persona == request.persona and first.history == request.history
    assert second.persona == () and second.goals == ("x",)
    assert WithoutGoals(plain).name != plain.name and WithoutPersona(plain).feature_size == plain.feature_size


def test_all_pairs_play_the_same_episodes(tmp_path: Path) -> None:
    policies: dict[str, Policy] = {"none": RandomPolicy(11), "fixed order": CyclePolicy(11)}
    found = run_grid(tiny_model(), policies, 2, FakeReader(), num_envs=2, num_turns=2)
    assert [(row["responder"], row["agent"]) for row in found["grid"]] == [(r, a) for r in RESPONDERS for a in policies]
    assert all(np.isfinite(row["mean_return"]) and 0 <= row["prec_5"] <= 1 for row in found["grid"])
    draw_grid(found, tmp_path / "g.png")
    assert (tmp_path / "g.png").read_bytes().startswith(b"\x89PNG")
