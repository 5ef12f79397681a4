"""The whole product once: talk, learn a policy, compare, record, fine-tune, measure, talk again; written up as one HTML page.

    convogym demo              about ten minutes on two cores
    convogym demo --quick      the same with fewer turns

Every step is the library's own function behind the command of that name; nothing here is computed otherwise than a user would.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from convogym.experiments.collect import collect, make_env, make_envs
from convogym.experiments.demo_report import write_report
from convogym.experiments.evaluate_goals import evaluate_goals
from convogym.experiments.evaluate_policy import evaluate_policies
from convogym.experiments.finetune import finetune
from convogym.experiments.rollout import run_episodes
from convogym.experiments.train_policy import train_policy
from convogym.goals import DEFAULT_GOALS
from convogym.personas import load_personas
from convogym.policies.base import Policy
from convogym.policies.baselines import CyclePolicy, RandomPolicy
from convogym.store import EpisodeStore


@dataclass(frozen=True)
class DemoConfig:
    """How much of everything the demo does."""

    train_turns: int
    """turns the policy learns from"""
    evaluation_episodes: int
    """episodes each policy is measured on"""
    collected_episodes: int
    """episodes recorded for fine-tuning, half by the learned and half by the random policy"""
    tuning_steps: int
    """optimiser steps of the fine-tuning"""
    goal_contexts: int
    """held-out contexts in which goal following is measured, times eleven goals"""


FULL = DemoConfig(10_240, 200, 160, 90, 60)
QUICK = DemoConfig(1_024, 40, 32, 20, 10)
ALGORITHM = "ppo"
OBSERVATION = "belief"
MODEL = "persona-mini"
WHEN = ("before", "after")
LEARNING_RATE = 3e-4
TOLERANCE = 0.05  # the share is watched on 264 lines, which is good to two points


def run_demo(out: Path, seed: int, quick: bool = False, progress: bool = False) -> dict[str, Any]:
    """Runs the loop and writes `report.html`, the policy, the store and the tuned model.

    Args:
        out: folder for all of it; an older demo in it is replaced, but for its store, which is completed.
        seed: of everything.
        quick: a minute's worth.
        progress: show bars on stderr.

    Returns:
        What was measured; all of it is in the report too.
    """
    from convogym.agents.loading import load
    from convogym.agents.reader import load_reader

    config = QUICK if quick else FULL
    began = time.monotonic()
    out.mkdir(parents=True, exist_ok=True)
    model = load(MODEL)

    with _step("1/5 learn a policy in the environment", config.train_turns, "turn", progress) as bar:
        trained = train_policy(
            model, ALGORITHM, config.train_turns, out / "policy", observation=OBSERVATION, seed=seed, tick=bar.update
        )
    from convogym.policies.loading import make_policy

    learned = make_policy(str(out / "policy"), len(DEFAULT_GOALS), seed)
    policies: list[Policy] = [RandomPolicy(len(DEFAULT_GOALS), seed), CyclePolicy(len(DEFAULT_GOALS)), learned]

    held_out = make_envs(model, policies, 64, personas="held-out")
    with _step("2/5 compare it with random and cycling goals", 3 * config.evaluation_episodes, "episode", progress) as bar:
        compared = evaluate_policies(
            policies,
            held_out,
            config.evaluation_episodes,
            seed=seed,
            matcher=load_reader(),
            pool=load_personas("held-out"),
            tick=bar.update,
        )

    with (
        _step("3/5 record episodes", config.collected_episodes, "episode", progress) as bar,
        EpisodeStore(out / "episodes.db") as store,
    ):
        half = config.collected_episodes // 2
        recorded = (policies[2], policies[0])
        for policy, env in zip(recorded, make_envs(model, recorded, 64), strict=True):
            collect(env, policy, store, half, seed=seed, resume=True, tick=bar.update)

    with _step("4/5 fine-tune on the lines that followed their goals", 1, "run", progress) as bar:
        tuned = finetune(
            out / "episodes.db", MODEL, out / "model", config.tuning_steps, LEARNING_RATE, TOLERANCE, seed, None, progress
        )
        bar.update(1)

    with _step("5/5 measure goal following before and after", 2, "model", progress) as bar:
        before = evaluate_goals(MODEL, None, config.goal_contexts, seed + 1)
        bar.update(1)
        after = evaluate_goals(str(out / "model"), None, config.goal_contexts, seed + 1)
        bar.update(1)
        transcripts = {
            name: _transcript(load(path), seed)
            for name, path in (("before fine-tuning", MODEL), ("after fine-tuning", str(out / "model")))
        }
    result = {
        "policies": {
            name: {
                key: summary[key] for key in ("mean_return", "mean_return_interval", "true_persona_first", "goals_asked", "n")
            }
            for name, summary in compared["policies"].items()
        },
        "differences": compared["differences"],
        "goal_following": {
            "before": before["mean"],
            "before_interval": before["mean_interval"],
            "after": after["mean"],
            "after_interval": after["mean_interval"],
            "n": before["n"],
        },
        "transcripts": transcripts,
        "trained_turns": config.train_turns,
        "seed": seed,
        "seconds": round(time.monotonic() - began, 1),
        "report": str(out / "report.html"),
    }
    write_report(out / "report.html", result, compared, trained, tuned, before, after)
    return result


def summary(result: Mapping[str, Any]) -> str:
    """What the demo found, as the lines its command prints."""
    rows = [f"{'policy':<18}{'mean return':>12}{'95 % interval':>20}{'true persona first':>20}{'different goals':>17}"]
    for name, found in result["policies"].items():
        low, high = found["mean_return_interval"]
        around = f"{low:.3f} .. {high:.3f}"
        first, asked = found["true_persona_first"], found["goals_asked"]
        rows.append(f"{name:<18}{found['mean_return']:>12.3f}{around:>20}{first:>20.1%}{asked:>17.2f}")
    for gap in result["differences"]:
        low, high = gap["mean_interval"]
        winner = "no winner" if gap["winner"] is None else f"{gap['winner']} is better"
        rows.append(f"{gap['a']} minus {gap['b']}: {gap['mean']:+.3f} [{low:+.3f}, {high:+.3f}], n = {gap['n']}: {winner}")
    goals = result["goal_following"]
    shares = [f"{goals[when]:.1%} [{goals[f'{when}_interval'][0]:.1%}, {goals[f'{when}_interval'][1]:.1%}]" for when in WHEN]
    rows.append(f"goals followed, of {goals['n']} lines: {shares[0]} before fine-tuning, {shares[1]} after")
    return "\n".join([*rows, f"{result['seconds']:.0f} s in all; plots and transcripts: {result['report']}"])


def _transcript(model: Any, seed: int) -> str:
    """One talk with a held-out persona, steered through the first eight goals."""
    env = make_env(model, 1, personas="held-out")
    (episode,) = run_episodes(env, CyclePolicy(len(DEFAULT_GOALS)), [seed + 12345])
    facts = "\n".join(f"  {fact}" for fact in episode.persona.facts)
    return f"persona\n{facts}\n{episode.transcript}"


@contextmanager
def _step(what: str, total: int, unit: str, progress: bool) -> Iterator[Any]:
    """A bar for one step of the demo; its title is written even where nobody watches bars."""
    if not progress:
        sys.stderr.write(f"{what} ...\n")
        sys.stderr.flush()
    with tqdm(total=total, desc=what, unit=unit, disable=not progress) as bar:
        yield bar
