"""Whether learning to steer pays: several runs of one algorithm against random goals and the best fixed order. Gives a dict.

What is learnt and what is searched is learnt and searched on train personas; all meet the same held-out ones.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convogym.experiments.collect import make_env, make_envs
from convogym.experiments.console import Tick, ignore_ticks
from convogym.experiments.evaluate_policy import as_rows, evaluate_policies
from convogym.experiments.learning_curves import draw_curves, learning_curves
from convogym.experiments.search_order import BEAM, num_turns_played, search_order
from convogym.goals import DEFAULT_GOALS
from convogym.personas import load_personas
from convogym.policies.base import Policy
from convogym.policies.loading import make_policy

if TYPE_CHECKING:
    from convogym.agents.model import LanguageModel

TRAIN, HELD_OUT = "train", "held-out"
SEARCHED = 256  # episodes that every order is tried on


def planned_turns(seeds: int, steps: int, episodes: int, num_turns: int, order: str | None) -> int:
    """About how many turns `evaluate_steering` takes, for a progress bar."""
    searched = 0 if order else SEARCHED * num_turns_played(num_turns, BEAM)
    return seeds * steps + searched + (seeds + 2) * episodes * num_turns


def evaluate_steering(
    model: LanguageModel,
    reader: Any,
    out: Path,
    *,
    algorithm: str = "ppo",
    steps: int,
    observation: str = "belief",
    seeds: int = 5,
    episodes: int = 512,
    num_turns: int = 8,
    order: str | None = None,
    num_envs: int = 64,
    reward: str = "identification",
    resume: bool = False,
    seed: int = 0,
    tick: Tick = ignore_ticks,
) -> dict[str, Any]:
    """Learns, searches and compares.

    Args:
        model: says lines and replies.
        reader: judge and matcher.
        out: folder for the policies and `curves.png`.
        algorithm: name of what is learnt with.
        steps: turns that each run learns from.
        observation: what the learned policies see.
        seeds: runs, at least 2.
        episodes: held-out episodes, the same for everybody.
        num_turns: turns of an episode, in learning, searching and measuring.
        order: name of the fixed order to compare with, e.g. "cycle:1,2,6"; None = the best that `search_order` finds.
        num_envs: dialogues side by side.
        reward: what is learnt, searched and measured.
        resume: take over finished runs that are in `out` already.
        seed: of everything.
        tick: told how many turns were taken.

    Returns:
        What `evaluate_policies` gives, `differences` only those between the learned policies and the others, and `order`,
        `curves` and `seconds_learning`, the mean over runs that were not taken over.

    Raises:
        InputError: a number or name makes no sense.
        Stopped: Ctrl-C.
    """
    began = time.monotonic()
    learnt = learning_curves(
        model,
        [algorithm],
        steps,
        out,
        seeds=seeds,
        seed=seed,
        observation=observation,
        resume=resume,
        tick=tick,
        personas=TRAIN,
        reward=reward,
        num_envs=num_envs,
        num_turns=num_turns,
    )
    draw_curves(learnt, out / "curves.png")
    if order is None:
        searching = make_env(
            model, num_envs, personas=TRAIN, reward=reward, num_turns=num_turns, observation="goals", autoreset_mode="Disabled"
        )
        order = str(search_order(searching, num_turns, SEARCHED, seed=seed, beam=BEAM, tick=tick)["policy"])
    names = ["random", order, *(str(out / f"{algorithm}-{number}") for number in range(seed, seed + seeds))]
    policies: list[Policy] = [make_policy(name, len(DEFAULT_GOALS), seed) for name in names]
    envs = make_envs(model, policies, min(num_envs, episodes), personas=HELD_OUT, reward=reward, num_turns=num_turns)
    found = evaluate_policies(
        policies,
        envs,
        episodes,
        seed=seed,
        matcher=reader,
        pool=load_personas(HELD_OUT),
        judge=reader,
        tick=lambda done: tick(done * num_turns),
    )
    others = {"random", policies[1].name}
    return {
        **found,
        "differences": [gap for gap in found["differences"] if {gap["a"], gap["b"]} - others],
        "order": order,
        "curves": learnt["curves"],
        "seconds_learning": learnt["seconds_a_run"],
        "steps": steps,
        "seconds": round(time.monotonic() - began, 3),
    }


def told(found: Mapping[str, Any]) -> str:
    """The comparison as lines to read: a row for each policy, then how the learned ones differ from the others."""
    rows = [f"{'':34}{'return':>8}{'prec_5':>8}{'turns to first':>16}{'facts':>7}{'goals':>7}"]
    for name, each in found["policies"].items():
        rows.append(
            f"{name:34}{each['mean_return']:8.3f}{each['prec_5']:8.3f}{each['turns_to_first']:16.2f}"
            f"{each['facts_revealed']:7.2f}{each['goals_asked']:7.2f}"
        )
    for gap in as_rows(found["differences"]):
        low, high = gap["mean_interval"]
        winner = "no winner" if gap["winner"] is None else f"{gap['winner']} is better"
        gained = f"{gap['mean']:+.3f} [{low:+.3f}, {high:+.3f}], n = {gap['n']}"
        rows.append(f"{gap['a']} minus {gap['b']}, {gap['of']}: {gained}: {winner}")
    return "\n".join(rows)
