"""What travels with the package: the models are small, whole and do what their cards say. Runs the real models."""

from __future__ import annotations

import json
import time
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from convogym import grammar
from convogym.agents import LanguageModel, load, load_reader
from convogym.errors import CorpusError
from convogym.experiments import train_reader
from convogym.experiments.collect import collect, make_env
from convogym.experiments.demo import run_demo
from convogym.experiments.evaluate_goals import evaluate_goal_judge, evaluate_goals
from convogym.experiments.evaluate_policy import evaluate_policies
from convogym.experiments.finetune import finetune
from convogym.personas import load_personas
from convogym.policies.baselines import CyclePolicy, RandomPolicy
from convogym.store import EpisodeStore

MODELS = Path(str(files("convogym") / "models"))


@pytest.fixture(scope="module")
def model() -> LanguageModel:
    """persona-mini."""
    return load("persona-mini")


def test_the_model_is_small_and_loads_in_under_two_seconds() -> None:
    times = []
    for _ in range(3):
        began = time.perf_counter()
        load("persona-mini")
        times.append(time.perf_counter() - began)
    assert min(times) < 2
    assert (MODELS / "persona-mini" / "model.safetensors").stat().st_size <= 40_000_000


@pytest.mark.parametrize("name", ["persona-mini", "persona-reader"])
def test_every_model_has_a_card_with_corpora_and_licences(name: str) -> None:
    card = (MODELS / name / "README.md").read_text("utf-8")
    assert "CC0 1.0" in card and "CC BY 4.0" in card and "## Measured" in card and "## Limits" in card


def test_most_steered_lines_follow_their_goal_and_can_be_labelled_by_hand(tmp_path: Path) -> None:
    found = evaluate_goals("persona-mini", None, 12, 0, out=tmp_path)
    assert found["n"] == 132 and found["mean"] > 0.6
    said = [json.loads(line) for line in (tmp_path / "lines.jsonl").read_text("utf-8").splitlines()]
    with pytest.raises(CorpusError, match="goals"):
        evaluate_goal_judge(tmp_path / "lines.jsonl")
    labelled = [{**line, "goals": [line["asked"]] if line["context"] < 9 else []} for line in said]
    (tmp_path / "labelled.jsonl").write_text("".join(json.dumps(line) + "\n" for line in labelled), "utf-8")
    assert evaluate_goal_judge(tmp_path / "labelled.jsonl")["followed"]["mean"] == pytest.approx(9 / 12)


def test_the_judges_are_informative() -> None:
    found = train_reader.score(MODELS / "persona-reader", 0)
    assert found["goal_judge_steered_talk_dev"]["f1"] > 0.6
    assert found["goal_judge_grammar_held_out"]["f1"] > 0.9
    assert found["matcher_grammar_held_out"]["true_persona_first"] >= 0.8


def test_the_matcher_finds_the_persona_of_grammar_talks_that_cycle_through_goals() -> None:
    """Eight turns of the cycle policy, answered by the grammar: the true persona first among 21."""
    rng, pool, reader = np.random.default_rng(0), load_personas("grammar-held-out"), load_reader()
    hits = []
    for _ in range(128):
        persona = grammar.sample_persona(rng, "held-out")
        turns: list[tuple[str, str]] = []
        told: list[grammar.Fact] = []
        for goal in range(8):
            line = grammar.question(rng, goal, turns[-1][1] if turns else "")
            asked = [fact for fact in persona if fact.goal == goal and fact not in told]
            turns.append((line, grammar.answer(rng, asked[0], line) if asked else grammar.decline(rng, goal, persona)))
            told += asked[:1]
        facts = tuple(fact.text for fact in persona)
        others = [other.facts for other in pool if set(other.facts) != set(facts)]
        lineup = [facts, *(others[i] for i in rng.choice(len(others), 20, replace=False))]
        evidence = np.sum(reader.evidence(turns, [lineup] * len(turns)), axis=0)
        hits.append(evidence[0] > evidence[1:].max())
    assert np.mean(hits) >= 0.8


def test_cycling_through_goals_reveals_who_answers(model: LanguageModel) -> None:
    """Held-out personas of the grammar: replies put the true persona first among 21 (chance 0.05)."""
    env = make_env(model, 64, personas="grammar-held-out")
    pool = load_personas("grammar-held-out")
    found = evaluate_policies([CyclePolicy(11)], env, 128, matcher=load_reader(), pool=pool)["policies"]["cycle"]
    assert found["true_persona_first"] >= 0.6 and found["mean_return"] > 1.5  # nats, of at most 3.04


def test_stored_episodes_become_a_tuned_model(model: LanguageModel, tmp_path: Path) -> None:
    with EpisodeStore(tmp_path / "episodes.db") as store:
        collect(make_env(model, 16, num_turns=4), RandomPolicy(11, 0), store, 16)
    found = finetune(tmp_path / "episodes.db", "persona-mini", tmp_path / "tuned", 3, 1e-4, 0.5, 0)
    assert found["learnt_from"]["followed_lines"] > 10
    assert load(tmp_path / "tuned").layout == "inline"
    assert [point["step"] for point in found["curve"]] == [1, 2, 3]
    assert all(point["ctrl_loss"] > 0 and point["persona_loss"] > 0 for point in found["curve"])


def test_the_judge_agrees_with_lines_labelled_by_reading() -> None:
    """231 lines that persona-mini said, labelled by somebody who did not know which goal was asked for."""
    found = evaluate_goal_judge(Path(__file__).parent / "data" / "judged_lines.jsonl")
    assert found["n"] == 231 and found["micro"]["f1"] > 0.6


def test_people_hear_the_goal_in_most_lines_and_the_judge_mostly_agrees() -> None:
    """352 lines of persona-mini in steered-talk dev contexts, labelled by somebody who did not know the goal asked for."""
    found = evaluate_goal_judge(Path(__file__).parent / "data" / "followed_lines.jsonl")
    assert found["n"] == found["followed"]["n"] == 352
    assert found["micro"]["f1"] > 0.85 and found["followed"]["mean"] > 0.8


def test_the_judge_refuses_garbled_lines() -> None:
    """395 lines of persona-mini in training contexts, labelled by reading; a quarter do not carry out their goal."""
    found = evaluate_goal_judge(Path(__file__).parent / "data" / "said_lines.jsonl")
    assert found["n"] == 395 and 0.7 < found["followed"]["mean"] < 0.8
    assert found["micro"]["precision"] > 0.79 and found["micro"]["recall"] > 0.9


@pytest.mark.slow
def test_the_quick_demo_runs_to_its_report(tmp_path: Path) -> None:
    found = run_demo(tmp_path / "demo", 0, quick=True)
    assert set(found["policies"]) >= {"random", "cycle"} and len(found["policies"]) == 3
    page = (tmp_path / "demo" / "report.html").read_text("utf-8")
    assert page.count("data:image/png;base64,") == 5 and "before fine-tuning" in page
