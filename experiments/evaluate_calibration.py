"""Whether the matcher behind `identification` is as often right as it is sure. Prints nothing; gives a dict, draws a chart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from convogym.dialogue import Persona
from convogym.errors import InputError
from convogym.experiments.collect import run_seeds
from convogym.experiments.console import Tick, ignore_ticks, stoppable
from convogym.experiments.identification import calibration, fitted_temperature, posteriors, standings
from convogym.experiments.rollout import EpisodeResult, run_episodes
from convogym.metrics import bootstrap_interval
from convogym.policies.base import Policy
from convogym.speakers import PersonaMatcher


def evaluate_calibration(
    env: Any,
    policy: Policy,
    matcher: PersonaMatcher,
    pool: Sequence[Persona],
    episodes: int,
    *,
    seed: int = 0,
    tick: Tick = ignore_ticks,
) -> dict[str, Any]:
    """Plays episodes and asks after every turn how sure the matcher is of the likeliest of 21 personas, and if it is right.

    Args:
        env: a `PersonaChatVectorEnv` with NextStep autoreset.
        policy: picks the goals.
        matcher: what is measured.
        pool: personas that the true one is told from.
        episodes: at least 2.
        seed: of the episodes and the draws.
        tick: told how many episodes were done.

    Returns:
        `ece`, the expected calibration error over all turns in 10 bins; `temperature`, what the log-likelihoods should have
        been divided by (1 = none needed), and `ece_at_temperature`, the error if they had been, both from these very talks;
        `rises`, whether the true persona's mean chance rises with every turn; `after` each turn: that chance with its
        interval, and the error; `bins`: mean confidence, share right and number.

    Raises:
        InputError: too few episodes or personas.
        Stopped: Ctrl-C.
    """
    if episodes < 2:
        raise InputError(f"`episodes` must be at least 2, got {episodes}.")

    def count(_: int, result: EpisodeResult) -> None:
        tick(1)

    with stoppable(lambda: "A measurement that is not complete tells nothing, so nothing was kept."):
        played = run_episodes(env, policy, run_seeds(seed, episodes, "evaluate"), policy_seed=seed, on_episode=count)
    standing = standings(played, matcher, pool, seed)
    found = calibration(standing)
    temperature = fitted_temperature(standing)
    chances = np.stack([posteriors(each) for each in standing])[:, :, 0]  # (episodes, T)
    after = []
    for turn in range(chances.shape[1]):
        interval = bootstrap_interval(chances[:, turn], np.random.default_rng(seed))
        after.append(
            {
                "turn": turn + 1,
                "chance_of_true": interval.mean,
                "chance_of_true_interval": [interval.low, interval.high],
                "error": found.error_by_turn[turn],
            }
        )
    return {
        "ece": found.error,
        "rises": bool((np.diff(chances.mean(axis=0)) > 0).all()),
        "temperature": temperature,
        "ece_at_temperature": calibration([each / temperature for each in standing]).error,
        "policy": policy.name,
        "responder": env.unwrapped.responder_name,
        "episodes": episodes,
        "seed": seed,
        "after": after,
        "bins": found.bins,
    }


def draw_calibration(found: Mapping[str, Any], path: Path) -> None:
    """Draws confidence against share right, and the true persona's chance turn by turn, to a PNG file."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot([0, 1], [0, 1], color="0.7", linewidth=1)
    bins = found["bins"]
    most = max(each["n"] for each in bins)
    left.scatter(
        [each["confidence"] for each in bins],
        [each["correct"] for each in bins],
        s=[20 + 180 * each["n"] / most for each in bins],
    )
    left.set(
        xlabel="how sure", ylabel="how often right", xlim=(0, 1), ylim=(0, 1), title=f"calibration error {found['ece']:.3f}"
    )
    turns = [each["turn"] for each in found["after"]]
    right.plot(turns, [each["chance_of_true"] for each in found["after"]], marker="o")
    right.fill_between(
        turns,
        [each["chance_of_true_interval"][0] for each in found["after"]],
        [each["chance_of_true_interval"][1] for each in found["after"]],
        alpha=0.2,
    )
    right.set(xlabel="turn", ylabel="chance of the true persona", ylim=(0, 1), title=f"{found['episodes']} episodes")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
