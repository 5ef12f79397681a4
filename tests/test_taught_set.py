"""Versions of what a model was taught, and the lessons they were taught by, on disk."""

import dataclasses
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest
from fakes import FakeReader, small_personas
from tiny import tiny_model
from typer.testing import CliRunner

import convogym  # noqa: F401  # registers the environment
from convogym.agents.loading import load
from convogym.errors import CheckpointError, InputError
from convogym.experiments.cli import app
from convogym.experiments.taught_set import Lesson, TaughtSet
from convogym.store import EpisodeStore

LESSON = Lesson("talk about sports.", (), ("hi.", "hello."), (None,), "what?", "do you play football?")


@pytest.fixture
def base(tmp_path: Path) -> str:
    tiny_model().save(tmp_path / "base")
    return str(tmp_path / "base")


def test_versions_are_kept_and_any_can_be_restored(tmp_path: Path, base: str) -> None:
    taught = TaughtSet(tmp_path / "taught", base)
    assert (taught.current, taught.model, taught.goals) == (0, base, ())
    for goal in ("talk about sports.", "talk about cars."):
        taught.check_new(goal)
        taught.keep(load(taught.model), goal, {"note": goal})
    again = TaughtSet(tmp_path / "taught", base)
    assert (again.current, again.goals) == (2, ("talk about sports.", "talk about cars."))
    assert load(again.model).taught == again.goals
    again.restore(1)
    assert list(again.goals) == list(load(again.model).taught) == ["talk about sports."]
    again.check_new("talk about cars.")  # forgotten, so it can be taught again
    again.keep(load(again.model), "talk about books.", {})
    assert again.goals == ("talk about sports.", "talk about books.") and again.current == 3
    TaughtSet(tmp_path / "taught", base).restore(2)  # what was forgotten is still there
    assert TaughtSet(tmp_path / "taught", base).goals == ("talk about sports.", "talk about cars.")
    with pytest.raises(InputError, match="there are 0, 1, 2, 3"):
        again.restore(4)


@pytest.mark.parametrize("goal", ["ask about pets.", "Ask about PETS", "a\nb", "", "<|act|>", "x" * 81])
def test_what_is_no_new_goal_is_refused(tmp_path: Path, goal: str) -> None:
    with pytest.raises(InputError):
        TaughtSet(tmp_path / "taught", "persona-mini").check_new(goal)


def test_lessons_are_on_disk_when_added_and_a_line_cut_off_by_a_kill_is_passed_over(tmp_path: Path) -> None:
    taught = TaughtSet(tmp_path / "taught", "persona-mini")
    taught.add(LESSON)
    taught.add(dataclasses.replace(LESSON, goal="talk about cars.", line="<|act|> \u2028 fine?"))
    assert [lesson.goal for lesson in taught.lessons()] == ["talk about sports.", "talk about cars."]
    assert taught.lessons("talk about sports.") == [LESSON]
    path = tmp_path / "taught" / "lessons.jsonl"
    path.write_text(path.read_text() + '{"goal": "talk ab')
    assert len(TaughtSet(tmp_path / "taught", "persona-mini").lessons()) == 2
    path.write_text("{}\n" + path.read_text())
    with pytest.raises(CheckpointError, match=":1: expected a lesson"):
        taught.lessons()


def test_a_lesson_needs_a_line_and_a_goal_for_each_line_before() -> None:
    assert LESSON.is_correction and LESSON.before == "hello."
    for wrong in ({"line": " "}, {"goals": ()}, {"history": ("hi.",)}):
        with pytest.raises(InputError):
            dataclasses.replace(LESSON, **wrong)


def test_other_folders_and_other_models_are_refused(tmp_path: Path) -> None:
    TaughtSet(tmp_path / "taught", "persona-mini")
    with pytest.raises(InputError, match="choose another folder"):
        TaughtSet(tmp_path / "taught", "another")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").write_text("dear")
    with pytest.raises(CheckpointError, match="found something else"):
        TaughtSet(tmp_path / "full", "persona-mini")
    for content in ("{}", "[", '{"format": 9}', '{"format": 1, "base": "a", "current": 3, "versions": []}'):
        (tmp_path / "taught" / "taught.json").write_text(content)
        with pytest.raises(CheckpointError, match=r"taught\.json"):
            TaughtSet(tmp_path / "taught", "persona-mini")


def test_the_environment_offers_taught_goals_with_codes_after_the_published_ones(tmp_path: Path, base: str) -> None:
    taught = TaughtSet(tmp_path / "taught", base)
    taught.keep(load(base), "talk about sports.", {})
    kwargs: dict[str, Any] = {"personas": small_personas(), "reader": FakeReader(), "reward": "repetition", "num_turns": 2}
    env = gym.make("PersonaChat-v0", responder=taught.model, goals="taught", **kwargs)
    assert env.action_space.n == 12  # type: ignore[attr-defined]
    env.reset(seed=0)
    *_, info = env.step(11)
    assert info["goal"] == "talk about sports." and info["action"] == 11
    with pytest.raises(InputError, match="was taught goals"):
        gym.make("PersonaChat-v0", responder=base, goals="taught", **kwargs)
    with pytest.raises(InputError, match="'taught'"):
        gym.make("PersonaChat-v0", responder=base, goals="tought", **kwargs)


@pytest.mark.parametrize("taught", ['"talk about sports."', '["ask about pets."]', '["a\\nb"]', "[1]"])
def test_a_model_folder_with_impossible_taught_goals_is_refused(base: str, taught: str) -> None:
    path = Path(base) / "config.json"
    path.write_text(path.read_text().replace('"layout"', f'"taught": {taught}, "layout"'))
    with pytest.raises(CheckpointError, match="taught goals"):
        load(base)


def test_commands_play_with_taught_goals_and_policies_of_fewer_goals_keep_to_theirs(tmp_path: Path, base: str) -> None:
    taught = TaughtSet(tmp_path / "taught", base)
    taught.keep(load(base), "talk about sports.", {})
    store = tmp_path / "a.db"
    words = ["--model", taught.model, "--num-turns", "12", "--reward", "repetition", "--json"]
    result = CliRunner().invoke(
        app, ["collect", "--store", str(store), "--policy", "cycle", "--episodes", "2", "--goals", "taught", *words]
    )
    assert result.exit_code == 0, result.output
    with EpisodeStore(store) as opened:
        assert [[turn.action for turn in episode.turns] for episode in opened.episodes()] == [list(range(12))] * 2
    result = CliRunner().invoke(
        app, ["evaluate", "policy", "--policy", "cycle:11", "--episodes", "2", "--goals", "taught", *words]
    )
    assert result.exit_code == 0, result.output
    for arguments, says in ((["--goals", "tought"], "'taught'"), (["--goals", "taught", "--model", base], "was taught goals")):
        result = CliRunner().invoke(
            app, ["collect", "--store", str(store), "--policy", "cycle", "--episodes", "2", *words, *arguments]
        )
        assert result.exit_code == 2 and says in result.stderr, result.output
