"""How a policy gets better as it learns, over several seeds: one table, one chart. Prints nothing; gives a dict."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from convogym.errors import InputError
from convogym.experiments.console import Tick, ignore_ticks
from convogym.experiments.train_policy import train_policy
from convogym.metrics import bootstrap_interval

if TYPE_CHECKING:
    from convogym.agents.model import LanguageModel


def learning_curves(
    model: LanguageModel,
    algorithms: Sequence[str],
    steps: int,
    out: Path,
    *,
    seeds: int = 5,
    seed: int = 0,
    observation: str = "goals",
    resume: bool = False,
    tick: Tick = ignore_ticks,
    **options: Any,
) -> dict[str, Any]:
    """Trains each algorithm once a seed and joins their curves.

    Args:
        model: says lines and replies.
        algorithms: names, all different.
        steps: turns that each run learns from.
        out: folder; each run's policy goes to `ALGORITHM-SEED` in it.
        seeds: runs of each algorithm, at least 2.
        seed: the first run's; the others' follow.
        observation: what the policies see.
        resume: take over runs of the same steps and settings that `out` has finished already. Not to be used where the model
            or its judge has changed under the same name.
        tick: told how many turns were done.
        **options: of `train_policy`: reward, personas, num_envs, num_turns.

    Returns:
        `curves`: by algorithm a list of points with `turns`, the mean over seeds of the mean return since the last point, its
        interval over seeds, and `n`; `runs`: each run's last mean return; `seconds_a_run`: mean over the runs made now, None
        where there was none; and what was trained.

    Raises:
        InputError: a number or name makes no sense.
        Stopped: Ctrl-C.
    """
    if seeds < 2 or len(set(algorithms)) != len(algorithms) or not algorithms:
        raise InputError(f"learning curves need 2 seeds or more and different algorithms, got {seeds} and {list(algorithms)}.")
    began = time.monotonic()
    curves: dict[str, list[dict[str, Any]]] = {}
    runs: list[dict[str, Any]] = []
    seconds: list[float] = []
    for name in algorithms:
        found = []
        for number in range(seed, seed + seeds):
            folder = out / f"{name}-{number}"
            curve = _finished(folder, name, steps, number, {**options, "observation": observation}) if resume else None
            if curve is None:
                learnt = train_policy(model, name, steps, folder, observation=observation, seed=number, tick=tick, **options)
                curve = learnt["curve"]
                seconds.append(learnt["seconds"])
            else:
                tick(steps)
            found.append(curve)
            runs.append({"algorithm": name, "seed": number, "last_mean_return": curve[-1][1] if curve else None})
        curves[name] = joined(found, seed)
    return {
        "curves": curves,
        "runs": runs,
        "steps": steps,
        "seeds": seeds,
        "observation": observation,
        "responder": model.name,
        "seconds_a_run": float(np.mean(seconds)) if seconds else None,
        **options,
        "seconds": round(time.monotonic() - began, 3),
    }


def _finished(folder: Path, algorithm: str, steps: int, seed: int, options: Mapping[str, Any]) -> list[list[float]] | None:
    """The curve of a run that a folder holds, finished and of these settings; None where it holds none."""
    from convogym.policies.learned import load

    if not (folder / "policy.json").is_file():
        return None
    spec = load(folder).spec
    told = spec.training
    environment = told.get("environment", {})
    is_same = (spec.algorithm, told.get("seed"), told.get("total_steps")) == (algorithm, seed, steps) and all(
        environment[name] == value for name, value in options.items() if name in environment
    )
    return [list(point) for point in told["curve"]] if is_same and told.get("steps_done", 0) >= steps else None


def joined(curves: Sequence[Sequence[Sequence[float]]], seed: int) -> list[dict[str, Any]]:
    """One curve of several runs of the same algorithm.

    Args:
        curves: of each run (turns, mean return) pairs at the same turns; what only some have is left out.
        seed: of the bootstrap over runs.
    """
    points = []
    for each in zip(*curves, strict=False):
        interval = bootstrap_interval([value for _, value in each], np.random.default_rng(seed))
        points.append(
            {
                "turns": int(each[0][0]),
                "mean": interval.mean,
                "mean_interval": [interval.low, interval.high],
                "n": interval.n,
            }
        )
    return points


def draw_curves(found: Mapping[str, Any], path: Path) -> None:
    """Draws the curves and their intervals to a PNG file."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for name, points in found["curves"].items():
        turns = [point["turns"] for point in points]
        axes.plot(turns, [point["mean"] for point in points], label=name)
        bounds = np.array([point["mean_interval"] for point in points]).reshape(-1, 2)
        axes.fill_between(turns, bounds[:, 0], bounds[:, 1], alpha=0.2)
    axes.set(xlabel="turns learnt from", ylabel="mean return", title=f"{found['seeds']} seeds, 95 % intervals over seeds")
    axes.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
